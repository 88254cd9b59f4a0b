//! `Idempotency-Key`: a request that is sent again under the same key is answered, not run and charged, again.
//!
//! What is kept lies in the ledger's store, since any gateway may be asked the second time, and the store must not read
//! it: name, fingerprint and encryption all come from a secret of the caller's own token and key.

mod kept;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use cocoon_ledger::{AnswerName, Begin, Begun, Ending, Ledger};
use cocoon_openapi::{ApiError, IDEMPOTENCY_KEY_HEADER};
use cocoon_receipts::{AccountId, RequestId};
use http::HeaderMap;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::accept::Gateway;
use crate::admit::store_failure;
use crate::authenticate;
use crate::error::Failure;
use crate::unheard;
use cocoon_openapi::Endpoint;

pub use kept::Kept;
use secret::Secret;

/// OpenAI's SDKs make keys of about 50 characters.
const MAX_KEY: usize = 255;
/// Largest answer that is kept, bytes of its body.
pub const MAX_BODY: usize = 1 << 20;
/// How long a repetition waits for the first before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(4);
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// What a request under a key is to do.
#[derive(Debug)]
pub enum Turn {
    /// There is no key.
    Once,
    /// It is the first: it runs.
    First(Box<Running>),
    /// It ran: this is its answer.
    Again(Box<Response>),
}

/// Finds out whose turn it is.
///
/// # Errors
/// 400 for what is no key, 409 where it cannot be answered, 503 where the store does not say.
pub async fn turn(
    gateway: &Gateway,
    headers: &HeaderMap,
    account: &AccountId,
    endpoint: Endpoint,
    body: &[u8],
    holder: RequestId,
) -> Result<Turn, Failure> {
    let Some(key) = key(headers)? else { return Ok(Turn::Once) };
    let secret = Secret::new(authenticate::bearer(headers)?, key).ok_or_else(Failure::internal)?;
    let begin = Begin {
        name: AnswerName { account: account.clone(), id: secret.id() },
        fingerprint: secret.fingerprint(endpoint, body),
        holder,
        lease: Duration::from_millis(gateway.config.idempotency_lease_ms),
    };
    let patient_until = Instant::now() + PATIENCE;
    let mut pause = FIRST_LOOK;
    loop {
        let begun = gateway.ledger.begin_answer(&begin).await;
        match begun.map_err(|error| store_failure(&error, "begin_answer", holder))? {
            Begun::Started => return Ok(Turn::First(Box::new(Running::new(gateway, begin, secret)))),
            Begun::Kept(sealed) => {
                let kept = secret.open(&begin.fingerprint, sealed).and_then(|plain| Kept::read(&plain));
                let Some(kept) = kept else {
                    tracing::error!(request = %holder, "a kept answer does not open");
                    return Err(Failure::internal());
                };
                return kept.into_response().map(|response| Turn::Again(Box::new(response)));
            }
            Begun::NotKept => return Err(Failure::idempotency_answer_too_large(MAX_BODY)),
            Begun::OtherRequest => return Err(Failure::idempotency_key_reuse()),
            Begun::Full => return Err(Failure::idempotency_full()),
            Begun::Running if Instant::now() + pause > patient_until => {
                return Err(Failure::idempotency_in_progress());
            }
            Begun::Running => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_LOOK);
            }
        }
    }
}

/// The key that the client chose: 1 to 255 visible characters.
fn key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if values.next().is_some() || !visible || text.is_empty() || text.len() > MAX_KEY {
        let message = format!("'Idempotency-Key' must be one value of 1 to {MAX_KEY} visible characters.");
        return Err(ApiError::invalid(message).with_param(IDEMPOTENCY_KEY_HEADER).into());
    }
    Ok(Some(text))
}

/// A request that runs under its key. Dropped before it has ended, it frees the key.
#[derive(Debug)]
pub struct Running {
    begin: Begin,
    secret: Secret,
    ledger: Arc<dyn Ledger>,
    tracker: TaskTracker,
    open: bool,
    /// Renews the lease.
    _signs_of_life: AbortOnDropHandle<()>,
}

impl Running {
    fn new(gateway: &Gateway, begin: Begin, secret: Secret) -> Self {
        let signs_of_life = renew(Arc::clone(&gateway.ledger), begin.clone());
        Self {
            _signs_of_life: AbortOnDropHandle::new(gateway.tracker.spawn(signs_of_life)),
            begin,
            secret,
            ledger: Arc::clone(&gateway.ledger),
            tracker: gateway.tracker.clone(),
            open: true,
        }
    }

    /// Keeps `kept` for repetitions; none is an answer that is too large. A store that fails here costs a repetition its
    /// answer, not this request.
    pub async fn end(mut self, kept: Option<&Kept>) {
        let ending = match kept.map(|kept| self.secret.seal(&self.begin.fingerprint, kept.write())) {
            None => Ending::NotKept,
            Some(Some(sealed)) => Ending::Kept(sealed),
            Some(None) => return,
        };
        let request = self.begin.holder;
        match self.ledger.end_answer(&self.begin.name, request, &ending).await {
            Ok(true) => self.open = false,
            Ok(false) => {
                self.open = false;
                tracing::warn!(%request, "another request took over the idempotency key meanwhile");
            }
            Err(error) => unheard::log(&error, "keeping of an answer", Some(request)),
        }
    }

    /// Frees the key: nothing was generated.
    pub async fn abandon(mut self) {
        self.open = false;
        abandon(self.ledger.as_ref(), &self.begin.name, self.begin.holder).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.open {
            let (ledger, name, holder) =
                (Arc::clone(&self.ledger), self.begin.name.clone(), self.begin.holder);
            self.tracker.spawn(async move { abandon(ledger.as_ref(), &name, holder).await });
        }
    }
}

async fn abandon(ledger: &dyn Ledger, name: &AnswerName, holder: RequestId) {
    if let Err(error) = ledger.abandon_answer(name, holder).await {
        unheard::log(&error, "freeing of an idempotency key; its lease will free it", Some(holder));
    }
}

/// A sign of life three times a lease.
async fn renew(ledger: Arc<dyn Ledger>, begin: Begin) {
    loop {
        tokio::time::sleep(begin.lease / 3).await;
        match ledger.renew_answer(&begin.name, begin.holder, begin.lease).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => unheard::log(&error, "renewal of an idempotency key", Some(begin.holder)),
        }
    }
}

/// Gathers the bytes of an answer as they go by, as long as they are worth keeping.
#[derive(Debug, Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    too_large: bool,
}

impl Gathered {
    pub fn add(&mut self, more: &Bytes) {
        self.too_large |= self.bytes.len() + more.len() > MAX_BODY;
        if self.too_large {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(more);
        }
    }

    /// None where they were too many.
    #[must_use]
    pub fn take(&mut self) -> Option<Vec<u8>> {
        (!self.too_large).then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_1_to_255_visible_characters() {
        let key_of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY_HEADER, HeaderValue::from_bytes(value).unwrap());
            }
            key(&headers).map(|key| key.map(str::to_owned)).map_err(|failure| failure.api.status)
        };
        assert_eq!(key_of(&[]), Ok(None));
        assert_eq!(key_of(&[b"stainless-python-retry-1"]), Ok(Some("stainless-python-retry-1".into())));
        assert_eq!(key_of(&[&[b'~'; 255]]), Ok(Some("~".repeat(255))));
        for bad in [&[b"".as_slice()][..], &[&[b'a'; 256]], &[b"a b"], &["\u{e9}".as_bytes()], &[b"a", b"a"]]
        {
            assert_eq!(key_of(bad), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_gathered() {
        let mut gathered = Gathered::default();
        gathered.add(&Bytes::from(vec![1; MAX_BODY - 1]));
        gathered.add(&Bytes::from_static(b"2"));
        assert_eq!(gathered.take().map(|bytes| bytes.len()), Some(MAX_BODY));
        let mut gathered = Gathered::default();
        gathered.add(&Bytes::from(vec![1; MAX_BODY]));
        gathered.add(&Bytes::from_static(b"2"));
        gathered.add(&Bytes::from_static(b"3"));
        assert_eq!(gathered.take(), None);
    }
}
