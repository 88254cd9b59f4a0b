//! The settler's one configuration: a TOML file, overridden by environment variables `COCOON_SETTLER__KEY` (and
//! `COCOON_SETTLER__SECTION__KEY`), checked once at start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cocoon_receipts::NanoTon;
use cocoon_ton::chain::{ChainConfigError, ChainEndpoint, EndpointConfig, NetworkConfig, read_secret};
use cocoon_ton::{Address, Network};
use serde::Deserialize;
use zeroize::Zeroizing;

const ENV_PREFIX: &str = "COCOON_SETTLER__";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{key}: {message}")]
    Value { key: &'static str, message: String },
    #[error(transparent)]
    Environment(#[from] cocoon_process::NotAKey),
}

impl From<ChainConfigError> for ConfigError {
    fn from(error: ChainConfigError) -> Self {
        match error {
            ChainConfigError::Value { key, message } => Self::Value { key, message },
            ChainConfigError::Read { path, source, .. } => Self::Read { path, source },
        }
    }
}

fn wrong(key: &'static str, message: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, message: message.into() }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ledger's URL, as the gateways have it.
    pub ledger: String,
    pub network: NetworkConfig,
    /// Who tells of the chain, in the order of preference.
    pub endpoints: Vec<ChainEndpoint>,
    /// File with the wallet's Ed25519 seed: 64 hexadecimal characters, readable by its owner alone.
    pub wallet_key: PathBuf,
    /// Where `/metrics` and `/health` are served: never a public address.
    pub ops_listen: Option<SocketAddr>,
    #[serde(default)]
    pub deposits: DepositConfig,
    #[serde(default)]
    pub payouts: PayoutConfig,
    #[serde(default)]
    pub channels: ChannelConfig,
    /// Receipts are published in epochs where it is there.
    pub epochs: Option<EpochConfig>,
    /// How often the chain is looked at.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
    /// How long after the active settler's last step another one takes its place.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepositConfig {
    /// Less is not credited, nanoTON.
    pub minimum: NanoTon,
    /// From this on two endpoints of different operators must have the transaction; on mainnet there is always a bound.
    pub confirm_from: Option<NanoTon>,
}

impl Default for DepositConfig {
    fn default() -> Self {
        Self { minimum: NanoTon(10_000_000), confirm_from: None }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PayoutConfig {
    /// An operator who is owed so much is paid at once, nanoTON.
    pub at_once: NanoTon,
    /// Less than this is not worth its fee, nanoTON.
    pub small: NanoTon,
    /// What lies between waits so long since the operator's last payout, seconds.
    pub small_after_s: u64,
    /// Most that leaves the wallet within 24 hours, nanoTON; on mainnet there is always one.
    pub daily_cap: Option<NanoTon>,
    /// Most payouts of a batch.
    pub most_payouts: usize,
    /// How long a signed batch may be executed, seconds.
    pub valid_for_s: u32,
}

impl Default for PayoutConfig {
    fn default() -> Self {
        Self {
            at_once: NanoTon(1_000_000_000),
            small: NanoTon(50_000_000),
            small_after_s: 24 * 60 * 60,
            daily_cap: None,
            most_payouts: 100,
            valid_for_s: 120,
        }
    }
}

/// Payment channels. What they owe is redeemed as operators are paid: much at once, little once a day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelConfig {
    /// How often each is looked at, seconds: after its payer has begun to close it, no voucher is taken. Far below the
    /// shortest close delay that gateways accept.
    pub look_every_s: u32,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self { look_every_s: 60 }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochConfig {
    /// Address of the registry; before there is one, epochs are decided and not published.
    pub registry: Option<String>,
    /// File with the seed of the wallet that publishes, as `wallet_key`: another one, as its fees are its own.
    pub publisher_key: PathBuf,
    /// How long an epoch is, seconds.
    #[serde(default = "default_every_s")]
    pub every_s: u32,
    /// Where the receipts' digests of every epoch are kept.
    pub folder: PathBuf,
}

fn default_every_s() -> u32 {
    60 * 60
}

/// Longest epoch, seconds: much shorter than receipts are kept.
const LONGEST_EPOCH: u32 = 24 * 60 * 60;

/// Shortest one where it costs money, seconds.
const SHORTEST_EPOCH: u32 = 60;

fn default_poll_ms() -> u64 {
    2_000
}

fn default_lease_ms() -> u64 {
    30_000
}

impl Config {
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let syntax = |message: String| ConfigError::Syntax { path: path.to_owned(), message };
        let mut table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| syntax(error.to_string()))?;
        cocoon_process::lay_over(&mut table, ENV_PREFIX, environment)?;
        let config: Self = table.try_into().map_err(|error: toml::de::Error| syntax(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let mainnet = self.network()? == Network::Mainnet;
        if self.endpoints.is_empty() {
            return Err(wrong("endpoints", "none is named"));
        }
        if mainnet && self.payouts.daily_cap.is_none() {
            return Err(wrong("payouts.daily_cap", "mainnet needs one"));
        }
        if mainnet && self.deposits.confirm_from.is_none() {
            return Err(wrong("deposits.confirm_from", "mainnet needs one"));
        }
        for one in &self.endpoints {
            one.check()?;
        }
        if self.deposits.minimum == NanoTon::ZERO {
            return Err(wrong("deposits.minimum", "is 0"));
        }
        let operators: std::collections::BTreeSet<_> =
            self.endpoints.iter().map(|one| &one.operator).collect();
        if self.deposits.confirm_from.is_some() && operators.len() < 2 {
            return Err(wrong("endpoints", "deposits.confirm_from needs two of different operators"));
        }
        if self.payouts.at_once < self.payouts.small {
            return Err(wrong("payouts.at_once", "is below payouts.small"));
        }
        if !(1..=3600).contains(&self.channels.look_every_s) {
            return Err(wrong("channels.look_every_s", "is 1 to 3600"));
        }
        if self.payouts.small == NanoTon::ZERO {
            return Err(wrong("payouts.small", "is 0"));
        }
        if !(30..=3600).contains(&self.payouts.valid_for_s) {
            return Err(wrong("payouts.valid_for_s", "is 30 to 3600"));
        }
        if !(1..=crate::plan::MOST_PAYOUTS).contains(&self.payouts.most_payouts) {
            return Err(wrong("payouts.most_payouts", format!("is 1 to {}", crate::plan::MOST_PAYOUTS)));
        }
        if let Some(epochs) = &self.epochs {
            let shortest = if mainnet { SHORTEST_EPOCH } else { 1 };
            if !(shortest..=LONGEST_EPOCH).contains(&epochs.every_s) {
                return Err(wrong("epochs.every_s", format!("is {shortest} to {LONGEST_EPOCH}")));
            }
            self.registry()?;
        }
        if !(10..=60_000).contains(&self.poll_ms) {
            return Err(wrong("poll_ms", "is 10 to 60000"));
        }
        if !(100..=600_000).contains(&self.lease_ms) {
            return Err(wrong("lease_ms", "is 100 to 600000"));
        }
        Ok(())
    }

    /// # Errors
    /// [`ConfigError::Value`].
    pub fn network(&self) -> Result<Network, ConfigError> {
        Ok(self.network.network()?)
    }

    /// # Errors
    /// [`ConfigError::Value`], also for an API key that cannot be read.
    pub fn endpoints(&self) -> Result<Vec<EndpointConfig>, ConfigError> {
        let network = self.network()?;
        self.endpoints.iter().map(|one| Ok(one.config(network)?)).collect()
    }

    /// Where epochs are published; none where no registry is named.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an address of another network.
    pub fn registry(&self) -> Result<Option<Address>, ConfigError> {
        let Some(text) = self.epochs.as_ref().and_then(|epochs| epochs.registry.as_ref()) else {
            return Ok(None);
        };
        let address = Address::parse_for(text, self.network()?);
        address.map(Some).map_err(|error| wrong("epochs.registry", error.to_string()))
    }

    /// The wallet's seed.
    ///
    /// # Errors
    /// [`ConfigError`], also for a file that others can read.
    pub fn wallet_seed(&self) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
        seed(&self.wallet_key, "wallet_key")
    }
}

impl EpochConfig {
    /// The seed of the wallet that publishes.
    ///
    /// # Errors
    /// As [`Config::wallet_seed`].
    pub fn publisher_seed(&self) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
        seed(&self.publisher_key, "epochs.publisher_key")
    }
}

fn seed(path: &Path, key: &'static str) -> Result<Zeroizing<[u8; 32]>, ConfigError> {
    let text = read_secret(path, key)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), seed.as_mut_slice())
        .map_err(|_| wrong(key, "is not 64 hexadecimal characters"))?;
    Ok(seed)
}

#[cfg(test)]
mod tests;
