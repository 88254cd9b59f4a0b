//! The chain as one thing: it takes messages, makes blocks, and keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes};
use tycho_types::error::Error;
use tycho_types::models::{CurrencyCollection, IntMsgInfo, MsgInfo, OwnedMessage, StdAddr};

use crate::Network;
use crate::clock::Clock;
use crate::execution::{Executed, Inbound, NotExecuted};
use crate::faults::NetworkFaults;
use crate::production::{self, Waiting};
use crate::state::{Block, Delivery, State, Supply, on_this_chain};
use crate::store::{Store, StoreError};

/// Most external messages that wait for a block.
const MOST_WAITING: usize = 4096;

/// Most messages on their way while whoever steers the chain puts more of them there. What contracts send is
/// bounded by what they pay for it.
const MOST_ON_THE_WAY: usize = 100_000;

/// Most snapshots that are kept.
const MOST_SNAPSHOTS: usize = 64;

/// Longest name of a snapshot, bytes.
const MAX_NAME: usize = 64;

/// Most that comes into being by one message, nanoTON: 5 billion TON, as many as the network began with.
pub(crate) const MOST_GIVEN: u64 = 5_000_000_000_000_000_000;

/// Most blocks that one call makes.
pub(crate) const MOST_BLOCKS: u32 = 100_000;

/// Largest external message, bytes (ConfigParam 43, `max_ext_msg_size`).
const MAX_EXTERNAL: usize = 65_535;

/// Longest comment of the faucet, bytes: as many as fit beside its 32 bits in one cell.
const MAX_COMMENT: usize = 123;

/// Where the faucet's coins come from: an account that nobody has the key of.
const FAUCET: StdAddr = StdAddr::new(-1, HashBytes([0xfa; 32]));

/// What the chain refuses, or fails at.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("not a message from outside: {0}")]
    NotAnExternal(&'static str),
    #[error("not a message between accounts of this chain: {0}")]
    NotAnInternal(&'static str),
    #[error("an amount is 1 to {MOST_GIVEN} nanoTON")]
    Amount,
    #[error(transparent)]
    Execution(#[from] NotExecuted),
    #[error("a cell cannot be read or made: {0}")]
    Cell(#[from] Error),
    #[error("too many {0}")]
    TooMany(&'static str),
    #[error("there is no snapshot of this name")]
    NoSnapshot,
    #[error("a snapshot's name has 1 to {MAX_NAME} letters, digits, - and _")]
    SnapshotName,
    #[error("time does not go back: the newest block is of {0}")]
    TimeGoesBack(u32),
    #[error("blocks have no time after {}", u32::MAX)]
    TimeEnds,
    #[error("messages are still on their way after {0} blocks")]
    NotIdle(u32),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Clone)]
struct Snapshot {
    state: Arc<State>,
    clock: Clock,
}

/// A chain, with all its history in memory.
pub struct Chain {
    network: Network,
    state: Arc<State>,
    clock: Clock,
    waiting: Vec<Waiting>,
    faults: NetworkFaults,
    snapshots: BTreeMap<String, Snapshot>,
    store: Option<Store>,
}

impl Chain {
    /// A new chain that is gone when this is dropped.
    #[must_use]
    pub fn in_memory(network: Network, clock: Clock) -> Self {
        let state = State::new(Block::first(&network, clock.now()));
        Self::with(network, state, clock, None)
    }

    /// The chain that `store` has, or a new one that it keeps from now on.
    ///
    /// # Errors
    /// [`StoreError`], also for a store that has the chain of another network.
    pub fn kept(network: Network, clock: Clock, mut store: Store) -> Result<Self, StoreError> {
        if let Some((state, clock)) = store.load(&network)? {
            return Ok(Self::with(network, state, clock, Some(store)));
        }
        let state = State::new(Block::first(&network, clock.now()));
        store.replace(&network, &state, clock)?;
        Ok(Self::with(network, state, clock, Some(store)))
    }

    fn with(network: Network, state: State, clock: Clock, store: Option<Store>) -> Self {
        Self {
            network,
            state: Arc::new(state),
            clock,
            waiting: Vec::new(),
            faults: NetworkFaults::default(),
            snapshots: BTreeMap::new(),
            store,
        }
    }

    /// Which chain it is, and what it charges.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Unix time of the next block if it were made now.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.clock.now().max(self.state.head().time)
    }

    /// The newest block.
    #[must_use]
    pub fn head(&self) -> &Block {
        self.state.head()
    }

    /// Where coins came from and ended, all in all.
    #[must_use]
    pub fn supply(&self) -> Supply {
        self.state.supply
    }

    /// What is still to go wrong.
    #[must_use]
    pub fn faults(&self) -> &NetworkFaults {
        &self.faults
    }

    /// Lets this go wrong from now on, and nothing else.
    pub fn set_faults(&mut self, faults: NetworkFaults) {
        self.faults = faults;
    }

    /// External messages that wait for a block.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Makes one block of what waits.
    ///
    /// # Errors
    /// [`ChainError`], and then there is no block, and what waited for it waits on.
    pub fn produce(&mut self) -> Result<(), ChainError> {
        let now = self.clock.now();
        let change = production::produce(&self.network, &self.state, now, &self.waiting, &self.faults)?;
        if let Some(store) = &mut self.store {
            store.append(&change)?;
        }
        let seqno = change.block.seqno;
        // Others that still read the state as it was keep it; only then it is copied.
        Arc::make_mut(&mut self.state).apply(change);
        self.waiting.retain(|waiting| waiting.due > seqno);
        Ok(())
    }

    /// Whether nothing waits or is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.state.queue.is_empty()
    }

    /// Makes blocks until nothing is on its way.
    ///
    /// # Errors
    /// [`ChainError::NotIdle`] after `most` blocks.
    pub fn produce_until_idle(&mut self, most: u32) -> Result<u32, ChainError> {
        for made in 0..=most {
            if self.is_idle() {
                return Ok(made);
            }
            if made < most {
                self.produce()?;
            }
        }
        Err(ChainError::NotIdle(most))
    }

    /// Takes a message from outside for the next block, if its receiver would accept it now.
    ///
    /// # Errors
    /// [`ChainError`] for what is no such message, or is not accepted.
    pub fn send_external(&mut self, boc: &[u8]) -> Result<HashBytes, ChainError> {
        let inbound = external(boc)?;
        let hash = *inbound.message.repr_hash();
        production::check_external(&self.network, &self.state, self.clock.now(), &inbound, false)?;
        if self.waiting.iter().any(|waiting| *waiting.inbound.message.repr_hash() == hash) {
            return Ok(hash);
        }
        if self.waiting.len() >= MOST_WAITING {
            return Err(ChainError::TooMany("messages that wait for a block"));
        }
        let (copies, delay) = self.faults.external();
        let due = self.state.head().seqno.saturating_add(1).saturating_add(delay);
        self.waiting.extend((0..copies).map(|_| Waiting { inbound: inbound.clone(), due }));
        Ok(hash)
    }

    /// What a message from outside would do now; `any_signature` takes every signature for a right one.
    ///
    /// # Errors
    /// As [`Self::send_external`].
    pub fn emulate_external(&self, boc: &[u8], any_signature: bool) -> Result<Executed, ChainError> {
        let (inbound, now) = (external(boc)?, self.clock.now());
        Ok(production::check_external(&self.network, &self.state, now, &inbound, any_signature)?)
    }

    /// Sends new coins to an account, as a message that does not bounce.
    ///
    /// # Errors
    /// [`ChainError::Amount`], and as [`Self::send_internal`].
    pub fn give(&mut self, to: &StdAddr, nano: u64) -> Result<(), ChainError> {
        self.give_with(to, nano, Cell::empty_cell())
    }

    /// The same with a comment, as wallets write it: 32 zero bits, then text.
    ///
    /// # Errors
    /// [`ChainError::TooMany`] for more than [`MAX_COMMENT`] bytes.
    pub fn give_with_comment(&mut self, to: &StdAddr, nano: u64, comment: &str) -> Result<(), ChainError> {
        if comment.len() > MAX_COMMENT {
            return Err(ChainError::TooMany("bytes of a comment"));
        }
        let mut body = CellBuilder::new();
        body.store_u32(0)?;
        // At most 123 bytes, see above.
        body.store_raw(comment.as_bytes(), u16::try_from(comment.len() * 8).unwrap_or(u16::MAX))?;
        self.give_with(to, nano, body.build()?)
    }

    fn give_with(&mut self, to: &StdAddr, nano: u64, body: Cell) -> Result<(), ChainError> {
        if nano == 0 {
            return Err(ChainError::Amount);
        }
        // From what is on its way alone, so that a chain that went on elsewhere gives the same.
        let given = self.state.queue.iter().filter(|delivery| delivery.from == FAUCET);
        let last_lt = given.map(|delivery| delivery.created_lt).max().unwrap_or(0);
        let message = CellBuilder::build_from(OwnedMessage {
            info: MsgInfo::Int(IntMsgInfo {
                src: FAUCET.into(),
                dst: to.clone().into(),
                value: CurrencyCollection::new(nano.into()),
                created_at: self.now(),
                created_lt: last_lt.max(self.state.head().end_lt) + 1,
                ..IntMsgInfo::default()
            }),
            init: None,
            body: body.into(),
            layout: None,
        })?;
        self.enqueue(message)
    }

    /// Puts a message on its way as if an account had sent it; what it carries is new.
    ///
    /// # Errors
    /// [`ChainError`] for what is no message between accounts of this chain, or comes from its future.
    pub fn send_internal(&mut self, message: Cell) -> Result<(), ChainError> {
        let parsed = message.parse::<OwnedMessage>();
        let parsed = parsed.map_err(|_| ChainError::NotAnInternal("it is not a message"))?;
        let MsgInfo::Int(info) = parsed.info else {
            return Err(ChainError::NotAnInternal("it is from outside, or to there"));
        };
        if info.created_lt > self.state.head().end_lt {
            return Err(ChainError::NotAnInternal("its logical time is after the newest block"));
        }
        self.enqueue(message)
    }

    fn enqueue(&mut self, message: Cell) -> Result<(), ChainError> {
        let due = self.state.head().seqno + 1;
        let delivery = Delivery::of(message, due)?.ok_or(ChainError::NotAnInternal("its addresses"))?;
        let minted = delivery.value + delivery.fee;
        if minted > MOST_GIVEN.into() {
            return Err(ChainError::Amount);
        }
        if self.state.queue.len() >= MOST_ON_THE_WAY {
            return Err(ChainError::TooMany("messages on their way"));
        }
        let supply = Supply { minted: self.state.supply.minted + minted, ..self.state.supply };
        if let Some(store) = &mut self.store {
            store.enqueue(self.state.queue.len(), &delivery, &supply)?;
        }
        let state = Arc::make_mut(&mut self.state);
        state.supply = supply;
        state.queue.push(delivery);
        Ok(())
    }

    /// Takes another clock.
    ///
    /// # Errors
    /// [`ChainError::TimeGoesBack`] for a time before the newest block, [`ChainError::TimeEnds`] for one that
    /// no block can have.
    pub fn set_clock(&mut self, clock: Clock) -> Result<(), ChainError> {
        let head = self.state.head().time;
        if clock.time().ok_or(ChainError::TimeEnds)? < head {
            return Err(ChainError::TimeGoesBack(head));
        }
        if let Some(store) = &mut self.store {
            store.set_clock(clock)?;
        }
        self.clock = clock;
        Ok(())
    }

    /// Lets it be so many seconds later.
    ///
    /// # Errors
    /// As [`Self::set_clock`].
    pub fn advance(&mut self, seconds: u32) -> Result<(), ChainError> {
        self.set_clock(self.clock.advanced(seconds).ok_or(ChainError::TimeEnds)?)
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Keeps the chain as it is now under a name, in place of what had the name before.
    ///
    /// # Errors
    /// [`ChainError::SnapshotName`], [`ChainError::TooMany`].
    pub fn snapshot(&mut self, name: &str) -> Result<(), ChainError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(ChainError::SnapshotName);
        }
        if !self.snapshots.contains_key(name) && self.snapshots.len() >= MOST_SNAPSHOTS {
            return Err(ChainError::TooMany("snapshots"));
        }
        let snapshot = Snapshot { state: Arc::clone(&self.state), clock: self.clock };
        self.snapshots.insert(name.to_owned(), snapshot);
        Ok(())
    }

    /// Goes back to a snapshot, its clock included. What waited for a block is forgotten; faults stay as they
    /// are.
    ///
    /// # Errors
    /// [`ChainError::NoSnapshot`].
    pub fn restore(&mut self, name: &str) -> Result<(), ChainError> {
        let Snapshot { state, clock } = self.snapshots.get(name).cloned().ok_or(ChainError::NoSnapshot)?;
        if let Some(store) = &mut self.store {
            store.replace(&self.network, &state, clock)?;
        }
        (self.state, self.clock) = (state, clock);
        self.waiting.clear();
        Ok(())
    }
}

fn external(boc: &[u8]) -> Result<Inbound, ChainError> {
    if boc.len() > MAX_EXTERNAL {
        return Err(ChainError::NotAnExternal("it is too large"));
    }
    let message = Boc::decode(boc).map_err(|_| ChainError::NotAnExternal("not a bag of cells"))?;
    let parsed = message.parse::<OwnedMessage>().map_err(|_| ChainError::NotAnExternal("not a message"))?;
    let MsgInfo::ExtIn(info) = parsed.info else {
        return Err(ChainError::NotAnExternal("not from outside"));
    };
    let to = on_this_chain(&info.dst).ok_or(ChainError::NotAnExternal("its receiver is on no chain here"))?;
    Ok(Inbound { to, message, external: true })
}

#[cfg(test)]
mod tests;
