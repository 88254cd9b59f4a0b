//! All that the chain knows: its accounts, what happened to them, and the messages on their way.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::error::Error;
use tycho_types::models::{IntAddr, MsgInfo, OwnedMessage, ShardAccount, StdAddr};

use crate::Network;
use crate::execution::nothing;

/// Number of a block. Masterchain and basechain have the same.
pub type Seqno = u32;

/// A transaction's place on the chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TransactionId {
    pub account: StdAddr,
    pub lt: u64,
    pub hash: HashBytes,
}

/// A transaction that is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) id: TransactionId,
    pub(crate) cell: Cell,
    /// Logical time of the one before it on this account; 0 for the first.
    pub(crate) previous_lt: u64,
    pub(crate) seqno: Seqno,
}

/// A block of both chains.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Block {
    pub seqno: Seqno,
    /// Unix time, seconds.
    pub time: u32,
    pub start_lt: u64,
    /// Nothing in the block has this logical time or a later one.
    pub end_lt: u64,
    /// In the order in which they were made.
    pub transactions: Vec<TransactionId>,
    /// Names the block, and with it all blocks before. Not the root of a Merkle tree: nothing can be proved
    /// with it.
    pub digest: HashBytes,
}

impl Block {
    pub(crate) fn first(network: &Network, time: u32) -> Self {
        Self { seqno: 0, time, start_lt: 0, end_lt: 0, transactions: Vec::new(), digest: network.zerostate() }
    }

    /// The block after `previous`.
    pub(crate) fn after(
        previous: &Self,
        time: u32,
        start_lt: u64,
        end_lt: u64,
        transactions: Vec<TransactionId>,
    ) -> Self {
        let mut digest = Sha256::new_with_prefix("cocoon-devnet block\0");
        digest.update(previous.digest);
        digest.update(time.to_be_bytes());
        for transaction in &transactions {
            digest.update(transaction.hash);
        }
        let digest = HashBytes(digest.finalize().into());
        Self { seqno: previous.seqno + 1, time, start_lt, end_lt, transactions, digest }
    }

    /// What stands for its root hash on the masterchain (-1) or the basechain.
    pub(crate) fn root_hash(&self, workchain: i32) -> HashBytes {
        if workchain == -1 {
            return self.digest;
        }
        digest_of("cocoon-devnet basechain\0", &self.digest)
    }

    pub(crate) fn file_hash(&self, workchain: i32) -> HashBytes {
        digest_of("cocoon-devnet file\0", &self.root_hash(workchain))
    }
}

fn digest_of(domain: &str, hash: &HashBytes) -> HashBytes {
    HashBytes(Sha256::new_with_prefix(domain).chain_update(hash).finalize().into())
}

/// A message from one account to another, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) message: Cell,
    pub(crate) from: StdAddr,
    pub(crate) to: StdAddr,
    pub(crate) created_lt: u64,
    /// What it carries, nanoTON.
    pub(crate) value: u128,
    /// What those get who deliver it, nanoTON.
    pub(crate) fee: u128,
    /// Of the block that delivers it.
    pub(crate) due: Seqno,
}

impl Delivery {
    /// None for a message that leaves the chain: what contracts send to accounts has standard addresses, or the
    /// action phase refuses it.
    ///
    /// # Errors
    /// For a cell that is no message.
    pub(crate) fn of(message: Cell, due: Seqno) -> Result<Option<Self>, Error> {
        let parsed = message.parse::<OwnedMessage>()?;
        let MsgInfo::Int(info) = parsed.info else { return Ok(None) };
        let (Some(from), Some(to)) = (on_this_chain(&info.src), on_this_chain(&info.dst)) else {
            return Ok(None);
        };
        let (value, fee) = (info.value.tokens.into_inner(), info.fwd_fee.into_inner());
        Ok(Some(Self { message, from, to, created_lt: info.created_lt, value, fee, due }))
    }
}

/// An account of the masterchain or the basechain; there are no others.
pub(crate) fn on_this_chain(address: &IntAddr) -> Option<StdAddr> {
    let address = address.as_std().filter(|address| address.anycast.is_none())?;
    matches!(address.workchain, -1 | 0).then(|| address.clone())
}

/// Where all coins are, nanoTON: `minted` = balances + on their way + `fees` + `burned`, after every block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Supply {
    /// What the faucet gave.
    pub minted: u128,
    /// What the validators took.
    pub fees: u128,
    pub burned: u128,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) accounts: BTreeMap<StdAddr, ShardAccount>,
    /// By account, the oldest first.
    pub(crate) history: BTreeMap<StdAddr, Vec<Arc<Recorded>>>,
    /// All blocks before the newest, by number.
    before: Vec<Arc<Block>>,
    head: Arc<Block>,
    pub(crate) queue: Vec<Delivery>,
    pub(crate) supply: Supply,
}

/// What a block changes.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) block: Arc<Block>,
    /// None for one that is gone.
    pub(crate) accounts: BTreeMap<StdAddr, Option<ShardAccount>>,
    pub(crate) recorded: Vec<Arc<Recorded>>,
    /// All that are on their way after it.
    pub(crate) queue: Vec<Delivery>,
    pub(crate) supply: Supply,
}

impl State {
    pub(crate) fn new(first: Block) -> Self {
        Self {
            accounts: BTreeMap::new(),
            history: BTreeMap::new(),
            before: Vec::new(),
            head: Arc::new(first),
            queue: Vec::new(),
            supply: Supply::default(),
        }
    }

    /// A chain of these blocks and nothing else yet; none without a block.
    pub(crate) fn of_blocks(mut blocks: Vec<Arc<Block>>) -> Option<Self> {
        let head = blocks.pop()?;
        let (accounts, history, queue) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Some(Self { accounts, history, before: blocks, head, queue, supply: Supply::default() })
    }

    pub(crate) fn apply(&mut self, change: Change) {
        for (address, account) in change.accounts {
            match account {
                Some(account) => self.accounts.insert(address, account),
                None => self.accounts.remove(&address),
            };
        }
        for recorded in change.recorded {
            self.history.entry(recorded.id.account.clone()).or_default().push(recorded);
        }
        self.before.push(std::mem::replace(&mut self.head, change.block));
        self.queue = change.queue;
        self.supply = change.supply;
    }

    /// The newest block.
    pub(crate) fn head(&self) -> &Block {
        &self.head
    }

    /// From the first on.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.before.iter().chain([&self.head]).map(Arc::as_ref)
    }

    pub(crate) fn block(&self, seqno: Seqno) -> Option<&Block> {
        if seqno == self.head.seqno {
            return Some(&self.head);
        }
        self.before.get(usize::try_from(seqno).ok()?).map(Arc::as_ref)
    }

    /// The first block that ends after this logical time.
    pub(crate) fn block_of_lt(&self, lt: u64) -> Option<&Block> {
        let index = self.before.partition_point(|block| block.end_lt <= lt);
        self.before.get(index).or((self.head.end_lt > lt).then_some(&self.head)).map(Arc::as_ref)
    }

    /// The last block up to this Unix time.
    pub(crate) fn block_until(&self, time: u32) -> Option<&Block> {
        if self.head.time <= time {
            return Some(&self.head);
        }
        let after = self.before.partition_point(|block| block.time <= time);
        self.before.get(after.checked_sub(1)?).map(Arc::as_ref)
    }

    /// An account, or the state of one that is not there.
    ///
    /// # Errors
    /// None for any input.
    pub(crate) fn account(&self, address: &StdAddr) -> Result<ShardAccount, Error> {
        self.accounts.get(address).cloned().map_or_else(nothing, Ok)
    }

    /// The transaction of `account` at exactly this logical time.
    pub(crate) fn transaction(&self, account: &StdAddr, lt: u64) -> Option<&Arc<Recorded>> {
        let history = self.history.get(account)?;
        let index = history.binary_search_by_key(&lt, |recorded| recorded.id.lt).ok()?;
        history.get(index)
    }

    /// The transaction that a block names.
    pub(crate) fn transaction_of(&self, id: &TransactionId) -> Option<&Arc<Recorded>> {
        self.transaction(&id.account, id.lt).filter(|recorded| recorded.id == *id)
    }

    /// What accounts hold, nanoTON.
    ///
    /// # Errors
    /// For an account that cannot be read.
    pub(crate) fn balances(&self) -> Result<u128, Error> {
        let mut sum = 0;
        for account in self.accounts.values() {
            sum += nanos(account)?;
        }
        Ok(sum)
    }

    /// What messages carry, nanoTON.
    pub(crate) fn on_the_way(&self) -> u128 {
        self.queue.iter().map(|delivery| delivery.value + delivery.fee).sum()
    }
}

/// What an account has, nanoTON.
pub(crate) fn nanos(account: &ShardAccount) -> Result<u128, Error> {
    Ok(account.load_account()?.map_or(0, |account| account.balance.tokens.into_inner()))
}

pub(crate) fn account_to_boc(account: &ShardAccount) -> Result<Vec<u8>, Error> {
    Ok(Boc::encode(CellBuilder::build_from(account)?))
}
