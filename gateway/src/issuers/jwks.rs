//! An issuer's keys in force. One task fetches them, at intervals and when it is asked; a fetch that fails leaves those that
//! there are. Requests ask for a key that is not there, together and at most once a minute, and wait for the answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cocoon_process::{FetchError, FetchLimits, Fetcher};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::IssuerConfig;
use super::keys::{self, IssuerKey, IssuerKeys, KeysError};

/// How often a token may make the keys be fetched.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// When a failed fetch is tried again, if not sooner.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Of an issuer's answer; a key has some 500 bytes.
pub(super) const LIMITS: FetchLimits = FetchLimits { time: Duration::from_secs(5), size: 128 << 10 };

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(IssuerKey),
    /// The issuer has no such key.
    Unknown,
    /// It could not be asked.
    Unavailable,
}

#[derive(Debug, Clone)]
struct State {
    keys: Arc<IssuerKeys>,
    /// A fetch is due or under way.
    fetching: bool,
    /// The last one brought keys.
    fresh: bool,
}

#[derive(Debug)]
pub(super) struct Jwks {
    fetcher: Fetcher,
    state: watch::Sender<State>,
    wanted: Notify,
    /// When a token last made the keys be fetched.
    asked: Mutex<Option<Instant>>,
}

impl Jwks {
    /// # Errors
    /// [`FetchError`] of the client; nothing is fetched yet.
    pub(super) fn new(config: &IssuerConfig) -> Result<Self, FetchError> {
        // The first fetch is due, so that the first tokens wait for it.
        let state = State { keys: Arc::default(), fetching: true, fresh: false };
        Ok(Self {
            fetcher: Fetcher::new(config.url.starts_with("https:"), LIMITS)?,
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            asked: Mutex::new(None),
        })
    }

    /// Fetches until `ended`.
    pub(super) async fn follow(&self, config: &IssuerConfig, ended: CancellationToken) {
        let refresh = Duration::from_secs(config.refresh_s);
        loop {
            self.state.send_modify(|state| state.fetching = true);
            let fetched = tokio::select! {
                () = ended.cancelled() => return,
                fetched = self.fetch(config) => fetched,
            };
            let next = match fetched {
                Ok(keys) => {
                    self.take(config, keys);
                    refresh
                }
                Err(error) => {
                    tracing::warn!(issuer = config.name, %error, "an issuer's keys were not fetched");
                    self.state.send_modify(|state| (state.fetching, state.fresh) = (false, false));
                    refresh.min(RETRY_AFTER)
                }
            };
            tokio::select! {
                () = ended.cancelled() => return,
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    async fn fetch(&self, config: &IssuerConfig) -> Result<IssuerKeys, KeysError> {
        keys::read(&self.fetcher.get(&config.url).await?.body, config)
    }

    fn take(&self, config: &IssuerConfig, keys: IssuerKeys) {
        let known = Arc::clone(&self.state.borrow().keys);
        if !known.keys().eq(keys.keys()) {
            let kids: Vec<&String> = keys.keys().collect();
            tracing::info!(issuer = config.name, ?kids, "an issuer's keys are in force");
        }
        self.state.send_replace(State { keys: Arc::new(keys), fetching: false, fresh: true });
    }

    /// The key that a token names.
    pub(super) async fn key(&self, kid: &str) -> Lookup {
        let mut state = self.state.subscribe();
        if let Some(key) = state.borrow_and_update().keys.get(kid) {
            return Lookup::Found(key.clone());
        }
        self.ask();
        // The task may be gone, on the way out.
        let done = tokio::time::timeout(LIMITS.time * 2, state.wait_for(|state| !state.fetching)).await;
        let Ok(Ok(state)) = done else { return Lookup::Unavailable };
        match state.keys.get(kid) {
            Some(key) => Lookup::Found(key.clone()),
            None if state.fresh => Lookup::Unknown,
            None => Lookup::Unavailable,
        }
    }

    /// Makes the keys be fetched, unless that was done within the minute or is under way.
    fn ask(&self) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.borrow().fetching || asked.is_some_and(|at| at.elapsed() < ASK_EVERY) {
            return;
        }
        *asked = Some(Instant::now());
        self.state.send_modify(|state| state.fetching = true);
        self.wanted.notify_one();
    }
}
