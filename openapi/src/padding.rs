//! Padding of sealed answers, so that the sizes of frames say nothing of the text in them. It is made of what every
//! client passes over: comments between server-sent events, white space in JSON.
//!
//! A frame of events is as long as the same events would be if each had a text of its [`event_bucket`]; one comment,
//! the frame's last, makes up the difference.

use bytes::Bytes;

/// The shortest comment there is: `:`, and the blank line that ends it.
pub const MIN_EVENT_PADDING: usize = 3;
/// Texts up to this long look alike. Most tokens of any vocabulary are shorter.
const SMALLEST_BUCKET: usize = 32;
/// A shorter JSON answer looks as long as this.
const SMALLEST_JSON: usize = 1024;
const FILLER: u8 = b'p';
const END: &[u8] = b"\n\n";

/// The length for which a text of `length` bytes is taken: a power of two.
#[must_use]
pub fn event_bucket(length: usize) -> usize {
    length.max(SMALLEST_BUCKET).next_power_of_two()
}

/// The length to which a JSON answer of `length` bytes is padded: Padmé (Nikitin et al., "Reducing Metadata Leakage
/// from Encrypted Files and Communication with PURBs", section 4), which adds at most an eighth.
#[must_use]
pub fn json_target(length: usize) -> usize {
    let length = length.max(SMALLEST_JSON);
    let exponent = length.ilog2();
    let low_bits = exponent - (exponent.ilog2() + 1);
    length.next_multiple_of(1 << low_bits)
}

/// Appends one comment to whole events, so that they are `target` bytes; at least [`MIN_EVENT_PADDING`] are added.
pub fn pad_events(events: &mut Vec<u8>, target: usize) {
    let filler = target.saturating_sub(events.len() + MIN_EVENT_PADDING);
    events.push(b':');
    events.resize(events.len() + filler, FILLER);
    events.extend_from_slice(END);
}

/// Appends white space up to `target` bytes.
pub fn pad_json(json: &mut Vec<u8>, target: usize) {
    json.resize(json.len().max(target), b' ');
}

/// Whole events without the comment that [`pad_events`] put after them.
#[must_use]
pub fn strip_events(frame: &Bytes) -> Bytes {
    let stripped = || {
        let text = frame.strip_suffix(END)?;
        let filled = text.iter().rev().take_while(|byte| **byte == FILLER).count();
        let events = text[..text.len() - filled].strip_suffix(b":")?;
        // A colon inside a line begins no comment.
        (events.is_empty() || events.ends_with(b"\n")).then_some(events.len())
    };
    stripped().map_or_else(|| frame.clone(), |length| frame.slice(..length))
}

/// The length of `json` without the white space that [`pad_json`] put after it.
#[must_use]
pub fn stripped_json_len(json: &[u8]) -> usize {
    json.len() - json.iter().rev().take_while(|byte| **byte == b' ').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_texts_have_one_bucket_and_long_ones_powers_of_two() {
        for (length, bucket) in [(0, 32), (1, 32), (12, 32), (32, 32), (33, 64), (1000, 1024)] {
            assert_eq!(event_bucket(length), bucket);
        }
    }

    #[test]
    fn json_grows_by_an_eighth_at_most_and_falls_into_few_lengths() {
        let targets: std::collections::BTreeSet<_> = (0..100_000).map(json_target).collect();
        assert_eq!(targets.first(), Some(&SMALLEST_JSON));
        assert!(targets.len() < 150, "{}", targets.len());
        for length in SMALLEST_JSON..100_000 {
            let target = json_target(length);
            assert!((length..=length + length / 8).contains(&target), "{length} {target}");
        }
    }

    #[test]
    fn what_is_no_padding_stays() {
        for frame in [
            &b"data: p\n\n"[..],
            b"data: {\"a\":\"b:ppp\"}\n\n",
            b": keep-alive\n\n",
            b"data: :pp\n\n",
            b"",
            b"\n\n",
            b"p",
        ] {
            let frame = Bytes::copy_from_slice(frame);
            assert_eq!(strip_events(&frame), frame);
        }
    }

    proptest! {
        #[test]
        fn padded_events_are_as_long_as_asked_and_come_back(texts in proptest::collection::vec("[a-z:p ]{0,20}", 0..4), more in 3..200usize) {
            let events: Vec<u8> = texts.iter().flat_map(|text| format!("data: {text}\n\n").into_bytes()).collect();
            let mut padded = events.clone();
            pad_events(&mut padded, events.len() + more);
            prop_assert_eq!(padded.len(), events.len() + more);
            prop_assert_eq!(strip_events(&padded.into()), events);
        }

        #[test]
        fn padded_json_comes_back(text in "[a-z]{0,9}[}]", target in 0..40usize) {
            let mut padded = text.clone().into_bytes();
            pad_json(&mut padded, target);
            prop_assert_eq!(padded.len(), target.max(text.len()));
            prop_assert_eq!(stripped_json_len(&padded), text.len());
        }
    }
}
