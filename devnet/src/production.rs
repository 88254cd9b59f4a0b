//! How a block is made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tycho_types::cell::HashBytes;
use tycho_types::error::Error;
use tycho_types::models::{ShardAccount, StdAddr, Transaction};

use crate::execution::{self, Executed, Inbound, Moment, NotExecuted, Rules};
use crate::faults::NetworkFaults;
use crate::state::{Block, Change, Delivery, Recorded, Seqno, State, TransactionId, nanos};
use crate::{ChainError, Network};

/// Blocks begin at multiples of it.
const LT_STEP: u64 = 1_000_000;

/// An external message that waits for a block.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) inbound: Inbound,
    pub(crate) due: Seqno,
}

/// When the block after the newest one is, at `now`.
pub(crate) fn next_moment(state: &State, now: u32) -> Moment {
    let head = state.head();
    Moment {
        // Time on the chain never goes back.
        time: head.time.max(now),
        block_lt: (head.end_lt / LT_STEP + 1) * LT_STEP,
        seed: head.digest,
    }
}

/// An account that the block has changed, perhaps into one that is gone.
struct Touched {
    account: ShardAccount,
    there: bool,
    /// The first logical time that its next transaction may have, also if it is made anew in this block.
    next_lt: u64,
}

/// A block being made.
struct Production<'a> {
    network: &'a Network,
    state: &'a State,
    moment: Moment,
    seqno: Seqno,
    delay: Seqno,
    end_lt: u64,
    accounts: BTreeMap<StdAddr, Touched>,
    recorded: Vec<Arc<Recorded>>,
    queue: Vec<Delivery>,
    /// By sender, when the last message that is on its way arrives: a later one never arrives before it.
    last_due: BTreeMap<StdAddr, Seqno>,
    supply: crate::Supply,
}

/// Makes the next block: first the messages that are due, then what came from outside and is due.
///
/// # Errors
/// [`ChainError`], and then nothing has changed.
pub(crate) fn produce(
    network: &Network,
    state: &State,
    now: u32,
    externals: &[Waiting],
    faults: &NetworkFaults,
) -> Result<Change, ChainError> {
    let moment = next_moment(state, now);
    let seqno = state.head().seqno + 1;
    let (due, later): (Vec<_>, Vec<_>) =
        state.queue.iter().cloned().partition(|delivery| delivery.due <= seqno);
    let mut last_due = BTreeMap::new();
    for delivery in &later {
        let last = last_due.entry(delivery.from.clone()).or_insert(delivery.due);
        *last = delivery.due.max(*last);
    }
    let mut production = Production {
        network,
        state,
        moment,
        seqno,
        delay: faults.delay_messages,
        end_lt: moment.block_lt,
        accounts: BTreeMap::new(),
        recorded: Vec::new(),
        queue: later,
        last_due,
        supply: state.supply,
    };
    for delivery in ordered(due, faults.shuffle.map(|seed| seed ^ u64::from(seqno))) {
        production.deliver(delivery)?;
    }
    for waiting in externals.iter().filter(|waiting| waiting.due <= seqno) {
        match production.run(&waiting.inbound, 0) {
            // Valid when it was sent, and no longer: as on any chain, it is forgotten.
            Err(ChainError::Execution(error)) => {
                tracing::debug!(account = %waiting.inbound.to, %error, "an external message is not executed");
            }
            other => other?,
        }
    }
    Ok(production.end())
}

impl Production<'_> {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), ChainError> {
        self.supply.fees += delivery.fee;
        let inbound = Inbound { to: delivery.to, message: delivery.message, external: false };
        match self.run(&inbound, delivery.value) {
            Err(ChainError::Execution(error)) => {
                // One message that the executor cannot run must not end the chain.
                tracing::error!(%error, "a message is lost, with what it carries");
                self.supply.burned += delivery.value;
                Ok(())
            }
            other => other,
        }
    }

    fn run(&mut self, inbound: &Inbound, value: u128) -> Result<(), ChainError> {
        let (account, min_lt) = match self.accounts.get(&inbound.to) {
            Some(touched) => (touched.account.clone(), touched.next_lt),
            None => (self.state.account(&inbound.to)?, self.moment.block_lt),
        };
        let rules = Rules { min_lt, any_signature: false };
        let executed = execution::run(self.network, &self.moment, &account, inbound, rules)?;
        if executed.account.load_account()?.is_none() {
            // The executor forgets what the account had left, such as the message that found it deleted for its
            // debts.
            self.supply.burned += value + nanos(&account)?;
            self.supply.burned -= executed.fees + executed.burned + carried(&executed)?;
        }
        self.keep(&inbound.to, executed)
    }

    fn keep(&mut self, address: &StdAddr, executed: Executed) -> Result<(), ChainError> {
        self.end_lt = self.end_lt.max(executed.next_lt);
        self.supply.fees += executed.fees;
        self.supply.burned += executed.burned;
        let previous_lt = executed.transaction.parse::<Transaction>()?.prev_trans_lt;
        let hash: HashBytes = *executed.transaction.repr_hash();
        let id = TransactionId { account: address.clone(), lt: executed.lt, hash };
        let recorded = Recorded { id, cell: executed.transaction, previous_lt, seqno: self.seqno };
        self.recorded.push(Arc::new(recorded));
        for message in executed.sent {
            self.send(address, message.inner().clone())?;
        }
        let there = executed.account.load_account()?.is_some();
        let touched = Touched { account: executed.account, there, next_lt: executed.next_lt };
        self.accounts.insert(address.clone(), touched);
        Ok(())
    }

    fn send(&mut self, from: &StdAddr, message: tycho_types::cell::Cell) -> Result<(), ChainError> {
        let last = self.last_due.entry(from.clone()).or_default();
        let due = self.seqno.saturating_add(1).saturating_add(self.delay).max(*last);
        if let Some(delivery) = Delivery::of(message, due)? {
            *last = due;
            self.queue.push(delivery);
        }
        Ok(())
    }

    fn end(self) -> Change {
        let transactions = self.recorded.iter().map(|recorded| recorded.id.clone()).collect();
        let Moment { time, block_lt, .. } = self.moment;
        let block = Arc::new(Block::after(self.state.head(), time, block_lt, self.end_lt, transactions));
        let account = |touched: Touched| touched.there.then_some(touched.account);
        let accounts =
            self.accounts.into_iter().map(|(address, touched)| (address, account(touched))).collect();
        Change { block, accounts, recorded: self.recorded, queue: self.queue, supply: self.supply }
    }
}

/// What a transaction's messages between accounts take along, nanoTON.
fn carried(executed: &Executed) -> Result<u128, Error> {
    let mut sum = 0;
    for message in &executed.sent {
        let delivery = Delivery::of(message.inner().clone(), 0)?;
        sum += delivery.map_or(0, |delivery| delivery.value + delivery.fee);
    }
    Ok(sum)
}

/// In the order in which they were sent; or, with a seed, in any order that keeps what one account sent in
/// order, which is all that the network promises.
fn ordered(mut due: Vec<Delivery>, seed: Option<u64>) -> Vec<Delivery> {
    due.sort_by_key(|delivery| (delivery.created_lt, *delivery.message.repr_hash()));
    let Some(seed) = seed else { return due };
    let mut random = fastrand::Rng::with_seed(seed);
    let mut senders: BTreeMap<StdAddr, VecDeque<Delivery>> = BTreeMap::new();
    for delivery in due {
        senders.entry(delivery.from.clone()).or_default().push_back(delivery);
    }
    let mut senders: Vec<_> = senders.into_values().collect();
    let mut shuffled = Vec::new();
    while !senders.is_empty() {
        let chosen = random.usize(..senders.len());
        shuffled.extend(senders[chosen].pop_front());
        if senders[chosen].is_empty() {
            senders.swap_remove(chosen);
        }
    }
    shuffled
}

/// Whether a message from outside would be accepted now.
///
/// # Errors
/// [`NotExecuted::NotAccepted`] if not.
pub(crate) fn check_external(
    network: &Network,
    state: &State,
    now: u32,
    inbound: &Inbound,
    any_signature: bool,
) -> Result<Executed, NotExecuted> {
    let account = state.account(&inbound.to).map_err(fatal)?;
    let moment = next_moment(state, now);
    execution::run(network, &moment, &account, inbound, Rules { min_lt: moment.block_lt, any_signature })
}

fn fatal(error: Error) -> NotExecuted {
    NotExecuted::Fatal(error.into())
}
