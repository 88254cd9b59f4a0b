//! How far reading a model has got, in the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line at every tenth, but not more often than this;
const LEAST: Duration = Duration::from_secs(1);
/// and not less often than this.
const MOST: Duration = Duration::from_secs(5);

/// Counts bytes of several threads.
#[derive(Debug)]
pub(super) struct Progress {
    total: u64,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: u64,
    told: u64,
    at: Instant,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        let begun = Instant::now();
        Self { total, begun, state: Mutex::new(State { done: 0, told: 0, at: begun }) }
    }

    pub(super) fn add(&self, bytes: u64) {
        if let Some(percent) = self.advance(bytes, Instant::now()) {
            tracing::info!(percent, gigabytes = self.total / 1_000_000_000, "reading the model");
        }
    }

    /// The percentage, where it is time to tell it.
    fn advance(&self, bytes: u64, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += bytes;
        let percent = state.done.saturating_mul(100) / self.total.max(1);
        let silent = now.saturating_duration_since(state.at);
        let tenth = percent / 10 > state.told / 10;
        if silent >= MOST || (tenth && silent >= LEAST) {
            (state.told, state.at) = (percent, now);
            return Some(percent);
        }
        None
    }

    /// The time it took, and bytes per second.
    pub(super) fn end(&self) {
        let (seconds, done) = (
            self.begun.elapsed().as_secs_f64(),
            self.state.lock().unwrap_or_else(PoisonError::into_inner).done,
        );
        let megabytes = done / 1_000_000;
        tracing::info!(megabytes, seconds = format!("{seconds:.1}"), "the model is measured");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_told_but_not_more_often_than_a_second_nor_less_often_than_five() {
        let progress = Progress::new(1000);
        let after = |ms| progress.begun + Duration::from_millis(ms);
        assert_eq!(progress.advance(150, after(10)), None, "too soon");
        assert_eq!(progress.advance(10, after(1000)), Some(16));
        assert_eq!(progress.advance(30, after(3000)), None, "no tenth more");
        assert_eq!(progress.advance(5, after(6000)), Some(19));
        assert_eq!(progress.advance(5, after(7000)), Some(20));
        assert_eq!(progress.advance(800, after(8000)), Some(100));
    }
}
