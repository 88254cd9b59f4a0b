//! A settler that ends at a chosen call to the outside, before the call has an effect or after it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cocoon_ledger::{
    Appending, Booked, Credit, JournalEntry, JournalId, Lease, LedgerError, Shard, WithdrawalEnded,
};
use cocoon_receipts::{AccountId, ReceiptId, RequestId};
use cocoon_settler::epochs::{Epochs, Journals};
use cocoon_settler::plan::Owing;
use cocoon_settler::{Books, LedgerSums, Settler};
use cocoon_ton::chain::{Account, Chain, ChainError, Head};
use cocoon_ton::{Address, GlobalId, StackValue, Transaction, TransactionId};

use crate::epoch_world::EpochWorld;
use crate::turns::Turns;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing came of the call.
    Before,
    /// It was done, and its answer is lost.
    After,
}

pub(crate) const WHENS: [When; 2] = [When::Before, When::After];

/// The calls of all settlers of a world, one after the other, and at which of them one ends.
#[derive(Default)]
pub(crate) struct Fate {
    calls: AtomicU64,
    kills: Mutex<Vec<(u64, When)>>,
    killed: AtomicU64,
}

impl Fate {
    /// Calls count from 0, over all lives.
    pub(crate) fn new(kills: &[(u64, When)]) -> Arc<Self> {
        Arc::new(Self { kills: Mutex::new(kills.to_vec()), ..Self::default() })
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn killed(&self) -> u64 {
        self.killed.load(Ordering::SeqCst)
    }

    fn next(&self) -> Option<When> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut kills = self.kills.lock().unwrap();
        let index = kills.iter().position(|(at, _)| *at == call)?;
        self.killed.fetch_add(1, Ordering::SeqCst);
        Some(kills.remove(index).1)
    }
}

/// One life of a settler: what it calls goes through here.
pub(crate) struct Life {
    fate: Arc<Fate>,
    over: AtomicBool,
    /// Where others call as well, and one at a time.
    turns: Option<Arc<Turns>>,
}

impl Life {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// None where the caller does not live to see an answer.
    async fn call<T>(&self, made: impl Future<Output = T>) -> Option<T> {
        if self.is_over() {
            return None;
        }
        if let Some(turns) = &self.turns {
            turns.wait().await;
        }
        match self.fate.next() {
            None => return Some(made.await),
            Some(When::Before) => {}
            Some(When::After) => drop(made.await),
        }
        self.over.store(true, Ordering::SeqCst);
        None
    }
}

struct MortalChain {
    life: Arc<Life>,
    chain: Arc<dyn Chain>,
}

struct MortalBooks {
    life: Arc<Life>,
    books: Arc<dyn Books>,
}

struct MortalJournals {
    life: Arc<Life>,
    journals: Arc<dyn Journals>,
}

/// New epochs of this world, and whether they still live.
pub(crate) fn born_epochs(
    world: &EpochWorld,
    fate: &Arc<Fate>,
    turns: Option<Arc<Turns>>,
) -> (Epochs, Arc<Life>) {
    let life = Arc::new(Life { fate: Arc::clone(fate), over: AtomicBool::new(false), turns });
    let chain = MortalChain { life: Arc::clone(&life), chain: world.world.chain() };
    let books = MortalBooks { life: Arc::clone(&life), books: world.world.books() };
    let journals = MortalJournals { life: Arc::clone(&life), journals: world.journals() };
    (world.epochs_of(Arc::new(books), Arc::new(journals), Arc::new(chain)), life)
}

/// A new settler of this world, and whether it still lives.
pub(crate) fn born(world: &World, fate: &Arc<Fate>) -> (Settler, Arc<Life>) {
    born_among(world, fate, None)
}

/// The same, among others.
pub(crate) fn born_among(world: &World, fate: &Arc<Fate>, turns: Option<Arc<Turns>>) -> (Settler, Arc<Life>) {
    let life = Arc::new(Life { fate: Arc::clone(fate), over: AtomicBool::new(false), turns });
    let chain = MortalChain { life: Arc::clone(&life), chain: world.chain() };
    let books = MortalBooks { life: Arc::clone(&life), books: world.books() };
    (world.settler_of(Arc::new(books), Arc::new(chain)), life)
}

impl MortalChain {
    async fn call<T>(&self, made: impl Future<Output = Result<T, ChainError>>) -> Result<T, ChainError> {
        self.life.call(made).await.unwrap_or(Err(ChainError::Unreachable))
    }
}

impl MortalBooks {
    async fn call<T>(&self, made: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        self.life
            .call(made)
            .await
            .unwrap_or(Err(LedgerError::Unavailable("this settler has ended".to_owned())))
    }
}

#[async_trait]
impl Chain for MortalChain {
    async fn send_boc(&self, boc: &[u8]) -> Result<(), ChainError> {
        self.call(self.chain.send_boc(boc)).await
    }

    async fn account(&self, address: &Address) -> Result<Account, ChainError> {
        self.call(self.chain.account(address)).await
    }

    async fn transactions(
        &self,
        address: &Address,
        from: Option<TransactionId>,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError> {
        self.call(self.chain.transactions(address, from, limit)).await
    }

    async fn run_get_method(
        &self,
        address: &Address,
        method: &str,
        arguments: &[StackValue],
    ) -> Result<Vec<StackValue>, ChainError> {
        self.call(self.chain.run_get_method(address, method, arguments)).await
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.call(self.chain.head()).await
    }

    async fn global_id(&self) -> Result<GlobalId, ChainError> {
        self.call(self.chain.global_id()).await
    }
}

impl MortalJournals {
    async fn call<T>(&self, made: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        self.life
            .call(made)
            .await
            .unwrap_or(Err(LedgerError::Unavailable("this settler has ended".to_owned())))
    }
}

#[async_trait]
impl Journals for MortalJournals {
    fn shards(&self) -> Vec<Shard> {
        self.journals.shards()
    }

    async fn entries(
        &self,
        shard: Shard,
        after: Option<&JournalId>,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, LedgerError> {
        self.call(self.journals.entries(shard, after, limit)).await
    }

    async fn last_entry(&self, shard: Shard) -> Result<Option<JournalId>, LedgerError> {
        self.call(self.journals.last_entry(shard)).await
    }

    async fn trimmed(&self, shard: Shard) -> Result<Option<JournalId>, LedgerError> {
        self.call(self.journals.trimmed(shard)).await
    }

    async fn keep_after(&self, shard: Shard, at: Option<&JournalId>) -> Result<(), LedgerError> {
        self.call(self.journals.keep_after(shard, at)).await
    }

    async fn receipt(&self, id: ReceiptId) -> Result<Option<String>, LedgerError> {
        self.call(self.journals.receipt(id)).await
    }
}

#[async_trait]
impl Books for MortalBooks {
    async fn decisions(&self, after: u64) -> Result<Vec<String>, LedgerError> {
        self.call(self.books.decisions(after)).await
    }

    async fn append(&self, after: u64, record: String) -> Result<Appending, LedgerError> {
        self.call(self.books.append(after, record)).await
    }

    async fn credit(&self, credit: &Credit) -> Result<Booked, LedgerError> {
        self.call(self.books.credit(credit)).await
    }

    async fn withdraw_done(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        self.call(self.books.withdraw_done(account, intent)).await
    }

    async fn close_channel(&self, account: &AccountId) -> Result<bool, LedgerError> {
        self.call(self.books.close_channel(account)).await
    }

    async fn owing(&self) -> Result<Owing, LedgerError> {
        self.call(self.books.owing()).await
    }

    async fn sums(&self) -> Result<LedgerSums, LedgerError> {
        self.call(self.books.sums()).await
    }

    async fn hold_lease(&self, holder: &str, lasts: Duration) -> Result<Lease, LedgerError> {
        self.call(self.books.hold_lease(holder, lasts)).await
    }

    async fn give_up_lease(&self, holder: &str) -> Result<(), LedgerError> {
        self.call(self.books.give_up_lease(holder)).await
    }
}
