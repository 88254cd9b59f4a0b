//! One request to one model: a verified backend is chosen at random, the body sealed to it and sent. Again, once, only
//! where no backend can have admitted it.

use std::sync::Arc;

use bytes::Bytes;
use cocoon_exchange::{Answer, Encapsulated, Head, Sealed, sealed_len};
use cocoon_openapi::x_conf::{ClientNonce, XConf};
use cocoon_openapi::{Endpoint, KEY_DIGEST_HEADER, MAX_TOKENS_HEADER, MODEL_HEADER};
use cocoon_receipts::{AccountTagKey, Digest, NanoTon, Price};
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, KEY_CONFIG_PROBLEM, RESPONSE_NONCE_HEADER, encode_hex};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::channel::bound::{Listed, Request};
use crate::channel::purse::{Paid, Part, Purse, Remedy};
use crate::clock::Clock;
use crate::error::{Failure, PlainError};
use crate::fleet::Fleet;
use crate::gateway::{self, Gateway, GatewayError};
use crate::prices::Prices;
use crate::verify::Verified;

/// Attempts at one request, the first included.
const MAX_ATTEMPTS: u32 = 2;

/// What the caller wants.
#[derive(Debug)]
pub struct Asked<'a> {
    pub endpoint: Endpoint,
    pub model: &'a str,
    /// Completion tokens at most, over all choices.
    pub ceiling: Option<u64>,
    /// How many answers it asks for.
    pub choices: u64,
    /// The caller's bytes.
    pub body: &'a Bytes,
    pub accept: Option<&'a HeaderValue>,
    pub payer: &'a Payer,
}

/// Who pays.
#[derive(Debug, Clone)]
pub enum Payer {
    /// The account of an API key.
    Key(ApiKey),
    /// The sidecar's open channel.
    Channel(Arc<Purse>),
}

impl Payer {
    /// What stands for it where nothing is to be paid.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn authorization(&self) -> Result<HeaderValue, Failure> {
        match self {
            Self::Key(key) => Ok(key.authorization.clone()),
            Self::Channel(purse) => Ok(purse.newest()?.authorization),
        }
    }
}

/// What an attempt is sent and paid with.
struct Means {
    key: ApiKey,
    ceiling: Option<u64>,
    /// Of the channel, where that pays.
    part: Option<Part>,
}

/// The API key that a request is sent and paid with.
#[derive(Clone)]
pub struct ApiKey {
    pub authorization: HeaderValue,
    pub tag: AccountTagKey,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").finish_non_exhaustive()
    }
}

impl ApiKey {
    /// Of a key as it stands after `Bearer `; none where it is no header.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
        authorization.set_sensitive(true);
        Some(Self { authorization, tag: AccountTagKey::of_api_key(key) })
    }
}

/// A sealed answer that has begun.
#[derive(Debug)]
pub struct Begun {
    pub answer: Answer,
    pub body: Incoming,
    pub headers: HeaderMap,
    pub nonce: ClientNonce,
    pub keyset: Digest,
    /// What no receipt may be above.
    pub listed: Price,
    /// Of the channel, where that pays.
    pub part: Option<Part>,
}

/// How one attempt ended.
#[derive(Debug)]
enum Attempt {
    Begun(Box<Begun>),
    Failed(Ending),
}

/// An attempt without a sealed answer.
#[derive(Debug)]
enum Ending {
    /// No backend can have admitted it.
    NotAdmitted(Failure),
    /// The same, and the backend's keys are others by now.
    KeysChanged,
    /// Perhaps admitted, or refused for good.
    Final(Failure),
}

/// What asking needs.
#[derive(Debug)]
pub struct Asker {
    pub fleet: Fleet,
    pub prices: Prices,
    /// The user's own ceiling on every request's cost.
    pub max_cost: Option<NanoTon>,
}

impl Asker {
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.fleet.verifier.gateway
    }

    fn clock(&self) -> &Clock {
        &self.fleet.verifier.clock
    }

    /// # Errors
    /// [`Failure`], ready for the caller.
    pub async fn ask(&self, asked: &Asked<'_>) -> Result<Begun, Failure> {
        if let Payer::Channel(purse) = asked.payer {
            purse.ready().await?;
        }
        let mut nonce = [0; 32];
        cocoon_receipts::random(&mut nonce).map_err(|_| Failure::internal())?;
        let nonce = ClientNonce(nonce);
        let mut tried = Vec::new();
        let mut attempt = 1;
        let mut backends = self.fleet.of(asked.model).await.map_err(|error| error.for_caller(asked.model))?;
        loop {
            let backend = choose(&backends, &tried).ok_or_else(Failure::internal)?;
            let now = self.clock().now_ms();
            let listed = self.listed(asked, now).await?;
            let ending = match self.attempt(asked, &backend, nonce, listed).await? {
                Attempt::Begun(begun) => return Ok(*begun),
                Attempt::Failed(ending) => ending,
            };
            tried.push(backend.digest());
            let failure = match ending {
                Ending::Final(failure) => return Err(failure),
                Ending::NotAdmitted(failure) => failure,
                Ending::KeysChanged => {
                    self.fleet.distrust(asked.model, backend.digest());
                    if attempt < MAX_ATTEMPTS {
                        let renewed = self.fleet.renewed(asked.model).await;
                        backends = renewed.map_err(|error| error.for_caller(asked.model))?;
                    }
                    Failure::keys_changed()
                }
            };
            if attempt == MAX_ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// What the gateway's list says of the model.
    async fn listed(&self, asked: &Asked<'_>, now: u64) -> Result<Listed, Failure> {
        let first = self.prices.of(self.gateway(), asked.model, asked.payer, now).await;
        let (Payer::Channel(purse), Err(Failure::Theirs(plain))) = (asked.payer, &first) else {
            return first;
        };
        match purse.remedy(plain).await {
            Remedy::None => first,
            Remedy::Again => self.prices.of(self.gateway(), asked.model, asked.payer, now).await,
            Remedy::Final(failure) => Err(failure),
        }
    }

    async fn attempt(
        &self,
        asked: &Asked<'_>,
        backend: &Verified,
        nonce: ClientNonce,
        listed: Listed,
    ) -> Result<Attempt, Failure> {
        let not_sealed = |error: SealError| {
            tracing::error!(%error, keyset = %backend.digest(), "request could not be sealed");
            Failure::internal()
        };
        let mut context = self.context(asked, backend, nonce, listed.price);
        let Means { key, ceiling, part } = self.means(asked, &context, &listed).await?;
        if let Some(part) = &part {
            // The ticket says no more, if the gateway is honest; this holds if it is not.
            context.max_cost = Some(context.max_cost.map_or(part.amount(), |most| most.min(part.amount())));
        }
        let (sealed, headers) = seal(asked, backend, context, &key, ceiling).map_err(not_sealed)?;
        let response = match self.gateway().post(asked.endpoint.path(), headers, sealed.frames.clone()).await
        {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "no answer from the gateway");
                return Ok(Attempt::Failed(self.refused(asked, error, part).await));
            }
        };
        let Some(response_nonce) = response.headers().get(RESPONSE_NONCE_HEADER) else {
            return Ok(Attempt::Failed(self.plain(asked, response, part).await));
        };
        let head = Head {
            status: response.status().as_u16(),
            content_type: text(response.headers().get(CONTENT_TYPE)).to_owned(),
        };
        let answer = Answer::new(&sealed, text(Some(response_nonce)), head, backend.signer.clone());
        let answer = answer.map_err(|error| Failure::answer_not_verified(&error.to_string()))?;
        let (parts, body) = response.into_parts();
        Ok(Attempt::Begun(Box::new(Begun {
            answer,
            body,
            headers: parts.headers,
            nonce,
            keyset: backend.digest(),
            listed: listed.price,
            part,
        })))
    }

    /// With what the attempt is paid: a voucher's amount follows from the length of what it pays for.
    async fn means(&self, asked: &Asked<'_>, context: &XConf, listed: &Listed) -> Result<Means, Failure> {
        let purse = match asked.payer {
            Payer::Key(key) => return Ok(Means { key: key.clone(), ceiling: asked.ceiling, part: None }),
            Payer::Channel(purse) => purse,
        };
        // The tag follows from the voucher, and has one length; of the cost it is the longest that counts.
        let longest =
            XConf { max_cost: Some(NanoTon(u64::MAX)), acct: Some(Digest([0; 32])), ..context.clone() };
        let length = sealed_len(asked.body, &longest).map_err(|error| {
            tracing::error!(%error, "request could not be sealed");
            Failure::internal()
        })?;
        let request = Request {
            endpoint: asked.endpoint,
            length: length as u64,
            ceiling: asked.ceiling,
            choices: asked.choices,
        };
        let Paid { key, ceiling, part } = purse.pay(request, listed, self.max_cost).await?;
        Ok(Means { key, ceiling, part: Some(part) })
    }

    /// An answer in the clear: no attested machine stands for it.
    async fn plain(&self, asked: &Asked<'_>, response: Response<Incoming>, part: Option<Part>) -> Ending {
        let status = response.status();
        tracing::warn!(status = status.as_u16(), "the gateway answered in the clear");
        if status.is_success() {
            return Ending::Final(Failure::answer_not_sealed());
        }
        if matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED) {
            // The backend does not say why. It may be that the price has risen since the list was read.
            self.prices.forget(asked.model);
        }
        self.refused(asked, gateway::refused(response).await, part).await
    }

    /// What follows from no answer of a backend's, also for the channel that was to pay for it.
    async fn refused(&self, asked: &Asked<'_>, error: GatewayError, part: Option<Part>) -> Ending {
        if let Some(part) = part
            && costs_nothing(&error)
        {
            part.free();
        }
        if let (Payer::Channel(purse), GatewayError::Refused(plain)) = (asked.payer, &error) {
            match purse.remedy(plain).await {
                Remedy::None => {}
                Remedy::Again => return Ending::NotAdmitted(error.into()),
                Remedy::Final(failure) => return Ending::Final(failure),
            }
        }
        ending_of(error)
    }

    fn context(&self, asked: &Asked<'_>, backend: &Verified, nonce: ClientNonce, listed: Price) -> XConf {
        XConf {
            v: 1,
            nonce,
            ts: self.clock().now_ms(),
            path: asked.endpoint.path().to_owned(),
            model: asked.model.to_owned(),
            keyset: backend.digest(),
            price_max: Some(listed),
            max_cost: self.max_cost,
            acct: None,
            pad: None,
        }
    }
}

fn seal(
    asked: &Asked<'_>,
    backend: &Verified,
    context: XConf,
    key: &ApiKey,
    ceiling: Option<u64>,
) -> Result<(Sealed, HeaderMap), SealError> {
    let encapsulated = Encapsulated::new(&backend.key).map_err(cocoon_exchange::RequestError::from)?;
    let context = XConf { acct: Some(key.tag.tag(encapsulated.key())), ..context };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, key.authorization.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(accept) = asked.accept {
        headers.insert(ACCEPT, accept.clone());
    }
    let ours = [
        (ENCAPSULATED_KEY_HEADER, encode_hex(encapsulated.key())),
        (KEY_DIGEST_HEADER, backend.digest().to_string()),
        (MODEL_HEADER, asked.model.to_owned()),
    ];
    for (name, value) in ours {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    if let Some(ceiling) = ceiling {
        headers.insert(HeaderName::from_static(MAX_TOKENS_HEADER), HeaderValue::from(ceiling));
    }
    Ok((encapsulated.seal(asked.body, &context)?, headers))
}

#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error(transparent)]
    Exchange(#[from] cocoon_exchange::RequestError),
    #[error("a header cannot be written")]
    Header(#[from] http::header::InvalidHeaderValue),
}

/// One of the backends at random, one that was not tried where there is one: which of them a request goes to is not
/// the gateway's to decide.
fn choose(backends: &[Arc<Verified>], tried: &[Digest]) -> Option<Arc<Verified>> {
    let fresh: Vec<&Arc<Verified>> =
        backends.iter().filter(|backend| !tried.contains(&backend.digest())).collect();
    if fresh.is_empty() {
        return fastrand::choice(backends).cloned();
    }
    fastrand::choice(fresh).cloned()
}

/// The rule for retries: only where nothing can have been admitted.
fn ending_of(error: GatewayError) -> Ending {
    let no_bytes_sent = matches!(error, GatewayError::Unreachable(_));
    let (room_missing, keys_changed) = match &error {
        GatewayError::Refused(plain) => {
            (plain.status == StatusCode::SERVICE_UNAVAILABLE, is_key_config_problem(plain))
        }
        _ => (false, false),
    };
    if keys_changed {
        Ending::KeysChanged
    } else if no_bytes_sent || room_missing {
        Ending::NotAdmitted(error.into())
    } else {
        Ending::Final(error.into())
    }
}

/// Whether a request that failed so was surely never run: not a byte of it was sent, or the gateway says what is wrong
/// with it. Should it lie, it has no more than what was signed.
fn costs_nothing(error: &GatewayError) -> bool {
    match error {
        GatewayError::Unreachable(_) | GatewayError::Request => true,
        GatewayError::Refused(plain) => {
            (plain.status.is_client_error()
                && !matches!(plain.status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT))
                || plain.status == StatusCode::SERVICE_UNAVAILABLE
        }
        _ => false,
    }
}

/// EHBP section 5.4.2.
fn is_key_config_problem(plain: &PlainError) -> bool {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
    }
    plain.status == StatusCode::UNPROCESSABLE_ENTITY
        && serde_json::from_slice::<Problem>(&plain.body)
            .is_ok_and(|problem| problem.r#type == KEY_CONFIG_PROBLEM)
}

fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> GatewayError {
        GatewayError::Refused(Box::new(PlainError {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        }))
    }

    #[test]
    fn only_what_no_backend_can_have_admitted_is_sent_again() {
        let problem = format!(r#"{{"type":"{KEY_CONFIG_PROBLEM}","title":"t"}}"#);
        for (error, expected) in [
            (GatewayError::Unreachable(String::new()), "again"),
            (refused(503, ""), "again"),
            (refused(503, &problem), "again"),
            (refused(422, &problem), "keys"),
            (refused(422, r#"{"type":"another"}"#), "final"),
            (refused(422, ""), "final"),
            (refused(400, &problem), "final"),
            (refused(401, ""), "final"),
            (refused(402, ""), "final"),
            (refused(429, ""), "final"),
            (refused(500, ""), "final"),
            (refused(502, ""), "final"),
            (refused(504, ""), "final"),
            (GatewayError::Broken(String::new()), "final"),
            (GatewayError::Timeout, "final"),
            (GatewayError::Redirect, "final"),
            (GatewayError::Malformed, "final"),
        ] {
            let shown = format!("{error:?}");
            let ending = match ending_of(error) {
                Ending::NotAdmitted(_) => "again",
                Ending::KeysChanged => "keys",
                Ending::Final(_) => "final",
            };
            assert_eq!(ending, expected, "{shown}");
        }
    }
}
