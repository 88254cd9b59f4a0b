//! One message, run on one account.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tycho_executor::phase::{
    ActionPhaseContext, ActionPhaseFull, BouncePhaseContext, ComputePhaseContext, ComputePhaseFull,
    ReceivedMessage, StoragePhaseContext, TransactionInput,
};
use tycho_executor::{
    Executor, ExecutorInspector, ExecutorOutput, ExecutorParams, ExecutorState, TxError, TxResult,
    UncommittedTransaction,
};
use tycho_types::cell::{Cell, CellBuilder, HashBytes, Lazy};
use tycho_types::models::{
    AccountState, AccountStatus, AccountStatusChange, BouncePhase, BounceReason, ComputePhase,
    ComputePhaseSkipReason, NewBounceComputePhaseInfo, OptionalAccount, OrdinaryTxInfo, OwnedMessage,
    ShardAccount, StdAddr, StoragePhase,
};
use tycho_types::num::Tokens;
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
        // As the C++ node at this version: where an action fails, the messages before it cost nothing, and it
        // costs the fine for looking at its cells.
        charge_action_fees_on_fail: false,
        strict_extra_currency: true,
        ..Default::default()
    };
    let mut inspector = ExecutorInspector::default();
    let executor = Executor::new(&params, network.config()).with_min_lt(rules.min_lt);
    let executed = match commit(&executor, account, inbound, &mut inspector) {
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

fn commit(
    executor: &Executor<'_>,
    account: &ShardAccount,
    inbound: &Inbound,
    inspector: &mut ExecutorInspector<'_>,
) -> TxResult<ExecutorOutput> {
    let before = account.load_account()?;
    let mut state = executor.begin(&inbound.to, before)?;
    let info = phases(&mut state, inbound, inspector)?;
    if state.end_status == AccountStatus::NotExists && !state.balance.is_zero() {
        // Deleted for its debt before it was credited: what it got since is on an account without a state.
        state.end_status = AccountStatus::Uninit;
        state.state = AccountState::Uninit;
    }
    Ok(UncommittedTransaction::with_info(state, account, Some(inbound.message.clone()), info)?.commit()?)
}

/// The phases of a transaction, one after the other. The executor has a function for that too, which runs the
/// code of an account even where the storage phase has just frozen or deleted it; a C++ node does not.
fn phases(
    state: &mut ExecutorState<'_>,
    inbound: &Inbound,
    inspector: &mut ExecutorInspector<'_>,
) -> TxResult<OrdinaryTxInfo> {
    let mut message = match state.receive_in_msg(inbound.message.clone()) {
        Ok(message) if message.is_external == inbound.external => message,
        Ok(_) => return Err(TxError::Fatal(anyhow::anyhow!("a message of the other kind"))),
        Err(_) if inbound.external => return Err(TxError::Skipped),
        Err(error) => return Err(TxError::Fatal(error)),
    };
    // What may have to go back does not pay the rent.
    let credit_first = !message.bounce_enabled;
    let mut credit_phase = None;
    if credit_first && !inbound.external {
        credit_phase = Some(state.credit_phase(&message)?);
    }
    let storage_phase = state.storage_phase(StoragePhaseContext {
        adjust_msg_balance: credit_first,
        received_message: Some(&mut message),
        inspector: Some(inspector),
    })?;
    if !credit_first {
        credit_phase = Some(state.credit_phase(&message)?);
    }

    let computed = compute(state, &mut message, &storage_phase, inspector)?;
    if inbound.external && !computed.accepted {
        return Err(TxError::Skipped);
    }
    let ComputePhaseFull { compute_phase, original_balance, new_state, actions, .. } = computed;
    let acted = match &compute_phase {
        ComputePhase::Executed(executed) if executed.success => {
            Some(state.action_phase(ActionPhaseContext {
                received_message: Some(&mut message),
                original_balance,
                new_state,
                actions,
                compute_phase: executed,
                inspector: Some(inspector),
            })?)
        }
        _ => None,
    };
    let bounces = acted.as_ref().is_none_or(|acted| acted.state_exceeds_limits || acted.bounce);
    let bounce_phase = match message.bounce_enabled && bounces {
        true => Some(bounce(state, &message, &compute_phase, acted.as_ref())?),
        false => None,
    };
    Ok(OrdinaryTxInfo {
        credit_first,
        storage_phase: Some(storage_phase),
        credit_phase,
        aborted: !acted.as_ref().is_some_and(|acted| acted.action_phase.success),
        destroyed: acted
            .as_ref()
            .is_some_and(|acted| acted.action_phase.status_change == AccountStatusChange::Deleted),
        compute_phase,
        action_phase: acted.map(|acted| acted.action_phase),
        bounce_phase,
    })
}

/// Runs the account's code, if it still has any: what was frozen or deleted in this transaction has not, and no
/// state that the message brings changes that before the next one.
fn compute(
    state: &mut ExecutorState<'_>,
    message: &mut ReceivedMessage,
    storage_phase: &StoragePhase,
    inspector: &mut ExecutorInspector<'_>,
) -> TxResult<ComputePhaseFull> {
    let brings_state = message.init.is_some();
    if storage_phase.status_change != AccountStatusChange::Unchanged {
        if let AccountState::Active(active) = &state.state {
            let frozen = CellBuilder::build_from(active)?;
            state.state = AccountState::Frozen(*frozen.repr_hash());
        }
        message.init = None;
    }
    let mut computed = state.compute_phase(ComputePhaseContext {
        input: TransactionInput::Ordinary(message),
        storage_fee: storage_phase.storage_fees_collected,
        force_accept: false,
        stop_on_accept: false,
        inspector: Some(inspector),
    })?;
    if let ComputePhase::Skipped(skipped) = &mut computed.compute_phase
        && matches!(skipped.reason, ComputePhaseSkipReason::NoState | ComputePhaseSkipReason::BadState)
    {
        // There was no state to run, or one that did not fit.
        skipped.reason = match brings_state {
            true => ComputePhaseSkipReason::BadState,
            false => ComputePhaseSkipReason::NoState,
        };
    }
    Ok(computed)
}

fn bounce(
    state: &mut ExecutorState<'_>,
    message: &ReceivedMessage,
    compute_phase: &ComputePhase,
    acted: Option<&ActionPhaseFull>,
) -> TxResult<BouncePhase> {
    let reason = match (acted, compute_phase) {
        (Some(acted), _) => BounceReason::ActionPhaseFailed { result_code: acted.action_phase.result_code },
        (None, ComputePhase::Executed(phase)) => {
            BounceReason::ComputePhaseFailed { exit_code: phase.exit_code }
        }
        (None, ComputePhase::Skipped(phase)) => BounceReason::ComputePhaseSkipped(phase.reason),
    };
    let (gas_fees, compute_phase_info) = match compute_phase {
        ComputePhase::Executed(phase) => {
            let gas_used = phase.gas_used.into_inner().try_into().unwrap_or(u32::MAX);
            (phase.gas_fees, Some(NewBounceComputePhaseInfo { gas_used, vm_steps: phase.vm_steps }))
        }
        ComputePhase::Skipped(_) => (Tokens::ZERO, None),
    };
    Ok(state.bounce_phase(BouncePhaseContext {
        gas_fees,
        action_fine: acted.map_or(Tokens::ZERO, |acted| acted.action_fine),
        received_message: message,
        reason,
        compute_phase_info,
    })?)
}
