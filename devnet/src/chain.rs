//! The chain as one thing: it takes messages, makes blocks, and keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes};
use tycho_types::error::Error;
use tycho_types::models::{CurrencyCollection, IntMsgInfo, MsgInfo, OwnedMessage, StdAddr};

use crate::clock::Clock;
use crate::execution::{Executed, Inbound, NotExecuted};
use crate::faults::NetworkFaults;
use crate::production::{self, Waiting};
use crate::state::{Block, Delivery, Seqno, State, Supply};
use crate::store::{Store, StoreError};
use crate::Network;

/// Most external messages that wait for a block.
const MOST_WAITING: usize = 4096;

/// Most snapshots that are kept.
const MOST_SNAPSHOTS: usize = 64;

/// Most blocks that one call makes.
pub(crate) const MOST_BLOCKS: u32 = 100_000;

/// Largest external message, bytes (ConfigParam 43, `max_ext_msg_size`).
const MAX_EXTERNAL: usize = 65_535;

/// Longest comment of the faucet, bytes: as many as fit beside its 32 bits in one cell.
const MAX_COMMENT: usize = 123;

/// Where the faucet's coins come from: an account that nobody has the key of.
const FAUCET: StdAddr = StdAddr::new(-1, HashBytes([0xfa; 32]));

#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("not a message from outside: {0}")]
    NotAnExternal(&'static str),
    #[error("not a message between accounts")]
    NotAnInternal,
    #[error(transparent)]
    Execution(#[from] NotExecuted),
    #[error("a cell cannot be read or made: {0}")]
    Cell(#[from] Error),
    #[error("too many {0}")]
    TooMany(&'static str),
    #[error("there is no snapshot of this name")]
    NoSnapshot,
    #[error("time does not go back: the newest block is of {0}")]
    TimeGoesBack(u32),
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
    /// How many messages the faucet has sent since this process began: their logical times differ by it.
    given: u64,
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
            given: 0,
        }
    }

    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Unix time of the next block if it were made now.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.clock.now().max(self.state.head().time)
    }

    #[must_use]
    pub fn head(&self) -> &Block {
        self.state.head()
    }

    #[must_use]
    pub fn supply(&self) -> Supply {
        self.state.supply
    }

    #[must_use]
    pub fn faults(&self) -> &NetworkFaults {
        &self.faults
    }

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
    /// [`ChainError`], and then there is no block.
    pub fn produce(&mut self) -> Result<(), ChainError> {
        let seqno = self.state.head().seqno + 1;
        let (due, later) = std::mem::take(&mut self.waiting).into_iter().partition(|one: &Waiting| one.due <= seqno);
        self.waiting = later;
        let change = production::produce(&self.network, &self.state, self.clock.now(), &due, &self.faults)?;
        if let Some(store) = &mut self.store {
            store.append(&change)?;
        }
        Arc::make_mut(&mut self.state).apply(change);
        Ok(())
    }

    /// Makes blocks until nothing is on its way.
    ///
    /// # Errors
    /// [`ChainError::NotIdle`] after `most` blocks.
    pub fn produce_until_idle(&mut self, most: u32) -> Result<u32, ChainError> {
        for made in 0..=most {
            if self.waiting.is_empty() && self.state.queue.is_empty() {
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
        production::check_external(&self.network, &self.state, self.clock.now(), &inbound)?;
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

    /// What a message from outside would do now.
    ///
    /// # Errors
    /// As [`Self::send_external`].
    pub fn emulate_external(&self, boc: &[u8]) -> Result<Executed, ChainError> {
        let inbound = external(boc)?;
        Ok(production::check_external(&self.network, &self.state, self.clock.now(), &inbound)?)
    }

    /// Sends new coins to an account, as a message that does not bounce.
    ///
    /// # Errors
    /// None for any input.
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
        self.given += 1;
        let message = CellBuilder::build_from(OwnedMessage {
            info: MsgInfo::Int(IntMsgInfo {
                src: FAUCET.into(),
                dst: to.clone().into(),
                value: CurrencyCollection::new(nano.into()),
                created_at: self.now(),
                created_lt: self.state.head().end_lt + self.given,
                ..IntMsgInfo::default()
            }),
            init: None,
            body: body.into(),
            layout: None,
        })?;
        self.send_internal(message)
    }

    /// Puts a message on its way as if an account had sent it; what it carries is new.
    ///
    /// # Errors
    /// [`ChainError::NotAnInternal`].
    pub fn send_internal(&mut self, message: Cell) -> Result<(), ChainError> {
        let due = self.state.head().seqno + 1;
        let delivery = Delivery::of(message, due).ok().flatten().ok_or(ChainError::NotAnInternal)?;
        let state = Arc::make_mut(&mut self.state);
        state.supply.minted += delivery.value + delivery.fee;
        state.queue.push(delivery);
        Ok(())
    }

    /// # Errors
    /// [`ChainError::TimeGoesBack`] for a time before the newest block.
    pub fn set_clock(&mut self, clock: Clock) -> Result<(), ChainError> {
        let head = self.state.head().time;
        if clock.now() < head {
            return Err(ChainError::TimeGoesBack(head));
        }
        if let Some(store) = &mut self.store {
            store.set_clock(clock)?;
        }
        self.clock = clock;
        Ok(())
    }

    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Keeps the chain as it is now under a name, in place of what had the name before.
    ///
    /// # Errors
    /// [`ChainError::TooMany`].
    pub fn snapshot(&mut self, name: &str) -> Result<(), ChainError> {
        if !self.snapshots.contains_key(name) && self.snapshots.len() >= MOST_SNAPSHOTS {
            return Err(ChainError::TooMany("snapshots"));
        }
        let snapshot = Snapshot { state: Arc::clone(&self.state), clock: self.clock };
        self.snapshots.insert(name.to_owned(), snapshot);
        Ok(())
    }

    /// Goes back to a snapshot, its clock included. What waited for a block is forgotten.
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

    /// How many blocks there are besides the first.
    #[must_use]
    pub fn seqno(&self) -> Seqno {
        self.state.head().seqno
    }
}

fn external(boc: &[u8]) -> Result<Inbound, ChainError> {
    if boc.len() > MAX_EXTERNAL {
        return Err(ChainError::NotAnExternal("it is too large"));
    }
    let message = Boc::decode(boc).map_err(|_| ChainError::NotAnExternal("not a bag of cells"))?;
    let parsed =
        message.parse::<OwnedMessage>().map_err(|_| ChainError::NotAnExternal("not a message"))?;
    let MsgInfo::ExtIn(info) = parsed.info else {
        return Err(ChainError::NotAnExternal("not from outside"));
    };
    let to = info.dst.as_std().cloned().ok_or(ChainError::NotAnExternal("its receiver"))?;
    Ok(Inbound { to, message, external: true })
}
