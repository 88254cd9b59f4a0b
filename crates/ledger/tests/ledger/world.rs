//! The state machine of the random test: the model, and what was asked of it, so that calls meet each other.

use std::fmt;

use cocoon_receipts::{AccountId, NanoTon, RequestId};
use proptest::strategy::{BoxedStrategy, Just, Strategy};
use proptest_state_machine::ReferenceStateMachine;

use crate::bench::{GRACE, START_MS, options};
use crate::calls::Call;
use crate::generate;
use crate::model::Model;

/// Requests that may still be meant by the next call.
const RECENT: usize = 5;

/// Calls that may be made again.
const REPEATED: usize = 40;

/// An account and a request of it.
pub(crate) type Whose = (AccountId, RequestId);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) model: Model,
    requests: Vec<Whose>,
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
            calls: Vec::new(),
            said: String::new(),
            held_before: None,
        }
    }

    pub(crate) fn recent_requests(&self) -> &[Whose] {
        last(&self.requests, RECENT)
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
}
