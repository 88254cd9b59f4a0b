//! `cocoon-backend earnings`: what an operator's backends earned and were paid, and whether that fits together.
//!
//! Three tell of it, who need not agree: the outboxes, what was signed and what the gateway said of it; the gateway, what its
//! ledger has; the chain, what was paid.

mod checks;
mod gateway;
mod paid;
mod report;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use cocoon_openapi::ops::OperatorView;
use cocoon_receipts::{NanoTon, OperatorId};
use cocoon_ton::Address;
use cocoon_ton::chain::{ChainConfigError, ChainError, Endpoint, Failover};
use serde::Serialize;

pub use checks::{Check, Verdict};
pub use paid::Paid;

use crate::config::{Config, PayoutsConfig};
use crate::receipts::{Books, Sum, Tally};

/// Why there is nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum EarningsError {
    #[error("no configuration is named")]
    NoConfig,
    #[error("the configurations are of two operators, {0} and {1}: each has earnings of its own")]
    TwoOperators(OperatorId, OperatorId),
    #[error("two configurations have the state folder {}", .0.display())]
    SameFolder(PathBuf),
    #[error("the configurations differ in [payouts]: one treasury of one network pays")]
    TwoTreasuries,
    #[error("cannot read the outbox in {}", path.display())]
    Outbox { path: PathBuf, source: io::Error },
    #[error("payouts")]
    Payouts(#[from] ChainConfigError),
    #[error("payouts")]
    Chain(#[from] ChainError),
}

/// What somebody said, or why nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told<T> {
    Said(T),
    /// Nothing in the configuration says whom to ask.
    NotAsked,
    Unknown(String),
}

impl<T> Told<T> {
    fn said(&self) -> Option<&T> {
        match self {
            Self::Said(said) => Some(said),
            Self::NotAsked | Self::Unknown(_) => None,
        }
    }
}

/// All that is known of an operator's earnings. Amounts are nanoTON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Earnings {
    pub operator: OperatorId,
    /// How many outboxes were read.
    pub backends: usize,
    pub signed: Sum,
    /// Not acknowledged twice yet.
    pub waiting: Sum,
    #[serde(flatten)]
    pub tally: Tally,
    pub gateway: Told<OperatorView>,
    pub chain: Told<Paid>,
    /// Accrued without what was reversed and what was paid; below zero where more was paid.
    #[serde(serialize_with = "decimal")]
    pub owed: Option<i128>,
    pub checks: Vec<Check>,
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the member")]
fn decimal<S: serde::Serializer>(owed: &Option<i128>, serializer: S) -> Result<S::Ok, S::Error> {
    owed.map(|owed| owed.to_string()).serialize(serializer)
}

impl Earnings {
    /// Whether all who could be asked have answered and no check has failed.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        let answered =
            matches!(self.gateway, Told::Said(_)) && matches!(self.chain, Told::Said(_) | Told::NotAsked);
        answered && self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }
}

/// What is asked of whom.
struct Facts {
    outboxes: Outboxes,
    gateway: Told<OperatorView>,
    chain: Told<Paid>,
}

struct Outboxes {
    operator: OperatorId,
    backends: usize,
    waiting: Sum,
    tally: Tally,
}

/// Looks at the backends of one operator, one by each configuration, also while they serve. `now` is Unix time.
///
/// # Errors
/// [`EarningsError`]; where a gateway or the chain does not answer, that is part of the answer.
pub async fn earnings(configs: &[Config], now: u64) -> Result<Earnings, EarningsError> {
    let operator = one_operator(configs)?;
    let payouts = one_treasury(configs)?;
    // In this order: what the later ones tell of only grows, so that nothing is missed there that was seen before.
    let outboxes = read_outboxes(operator, configs)?;
    let chain = match payouts {
        None => Told::NotAsked,
        Some(payouts) => ask_chain(payouts, &outboxes.operator).await?,
    };
    let urls = configs.iter().flat_map(|config| &config.receipt_urls);
    let gateway = gateway::ask(urls.map(String::as_str), &outboxes.operator).await;
    let share = payouts.and_then(|payouts| payouts.operator_share_bps);
    Ok(Facts { outboxes, gateway, chain }.judge(share, now))
}

fn one_operator(configs: &[Config]) -> Result<&OperatorId, EarningsError> {
    let operator = &configs.first().ok_or(EarningsError::NoConfig)?.operator;
    match configs.iter().find(|config| config.operator != *operator) {
        None => Ok(operator),
        Some(other) => Err(EarningsError::TwoOperators(operator.clone(), other.operator.clone())),
    }
}

/// The first section there is. Others may name other endpoints, but no other payer.
fn one_treasury(configs: &[Config]) -> Result<Option<&PayoutsConfig>, EarningsError> {
    let mut all = configs.iter().filter_map(|config| config.payouts.as_ref());
    let Some(first) = all.next() else { return Ok(None) };
    let payer = (first.network()?, first.treasury()?, first.operator_share_bps);
    for other in all {
        if (other.network()?, other.treasury()?, other.operator_share_bps) != payer {
            return Err(EarningsError::TwoTreasuries);
        }
    }
    Ok(Some(first))
}

fn read_outboxes(operator: &OperatorId, configs: &[Config]) -> Result<Outboxes, EarningsError> {
    let (mut waiting, mut tally) = (Sum::default(), Tally::default());
    let mut folders = BTreeSet::new();
    for Config { state_dir, .. } in configs {
        let unread = |source| EarningsError::Outbox { path: state_dir.clone(), source };
        let folder = state_dir.canonicalize().map_err(unread)?;
        let books = Books::look(&folder).map_err(unread)?;
        if !folders.insert(folder) {
            return Err(EarningsError::SameFolder(state_dir.clone()));
        }
        waiting.add_all(books.waiting());
        tally.add_all(books.tally());
    }
    Ok(Outboxes { operator: operator.clone(), backends: configs.len(), waiting, tally })
}

async fn ask_chain(payouts: &PayoutsConfig, operator: &OperatorId) -> Result<Told<Paid>, EarningsError> {
    let endpoints = payouts.endpoints()?.into_iter().map(Endpoint::new).collect::<Result<Vec<_>, _>>()?;
    let chain = Failover::new(endpoints)?;
    let payee = Address::from_raw(operator.as_str())
        .map_err(|error| ChainConfigError::Value { key: "operator", message: error.to_string() })?;
    Ok(paid::paid(&chain, &payee, &payouts.treasury()?)
        .await
        .unwrap_or_else(|why| Told::Unknown(why.to_string())))
}

impl Facts {
    fn judge(self, share: Option<cocoon_receipts::BasisPoints>, now: u64) -> Earnings {
        let Self { outboxes: Outboxes { operator, backends, waiting, tally }, gateway, chain } = self;
        let mut signed = waiting;
        for finished in [tally.booked, tally.refused, tally.expired] {
            signed.add_all(finished);
        }
        let booked = gateway.said().map(earned);
        let owed = booked.zip(chain.said()).map(|(booked, paid)| booked - i128::from(paid.amount.0));
        let checks =
            checks::all(&checks::Judged { tally: &tally, share, booked, paid: chain.said(), owed, now });
        Earnings { operator, backends, signed, waiting, tally, gateway, chain, owed, checks }
    }
}

/// What an operator has earned, paid out or not.
fn earned(view: &OperatorView) -> i128 {
    let OperatorView { accrued: NanoTon(accrued), reversed: NanoTon(reversed), .. } = view;
    i128::from(*accrued) - i128::from(*reversed)
}

#[cfg(test)]
mod tests;
