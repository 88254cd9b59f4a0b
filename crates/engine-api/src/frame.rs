//! Frames: `u32be length ‖ JSON`.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest JSON text of one frame, bytes. A prompt is bounded by the gateway's body limit, far below.
pub const MAX_FRAME: usize = 64 << 20;

/// A stream of frames that cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLarge(usize),
    #[error("a frame is not the JSON that was expected")]
    Json(#[source] serde_json::Error),
}

/// One message as a frame.
///
/// # Errors
/// [`FrameError::TooLarge`] where the message is over [`MAX_FRAME`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Json)?;
    let length = frame.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
    frame[..4].copy_from_slice(&prefix.ok_or(FrameError::TooLarge(length))?.to_be_bytes());
    Ok(frame)
}

/// Turns bytes, in whatever pieces they arrive, into messages.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameDecoder {
    /// Adds bytes that were read.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or none until more bytes come.
    ///
    /// # Errors
    /// After an error the stream is lost: end it.
    #[expect(clippy::should_implement_trait, reason = "the caller chooses the type of each message")]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let unread = &self.buffer[self.start..];
        let Some((prefix, rest)) = unread.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge(length));
        }
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(json).map_err(FrameError::Json)?;
        self.start += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;

    #[test]
    fn messages_come_out_of_bytes_cut_anywhere() {
        let sent: Vec<Command> = (0..5).map(|id| Command::Cancel { id }).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|c| encode(c).unwrap()).collect();
        for piece in 1..bytes.len() {
            let mut decoder = FrameDecoder::default();
            let mut got = Vec::new();
            for part in bytes.chunks(piece) {
                decoder.extend(part);
                while let Some(command) = decoder.next::<Command>().unwrap() {
                    got.push(command);
                }
            }
            assert_eq!(got, sent, "pieces of {piece}");
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_it_is_buffered() {
        let mut decoder = FrameDecoder::default();
        decoder.extend(&u32::MAX.to_be_bytes());
        assert!(matches!(decoder.next::<Command>(), Err(FrameError::TooLarge(_))));
    }
}
