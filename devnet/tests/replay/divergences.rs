//! Where our executor does something else than the C++ one: what our contracts and wallets never ask of it.
//! Each must be as it is described here, and must still be there: if it has gone, this list is to be
//! shortened.

use cocoon_devnet::NotExecuted;
use tycho_types::models::{AccountState, ActionPhase, ComputePhase, ComputePhaseSkipReason};

use crate::compare::Contents;

/// What ours made of a message of which the C++ executor made a transaction.
pub(crate) type Ours = Result<Contents, NotExecuted>;

/// Whether two outcomes differ as it is said.
type AsDescribed = fn(&Contents, &Ours) -> bool;

/// By the name of the recorder's scenario.
pub(crate) const DIVERGENCES: [(&str, AsDescribed); 11] = [
    // A mode that there is not is no reason for flag 2 to skip an action, for the C++ executor (34).
    ("an invalid mode with 2", |theirs, ours| failed_with(theirs, 34) && skipped_one(ours)),
    // Nor is the address of somebody else as the source (35).
    ("another's address as the source, with 2", |theirs, ours| failed_with(theirs, 35) && skipped_one(ours)),
    // The C++ executor looks at messages while it reads the list of actions, before it carries any of them
    // out. It skips one that it cannot read if flag 2 says so; ours, which finds it when it is to be sent,
    // does not.
    ("an unreadable message with 2", |theirs, ours| {
        action_phase(theirs).is_some_and(|phase| phase.success && phase.skipped_actions == 1)
            && fails_with(ours, 34)
    }),
    // Without that flag the list is invalid. Ours has counted the messages before it by then; none of them is
    // sent.
    ("an unreadable message", |theirs, ours| {
        action_phase(theirs).is_some_and(|phase| !phase.valid && phase.messages_created == 0)
            && action_phase_of(ours).is_some_and(|phase| phase.valid)
            && failed_with(theirs, 34)
            && fails_with(ours, 34)
    }),
    // An amount of 0 in the dictionary of currencies is not well-formed. Ours takes it out.
    ("none of a currency", |theirs, ours| failed_with(theirs, 34) && acts(ours)),
    // Two currencies may be in a message (44); ours counts from 0.
    ("three currencies", |theirs, ours| failed_with(theirs, 44) && acts(ours)),
    // A code of its own for such flags (45); ours cannot read the message.
    ("flags that no message has", |theirs, ours| failed_with(theirs, 45) && fails_with(ours, 34)),
    // Ours takes a depth of 0 for no depth at all and cannot read the message, ...
    ("split depth 0", |theirs, ours| is_active(theirs) && matches!(ours, Err(NotExecuted::Fatal(_)))),
    // ... and deploys no account with a depth.
    ("split depth 5", |theirs, ours| is_active(theirs) && ours.as_ref().is_ok_and(has_bad_state)),
    // Flags of which none is set are not stored. Ours stores them.
    ("special flags, none of them set", |theirs, ours| {
        special_flags(theirs) == Some(false)
            && ours.as_ref().is_ok_and(|ours| special_flags(ours) == Some(true))
    }),
    // Ours counts the root among the cells of an external message.
    ("the largest message from outside", |_, ours| matches!(ours, Err(NotExecuted::NotAccepted(None)))),
];

fn action_phase(contents: &Contents) -> Option<&ActionPhase> {
    contents.info.action_phase.as_ref()
}

fn action_phase_of(ours: &Ours) -> Option<&ActionPhase> {
    ours.as_ref().ok().and_then(action_phase)
}

fn failed_with(contents: &Contents, code: i32) -> bool {
    action_phase(contents).is_some_and(|phase| !phase.success && phase.result_code == code)
}

fn fails_with(ours: &Ours, code: i32) -> bool {
    ours.as_ref().is_ok_and(|ours| failed_with(ours, code))
}

fn acts(ours: &Ours) -> bool {
    action_phase_of(ours).is_some_and(|phase| phase.success && phase.skipped_actions == 0)
}

fn skipped_one(ours: &Ours) -> bool {
    action_phase_of(ours).is_some_and(|phase| phase.success && phase.skipped_actions == 1)
}

fn is_active(contents: &Contents) -> bool {
    contents.account.as_ref().is_some_and(|account| matches!(account.state, AccountState::Active(_)))
}

fn has_bad_state(contents: &Contents) -> bool {
    matches!(
        &contents.info.compute_phase,
        ComputePhase::Skipped(phase) if phase.reason == ComputePhaseSkipReason::BadState
    )
}

/// Whether an account that is deployed has special flags.
fn special_flags(contents: &Contents) -> Option<bool> {
    match &contents.account.as_ref()?.state {
        AccountState::Active(state) => Some(state.special.is_some()),
        _ => None,
    }
}
