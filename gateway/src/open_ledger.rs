//! Opens the ledger: for a command at once or not at all, for a gateway with patience, as it may start together with its
//! Redis, or while that reads its file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cocoon_ledger::{Archive, Ledger, LedgerError, Options};

use crate::config::Config;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often the same reason is logged again.
const SAY_EVERY: Duration = Duration::from_secs(10);
const NOT_OPENED: &str = "ledger: it cannot be opened";

/// Opens the ledger that `config` names.
///
/// # Errors
/// Where it does not answer, or is not what it must be.
pub async fn open_ledger(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    open(config).await.context(NOT_OPENED)
}

/// The same; a Redis that does not answer yet is tried again for [`crate::config::LedgerConfig::start_wait`].
///
/// # Errors
/// Where it is not what it must be, at once; where it does not answer, after that time.
pub async fn await_ledger(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    let (begun, patience) = (Instant::now(), config.ledger.start_wait());
    let mut pause = FIRST_PAUSE;
    let mut said: Option<(Instant, String)> = None;
    loop {
        let reason = match open(config).await {
            Ok(ledger) => {
                if said.is_some() {
                    tracing::info!(waited_ms = millis(begun.elapsed()), "the ledger's store answers");
                }
                return Ok(ledger);
            }
            Err(LedgerError::Unavailable(reason)) if begun.elapsed() < patience => reason,
            Err(error) => return Err(error).context(NOT_OPENED),
        };
        let left = patience.saturating_sub(begun.elapsed());
        if said.as_ref().is_none_or(|(at, last)| at.elapsed() >= SAY_EVERY || *last != reason) {
            let left_ms = millis(left);
            tracing::warn!(%reason, left_ms, "the ledger's store does not answer yet: the start waits for it");
            said = Some((Instant::now(), reason));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The archive that `config` names, if any.
///
/// # Errors
/// Where its folder is not there.
pub fn open_archive(config: &Config) -> anyhow::Result<Option<Archive>> {
    config.ledger.archive.as_ref().map(Archive::open).transpose().context("ledger.archive")
}

/// What the ledger is made with.
pub(crate) fn options(config: &Config) -> Options {
    Options { grace: Duration::from_millis(config.ledger.grace_ms), ..Options::default() }
}

async fn open(config: &Config) -> Result<Arc<dyn Ledger>, LedgerError> {
    cocoon_ledger::open_with(&config.ledger.url, options(config), &config.ledger.access()).await
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
