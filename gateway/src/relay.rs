//! A sealed request: authenticated, admitted and routed by its headers alone; its bytes pass untouched, both ways.
//!
//! What the gateway seals itself it can seal again. This it cannot, and a ciphertext that a backend may have admitted is
//! never sent twice: another backend is asked only after a refusal in the clear that says nothing was opened, or where
//! no connection could be made.

mod answer;
mod body;
mod wanted;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use cocoon_ledger::ReleaseReason;
use cocoon_openapi::ApiError;
use cocoon_receipts::{AccountTagKey, RequestId};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::uri::Authority;
use tokio::time::Instant;

use crate::accept::{Gateway, InFlight};
use crate::admit::{self, Admitted, Asker, What};
use crate::authenticate::{self, ApiKey};
use crate::body::BODY_TIMEOUT;
use crate::clock::now_ms;
use crate::error::Failure;
use crate::hop::{Answered, Envelope, Errand, HopBody, MAX_ATTEMPTS, Outcome, PATIENCE};
use crate::route::{Chosen, Named};
use cocoon_openapi::Endpoint;
use cocoon_openapi::estimate::{Sealed, estimate_sealed};

pub use body::{Attempt, BodyError, Source};
pub use wanted::{Wanted, check_is_post_with_body, model, queried};

/// Relays one request.
///
/// # Errors
/// Every [`Failure`] before the answer begins; what fails later ends it without an end.
pub async fn relay(
    endpoint: Endpoint,
    gateway: Arc<Gateway>,
    request: RequestId,
    slot: Arc<InFlight>,
    key: ApiKey,
    parts: Parts,
    body: Body,
) -> Result<Response, Failure> {
    let deadline = Instant::now() + gateway.config.request_deadline();
    let wanted = Wanted::read(&parts, &gateway.config)?;
    let limit = gateway.config.body_limit;
    if wanted.length.is_some_and(|length| length > limit as u64) {
        return Err(Failure::body_too_large(limit));
    }
    let asker = Asker { request, key, slot: &slot };
    let opened = open(&gateway, endpoint, asker, &parts, &wanted, body);
    let opened = tokio::time::timeout_at(deadline, opened).await.unwrap_or_else(|_| Err(Failure::deadline()));
    let (answered, chosen) = opened?;
    answer::respond(gateway, request, deadline, slot, *answered, chosen)
}

/// Admits the request and sends it until a backend has opened it.
async fn open(
    gateway: &Gateway,
    endpoint: Endpoint,
    asker: Asker<'_>,
    parts: &Parts,
    wanted: &Wanted,
    body: Body,
) -> Result<(Box<Answered>, Chosen), Failure> {
    let name = gateway.config.aliases.get(&wanted.model).unwrap_or(&wanted.model);
    let price = gateway.price_for(&asker.key, name).ok_or_else(|| Failure::model_not_found(&wanted.model))?;
    let named = match wanted.keyset {
        None => None,
        Some(keyset) => match gateway.fleet.with_keyset(keyset, now_ms(), PATIENCE).await {
            Named::Found(chosen) if chosen.attested.model() == name => Some(chosen),
            Named::Found(_) => return Err(Failure::keyset_of_another_model()),
            Named::Away => return Err(Failure::no_backend()),
            Named::Unknown => return Err(Failure::key_config()),
        },
    };
    let context = gateway.fleet.context_length(name, PATIENCE).await.ok_or_else(Failure::no_backend)?;
    let sealed = Sealed { endpoint, length: wanted.length, ceiling: wanted.ceiling };
    let limit = gateway.config.body_limit as u64;
    let bound = estimate_sealed(&price, sealed, limit, context).ok_or_else(Failure::internal)?;
    let lease = gateway.config.lease();
    let what = What { endpoint, model: name, bound };
    let admitted = admit::admit(gateway, asker, what).await?;
    let tag_key = AccountTagKey::of_api_key(authenticate::bearer(&parts.headers)?);
    let errand = Errand {
        path: endpoint.path(),
        model: name,
        price,
        tag_key: &tag_key,
        content_type: parts.headers.get(CONTENT_TYPE),
        accept: parts.headers.get(ACCEPT),
        lease,
    };
    let source = Source::new(body, limit, BODY_TIMEOUT);
    Flight { admitted: Some(admitted), source }.send(gateway, &errand, wanted, named).await
}

/// A request on its way. Dropped before a backend was given its whole body, it gives the hold back: nothing runs before
/// that.
struct Flight {
    /// None once the hold is another's matter.
    admitted: Option<Admitted>,
    source: Source,
}

/// Why no backend has opened the request so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotOpened {
    /// Its key is not known there.
    Key,
    /// No place was free, or nobody was there.
    Away,
}

impl Flight {
    async fn send(
        mut self,
        gateway: &Gateway,
        errand: &Errand<'_>,
        wanted: &Wanted,
        mut named: Option<Chosen>,
    ) -> Result<(Box<Answered>, Chosen), Failure> {
        let names_keyset = named.is_some();
        let mut tried: Vec<Authority> = Vec::new();
        let mut causes = Vec::new();
        let mut stale = Vec::new();
        for number in 1..=MAX_ATTEMPTS {
            let chosen = match named.take() {
                Some(chosen) => Some(chosen),
                // A keyset has one backend.
                None if names_keyset => None,
                None => gateway.fleet.designated(errand.model, &tried, PATIENCE).await,
            };
            let Some((chosen, body)) = chosen.zip(self.source.attempt()) else { break };
            let envelope = Envelope {
                enc: &wanted.enc,
                enc_header: wanted.enc_header.clone(),
                names_keyset,
                body: HopBody::Relayed(body),
            };
            let admitted = self.admitted.as_mut().ok_or_else(Failure::internal)?;
            let outcome = gateway.sender.attempt(admitted, number, &chosen, errand, envelope).await?;
            // A body that did not come is the cause of whatever the backend made of it.
            if let Some(error) = self.source.failure() {
                return Err(self.end(ReleaseReason::ClientGone, of_body(error, gateway)).await);
            }
            match outcome {
                Outcome::Answered(answered) => {
                    self.admitted = None;
                    return Ok((answered, chosen));
                }
                Outcome::Refused(StatusCode::UNPROCESSABLE_ENTITY) => {
                    // Perhaps it was started again; perhaps the client seals to whatever it likes, so it stays in use.
                    stale.push((Arc::clone(&chosen.backend), chosen.backend.ask_again()));
                    causes.push(NotOpened::Key);
                }
                Outcome::Refused(StatusCode::SERVICE_UNAVAILABLE) | Outcome::Unreachable => {
                    causes.push(NotOpened::Away);
                }
                Outcome::Refused(status) => {
                    return Err(self.end(ReleaseReason::Rejected, refused(status)).await);
                }
                // A backend acts on a whole body only.
                Outcome::Broken if !self.source.is_whole() => return Err(Failure::backend_refused()),
                Outcome::Broken => return Err(Failure::backend_failed()),
            }
            tried.push(chosen.backend.authority.clone());
        }
        // Who is told to fetch the keys again must not be given the same ones.
        let checked = stale.iter().map(|(backend, answered_at)| backend.checked(*answered_at, PATIENCE));
        futures_util::future::join_all(checked).await;
        let (reason, failure) = not_opened(&causes);
        Err(self.end(reason, failure).await)
    }

    async fn end(mut self, reason: ReleaseReason, failure: Failure) -> Failure {
        if let Some(admitted) = self.admitted.take() {
            admitted.release(reason).await;
        }
        failure
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(admitted) = &mut self.admitted
            && !self.source.is_whole()
        {
            admitted.not_sent();
        }
    }
}

/// A client fetches the keys again where that helps: not where those it has are right and their backend is busy.
fn not_opened(causes: &[NotOpened]) -> (ReleaseReason, Failure) {
    match causes {
        [NotOpened::Key, ..] => (ReleaseReason::Rejected, Failure::key_config()),
        _ => (ReleaseReason::NoBackend, Failure::no_backend()),
    }
}

/// What a client is told of a refusal that ends its request. Nothing of a backend's own words: they came in the clear.
fn refused(status: StatusCode) -> Failure {
    match status {
        StatusCode::BAD_REQUEST => Failure::sealed_refused(),
        StatusCode::REQUEST_TIMEOUT => Failure::body_timeout(),
        StatusCode::PAYLOAD_TOO_LARGE => Failure::sealed_too_large(),
        _ => Failure::backend_refused(),
    }
}

fn of_body(error: BodyError, gateway: &Gateway) -> Failure {
    match error {
        BodyError::TooLarge => Failure::body_too_large(gateway.config.body_limit),
        BodyError::TimedOut => Failure::body_timeout(),
        BodyError::BrokeOff => ApiError::invalid("The request body broke off.").into(),
        BodyError::Superseded => Failure::internal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_designated_backend_decides_what_a_client_is_told() {
        let status = |causes: &[NotOpened]| not_opened(causes).1.api.status;
        assert_eq!(status(&[NotOpened::Key]), 422);
        assert_eq!(status(&[NotOpened::Key, NotOpened::Away]), 422);
        assert_eq!(status(&[NotOpened::Away, NotOpened::Key]), 503);
        assert_eq!(status(&[]), 503);
    }
}
