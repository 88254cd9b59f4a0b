//! An answer's frames: when one leaves, and how long it is. Neither is to say anything of the text in it.

use std::collections::VecDeque;
use std::time::Duration;

use cocoon_openapi::padding::{MIN_EVENT_PADDING, event_bucket, json_target, pad_events, pad_json};
use tokio::time::Instant;

/// In what steps the last frames grow: the numbers in a receipt have more or fewer digits.
const STEP: usize = 256;
/// As many bytes leave without waiting for more.
const LARGEST: usize = 64 << 10;

/// The events of a stream on their way into frames.
#[derive(Debug)]
pub(super) struct Frames {
    /// Time from one frame to the next. None where the client wants no padding: then each event is a frame, as it is.
    pace: Option<Duration>,
    waiting: VecDeque<Vec<u8>>,
    /// Bytes that wait.
    length: usize,
    /// Bytes that they are taken for.
    target: usize,
    /// When the next frame may leave.
    not_before: Instant,
}

impl Frames {
    pub(super) fn new(pace: Option<Duration>, now: Instant) -> Self {
        Self { pace, waiting: VecDeque::new(), length: 0, target: 0, not_before: now }
    }

    /// Adds events. `envelope` is the length of one without text; what is longer is taken for the text's.
    pub(super) fn push(&mut self, events: Vec<Vec<u8>>, envelope: usize) {
        for event in events {
            self.length += event.len();
            self.target += envelope + event_bucket(event.len().saturating_sub(envelope));
            self.waiting.push_back(event);
        }
    }

    /// When what waits may leave; none where nothing does.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.not_before)
    }

    /// The next frame that may leave at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Option<Vec<u8>> {
        let may_leave = self.due().is_some_and(|due| now >= due) || self.length >= LARGEST;
        if may_leave { self.rest(now) } else { None }
    }

    /// The next frame, whether it may leave or not: nothing comes after.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Vec<u8>> {
        let Some(pace) = self.pace else {
            let event = self.waiting.pop_front()?;
            self.length -= event.len();
            return Some(event);
        };
        if self.waiting.is_empty() {
            return None;
        }
        let mut frame = Vec::with_capacity(self.target + MIN_EVENT_PADDING);
        frame.extend(self.waiting.drain(..).flatten());
        pad_events(&mut frame, self.target + MIN_EVENT_PADDING);
        (self.length, self.target) = (0, 0);
        self.not_before = now + pace;
        Some(frame)
    }
}

/// Pads the last events of a stream, or an error that is as good as the last.
pub(super) fn pad_last_events(events: &mut Vec<u8>) {
    let target = (events.len() + MIN_EVENT_PADDING).next_multiple_of(STEP);
    pad_events(events, target);
}

/// Pads a JSON answer that lacks its closing brace.
pub(super) fn pad_open_json(json: &mut Vec<u8>) {
    let target = json_target(json.len());
    pad_json(json, target);
}

/// Pads what closes a JSON answer.
pub(super) fn pad_last_json(json: &mut Vec<u8>) {
    let target = json.len().next_multiple_of(STEP);
    pad_json(json, target);
}

#[cfg(test)]
mod tests;
