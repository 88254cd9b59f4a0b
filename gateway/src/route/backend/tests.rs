use super::super::tests::{attested, checked, fleet};
use super::super::{Fleet, Named};
use super::*;
use crate::attest::AttestError;

const MINUTE: Duration = Duration::from_secs(60);

/// A verdict for so long, of a keyset that has no end.
fn good_for(left: Duration) -> Attested {
    let mut attested = attested("m", 1);
    attested.verdict.verified_at = now_ms();
    attested.verdict.valid_until = now_ms() + u64::try_from(left.as_millis()).unwrap();
    attested
}

/// Every way to a backend: by model, by rank, by keyset, by list, and for how much fits.
async fn ways(fleet: &Fleet, keyset: Digest) -> [bool; 5] {
    [
        fleet.choose("m", &[]).is_some(),
        !fleet.ranked("m").is_empty(),
        matches!(fleet.with_keyset(keyset, now_ms(), Duration::ZERO).await, Named::Found(_)),
        fleet.attested().next().is_some(),
        fleet.context_length("m", Duration::ZERO).await.is_some(),
    ]
}

#[tokio::test]
async fn no_way_leads_to_a_backend_whose_verdict_has_run_out() {
    let fleet = fleet(&[None]);
    let backend = &fleet.backends()[0];
    let verdict = good_for(MINUTE);
    let keyset = verdict.digest();
    backend.record(checked(Ok(verdict)));
    assert_eq!(ways(&fleet, keyset).await, [true; 5]);
    // Whoever should have renewed it is late.
    backend.renew_within(Duration::ZERO);
    assert_eq!(ways(&fleet, keyset).await, [false; 5]);
    backend.record(checked(Ok(good_for(MINUTE))));
    assert!(fleet.choose("m", &[]).is_some(), "it was given again");
}

#[tokio::test]
async fn the_wall_clock_ends_a_verdict_too() {
    let fleet = fleet(&[None]);
    let mut verdict = good_for(MINUTE);
    let keyset = verdict.digest();
    // The machine slept since.
    verdict.verdict.valid_until = now_ms() - 1;
    fleet.backends()[0].record(Checked { at: now_ms() - 60_000, ..checked(Ok(verdict)) });
    assert!(fleet.backends()[0].runs_out().unwrap() > Instant::now(), "the other clock stood still");
    assert_eq!(ways(&fleet, keyset).await, [false; 5]);
}

#[test]
fn a_verdict_runs_out_when_it_says_and_can_be_shortened_but_not_lengthened() {
    let fleet = fleet(&[None]);
    let backend = &fleet.backends()[0];
    let (verdict, at, before) = (good_for(MINUTE), now_ms(), Instant::now());
    let left = Duration::from_millis(verdict.verdict.valid_until - at);
    backend.record(Checked { at, ..checked(Ok(verdict)) });
    let first = backend.runs_out().unwrap();
    assert!(before + left <= first && first <= Instant::now() + left);
    backend.renew_within(10 * MINUTE);
    assert_eq!(backend.runs_out(), Some(first));
    backend.renew_within(MINUTE / 6);
    let shortened = backend.runs_out().unwrap();
    assert!(shortened < first && shortened <= Instant::now() + MINUTE / 6);
    backend.renew_within(MINUTE);
    assert_eq!(backend.runs_out(), Some(shortened));
}

#[tokio::test]
async fn a_refusal_drops_a_backend_at_once_and_what_runs_there_goes_on() {
    let refusals = [
        AttestError::Refused(cocoon_attestation::Refusal { findings: Default::default() }),
        AttestError::NoDocument("status 404".into()),
        AttestError::Keys,
        AttestError::Unreachable("refused".into()),
    ];
    for refusal in refusals {
        let fleet = fleet(&[Some(("m", 1)), Some(("m", 1))]);
        let backend = &fleet.backends()[0];
        let running = Chosen::new(Arc::clone(backend), backend.attested().unwrap());
        backend.record(checked(Err(refusal)));
        assert!(backend.attested().is_none());
        for _ in 0..20 {
            assert_eq!(fleet.choose("m", &[]).unwrap().backend.authority, "127.0.0.1:1");
        }
        assert_eq!(backend.load(), 1);
        assert_eq!(running.attested.model(), "m");
    }
}

#[tokio::test]
async fn what_says_nothing_against_a_backend_leaves_it_its_verdict() {
    let ours = cocoon_ledger::LedgerError::Unavailable("down".into());
    for passing in [AttestError::Unanswered("status 503".into()), AttestError::Randomness, ours.into()] {
        let fleet = fleet(&[Some(("m", 1))]);
        let backend = &fleet.backends()[0];
        backend.record(checked(Err(passing)));
        assert!(backend.attested().is_some());
        assert!(!backend.is_refused());
    }
}
