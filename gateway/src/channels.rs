//! Payment channels (`docs/PROTOCOL.md`, "Channels"): who pays by vouchers needs no key and gives nobody custody. A
//! channel's account is its own; every request brings a voucher that raises what it may spend.

mod api;
mod config;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use cocoon_ledger::{CHANNEL_PREFIX, ChannelOpened, ChannelOpening, KeptVoucher, Ledger, Raised};
use cocoon_receipts::{AccountId, KeyId};
use cocoon_ton::chain::{self, Chain, ChainError, Failover, Status, has_two_operators};
use cocoon_ton::{
    Accepted, Address, ArcCell, Network, NotAcceptable, Observed, PublicKey, VoucherToken, Workchain, accept,
};
use tokio::sync::Semaphore;

pub use api::router;
pub use config::ChannelsConfig;

use crate::authenticate::{ApiKey, Scope};
use crate::error::Failure;

/// Channels that are looked up on the chain at once, for callers who need no key; more get 503.
const MAX_LOOKS: usize = 4;
/// What requests on channels are reported under in place of an API key.
const KEY: &str = "voucher";
/// Payers' keys that are remembered.
const MAX_KEYS: usize = 10_000;

/// The channels of a gateway that takes them.
#[derive(Debug)]
pub struct Channels {
    pub(crate) config: ChannelsConfig,
    /// The treasury.
    receiver: Address,
    network: Network,
    chain: Failover,
    ledger: Arc<dyn Ledger>,
    /// `iss` of what stands for an API key.
    issuer: String,
    key: KeyId,
    /// [`MAX_LOOKS`] places.
    looks: Semaphore,
    /// Which never change, as the address commits to them.
    payers: Mutex<HashMap<AccountId, PublicKey>>,
}

/// Why a channel is not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("there is no contract at this address")]
    NoContract,
    #[error("a channel is in the basechain")]
    Workchain,
    #[error(transparent)]
    Terms(#[from] NotAcceptable),
}

impl From<NotTaken> for Failure {
    fn from(reason: NotTaken) -> Self {
        Self::channel_not_accepted(&reason.to_string())
    }
}

/// The account of a channel.
fn account_of(channel: &Address) -> Result<AccountId, Failure> {
    if channel.workchain() != Workchain::Basechain {
        return Err(NotTaken::Workchain.into());
    }
    let name = format!("{CHANNEL_PREFIX}{}", hex::encode(channel.hash()));
    name.parse().map_err(|_| Failure::internal())
}

impl Channels {
    /// # Errors
    /// Where the configuration cannot be used; the message names the key.
    pub fn new(
        config: ChannelsConfig,
        treasury: &str,
        issuer: &str,
        ledger: Arc<dyn Ledger>,
    ) -> anyhow::Result<Self> {
        let network = config.network.network()?;
        let chain = chain::failover(&config.endpoints, network)?;
        let receiver = Address::parse_for(treasury, network).context("billing.treasury")?;
        Ok(Self {
            config,
            receiver,
            network,
            chain,
            ledger,
            issuer: issuer.to_owned(),
            key: KEY.parse().context("the name of vouchers")?,
            looks: Semaphore::new(MAX_LOOKS),
            payers: Mutex::default(),
        })
    }

    /// Who a voucher is of: it was signed by the payer of a channel that was opened here. Nothing is raised by it.
    ///
    /// # Errors
    /// 401; 503 where the ledger does not answer.
    pub async fn identify(&self, token: &VoucherToken) -> Result<ApiKey, Failure> {
        let account = account_of(&token.channel)?;
        let key = self.payer(&account).await?;
        token
            .verify(self.network.global_id(), &key)
            .map_err(|_| Failure::bad_key("the voucher is not signed by its payer"))?;
        Ok(ApiKey {
            iss: self.issuer.clone(),
            sub: account,
            jti: self.key.clone(),
            iat: 0,
            exp: None,
            project: None,
            models: None,
            sealed_only: false,
            scope: Scope::Inference,
            limits: cocoon_ledger::Limits::default(),
        })
    }

    /// The same, of who asks to run a model: from now on the channel may spend what the voucher allows.
    ///
    /// # Errors
    /// As [`Self::identify`]; 402 for a voucher above what is deposited; 403 for a channel that is closed.
    pub async fn admit(&self, token: &VoucherToken) -> Result<ApiKey, Failure> {
        let key = self.identify(token).await?;
        let voucher = KeptVoucher { cumulative: token.cumulative, signature: token.signature };
        match self.ledger.raise_ceiling(&key.sub, &voucher).await.map_err(Failure::of_ledger)? {
            Raised::Raised { .. } | Raised::Known => Ok(key),
            Raised::AboveDeposit { deposited } => Err(Failure::channel_exhausted(deposited)),
            Raised::Closed => Err(Failure::channel_closed()),
            Raised::Unknown => Err(Failure::unknown_channel()),
        }
    }

    async fn payer(&self, account: &AccountId) -> Result<PublicKey, Failure> {
        if let Some(key) = self.payers().get(account) {
            return Ok(*key);
        }
        let channel = self.ledger.channel(account).await.map_err(Failure::of_ledger)?;
        let channel = channel.ok_or_else(Failure::unknown_channel)?;
        let key = PublicKey::new(channel.payer_key).map_err(|_| Failure::internal())?;
        let mut payers = self.payers();
        if payers.len() >= MAX_KEYS {
            payers.clear();
        }
        payers.insert(account.clone(), key);
        Ok(key)
    }

    fn payers(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, PublicKey>> {
        // A key is whole or not there.
        self.payers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a channel on the chain, and takes it or learns of what was deposited since.
    ///
    /// # Errors
    /// 400 with the rule that it breaks; 403 where it was closed here; 503.
    async fn open(&self, channel: &Address) -> Result<(), Failure> {
        let account = account_of(channel)?;
        let _place = self.looks.try_acquire().map_err(|_| Failure::overloaded())?;
        // Before the chain is asked, where the settler may have closed it too by now.
        let known = self.ledger.channel(&account).await.map_err(Failure::of_ledger)?;
        if known.is_some_and(|known| known.closed) {
            return Err(Failure::channel_closed());
        }
        let Accepted { terms, state, .. } = self.look(channel).await?;
        let opening = ChannelOpening {
            account,
            payer_key: *terms.payer_key.as_bytes(),
            deposited: state.deposited,
            settled: state.settled,
        };
        match self.ledger.open_channel(&opening).await.map_err(Failure::of_ledger)? {
            ChannelOpened::Open => Ok(()),
            ChannelOpened::Closed => Err(Failure::channel_closed()),
            // The address commits to the key.
            ChannelOpened::OtherKey => Err(Failure::internal()),
        }
    }

    async fn look(&self, channel: &Address) -> Result<Accepted, Failure> {
        let channel = *channel;
        let found = if has_two_operators(&self.config.endpoints) {
            // Credit is given on what they say, so two must say it.
            let asked = self.chain.agreed(|endpoint| async move { contract(endpoint, &channel).await });
            asked.await.map_err(|error| chain_failed(&error))?
        } else {
            contract(&self.chain, &channel).await.map_err(|error| chain_failed(&error))?
        };
        let (code, data) = found.ok_or(NotTaken::NoContract)?;
        let observed = Observed { address: channel, code: &code, data: &data };
        let accepted = accept(observed, &self.receiver, self.config.min_close_delay_s);
        Ok(accepted.map_err(NotTaken::Terms)?)
    }
}

/// Code and data of a contract; none where there is none.
async fn contract(chain: &dyn Chain, address: &Address) -> Result<Option<(ArcCell, ArcCell)>, ChainError> {
    match chain.account(address).await?.status {
        Status::Active { code, data } => Ok(Some((code, data))),
        Status::Uninitialized | Status::Frozen => Ok(None),
    }
}

fn chain_failed(error: &dyn std::error::Error) -> Failure {
    tracing::warn!(%error, "a channel could not be looked at");
    Failure::chain_unavailable()
}

#[cfg(test)]
mod tests;
