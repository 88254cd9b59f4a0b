//! The price table in force.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::bail;
use cocoon_openapi::prices::PriceTable;
use cocoon_process::Reload;
use cocoon_receipts::Digest;
use tokio::sync::watch;

use super::Registry;
use crate::attest::Unusable;
use crate::config::Config;

/// The prices in force, which a registry may change while we serve.
pub type Prices = watch::Sender<Arc<PriceTable>>;

/// The configuration's table; with a registry, the one of the two that it names.
///
/// # Errors
/// Where it names neither.
pub fn prices(config: &Config, registry: Option<&Registry>) -> anyhow::Result<PriceTable> {
    let Some(registry) = registry else { return Ok(PriceTable(config.prices.clone())) };
    let word = registry.word()?;
    // Where its owner has published none, the files alone say.
    let Some(named) = word.prices_digest().map(Digest) else { return Ok(PriceTable(config.prices.clone())) };
    for table in [Some(&config.prices), config.prices_next.as_ref()].into_iter().flatten() {
        let table = PriceTable(table.clone());
        if table.digest()? == named {
            return Ok(table);
        }
    }
    bail!(
        "neither prices nor prices_next is the table that the registry has, number {} with SHA-256 {named}",
        word.published.prices_number
    )
}

/// Follows the registry's word on prices.
#[derive(Debug)]
pub struct PriceSource {
    config: Config,
    registry: Arc<Registry>,
    in_force: Arc<Prices>,
    /// Why there are none, as it was said last.
    said: Option<String>,
}

impl PriceSource {
    #[must_use]
    pub fn new(config: Config, registry: Arc<Registry>, in_force: Arc<Prices>) -> Self {
        Self { config, registry, in_force, said: None }
    }
}

impl Reload for PriceSource {
    type Error = Unusable;

    /// Without a table that the registry names nothing is sold.
    async fn reload(&mut self) -> Result<bool, Unusable> {
        let chosen = prices(&self.config, Some(&self.registry));
        self.registry.prices_followed.store(chosen.is_ok(), Ordering::Relaxed);
        let table = match chosen {
            Ok(table) => {
                self.said = None;
                table
            }
            Err(error) => {
                let error = format!("{error:#}");
                if self.said.as_ref() != Some(&error) {
                    tracing::error!(%error, "nothing is sold");
                    self.said = Some(error);
                }
                PriceTable::default()
            }
        };
        let changed = **self.in_force.borrow() != table;
        if changed {
            self.in_force.send_replace(Arc::new(table));
        }
        Ok(changed)
    }
}
