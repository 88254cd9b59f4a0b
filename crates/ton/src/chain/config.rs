//! How a process's configuration names a network and who tells of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{ApiKey, Endpoint, EndpointConfig, EndpointUrl, Failover};
use crate::{CellHash, GlobalId, Network};

/// Longest file of a secret, bytes.
const MAX_SECRET: u64 = 4096;

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainConfigError {
    #[error("{key}: {message}")]
    Value { key: &'static str, message: String },
    #[error("{key}: cannot read {path}: {source}")]
    Read { key: &'static str, path: PathBuf, source: std::io::Error },
}

fn wrong(key: &'static str, message: impl Into<String>) -> ChainConfigError {
    ChainConfigError::Value { key, message: message.into() }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    pub name: NetworkName,
    /// ConfigParam 19 of a test network.
    pub global_id: Option<i32>,
    /// Root hash of its first block, base64 or hexadecimal: tells test networks of one number apart.
    pub zerostate: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkName {
    /// Money is real. No other value lets an endpoint of it be used.
    Mainnet,
    Test,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEndpoint {
    /// An origin, under which `/api/v2/jsonRPC` is called.
    pub url: String,
    /// Who runs it: two of one operator do not confirm each other.
    pub operator: String,
    /// File with the key that its operator has given out.
    pub api_key: Option<PathBuf>,
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_timeout_ms() -> u64 {
    10_000
}

impl NetworkConfig {
    /// # Errors
    /// [`ChainConfigError::Value`].
    pub fn network(&self) -> Result<Network, ChainConfigError> {
        let Self { name, global_id, zerostate } = self;
        match name {
            NetworkName::Mainnet if global_id.is_none() && zerostate.is_none() => Ok(Network::Mainnet),
            NetworkName::Mainnet => Err(wrong("network", "mainnet has its number and its first block")),
            NetworkName::Test => {
                let global_id = GlobalId(global_id.ok_or_else(|| wrong("network.global_id", "is missing"))?);
                if global_id.is_mainnet() {
                    return Err(wrong("network.global_id", "is mainnet's: its name must be \"mainnet\""));
                }
                let zerostate = zerostate.as_ref().map(|text| text.parse::<CellHash>()).transpose();
                let zerostate = zerostate.map_err(|error| wrong("network.zerostate", error.to_string()))?;
                Ok(Network::Test { global_id, zerostate })
            }
        }
    }
}

impl ChainEndpoint {
    /// # Errors
    /// [`ChainConfigError::Value`].
    pub fn check(&self) -> Result<(), ChainConfigError> {
        if self.operator.is_empty() {
            return Err(wrong("endpoints.operator", "is empty"));
        }
        if !(100..=60_000).contains(&self.timeout_ms) {
            return Err(wrong("endpoints.timeout_ms", "is 100 to 60000"));
        }
        Ok(())
    }

    /// # Errors
    /// [`ChainConfigError`], also for an API key that cannot be read.
    pub fn config(&self, network: Network) -> Result<EndpointConfig, ChainConfigError> {
        let url = EndpointUrl::parse(&self.url).map_err(|error| wrong("endpoints.url", error.to_string()))?;
        let api_key = match &self.api_key {
            None => None,
            Some(path) => Some(ApiKey::new(read_secret(path, "endpoints.api_key")?.trim().to_owned())),
        };
        let timeout = Duration::from_millis(self.timeout_ms);
        Ok(EndpointConfig { url, api_key, operator: self.operator.clone(), network, timeout })
    }
}

/// Checks endpoints of `network`; what is believed of mainnet, two operators must say.
///
/// # Errors
/// [`ChainConfigError::Value`].
pub fn check(endpoints: &[ChainEndpoint], network: Network) -> Result<(), ChainConfigError> {
    if endpoints.is_empty() {
        return Err(wrong("endpoints", "none is named"));
    }
    endpoints.iter().try_for_each(ChainEndpoint::check)?;
    if network == Network::Mainnet && !has_two_operators(endpoints) {
        return Err(wrong("endpoints", "mainnet needs two of different operators"));
    }
    Ok(())
}

/// Whether two independent endpoints can agree.
#[must_use]
pub fn has_two_operators(endpoints: &[ChainEndpoint]) -> bool {
    endpoints.iter().map(|one| &one.operator).collect::<BTreeSet<_>>().len() > 1
}

/// The endpoints of `network`, in the order of preference.
///
/// # Errors
/// [`ChainConfigError`], also for an API key that cannot be read.
pub fn failover(endpoints: &[ChainEndpoint], network: Network) -> Result<Failover, ChainConfigError> {
    let unusable = |error: super::ChainError| wrong("endpoints", error.to_string());
    let open = |one: &ChainEndpoint| Endpoint::new(one.config(network)?).map_err(unusable);
    Failover::new(endpoints.iter().map(open).collect::<Result<_, _>>()?).map_err(unusable)
}

/// The text of a file that nobody but its owner may read.
///
/// # Errors
/// [`ChainConfigError`], which names `key`.
pub fn read_secret(path: &Path, key: &'static str) -> Result<Zeroizing<String>, ChainConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let read = |source| ChainConfigError::Read { key, path: path.to_owned(), source };
    let about = std::fs::metadata(path).map_err(read)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(wrong(key, format!("{} can be read by others: chmod 600", path.display())));
    }
    if about.len() > MAX_SECRET {
        return Err(wrong(key, format!("{} is too long", path.display())));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(read)
}
