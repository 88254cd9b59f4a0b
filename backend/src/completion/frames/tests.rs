use bytes::Bytes;
use cocoon_openapi::chat::FinishReason;
use cocoon_openapi::padding::{strip_events, stripped_json_len};
use cocoon_receipts::Usage;
use proptest::prelude::*;

use super::*;
use crate::answer::{Form, Piece, Render, renderer, tests::forms};

const PACE: Duration = Duration::from_millis(20);

fn answer(form: Form) -> Box<dyn Render> {
    renderer(form, crate::answer::tests::stamp(), 1)
}

fn text(text: &str) -> Piece {
    Piece::Text { text: text.into(), logprobs: Vec::new() }
}

/// Length of the frame that is sent for one token, after a first one.
fn frame_of(form: Form, token: &str) -> usize {
    let mut answer = answer(form);
    answer.begin();
    answer.piece(0, text("x"));
    let events = answer.piece(0, text(token));
    let mut frames = Frames::new(Some(PACE), Instant::now());
    frames.push(events, answer.envelope());
    frames.next(Instant::now()).unwrap().len()
}

#[test]
fn tokens_of_any_usual_length_look_alike_at_every_endpoint() {
    let lengths =
        |token: &str| -> Vec<usize> { forms().into_iter().map(|form| frame_of(form, token)).collect() };
    let short = lengths("a");
    assert_eq!(lengths("abcdefghijkl"), short);
    let long: Vec<usize> = short.iter().map(|length| length + 32).collect();
    assert_eq!((lengths(&"a".repeat(33)), lengths(&"a".repeat(64))), (long.clone(), long));
}

/// Guards against a comment that an observer tells from a token.
#[test]
fn a_keep_alive_looks_like_a_token() {
    for (token, quiet) in forms().into_iter().zip(forms()) {
        let answer = answer(quiet);
        let mut frames = Frames::new(Some(PACE), Instant::now());
        frames.push(vec![super::super::KEEP_ALIVE.to_vec()], answer.envelope());
        let difference = frames.next(Instant::now()).unwrap().len().abs_diff(frame_of(token, "a"));
        // The number of an event of `/v1/responses` has more digits later on.
        assert!(difference <= 1, "{difference}");
    }
}

#[test]
fn what_comes_soon_after_a_frame_waits_for_the_next_and_then_leaves_together() {
    let start = Instant::now();
    let mut frames = Frames::new(Some(PACE), start);
    let event = |text: &str| vec![format!("data: {text}\n\n").into_bytes()];
    assert_eq!((frames.due(), frames.next(start)), (None, None));
    frames.push(event("1"), 8);
    let first = Bytes::from(frames.next(start).expect("the first goes at once"));
    assert_eq!(strip_events(&first), "data: 1\n\n");
    frames.push(event("2"), 8);
    assert_eq!(frames.next(start + PACE / 2), None);
    frames.push(event("3"), 8);
    assert_eq!(frames.due(), Some(start + PACE));
    let second = Bytes::from(frames.next(start + PACE).expect("its time has come"));
    assert_eq!(strip_events(&second), "data: 2\n\ndata: 3\n\n");
    assert_eq!(second.len(), 2 * (8 + 32) + MIN_EVENT_PADDING);
    frames.push(event("4"), 8);
    assert!(frames.next(start + 3 * PACE).is_some(), "nothing is held up where tokens are slow");
    frames.push(event("5"), 8);
    assert!(frames.rest(start + 3 * PACE).is_some(), "the end does not wait");
    assert_eq!(frames.rest(start + 3 * PACE), None);
}

#[test]
fn much_text_does_not_wait() {
    let start = Instant::now();
    let mut frames = Frames::new(Some(PACE), start);
    frames.push(vec![b"data: 1\n\n".to_vec()], 8);
    frames.next(start);
    frames.push(vec![vec![b'x'; LARGEST - 1]], 8);
    assert_eq!(frames.next(start), None);
    frames.push(vec![vec![b'x']], 8);
    assert!(frames.next(start).is_some());
}

#[test]
fn without_padding_each_event_is_a_frame_as_it_is() {
    let now = Instant::now();
    let mut frames = Frames::new(None, now);
    let events = [b"data: 1\n\n".to_vec(), b"data: 2\n\n".to_vec()];
    frames.push(events.to_vec(), 8);
    assert_eq!(
        [frames.next(now), frames.next(now), frames.next(now)],
        [Some(events[0].clone()), Some(events[1].clone()), None]
    );
}

#[test]
fn the_last_frames_have_few_lengths() {
    for length in [1, 200, 253, 254, 255, 256, 700] {
        let mut events = format!("data: {}\n\n", "x".repeat(length)).into_bytes();
        let before = Bytes::from(events.clone());
        pad_last_events(&mut events);
        assert_eq!((events.len() % 256, strip_events(&events.into())), (0, before));
        let mut json = format!("{}}}", "x".repeat(length)).into_bytes();
        let before = json.len();
        pad_last_json(&mut json);
        assert_eq!((json.len() % 256, stripped_json_len(&json)), (0, before));
        let mut json = "x".repeat(length).into_bytes();
        pad_open_json(&mut json);
        assert_eq!((json.len(), stripped_json_len(&json)), (json_target(length), length));
    }
}

proptest! {
    /// Whatever is said, and however it falls into frames.
    #[test]
    fn padding_changes_nothing_of_what_is_said(
        form in 0..3usize,
        said in proptest::collection::vec(("\\PC{0,40}", 0..30u64), 0..20),
    ) {
        let (mut one, mut other) = (answer(forms().swap_remove(form)), answer(forms().swap_remove(form)));
        let start = Instant::now();
        let (mut padded, mut bare) = (Frames::new(Some(PACE), start), Frames::new(None, start));
        let (mut with, mut without, mut now) = (Vec::new(), Vec::new(), start);
        let tell = |frames: &mut Frames, answer: &mut dyn Render, text: Option<&str>, now, to: &mut Vec<Bytes>| {
            let events = match text {
                Some(said) => answer.piece(0, Piece::Text { text: said.into(), logprobs: Vec::new() }),
                None => [answer.finish(0, FinishReason::Stop), answer.end(&Usage::default())].concat(),
            };
            frames.push(events, answer.envelope());
            while let Some(frame) = if text.is_some() { frames.next(now) } else { frames.rest(now) } {
                to.push(frame.into());
            }
        };
        for (text, later) in &said {
            now += Duration::from_millis(*later);
            tell(&mut padded, &mut *one, Some(text), now, &mut with);
            tell(&mut bare, &mut *other, Some(text), now, &mut without);
        }
        tell(&mut padded, &mut *one, None, now, &mut with);
        tell(&mut bare, &mut *other, None, now, &mut without);
        let stripped: Vec<u8> = with.iter().flat_map(|frame| strip_events(frame).to_vec()).collect();
        prop_assert_eq!(stripped, without.concat());
        prop_assert!(with.iter().all(|frame| strip_events(frame).len() < frame.len()));
    }
}
