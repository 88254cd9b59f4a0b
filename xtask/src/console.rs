//! What a person reads while a long task runs: numbered steps, their times, nothing else.

use std::time::{Duration, Instant};

/// Numbered steps of one task, on stderr.
pub(crate) struct Steps {
    total: usize,
    done: usize,
    current: Instant,
}

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, done: 0, current: Instant::now() }
    }

    pub(crate) fn begin(&mut self, what: &str) {
        self.done += 1;
        self.current = Instant::now();
        eprintln!("[{}/{}] {what}", self.done, self.total);
    }

    /// Closes the current step and gives its wall time.
    pub(crate) fn finish(&self, result: &str) -> Duration {
        let took = self.current.elapsed();
        eprintln!("      {result} ({})", seconds(took));
        took
    }
}

/// A line inside a step.
pub(crate) fn note(text: &str) {
    eprintln!("      {text}");
}

/// `0.4 s`, `42 s`, `31 min 07 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole >= 60 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else if whole >= 10 {
        format!("{whole} s")
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Says every ten seconds that a wait is still going on, so that silence never looks like a hang.
pub(crate) struct Patience<'a> {
    what: &'a str,
    since: Instant,
    said: u64,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(what: &'a str) -> Self {
        Self { what, since: Instant::now(), said: 0 }
    }

    pub(crate) fn tick(&mut self) {
        let tens = self.since.elapsed().as_secs() / 10;
        if tens > self.said {
            self.said = tens;
            note(&format!("still {} ({})", self.what, seconds(self.since.elapsed())));
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_a_person_says_them() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(42)), "42 s");
        assert_eq!(seconds(Duration::from_secs(31 * 60 + 7)), "31 min 07 s");
    }
}
