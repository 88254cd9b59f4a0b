use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::frame::PREFIX_LEN;

/// What a [`FrameReader`] accepts of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest frame in bytes, tag included, length prefix not.
    pub max_frame: usize,
    /// Longest body in bytes, length prefixes included.
    pub max_total: u64,
    /// Most empty frames in the whole body. EHBP allows them (4.3) and asks for no bound.
    pub max_empty: u32,
}

/// Why a body was refused as a sequence of frames. Nothing here depends on a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A length prefix over [`FrameLimits::max_frame`].
    #[error("a frame of {length} bytes is over the limit of {max}")]
    FrameTooLong {
        /// What the prefix said.
        length: u32,
        /// The limit.
        max: usize,
    },
    /// Frames that together pass [`FrameLimits::max_total`].
    #[error("the body is over the limit of {max} bytes")]
    BodyTooLong {
        /// The limit.
        max: u64,
    },
    /// More empty frames than [`FrameLimits::max_empty`].
    #[error("more than {max} empty frames")]
    TooManyEmptyFrames {
        /// The limit.
        max: u32,
    },
    /// The body ended inside a length prefix or a frame.
    #[error("the body ends inside a frame")]
    Truncated,
}

/// Cuts a body that arrives in arbitrary chunks back into frames (EHBP 4.3).
///
/// Push a chunk, then call [`next`](Self::next) until it returns `None`; at the end of the body call
/// [`finish`](Self::finish). What is returned and what is refused does not depend on how the body was cut into
/// chunks. Memory is bounded by the chunk last pushed and one frame: a length is checked before anything is
/// kept for it, and space is taken as bytes arrive, not as they are announced.
#[derive(Debug)]
pub struct FrameReader {
    limits: FrameLimits,
    arrived: VecDeque<Bytes>,
    state: State,
    total: u64,
    empty: u32,
    failure: Option<FrameError>,
}

#[derive(Debug)]
enum State {
    Prefix { bytes: [u8; PREFIX_LEN], filled: usize },
    Body { length: usize, gathered: BytesMut },
}

impl State {
    const BETWEEN_FRAMES: Self = Self::Prefix { bytes: [0; PREFIX_LEN], filled: 0 };
}

impl FrameReader {
    /// A reader at the start of a body.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            arrived: VecDeque::new(),
            state: State::BETWEEN_FRAMES,
            total: 0,
            empty: 0,
            failure: None,
        }
    }

    /// Adds the next chunk of the body. After an error it is dropped.
    pub fn push(&mut self, chunk: Bytes) {
        if self.failure.is_none() && !chunk.is_empty() {
            self.arrived.push_back(chunk);
        }
    }

    /// The ciphertext of the next non-empty frame, without its length prefix, or `None` until more has been
    /// pushed. A frame that lies within one chunk shares its memory. After an error it is the same error for
    /// ever.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` means not yet, and more follows: an Iterator would promise otherwise"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let outcome = self.read();
        if let Err(failure) = outcome {
            self.failure = Some(failure);
            self.arrived.clear();
            self.state = State::BETWEEN_FRAMES;
        }
        outcome
    }

    /// Says whether the body may end here: not inside a frame, not after an error and not with frames unread.
    pub fn finish(&self) -> Result<(), FrameError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let between_frames = matches!(self.state, State::Prefix { filled: 0, .. });
        if between_frames && self.arrived.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    fn read(&mut self) -> Result<Option<Bytes>, FrameError> {
        while let Some(piece) = self.take() {
            match &mut self.state {
                State::Prefix { bytes, filled } => {
                    bytes[*filled..*filled + piece.len()].copy_from_slice(&piece);
                    *filled += piece.len();
                    if *filled == PREFIX_LEN {
                        let length = u32::from_be_bytes(*bytes);
                        self.state = self.admit(length)?;
                    }
                }
                State::Body { length, gathered } => {
                    let frame = if piece.len() == *length {
                        piece
                    } else {
                        gathered.extend_from_slice(&piece);
                        if gathered.len() < *length {
                            continue;
                        }
                        mem::take(gathered).freeze()
                    };
                    self.state = State::BETWEEN_FRAMES;
                    return Ok(Some(frame));
                }
            }
        }
        Ok(None)
    }

    /// The next bytes that arrived, of one chunk and no more than the prefix or frame at hand still needs.
    fn take(&mut self) -> Option<Bytes> {
        let needed = match &self.state {
            State::Prefix { filled, .. } => PREFIX_LEN - filled,
            State::Body { length, gathered } => length - gathered.len(),
        };
        let chunk = self.arrived.front_mut()?;
        if chunk.len() > needed { Some(chunk.split_to(needed)) } else { self.arrived.pop_front() }
    }

    /// Checks a frame by its length alone and says what is read next.
    fn admit(&mut self, length: u32) -> Result<State, FrameError> {
        let FrameLimits { max_frame, max_total, max_empty } = self.limits;
        let too_long = FrameError::FrameTooLong { length, max: max_frame };
        let body = usize::try_from(length).map_err(|_| too_long)?;
        if body > max_frame {
            return Err(too_long);
        }
        self.total = self.total.saturating_add(PREFIX_LEN as u64 + u64::from(length));
        if self.total > max_total {
            return Err(FrameError::BodyTooLong { max: max_total });
        }
        if body > 0 {
            return Ok(State::Body { length: body, gathered: BytesMut::new() });
        }
        self.empty = self.empty.saturating_add(1);
        if self.empty > max_empty {
            return Err(FrameError::TooManyEmptyFrames { max: max_empty });
        }
        Ok(State::BETWEEN_FRAMES)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const ROOMY: FrameLimits = FrameLimits { max_frame: 1 << 20, max_total: 1 << 30, max_empty: 1000 };

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[..], body].concat()
    }

    /// All frames of a body given in chunks, and how the body ended.
    fn read_all<'a>(
        limits: FrameLimits,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Bytes>, Result<(), FrameError>) {
        let mut reader = FrameReader::new(limits);
        let mut frames = Vec::new();
        for chunk in chunks {
            reader.push(Bytes::copy_from_slice(chunk));
            loop {
                match reader.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Err(error)),
                }
            }
        }
        (frames, reader.finish())
    }

    fn cut<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_the_body_is_cut(
            bodies in vec(vec(any::<u8>(), 0..40), 0..12),
            cuts in vec(any::<usize>(), 0..20),
        ) {
            let body: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let (frames, end) = read_all(ROOMY, cut(&body, &cuts));
            prop_assert_eq!(frames, bodies.into_iter().filter(|body| !body.is_empty()).collect::<Vec<_>>());
            prop_assert_eq!(end, Ok(()));
        }

        #[test]
        fn the_verdict_on_any_bytes_does_not_depend_on_the_cuts(
            body in vec(prop_oneof![3 => 0..3u8, 1 => any::<u8>()], 0..200),
            cuts in vec(any::<usize>(), 0..20),
        ) {
            let limits = FrameLimits { max_frame: 20, max_total: 90, max_empty: 4 };
            prop_assert_eq!(read_all(limits, cut(&body, &cuts)), read_all(limits, [&body[..]]));
        }

        #[test]
        fn a_body_that_ends_inside_a_frame_is_truncated(
            bodies in vec(vec(any::<u8>(), 1..20), 1..6),
            end in any::<usize>(),
        ) {
            let body: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let mut ends = vec![0];
            for body in &bodies {
                ends.push(ends[ends.len() - 1] + PREFIX_LEN + body.len());
            }
            let end = end % (body.len() + 1);
            let expected = if ends.contains(&end) { Ok(()) } else { Err(FrameError::Truncated) };
            prop_assert_eq!(read_all(ROOMY, [&body[..end]]).1, expected);
        }
    }

    #[test]
    fn a_frame_within_one_chunk_is_not_copied() {
        let chunk = Bytes::from([frame(b"first"), frame(b"second")].concat());
        let mut reader = FrameReader::new(ROOMY);
        reader.push(chunk.clone());
        let first = reader.next().unwrap().unwrap();
        let second = reader.next().unwrap().unwrap();
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
        assert_eq!(first.as_ptr(), chunk[4..].as_ptr());
        assert_eq!(second.as_ptr(), chunk[13..].as_ptr());
    }

    #[test]
    fn the_longest_length_is_refused_by_its_prefix_alone() {
        let (frames, end) = read_all(ROOMY, [&u32::MAX.to_be_bytes()[..]]);
        assert_eq!(end, Err(FrameError::FrameTooLong { length: u32::MAX, max: 1 << 20 }));
        assert!(frames.is_empty());
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_byte_more_does_not() {
        let limits = FrameLimits { max_frame: 10, ..ROOMY };
        assert_eq!(read_all(limits, [&frame(&[1; 10])[..]]).1, Ok(()));
        assert_eq!(
            read_all(limits, [&frame(&[1; 11])[..4]]).1,
            Err(FrameError::FrameTooLong { length: 11, max: 10 })
        );
    }

    #[test]
    fn a_million_empty_frames_end_at_their_limit() {
        let flood = Bytes::from(vec![0; 4 * 1_000_000]);
        let mut reader = FrameReader::new(ROOMY);
        reader.push(flood.clone());
        assert_eq!(reader.next(), Err(FrameError::TooManyEmptyFrames { max: 1000 }));
        let mut patient = FrameReader::new(FrameLimits { max_empty: 1_000_000, ..ROOMY });
        patient.push(flood);
        patient.push(Bytes::from(frame(b"after")));
        assert_eq!(patient.next(), Ok(Some(Bytes::from_static(b"after"))));
        assert_eq!(patient.finish(), Ok(()));
    }

    #[test]
    fn the_whole_body_is_counted_with_its_prefixes() {
        let body = [frame(&[1; 6]), frame(b""), frame(&[2; 6])].concat();
        let exact = FrameLimits { max_total: 24, ..ROOMY };
        assert_eq!(read_all(exact, [&body[..]]).1, Ok(()));
        let short = FrameLimits { max_total: 23, ..ROOMY };
        let (frames, end) = read_all(short, [&body[..]]);
        assert_eq!(end, Err(FrameError::BodyTooLong { max: 23 }));
        assert_eq!(frames, [vec![1; 6]], "the frame before the limit was still given");
    }

    #[test]
    fn space_is_taken_as_bytes_arrive_not_as_they_are_announced() {
        let mut reader = FrameReader::new(ROOMY);
        reader.push(Bytes::copy_from_slice(&(1u32 << 20).to_be_bytes()));
        reader.push(Bytes::from_static(&[0; 10]));
        assert_eq!(reader.next(), Ok(None));
        let State::Body { gathered, .. } = &reader.state else { panic!("not inside a frame") };
        assert!(gathered.capacity() < 1000, "{} bytes kept for 10", gathered.capacity());
    }

    #[test]
    fn after_an_error_there_are_no_more_frames() {
        let mut reader = FrameReader::new(FrameLimits { max_frame: 4, ..ROOMY });
        reader.push(Bytes::from(frame(&[0; 5])));
        let error = FrameError::FrameTooLong { length: 5, max: 4 };
        assert_eq!(reader.next(), Err(error));
        reader.push(Bytes::from(frame(b"good")));
        assert_eq!(reader.next(), Err(error));
        assert_eq!(reader.finish(), Err(error));
    }

    #[test]
    fn a_body_may_not_end_with_frames_unread() {
        let mut reader = FrameReader::new(ROOMY);
        reader.push(Bytes::from(frame(b"unread")));
        assert_eq!(reader.finish(), Err(FrameError::Truncated));
    }
}
