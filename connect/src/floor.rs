//! The rollback floor: a release that is older than what was seen for a week is not believed any more, however good
//! its evidence.
//!
//! The week lets a deployment bring a new release to its backends one after another.

use std::collections::BTreeMap;

use cocoon_attestation::Release;
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, StateError};

const FILE: &str = "releases.json";
const VERSION: u32 = 1;
/// 7 days.
pub const MATURE_AFTER_MS: u64 = 7 * 24 * 3600 * 1000;
/// Names, and sequences of one name, that are remembered.
const MAX_REMEMBERED: usize = 64;

/// When each sequence of a release name was first seen, milliseconds since 1970.
type Seen = BTreeMap<String, BTreeMap<u64, u64>>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    releases: Seen,
}

/// What was seen, and the file that remembers it.
#[derive(Debug)]
pub struct Floor {
    state: StateDir,
    seen: Seen,
}

impl Floor {
    /// # Errors
    /// [`StateError`]. A file that does not read is never begun anew: whoever broke it may have wanted just that.
    pub fn load(state: StateDir) -> Result<Self, StateError> {
        let seen = read(&state)?;
        Ok(Self { state, seen })
    }

    /// The oldest release of this name that what was seen allows; 0 where it says nothing.
    #[must_use]
    pub fn of(&self, name: &str, now_ms: u64) -> u64 {
        let Some(sequences) = self.seen.get(name) else { return 0 };
        let mature =
            |first_seen: &u64| now_ms.checked_sub(*first_seen).is_some_and(|age| age > MATURE_AFTER_MS);
        sequences.iter().rev().find(|(_, first_seen)| mature(first_seen)).map_or(0, |(sequence, _)| *sequence)
    }

    /// Remembers a release whose document was verified in full: no other may raise the floor.
    ///
    /// # Errors
    /// [`StateError`] where that could not be written.
    pub fn remember(&mut self, release: &Release, now_ms: u64) -> Result<(), StateError> {
        if self.seen.get(&release.name).is_some_and(|seen| seen.contains_key(&release.sequence)) {
            return Ok(());
        }
        // Another process may have written since.
        for (name, sequences) in read(&self.state)? {
            let known = self.seen.entry(name).or_default();
            for (sequence, first_seen) in sequences {
                known.entry(sequence).or_insert(first_seen);
            }
        }
        if self.seen.len() >= MAX_REMEMBERED && !self.seen.contains_key(&release.name) {
            return Err(StateError::Corrupt {
                path: self.state.path(FILE),
                message: "it holds too many release names",
            });
        }
        let sequences = self.seen.entry(release.name.clone()).or_default();
        sequences.entry(release.sequence).or_insert(now_ms);
        let floor = self.of(&release.name, now_ms);
        if let Some(sequences) = self.seen.get_mut(&release.name) {
            // What is below the floor says nothing more.
            sequences.retain(|sequence, _| *sequence >= floor);
            while sequences.len() > MAX_REMEMBERED {
                sequences.pop_last();
            }
        }
        let file = File { version: VERSION, releases: self.seen.clone() };
        let text = serde_json::to_string(&file).map_err(|_| StateError::Corrupt {
            path: self.state.path(FILE),
            message: "it cannot be written",
        })?;
        self.state.replace(FILE, &text)
    }
}

fn read(state: &StateDir) -> Result<Seen, StateError> {
    let Some(text) = state.read(FILE)? else { return Ok(Seen::new()) };
    match serde_json::from_str::<File>(&text) {
        Ok(file) if file.version == VERSION => Ok(file.releases),
        _ => Err(StateError::Corrupt { path: state.path(FILE), message: "not a list of releases" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;
    const START: u64 = 1000 * DAY;

    fn release(sequence: u64) -> Release {
        Release { name: "cocoon".into(), sequence }
    }

    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("s")).unwrap();
        (dir, state)
    }

    #[test]
    fn the_floor_is_the_highest_release_that_was_seen_for_longer_than_a_week() {
        let (_dir, state) = state();
        let mut floor = Floor::load(state).unwrap();
        for (sequence, day) in [(5, 0), (7, 3), (6, 4), (9, 10)] {
            floor.remember(&release(sequence), START + day * DAY).unwrap();
        }
        for (day, after, expected) in
            [(0, 0, 0), (7, 0, 0), (7, 1, 5), (10, 0, 5), (10, 1, 7), (17, 0, 7), (17, 1, 9), (400, 0, 9)]
        {
            let now = START + day * DAY + after;
            assert_eq!(floor.of("cocoon", now), expected, "day {day} + {after} ms");
            assert_eq!(floor.of("other", now), 0);
        }
    }

    #[test]
    fn a_release_that_is_seen_again_does_not_become_younger() {
        let (_dir, state) = state();
        let mut floor = Floor::load(state.clone()).unwrap();
        floor.remember(&release(5), START).unwrap();
        floor.remember(&release(5), START + 7 * DAY).unwrap();
        assert_eq!(floor.of("cocoon", START + 7 * DAY + 1), 5);
        // Neither by another process that sees it for the first time.
        let mut other = Floor { state: state.clone(), seen: Seen::new() };
        other.remember(&release(5), START + 7 * DAY).unwrap();
        assert_eq!(Floor::load(state).unwrap().of("cocoon", START + 7 * DAY + 1), 5);
    }

    #[test]
    fn what_was_seen_survives_the_process() {
        let (_dir, state) = state();
        Floor::load(state.clone()).unwrap().remember(&release(5), START).unwrap();
        let mut again = Floor::load(state.clone()).unwrap();
        assert_eq!(again.of("cocoon", START + 8 * DAY), 5);
        again.remember(&release(6), START + DAY).unwrap();
        assert_eq!(Floor::load(state).unwrap().of("cocoon", START + 9 * DAY), 6);
    }

    #[test]
    fn a_clock_that_goes_back_raises_nothing() {
        let (_dir, state) = state();
        let mut floor = Floor::load(state).unwrap();
        floor.remember(&release(5), START).unwrap();
        assert_eq!(floor.of("cocoon", 0), 0);
    }

    #[test]
    fn a_file_that_does_not_read_is_an_error_and_stays() {
        let (_dir, state) = state();
        for text in
            ["", "{", "{}", r#"{"version":2,"releases":{}}"#, r#"{"version":1,"releases":{"a":{"x":1}}}"#]
        {
            state.replace(FILE, text).unwrap();
            assert!(matches!(Floor::load(state.clone()), Err(StateError::Corrupt { .. })), "{text}");
            assert_eq!(state.read(FILE).unwrap().as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (_dir, state) = state();
        let mut floor = Floor::load(state).unwrap();
        for sequence in 0..200 {
            floor.remember(&release(sequence), START).unwrap();
        }
        assert!(floor.seen["cocoon"].len() <= MAX_REMEMBERED);
        for name in 1..MAX_REMEMBERED {
            floor.remember(&Release { name: name.to_string(), sequence: 0 }, START).unwrap();
        }
        assert!(floor.remember(&Release { name: "one more".into(), sequence: 0 }, START).is_err());
    }
}
