//! One message, run on one account.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tycho_executor::{Executor, ExecutorInspector, ExecutorParams, TxError};
use tycho_types::cell::{Cell, HashBytes, Lazy};
use tycho_types::models::{OptionalAccount, OwnedMessage, ShardAccount, StdAddr};
use tycho_vm::BehaviourModifiers;

use crate::Network;

/// When and in which block a message is run.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Unix time of the block, seconds.
    pub time: u32,
    /// Logical time at which the block begins.
    pub block_lt: u64,
    /// What the contracts' random numbers come from.
    pub seed: HashBytes,
}

/// A message that the network delivers.
#[derive(Debug, Clone)]
pub struct Inbound {
    pub to: StdAddr,
    pub message: Cell,
    /// From outside: the account itself says whether it takes it, and pays.
    pub external: bool,
}

/// What a message made of an account.
#[derive(Debug, Clone)]
pub struct Executed {
    pub account: ShardAccount,
    pub transaction: Cell,
    /// Logical time of the transaction.
    pub lt: u64,
    /// The first logical time after it and what it sent.
    pub next_lt: u64,
    /// What the transaction itself took, nanoTON.
    pub fees: u128,
    /// What went to the account where coins end, nanoTON.
    pub burned: u128,
    pub sent: Vec<Lazy<OwnedMessage>>,
}

/// A message that made no transaction.
#[derive(Debug, thiserror::Error)]
pub enum NotExecuted {
    /// An external message that its receiver did not accept: it costs nobody anything.
    #[error("not accepted, exit code {0:?}")]
    NotAccepted(Option<i32>),
    #[error("the executor cannot run it: {0:#}")]
    Fatal(anyhow::Error),
}

/// An account that is not there.
///
/// # Errors
/// None for any input: the cell of nothing is always made.
pub(crate) fn nothing() -> Result<ShardAccount, tycho_types::error::Error> {
    let account = Lazy::new(&OptionalAccount(None))?;
    Ok(ShardAccount { account, last_trans_hash: HashBytes::ZERO, last_trans_lt: 0 })
}

/// Runs a message through all five phases of a transaction. Nothing is kept: the caller has the account before
/// and after.
///
/// # Errors
/// [`NotExecuted`].
pub fn execute(
    network: &Network,
    moment: &Moment,
    account: &ShardAccount,
    inbound: &Inbound,
) -> Result<Executed, NotExecuted> {
    run(network, moment, account, inbound, Rules { min_lt: moment.block_lt, any_signature: false })
}

/// What one run needs beside its moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The first logical time that the transaction may have.
    pub(crate) min_lt: u64,
    /// Every signature counts as right: for asking what a message would cost before it is signed.
    pub(crate) any_signature: bool,
}

/// As [`execute`], under these rules. Nothing ends the process: where the executor panics, the message has no
/// transaction.
pub(crate) fn run(
    network: &Network,
    moment: &Moment,
    account: &ShardAccount,
    inbound: &Inbound,
    rules: Rules,
) -> Result<Executed, NotExecuted> {
    let executed = catch_unwind(AssertUnwindSafe(|| transact(network, moment, account, inbound, rules)));
    executed.unwrap_or_else(|_| Err(NotExecuted::Fatal(anyhow::anyhow!("the executor panicked"))))
}

fn transact(
    network: &Network,
    moment: &Moment,
    account: &ShardAccount,
    inbound: &Inbound,
    rules: Rules,
) -> Result<Executed, NotExecuted> {
    let vm_modifiers =
        BehaviourModifiers { chksig_always_succeed: rules.any_signature, ..Default::default() };
    let params = ExecutorParams {
        block_unixtime: moment.time,
        block_lt: moment.block_lt,
        rand_seed: moment.seed,
        vm_modifiers,
        // As the C++ node at this version; the executor's defaults are those of another chain.
        charge_action_fees_on_fail: true,
        strict_extra_currency: true,
        ..Default::default()
    };
    let mut inspector = ExecutorInspector::default();
    let executed = Executor::new(&params, network.config())
        .with_min_lt(rules.min_lt)
        .begin_ordinary_ext(
            &inbound.to,
            inbound.external,
            inbound.message.clone(),
            account,
            Some(&mut inspector),
        )
        .and_then(|transaction| transaction.commit().map_err(TxError::Fatal));
    let executed = match executed {
        Ok(executed) => executed,
        Err(TxError::Skipped) => return Err(NotExecuted::NotAccepted(inspector.exit_code)),
        Err(TxError::Fatal(error)) => return Err(NotExecuted::Fatal(error)),
    };
    Ok(Executed {
        lt: executed.new_state.last_trans_lt,
        account: executed.new_state,
        transaction: executed.transaction.inner().clone(),
        next_lt: executed.transaction_meta.next_lt,
        fees: executed.transaction_meta.total_fees.into_inner(),
        burned: executed.burned.into_inner(),
        sent: executed.transaction_meta.out_msgs,
    })
}
