//! A chain at which a command ends at a chosen call, before it has an effect or after it. Every call makes a block
//! first, so that calls are counted alike in every run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use cocoon_devnet::SharedChain;
use cocoon_ton::chain::{Account, Chain, ChainError, Head};
use cocoon_ton::{Address, GlobalId, StackValue, Transaction, TransactionId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing came of the call.
    Before,
    /// It was done, and its answer is lost.
    After,
}

pub(crate) const WHENS: [When; 2] = [When::Before, When::After];

/// One run of a command: what it calls, and where it ends.
#[derive(Default)]
pub(crate) struct Fate {
    calls: AtomicUsize,
    end: Option<(usize, When)>,
    over: AtomicBool,
}

impl Fate {
    /// It is not ended.
    pub(crate) fn kind() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn ends_at(call: usize, when: When) -> Arc<Self> {
        Arc::new(Self { end: Some((call, when)), ..Self::default() })
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

pub(crate) struct MortalChain {
    pub(crate) devnet: SharedChain,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) fate: Arc<Fate>,
}

impl MortalChain {
    async fn call<T>(&self, made: impl Future<Output = Result<T, ChainError>>) -> Result<T, ChainError> {
        if self.fate.over.load(Ordering::SeqCst) {
            return Err(ChainError::Unreachable);
        }
        self.devnet.lock().unwrap().produce().unwrap();
        let call = self.fate.calls.fetch_add(1, Ordering::SeqCst);
        let when = self.fate.end.filter(|(at, _)| *at == call).map(|(_, when)| when);
        match when {
            None => return made.await,
            Some(When::Before) => {}
            Some(When::After) => drop(made.await),
        }
        self.fate.over.store(true, Ordering::SeqCst);
        Err(ChainError::Unreachable)
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
