//! Where a request goes whose body the gateway cannot open: to the backend whose keyset it names, or to the one whose
//! keys clients of the model are given.

use std::sync::Arc;
use std::time::Duration;

use cocoon_receipts::Digest;
use http::uri::Authority;

use super::{Attested, Backend, Chosen, Fleet};

/// What became of a keyset that a request named.
#[derive(Debug)]
pub enum Named {
    Found(Chosen),
    /// Its backend is known, and cannot be used now.
    Away,
    /// No backend has it, or has it any more, or has it and is refused: other keys are to be fetched.
    Unknown,
}

/// A backend's weight for `model`: the highest is the model's designated backend. The same at every gateway and
/// whatever other backends there are, so that one more or less moves only the models that are its own.
fn weight(model: &str, authority: &Authority) -> Digest {
    Digest::of(&[model.as_bytes(), &[0], authority.as_str().as_bytes()])
}

impl Fleet {
    /// The attested backends that serve `model`, the designated one first.
    #[must_use]
    pub fn ranked(&self, model: &str) -> Vec<(Arc<Backend>, Arc<Attested>)> {
        let serving =
            self.backends.iter().filter_map(|backend| Some((Arc::clone(backend), backend.attested()?)));
        let mut ranked: Vec<_> = serving.filter(|(_, attested)| attested.model() == model).collect();
        ranked.sort_by_cached_key(|(backend, _)| std::cmp::Reverse(weight(model, &backend.authority)));
        ranked
    }

    /// The first of [`Fleet::ranked`] that is not in `tried`. Waits up to `patience` for one to be verified, if one is
    /// left to wait for.
    pub async fn designated(&self, model: &str, tried: &[Authority], patience: Duration) -> Option<Chosen> {
        self.wait_for(tried, patience, || {
            let mut ranked = self.ranked(model).into_iter();
            let (backend, attested) = ranked.find(|(backend, _)| !tried.contains(&backend.authority))?;
            Some(Chosen::new(backend, attested))
        })
        .await
    }

    /// The backend that has, or in this boot had, the keyset `digest`. One that nobody has may be newer than the last
    /// verification: then all are verified again, which takes `patience` at most.
    pub async fn with_keyset(&self, digest: Digest, now_ms: u64, patience: Duration) -> Named {
        if let Some(chosen) = self.holder(digest, now_ms) {
            return Named::Found(chosen);
        }
        // It will not be sent to under any keys, and is asked again anyway.
        let mut refused = self.backends.iter().filter(|backend| backend.is_refused());
        if refused.any(|backend| has(backend, digest, now_ms).is_some()) {
            return Named::Unknown;
        }
        let answered_at: Vec<u64> = self.backends.iter().map(|backend| backend.ask_again()).collect();
        let all_answered = || {
            let mut checks = self.backends.iter().zip(&answered_at);
            checks.all(|(backend, answered_at)| backend.known().checks >= *answered_at)
        };
        let waited = self.wait_for(&[], patience, || match self.holder(digest, now_ms) {
            Some(chosen) => Some(Some(chosen)),
            None => all_answered().then_some(None),
        });
        match waited.await.flatten() {
            Some(chosen) => Named::Found(chosen),
            None if self.backends.iter().any(|backend| has(backend, digest, now_ms).is_some()) => Named::Away,
            None => Named::Unknown,
        }
    }

    /// A backend without a verdict is not used, whatever it had before.
    fn holder(&self, digest: Digest, now_ms: u64) -> Option<Chosen> {
        let mut usable = self.backends.iter().filter(|backend| backend.attested().is_some());
        let found = usable.find_map(|backend| Some((backend, has(backend, digest, now_ms)?)));
        found.map(|(backend, attested)| Chosen::new(Arc::clone(backend), attested))
    }
}

fn has(backend: &Backend, digest: Digest, now_ms: u64) -> Option<Arc<Attested>> {
    let known = backend.known();
    let mut keysets = known.keysets();
    keysets
        .find(|attested| attested.digest() == digest && attested.verdict.keyset.not_after > now_ms)
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{attested, boot, checked, fleet, gone, of_boot};
    use super::*;
    use crate::attest::AttestError;
    use crate::clock::now_ms;

    const SHORT: Duration = Duration::from_millis(20);

    fn digest_of(fleet: &Fleet, at: usize) -> Digest {
        fleet.backends()[at].attested().unwrap().digest()
    }

    #[test]
    fn the_designated_backend_stays_as_others_come_and_go() {
        let all = fleet(&[Some(("m", 1)); 5]);
        let order = |fleet: &Fleet| -> Vec<Authority> {
            fleet.ranked("m").into_iter().map(|(backend, _)| backend.authority.clone()).collect()
        };
        let before = order(&all);
        assert_eq!(before.len(), 5);
        assert_eq!(order(&all), before, "the same every time");
        let last = all.backends().iter().find(|backend| backend.authority == before[4]).unwrap();
        last.record(gone());
        assert_eq!(order(&all), before[..4], "one less moves nothing else");
        let first = all.backends().iter().find(|backend| backend.authority == before[0]).unwrap();
        first.record(gone());
        assert_eq!(order(&all), before[1..4]);
        first.record(checked(Ok(attested("other", 1))));
        assert_eq!(order(&all), before[1..4], "it serves another model now");
    }

    #[test]
    fn models_are_spread_over_the_backends() {
        let authorities: Vec<Authority> =
            (0..4).map(|at| format!("10.0.0.{at}:80").parse().unwrap()).collect();
        let mut counts = [0; 4];
        for model in 0..1000 {
            let model = format!("model-{model}");
            let best = (0..4).max_by_key(|at| weight(&model, &authorities[*at])).unwrap();
            counts[best] += 1;
        }
        assert!(counts.iter().all(|count| (180..320).contains(count)), "{counts:?}");
    }

    #[tokio::test]
    async fn a_named_keyset_goes_to_its_backend_and_no_other() {
        let fleet = fleet(&[Some(("m", 1)), Some(("m", 1)), None]);
        for at in 0..2 {
            let named = fleet.with_keyset(digest_of(&fleet, at), now_ms(), SHORT).await;
            let Named::Found(chosen) = named else { panic!("{named:?}") };
            assert_eq!(chosen.backend.authority, fleet.backends()[at].authority);
            assert_eq!(chosen.attested.digest(), digest_of(&fleet, at));
        }
        assert!(matches!(fleet.with_keyset(Digest([7; 32]), now_ms(), SHORT).await, Named::Unknown));
    }

    #[tokio::test]
    async fn an_earlier_keyset_of_the_same_boot_is_still_found_and_one_of_another_is_not() {
        let fleet = fleet(&[None]);
        let backend = &fleet.backends()[0];
        let (first_boot, now) = (boot(), now_ms());
        let hours = |hours: u64| now + hours * 3_600_000;
        backend.record(checked(Ok(of_boot(&first_boot, "m", 1, hours(1)))));
        let old = digest_of(&fleet, 0);
        backend.record(checked(Ok(of_boot(&first_boot, "m", 1, hours(2)))));
        let found = fleet.with_keyset(old, now, SHORT).await;
        assert!(matches!(&found, Named::Found(chosen) if chosen.attested.digest() == old), "{found:?}");
        assert!(matches!(fleet.with_keyset(old, hours(1), SHORT).await, Named::Unknown), "its time is over");

        backend.record(gone());
        assert!(matches!(fleet.with_keyset(old, now, SHORT).await, Named::Away), "it has no verdict now");
        let current = of_boot(&first_boot, "m", 1, hours(3));
        let digest = current.digest();
        backend.record(checked(Ok(current)));
        assert!(matches!(fleet.with_keyset(old, now, SHORT).await, Named::Found(_)), "it is back");
        backend.suspect(digest);
        backend.record(checked(Ok(attested("m", 1))));
        for gone in [old, digest] {
            assert!(matches!(fleet.with_keyset(gone, now, SHORT).await, Named::Unknown), "its keys are gone");
        }
    }

    #[tokio::test]
    async fn keysets_of_a_backend_that_is_refused_are_unknown_at_once() {
        let fleet = fleet(&[None]);
        let backend = &fleet.backends()[0];
        let boot = boot();
        backend.record(checked(Ok(of_boot(&boot, "m", 1, u64::MAX))));
        let digest = digest_of(&fleet, 0);
        backend.record(checked(Err(AttestError::Keys)));
        let patience = Duration::from_secs(600);
        let named = tokio::time::timeout(patience / 10, fleet.with_keyset(digest, now_ms(), patience)).await;
        assert!(matches!(named, Ok(Named::Unknown)), "{named:?}");
        backend.record(checked(Ok(of_boot(&boot, "m", 1, u64::MAX))));
        assert!(
            matches!(fleet.with_keyset(digest, now_ms(), patience).await, Named::Found(_)),
            "it is good again"
        );
    }

    #[tokio::test]
    async fn keysets_that_another_policy_accepted_are_forgotten() {
        let fleet = fleet(&[None]);
        let backend = &fleet.backends()[0];
        let boot = boot();
        backend.record(checked(Ok(of_boot(&boot, "m", 1, u64::MAX))));
        let old = digest_of(&fleet, 0);
        let new = Attested { policy: Digest([1; 32]), ..of_boot(&boot, "m", 1, u64::MAX) };
        backend.record(checked(Ok(new)));
        assert!(matches!(fleet.with_keyset(old, now_ms(), SHORT).await, Named::Unknown));
    }

    #[tokio::test]
    async fn a_keyset_that_is_newer_than_the_last_check_is_waited_for() {
        let fleet = fleet(&[Some(("m", 1))]);
        let backend = Arc::clone(&fleet.backends()[0]);
        let new = attested("m", 1);
        let digest = new.digest();
        let patience = Duration::from_secs(60);
        let (named, ()) = tokio::join!(fleet.with_keyset(digest, now_ms(), patience), async {
            backend.suspicion().await;
            backend.record(checked(Ok(new)));
        });
        assert!(matches!(named, Named::Found(_)), "{named:?}");
        // Asked just now, and answered: nobody waits for a second answer.
        let again =
            tokio::time::timeout(patience / 10, fleet.with_keyset(Digest([7; 32]), now_ms(), patience));
        assert!(matches!(again.await, Ok(Named::Unknown)));
    }
}
