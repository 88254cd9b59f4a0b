//! The backends of each model: what the gateway lists, and the verdict on each. A verdict is kept by its keyset's
//! digest and only where a verification with a nonce of our own put it there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cocoon_attestation::{Policy, Tee};
use cocoon_openapi::ATTESTATIONS_PATH;
use cocoon_receipts::Digest;
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::error::Failure;
use crate::gateway::GatewayError;
use crate::in_force::NoPolicy;
use crate::verify::{Verified, Verifier, VerifyError};

/// Backends of one model that are looked at; a gateway may list more.
const MAX_BACKENDS: usize = 64;
/// Models that are kept in mind.
const MAX_MODELS: usize = 64;
const MAX_LIST: usize = 256 << 10;
/// How long a list is used without asking again.
const LIST_FRESH_MS: u64 = 60 * 1000;
/// The same where no backend of it was verified.
const BARREN_LIST_FRESH_MS: u64 = 1000;
/// Documents that are fetched at once: a gateway has few places for callers that it does not know.
const AT_ONCE: usize = 2;

/// How long a gateway is given, in steps, to find out that a backend has new keys.
const RENEWAL: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_secs(1),
];

/// Why there is no backend to seal to.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("the gateway does not say which backends it has")]
    List(#[from] GatewayError),
    #[error("the gateway lists no backend of this model")]
    NoneListed,
    #[error("{0}")]
    NoneVerified(Arc<VerifyError>),
}

impl FleetError {
    /// As the caller is told it.
    #[must_use]
    pub fn for_caller(self, model: &str) -> Failure {
        match self {
            Self::List(error) => error.into(),
            Self::NoneListed => Failure::model_not_found(model),
            Self::NoneVerified(error) => Failure::not_verified(&error.to_string(), error.may_pass()),
        }
    }

    /// Whether it may be otherwise in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::List(_) => false,
            Self::NoneListed => true,
            Self::NoneVerified(error) => error.may_pass(),
        }
    }
}

/// What became of a listed backend.
#[derive(Debug, Clone)]
pub enum Standing {
    Verified(Arc<Verified>),
    Refused(Arc<VerifyError>),
}

/// What is known of one model, for people to look at.
#[derive(Debug, Clone)]
pub struct Overview {
    pub model: String,
    pub backends: BTreeMap<Digest, Standing>,
    /// There were more verified backends before, and now there is one.
    pub shrunk_to_one: bool,
}

#[derive(Debug, Deserialize)]
struct List {
    data: Vec<Listed>,
}

/// The list says more; only what is attested is believed.
#[derive(Debug, Deserialize)]
struct Listed {
    keyset: Digest,
    model: String,
}

#[derive(Debug, Default)]
struct Known {
    /// None where the list must be asked for.
    listed_at: Option<u64>,
    backends: BTreeMap<Digest, Standing>,
    most_verified: usize,
    shrunk_to_one: bool,
}

#[derive(Debug, Default)]
struct Slot {
    known: Mutex<Known>,
    /// One refreshes, those that come meanwhile wait for what it finds.
    refreshing: tokio::sync::Mutex<()>,
}

impl Slot {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All models that were asked for.
#[derive(Debug)]
pub struct Fleet {
    pub verifier: Verifier,
    /// With the time of their last use.
    slots: Mutex<HashMap<String, (Arc<Slot>, u64)>>,
}

impl Known {
    fn verified(&self, now: u64) -> Vec<Arc<Verified>> {
        self.backends
            .values()
            .filter_map(|standing| match standing {
                Standing::Verified(verified) if now < verified.valid_until => Some(Arc::clone(verified)),
                _ => None,
            })
            .collect()
    }

    /// What may be used without asking the gateway again.
    fn usable(&self, now: u64) -> Option<Result<Vec<Arc<Verified>>, FleetError>> {
        let age = now.checked_sub(self.listed_at?)?;
        let verified = self.verified(now);
        if verified.is_empty() {
            let refused = self.backends.values().find_map(|standing| match standing {
                Standing::Refused(error) => Some(Arc::clone(error)),
                Standing::Verified(_) => None,
            })?;
            return (age < BARREN_LIST_FRESH_MS).then_some(Err(FleetError::NoneVerified(refused)));
        }
        // One verdict that ran out is renewed with the rest of the list, not left out of it.
        let all_valid = self.backends.values().all(|standing| match standing {
            Standing::Verified(verified) => now < verified.valid_until,
            Standing::Refused(_) => true,
        });
        (age < LIST_FRESH_MS && all_valid).then_some(Ok(verified))
    }

    fn take(&mut self, model: &str, backends: BTreeMap<Digest, Standing>, now: u64) {
        self.backends = backends;
        self.listed_at = Some(now);
        let verified = self.verified(now).len();
        self.most_verified = self.most_verified.max(verified);
        let shrunk = verified == 1 && self.most_verified > 1;
        if shrunk && !self.shrunk_to_one {
            tracing::warn!(
                model,
                before = self.most_verified,
                "only one verified backend is left: a gateway can show one user one backend to know whose requests \
                 it gets"
            );
        }
        self.shrunk_to_one = shrunk;
    }
}

impl Fleet {
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, slots: Mutex::default() }
    }

    /// From now on backends are judged under `policy`; verdicts under the one before are forgotten.
    pub fn put_in_force(&self, policy: Result<Arc<Policy>, String>) {
        self.verifier.policy.replace(policy.map_err(|why| NoPolicy(why.into())));
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The verified backends of `model`, at least one.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn of(&self, model: &str) -> Result<Vec<Arc<Verified>>, FleetError> {
        let slot = self.slot(model);
        let now = self.verifier.clock.now_ms();
        if let Some(usable) = slot.known().usable(now) {
            return usable;
        }
        let _refreshing = slot.refreshing.lock().await;
        let now = self.verifier.clock.now_ms();
        if let Some(usable) = slot.known().usable(now) {
            return usable;
        }
        let listed = match self.list(Some(model)).await {
            Ok(listed) => listed.get(model).cloned().unwrap_or_default(),
            Err(error) => return Err(error.into()),
        };
        self.judge(model, &slot, listed).await
    }

    /// The same after keys were found to have changed, of which the gateway learns by the same refusal: what it lists
    /// may be old for a moment.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn renewed(&self, model: &str) -> Result<Vec<Arc<Verified>>, FleetError> {
        for pause in RENEWAL {
            match self.of(model).await {
                Err(error) if error.may_pass() => tokio::time::sleep(pause).await,
                outcome => return outcome,
            }
            self.slot(model).known().listed_at = None;
        }
        self.of(model).await
    }

    /// A backend no longer knows the keys that were sealed to: its verdict is worth nothing, and the list is old.
    pub fn distrust(&self, model: &str, keyset: Digest) {
        let slot = self.slot(model);
        let mut known = slot.known();
        known.backends.remove(&keyset);
        known.listed_at = None;
    }

    /// Looks at every backend that the gateway lists, of every model or of one, and says what is known of all.
    ///
    /// # Errors
    /// [`FleetError::List`], [`FleetError::NoneListed`].
    pub async fn survey(&self, model: Option<&str>) -> Result<Vec<Overview>, FleetError> {
        let listed = self.list(model).await?;
        if listed.is_empty() {
            return Err(FleetError::NoneListed);
        }
        for (model, digests) in listed.iter().take(MAX_MODELS) {
            let slot = self.slot(model);
            let _refreshing = slot.refreshing.lock().await;
            // Refusals are in the overview.
            drop(self.judge(model, &slot, digests.clone()).await);
        }
        Ok(self.overview())
    }

    /// What is known now, without asking anybody.
    #[must_use]
    pub fn overview(&self) -> Vec<Overview> {
        let slots: BTreeMap<String, Arc<Slot>> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().map(|(model, (slot, _))| (model.clone(), Arc::clone(slot))).collect()
        };
        let overview = |(model, slot): (String, Arc<Slot>)| {
            let known = slot.known();
            Overview { model, backends: known.backends.clone(), shrunk_to_one: known.shrunk_to_one }
        };
        slots.into_iter().map(overview).filter(|model| !model.backends.is_empty()).collect()
    }

    /// Keeps the verdicts that are still good and verifies the rest.
    async fn judge(
        &self,
        model: &str,
        slot: &Slot,
        listed: Vec<Digest>,
    ) -> Result<Vec<Arc<Verified>>, FleetError> {
        if listed.is_empty() {
            self.forget(model);
            return Err(FleetError::NoneListed);
        }
        let now = self.verifier.clock.now_ms();
        let known: HashMap<Digest, Arc<Verified>> =
            slot.known().verified(now).into_iter().map(|verified| (verified.digest(), verified)).collect();
        let backends = stream::iter(listed.into_iter().map(|keyset| {
            let cached = known.get(&keyset).cloned();
            async move {
                let standing = match cached {
                    Some(verified) => Standing::Verified(verified),
                    None => self.first_look(keyset, model).await,
                };
                (keyset, standing)
            }
        }))
        .buffer_unordered(AT_ONCE)
        .collect::<BTreeMap<_, _>>()
        .await;
        let now = self.verifier.clock.now_ms();
        let mut known = slot.known();
        known.take(model, backends, now);
        let verified = known.verified(now);
        if !verified.is_empty() {
            return Ok(verified);
        }
        known.usable(now).unwrap_or(Err(FleetError::NoneListed))
    }

    async fn first_look(&self, keyset: Digest, model: &str) -> Standing {
        match self.verifier.verify(keyset, model).await {
            Ok(verified) => {
                let tee = verified.tee.as_str();
                if verified.tee == Tee::Dev {
                    tracing::warn!(
                        %keyset, model, tee,
                        "backend verified on DEVELOPMENT evidence: no hardware protects what is sent to it"
                    );
                } else {
                    tracing::info!(%keyset, model, tee, "backend verified");
                }
                Standing::Verified(Arc::new(verified))
            }
            Err(reason) => {
                tracing::warn!(%keyset, model, %reason, "backend is not used");
                Standing::Refused(Arc::new(reason))
            }
        }
    }

    /// The digests that the gateway lists, by model.
    async fn list(&self, model: Option<&str>) -> Result<BTreeMap<String, Vec<Digest>>, GatewayError> {
        let path = match model {
            Some(model) => format!("{ATTESTATIONS_PATH}?model={}", encoded(model)),
            None => ATTESTATIONS_PATH.to_owned(),
        };
        let list: List = self.verifier.gateway.get_json(&path, None, MAX_LIST).await?;
        let mut listed: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
        for entry in list.data {
            if model.is_some_and(|model| model != entry.model) {
                continue;
            }
            let digests = listed.entry(entry.model).or_default();
            if digests.len() < MAX_BACKENDS && !digests.contains(&entry.keyset) {
                digests.push(entry.keyset);
            }
        }
        Ok(listed)
    }

    fn slot(&self, model: &str) -> Arc<Slot> {
        let now = self.verifier.clock.now_ms();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(model) && slots.len() >= MAX_MODELS {
            let oldest = slots.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                slots.remove(&oldest);
            }
        }
        let (slot, used) = slots.entry(model.to_owned()).or_default();
        *used = now;
        Arc::clone(slot)
    }

    /// A name that nothing is listed under is not kept in mind.
    fn forget(&self, model: &str) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }
}

/// A model's name as part of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_cannot_add_to_the_query() {
        assert_eq!(encoded("org/model-1.5_x"), "org%2Fmodel-1.5_x");
        assert_eq!(encoded("a&b=c#d e\u{e9}"), "a%26b%3Dc%23d%20e%C3%A9");
    }
}
