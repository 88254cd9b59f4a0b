//! A registry on the chain as the source of policy and prices. What it says can take away what the files allow, and adds
//! nothing to them: a policy or a price table that it does not name is not followed, and one that it names must be here.

mod config;
mod prices;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use cocoon_attestation::Named;
use cocoon_receipts::Digest;
use cocoon_ton::chain::{self, RegistryReader, RegistryWord, has_two_operators};
use tokio_util::sync::CancellationToken;

pub use config::RegistryConfig;
#[cfg(test)]
pub(crate) use config::tests;
pub use prices::{PriceSource, Prices, prices};

use crate::clock::now_s;

/// The one registry that a gateway follows.
#[derive(Debug)]
pub struct Registry {
    reader: RegistryReader,
    every: Duration,
    /// When it was read last, seconds since 1970.
    read_at: AtomicU64,
    /// Whether what it names is what is in force here.
    pub(crate) policy_followed: AtomicBool,
    pub(crate) prices_followed: AtomicBool,
}

impl Registry {
    /// # Errors
    /// Where the configuration cannot be used; the message names the key.
    pub fn new(config: &RegistryConfig) -> anyhow::Result<Self> {
        let chain = chain::failover(&config.endpoints, config.network.network()?)?;
        let reader = RegistryReader::new(chain, config.address()?, has_two_operators(&config.endpoints));
        Ok(Self {
            reader,
            every: Duration::from_secs(config.every_s),
            read_at: AtomicU64::new(0),
            // Or the gateway does not start.
            policy_followed: AtomicBool::new(true),
            prices_followed: AtomicBool::new(true),
        })
    }

    /// Asks the chain.
    ///
    /// # Errors
    /// Where it does not say, or there is no registry.
    pub async fn read(&self) -> anyhow::Result<()> {
        let now = now_s();
        self.reader.read(now).await.context("registry")?;
        self.read_at.store(now, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the chain again and again until `shutdown`.
    pub async fn keep_reading(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            let read = tokio::select! {
                () = shutdown.cancelled() => return,
                read = self.read() => read,
            };
            if let Err(error) = read {
                let stands = self.reader.word(now_s()).is_some();
                tracing::error!(stands, "the registry could not be read: {error:#}");
            }
        }
    }

    /// The policy that it names.
    ///
    /// # Errors
    /// Where it names none, or what it said last may no longer be so.
    pub fn named(&self) -> anyhow::Result<Named> {
        let digest = self.word()?.policy_digest().context("registry: it has no policy in force")?;
        Ok(Named { registry: self.reader.address().to_string(), digest: Digest(digest) })
    }

    fn word(&self) -> anyhow::Result<Arc<RegistryWord>> {
        self.reader.word(now_s()).context("registry: it could not be read for too long")
    }

    /// When it was read last, seconds since 1970.
    pub(crate) fn read_at(&self) -> u64 {
        self.read_at.load(Ordering::Relaxed)
    }
}
