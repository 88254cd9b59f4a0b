use std::sync::Weak;

use cocoon_attestation::Keyset;

use super::*;
use crate::identity::tests::identity;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);
pub(crate) const PERIODS: Periods = Periods {
    published: Duration::from_secs(6 * 3600),
    x25519_overlap: Duration::from_secs(24 * 3600),
    xwing_overlap: Duration::from_secs(600),
};
const NOW_MS: u64 = 1_700_000_000_000;

fn keyring(most: usize) -> Keyring {
    Keyring::of_tests(PERIODS, most)
}

impl Keyring {
    pub(crate) fn of_tests(periods: Periods, most: usize) -> Self {
        Self::new(Arc::new(identity()), periods, most).unwrap()
    }

    /// Publishes new keys, as if it were time, and says when that would have been.
    pub(crate) fn rotate(&self) -> Instant {
        let until = self.held().until;
        self.turn(until, NOW_MS).unwrap();
        until
    }
}

fn epochs(keyring: &Keyring, kem: Kem, now: Instant) -> Vec<Digest> {
    keyring.keys(kem, None, now).iter().map(|key| key.epoch).collect()
}

#[test]
fn keys_are_published_for_their_time_and_not_longer() {
    let keyring = keyring(10);
    let (first, configs, until) = (keyring.published(), keyring.key_configs(), keyring.held().until);
    assert_eq!(keyring.turn(until - MOMENT, NOW_MS).unwrap(), until);
    assert_eq!(keyring.published(), first);
    keyring.turn(until, NOW_MS).unwrap();
    assert_ne!(keyring.published(), first);
    assert_ne!(keyring.key_configs(), configs);
    assert_eq!(Digest::of(&[&keyring.keyset()]), keyring.published());
}

#[test]
fn the_time_differs_by_a_tenth_at_most_and_from_one_to_the_next() {
    let times: Vec<Duration> = (0..200).map(|_| PERIODS.jittered()).collect();
    for time in &times {
        assert!((PERIODS.published.mul_f64(0.9)..=PERIODS.published.mul_f64(1.1)).contains(time), "{time:?}");
    }
    let (shortest, longest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*longest - *shortest > HOUR / 2);
}

/// Guards against a keyset that ends before its last key does: a client would have to refuse what still opens.
#[test]
fn a_keyset_covers_the_time_of_all_its_keys() {
    let keyring = keyring(10);
    keyring.rotate();
    let keyset = Keyset::from_bytes(&keyring.held().published.keyset).unwrap();
    let longest = PERIODS.published.mul_f64(1.1) + PERIODS.x25519_overlap;
    assert!(keyset.not_after >= NOW_MS + longest.as_millis() as u64);
    assert!(keyset.not_before < NOW_MS, "for verifiers whose clocks are behind");
}

#[test]
fn an_earlier_key_is_accepted_until_its_own_time_is_over() {
    let keyring = keyring(10);
    let first = keyring.published();
    let rotated = keyring.rotate();
    let second = keyring.published();
    for (kem, overlap) in [(Kem::X25519, 24 * HOUR), (Kem::XWing, 10 * MINUTE)] {
        assert_eq!(epochs(&keyring, kem, rotated + overlap - MOMENT), [second, first], "the newest first");
        assert_eq!(epochs(&keyring, kem, rotated + overlap), [second]);
        assert_eq!(keyring.keys(kem, Some(first), rotated + overlap - MOMENT).len(), 1);
        assert!(keyring.keys(kem, Some(first), rotated + overlap).is_empty());
        assert_eq!(keyring.keys(kem, Some(second), rotated + overlap).len(), 1);
    }
    assert!(keyring.is_live(first, rotated + 24 * HOUR - MOMENT));
    assert!(!keyring.is_live(first, rotated + 24 * HOUR));
    assert!(!keyring.is_live(Digest([0; 32]), rotated));
}

#[test]
fn keys_of_many_rotations_are_tried_newest_first() {
    let keyring = keyring(10);
    let mut made = vec![keyring.published()];
    let mut now = Instant::now();
    for _ in 0..3 {
        now = keyring.rotate();
        made.insert(0, keyring.published());
    }
    assert_eq!(epochs(&keyring, Kem::X25519, now), made);
    assert_eq!(epochs(&keyring, Kem::XWing, now), made[..2], "the others' time is over");
}

#[test]
fn a_key_whose_time_is_over_is_gone_from_memory_with_what_it_admitted() {
    let keyring = keyring(10);
    let now = Instant::now();
    let weak = |kem| Arc::downgrade(&keyring.keys(kem, None, now)[0]);
    let (x25519, xwing): (Weak<RequestKey>, Weak<RequestKey>) = (weak(Kem::X25519), weak(Kem::XWing));
    let rotated = keyring.rotate();
    assert_eq!(keyring.turn(rotated, NOW_MS).unwrap(), rotated + 10 * MINUTE, "it looks again in time");
    keyring.turn(rotated + 10 * MINUTE, NOW_MS).unwrap();
    assert_eq!((xwing.strong_count(), x25519.strong_count()), (0, 1));
    keyring.turn(rotated + 24 * HOUR, NOW_MS).unwrap();
    assert_eq!(x25519.strong_count(), 0);
}

#[test]
fn a_rotation_forgets_nothing_that_was_admitted() {
    let keyring = keyring(10);
    let admit = |now| {
        let first = keyring.keys(Kem::X25519, None, now).pop().unwrap();
        keyring.admit(&first, &[1; 32])
    };
    assert_eq!(admit(Instant::now()), Admitted::Once);
    let rotated = keyring.rotate();
    assert_eq!(admit(rotated), Admitted::Before);
    assert_eq!(admit(rotated + 24 * HOUR - MOMENT), Admitted::Before);
}

#[test]
fn a_key_that_is_full_makes_way_for_new_ones_at_once() {
    let keyring = keyring(2);
    let first = keyring.published();
    let now = Instant::now();
    let key = keyring.keys(Kem::X25519, None, now).remove(0);
    assert_eq!(keyring.admit(&key, &[1; 32]), Admitted::Once);
    keyring.turn(now, NOW_MS).unwrap();
    assert_eq!(keyring.published(), first, "there is room for one more");
    assert_eq!(keyring.admit(&key, &[2; 32]), Admitted::Once);
    assert_eq!(keyring.admit(&key, &[3; 32]), Admitted::Never);
    keyring.turn(now, NOW_MS).unwrap();
    let second = keyring.published();
    assert_ne!(second, first);
    assert_eq!(epochs(&keyring, Kem::X25519, now), [second], "the full key opens nothing any more");
    assert_eq!(epochs(&keyring, Kem::XWing, now), [second, first], "the other has room");
}

#[tokio::test(start_paused = true)]
async fn the_task_rotates_by_the_clock_early_where_a_key_is_full_and_ends_when_told() {
    let keyring = Arc::new(keyring(1));
    let (stop, (fatal, _failures)) = (CancellationToken::new(), mpsc::channel(1));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Arc::clone(&keyring).run(stop.clone(), fatal));
    let first = keyring.published();
    tokio::time::sleep(5 * HOUR).await;
    assert_eq!(keyring.published(), first);
    tokio::time::sleep(2 * HOUR).await;
    let second = keyring.published();
    assert_ne!(second, first);
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(keyring.held().earlier.len(), 1, "X-Wing's time is over, and nobody asked");

    let newest = keyring.keys(Kem::XWing, Some(second), Instant::now()).remove(0);
    keyring.admit(&newest, &[1; 1120]);
    tokio::time::sleep(MOMENT).await;
    assert_ne!(keyring.published(), second);
    stop.cancel();
    tokio::time::timeout(MOMENT, tasks.join_next()).await.expect("it ends").unwrap().unwrap();
}
