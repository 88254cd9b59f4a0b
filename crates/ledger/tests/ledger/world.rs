//! The state machine of the random test: the model, and what was asked of it, so that calls meet each other.

use std::fmt;
use std::time::Duration;

use cocoon_ledger::Withdrawal;
use cocoon_receipts::{AccountId, NanoTon, RequestId};
use proptest::strategy::{BoxedStrategy, Just, Strategy};
use proptest_state_machine::ReferenceStateMachine;

use crate::bench::{GRACE, START_MS, options};
use crate::calls::Call;
use crate::generate;
use crate::model::Model;

/// Requests that may still be meant by the next call.
const RECENT: usize = 5;

/// Withdrawals that may.
const RECENT_INTENTS: usize = 3;

/// Calls that may be made again.
const REPEATED: usize = 40;

/// How long what a key or project used is remembered.
const RECORDS_KEPT: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// An account and a request of it.
pub(crate) type Whose = (AccountId, RequestId);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) model: Model,
    requests: Vec<Whose>,
    intents: Vec<Withdrawal>,
    calls: Vec<Call>,
    /// What the model said to the last call.
    pub(crate) said: String,
    /// What was held for its request before it.
    pub(crate) held_before: Option<NanoTon>,
}

impl World {
    fn new() -> Self {
        Self {
            model: Model::new(START_MS, GRACE, options().shards),
            requests: Vec::new(),
            intents: Vec::new(),
            calls: Vec::new(),
            said: String::new(),
            held_before: None,
        }
    }

    pub(crate) fn recent_requests(&self) -> &[Whose] {
        last(&self.requests, RECENT)
    }

    pub(crate) fn recent_intents(&self) -> &[Withdrawal] {
        last(&self.intents, RECENT_INTENTS)
    }

    pub(crate) fn recent_calls(&self) -> &[Call] {
        last(&self.calls, REPEATED)
    }

    /// Makes ids unique.
    pub(crate) fn made(&self) -> u64 {
        self.calls.len() as u64
    }

    fn after(mut self, call: &Call) -> Self {
        if let Some((account, request)) = call.request() {
            self.held_before = self.model.hold(account, request);
            if !self.requests.iter().any(|(_, known)| *known == request) {
                self.requests.push((account.clone(), request));
            }
        }
        self.said = call.on_model(&mut self.model);
        if let Call::WithdrawBegin(withdrawal) = call
            && self.model.is_under_way(&withdrawal.account, withdrawal.intent)
            && !self.intents.iter().any(|known| known.intent == withdrawal.intent)
        {
            self.intents.push(withdrawal.clone());
        }
        self.calls.push(call.clone());
        self
    }
}

fn last<T>(of: &[T], count: usize) -> &[T] {
    &of[of.len().saturating_sub(count)..]
}

impl fmt::Debug for World {
    /// Every case begins with an empty one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl ReferenceStateMachine for World {
    type State = Self;
    type Transition = Call;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::new()).boxed()
    }

    fn transitions(world: &Self) -> BoxedStrategy<Call> {
        generate::next(world)
    }

    fn apply(world: Self, call: &Call) -> Self {
        world.after(call)
    }

    /// No hold is older than records of what was used are kept: somebody sweeps.
    fn preconditions(world: &Self, call: &Call) -> bool {
        let Call::Pass(time) = call else { return true };
        world.model.oldest_hold().is_none_or(|age| age + *time < RECORDS_KEPT)
    }
}
