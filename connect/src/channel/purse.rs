//! Pays requests from the open channel: signs what covers all of them, writes down what it signs before it leaves, and
//! hears the gateway's word where it is not known what a request has cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cocoon_openapi::channels::ChannelOf;
use cocoon_receipts::NanoTon;
use cocoon_ton::Address;

use super::account::{Account, Exhausted, Moment, Word};
use super::bound::{Bounded, Listed, Request, bound};
use super::file::{Channel, FileError, Stage};
use super::remote::{
    self, CHANNEL_CLOSED, CHANNEL_EXHAUSTED, INSUFFICIENT_BALANCE, UNKNOWN_CHANNEL, code_of, refusal,
};
use crate::ask::ApiKey;
use crate::clock::Clock;
use crate::error::{Failure, PlainError};
use crate::gateway::{Gateway, GatewayError};
use crate::state::{StateDir, StateError};

/// While less may have been spent than is counted, the gateway is asked so often, milliseconds.
const BETWEEN_WORDS_MS: u64 = 10_000;

/// Held by the one process that serves from a channel: two would each sign without the other's requests.
const LOCK: &str = "channel-serve.lock";

/// Why nothing can be paid from a channel.
#[derive(Debug, thiserror::Error)]
pub enum NoPurse {
    #[error("there is no open channel in {0}: `cocoon-connect channel open` opens one")]
    NotOpen(String),
    #[error("another cocoon-connect serves from this channel")]
    Busy,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// The open channel of a state folder.
#[derive(Debug)]
pub struct Purse {
    gateway: Gateway,
    state: StateDir,
    channel: Channel,
    account: Mutex<Account>,
    written: Arc<WrittenDown>,
    /// When the gateway's word was heard, milliseconds since 1970; none before the first.
    heard: tokio::sync::Mutex<Option<u64>>,
    clock: Clock,
    _lock: std::fs::File,
}

impl Purse {
    /// # Errors
    /// [`NoPurse`].
    pub fn open(state: &StateDir, gateway: Gateway, clock: Clock) -> Result<Self, NoPurse> {
        let lock = state.lock(LOCK)?.ok_or(NoPurse::Busy)?;
        let not_open = || NoPurse::NotOpen(state.path("").display().to_string());
        let channel = Channel::load(state)?.filter(|channel| channel.stage == Stage::Open);
        let channel = channel.ok_or_else(not_open)?;
        let signed = channel.signed(state)?;
        Ok(Self {
            gateway,
            state: state.clone(),
            account: Mutex::new(Account::new(channel.deposited, signed)),
            written: Arc::new(WrittenDown {
                state: state.clone(),
                channel: channel.address(),
                amount: AtomicU64::new(signed.0),
                turn: Arc::default(),
            }),
            heard: tokio::sync::Mutex::new(None),
            clock,
            channel,
            _lock: lock,
        })
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        // Numbers are whole whoever panicked.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// NanoTON of the deposit that no request has used or may still use.
    #[must_use]
    pub fn left(&self) -> NanoTon {
        self.account().left()
    }

    /// The voucher for `cumulative` as a key.
    fn key(&self, cumulative: NanoTon) -> Result<ApiKey, Failure> {
        let token = self.channel.token(cumulative).map_err(|error| {
            tracing::error!(%error, "a voucher cannot be signed");
            Failure::internal()
        })?;
        ApiKey::new(&token).ok_or_else(Failure::internal)
    }

    /// The newest voucher, for questions: it raises nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn newest(&self) -> Result<ApiKey, Failure> {
        self.key(self.written.amount())
    }

    /// Hears the gateway's word where that is due: before the first request, and while it is not known what became of
    /// another one.
    ///
    /// # Errors
    /// [`Failure`], where nothing was heard yet; later what is counted is enough.
    pub async fn ready(&self) -> Result<(), Failure> {
        let mut heard = self.heard.lock().await;
        let now = self.clock.now_ms();
        let is_old = |at: u64| now.saturating_sub(at) >= BETWEEN_WORDS_MS;
        let is_due = heard.is_none_or(|at| is_old(at) && self.account().is_unsure());
        if !is_due {
            return Ok(());
        }
        let moment = self.account().moment();
        let said = self.ask().await;
        let first = heard.is_none();
        match said {
            Ok(stands) if stands.status == "closed" => Err(Failure::channel_closed()),
            Ok(stands) => {
                self.hear(moment, &stands);
                *heard = Some(now);
                Ok(())
            }
            Err(error) if first => Err(self.failure(error)),
            Err(error) => {
                tracing::warn!(%error, "the gateway does not say how the channel stands");
                *heard = Some(now);
                Ok(())
            }
        }
    }

    async fn ask(&self) -> Result<ChannelOf, GatewayError> {
        let key = self.newest().map_err(|_| GatewayError::Request)?;
        remote::stands(&self.gateway, &self.channel.shown(), key.authorization).await
    }

    fn hear(&self, moment: Moment, stands: &ChannelOf) {
        let ChannelOf { charged, held, .. } = *stands;
        let mut account = self.account();
        account.heard(moment, Word { charged, held });
        tracing::debug!(%charged, %held, signed = %account.signed(), left = %account.left(), "the channel's account");
    }

    fn failure(&self, error: GatewayError) -> Failure {
        match refusal(&error).as_deref() {
            Some(CHANNEL_CLOSED) => Failure::channel_closed(),
            _ => error.into(),
        }
    }

    /// Begins a request: what it may cost is bounded and signed for, together with all that is open.
    ///
    /// # Errors
    /// 402 where the deposit does not cover it, and whatever else stands in the way.
    pub async fn pay(
        self: &Arc<Self>,
        request: Request,
        listed: &Listed,
        max_cost: Option<NanoTon>,
    ) -> Result<Paid, Failure> {
        self.ready().await?;
        let mut begun = self.begin(request, listed, max_cost)?;
        // It may have been added to meanwhile, by `channel deposit`.
        if begun.is_err() && self.look_again().await {
            begun = self.begin(request, listed, max_cost)?;
        }
        let (Bounded { part, ceiling }, cumulative) = begun.map_err(exhausted)?;
        let part = Part { purse: Arc::clone(self), amount: part, ended: false };
        let signed = self.account().signed();
        let key = match self.written.raise(signed).await {
            Ok(()) => self.key(cumulative),
            Err(error) => {
                tracing::error!(%error, "what is signed cannot be written down");
                Err(Failure::internal())
            }
        };
        // Without a voucher nothing was sent.
        match key {
            Ok(key) => Ok(Paid { key, ceiling, part }),
            Err(failure) => {
                part.free();
                Err(failure)
            }
        }
    }

    fn begin(
        &self,
        request: Request,
        listed: &Listed,
        max_cost: Option<NanoTon>,
    ) -> Result<Result<(Bounded, NanoTon), Exhausted>, Failure> {
        let mut account = self.account();
        let bounded = bound(request, listed, account.left(), max_cost).ok_or_else(Failure::internal)?;
        Ok(account.begin(bounded.part).map(|ceiling| (bounded, ceiling)))
    }

    /// Reads what the commands have kept; whether the deposit is another one.
    async fn look_again(&self) -> bool {
        let state = self.state.clone();
        let found = tokio::task::spawn_blocking(move || Channel::load(&state)).await;
        let Ok(Ok(Some(found))) = found else { return false };
        if found.address() != self.channel.address() {
            return false;
        }
        self.account().set_deposited(found.deposited)
    }

    /// What can be done about a refusal that is about the channel.
    pub async fn remedy(&self, plain: &PlainError) -> Remedy {
        match code_of(plain).as_deref() {
            // It has not seen the channel, or not what was added to it.
            Some(UNKNOWN_CHANNEL | CHANNEL_EXHAUSTED) => {
                match remote::introduce(&self.gateway, &self.channel.shown()).await {
                    Ok(_) => Remedy::Again,
                    Err(error) => Remedy::Final(self.failure(error)),
                }
            }
            // It reckons that more was spent than is known here.
            Some(INSUFFICIENT_BALANCE) => {
                self.account().doubt();
                *self.heard.lock().await = None;
                Remedy::Again
            }
            Some(CHANNEL_CLOSED) => Remedy::Final(Failure::channel_closed()),
            _ => Remedy::None,
        }
    }
}

/// The newest amount that is signed, as the state folder has it. No voucher for more leaves.
#[derive(Debug)]
struct WrittenDown {
    state: StateDir,
    channel: Address,
    /// NanoTON.
    amount: AtomicU64,
    /// Of who writes: a lower amount must not come after a higher one.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl WrittenDown {
    fn amount(&self) -> NanoTon {
        NanoTon(self.amount.load(Ordering::Acquire))
    }

    /// Writes down at least this amount. Begun, it goes on though its caller hangs up.
    async fn raise(self: &Arc<Self>, signed: NanoTon) -> Result<(), StateError> {
        if signed <= self.amount() {
            return Ok(());
        }
        let (this, turn) = (Arc::clone(self), Arc::clone(&self.turn).lock_owned().await);
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            if signed > this.amount() {
                Channel::store_signed(&this.state, &this.channel, signed)?;
                this.amount.store(signed.0, Ordering::Release);
            }
            Ok(())
        });
        writing.await.map_err(|_| StateError::Stopped)?
    }
}

/// 402 as OpenAI words an empty account.
fn exhausted(Exhausted { left, part }: Exhausted) -> Failure {
    Failure::channel_exhausted(left, part)
}

/// What follows from a refusal.
#[derive(Debug)]
pub enum Remedy {
    /// It is not about the channel.
    None,
    /// Sent again it may be taken.
    Again,
    Final(Failure),
}

/// A request that may be sent.
#[derive(Debug)]
pub struct Paid {
    /// The voucher.
    pub key: ApiKey,
    /// Completion tokens that the gateway is told.
    pub ceiling: Option<u64>,
    pub part: Part,
}

/// What a running request may cost. Dropped without a word on what became of it, it counts as spent.
#[derive(Debug)]
#[must_use = "dropped, it counts as spent in full"]
pub struct Part {
    purse: Arc<Purse>,
    amount: NanoTon,
    ended: bool,
}

impl Part {
    /// NanoTON.
    #[must_use]
    pub fn amount(&self) -> NanoTon {
        self.amount
    }

    /// Its verified receipt has come.
    pub fn charge(mut self, cost: NanoTon) {
        self.ended = true;
        self.purse.account().charge(self.amount, cost);
    }

    /// It was surely not admitted.
    pub fn free(mut self) {
        self.ended = true;
        self.purse.account().free(self.amount);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.ended {
            tracing::info!(part = %self.amount, "what a request cost is not known: it counts in full for now");
            self.purse.account().lose(self.amount);
        }
    }
}
