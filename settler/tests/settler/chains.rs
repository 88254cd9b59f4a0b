//! Chains that answer what they are told to, and otherwise as the one behind them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cocoon_ton::chain::{Account, Chain, ChainError, Head};
use cocoon_ton::{Address, GlobalId, StackValue, Transaction, TransactionId};
use tokio::sync::Semaphore;

/// A chain of which some answers can be chosen.
pub(crate) struct Scripted {
    pub(crate) chain: Arc<dyn Chain>,
    /// Said of every account where there is one.
    pub(crate) account: Mutex<Option<Account>>,
    /// Of what was sent.
    pub(crate) sent: Mutex<Vec<Vec<u8>>>,
    /// Whether what is sent goes on; else it is only said to have been taken.
    pub(crate) sends: bool,
    /// Sending takes a permit and waits for one where there is none.
    pub(crate) may_send: Semaphore,
}

impl Scripted {
    pub(crate) fn new(chain: Arc<dyn Chain>) -> Self {
        let may_send = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { chain, account: Mutex::default(), sent: Mutex::default(), sends: true, may_send }
    }
}

#[async_trait]
impl Chain for Scripted {
    async fn send_boc(&self, boc: &[u8]) -> Result<(), ChainError> {
        self.may_send.acquire().await.unwrap().forget();
        self.sent.lock().unwrap().push(boc.to_vec());
        if self.sends { self.chain.send_boc(boc).await } else { Ok(()) }
    }

    async fn account(&self, address: &Address) -> Result<Account, ChainError> {
        let scripted = self.account.lock().unwrap().clone();
        match scripted {
            Some(account) => Ok(account),
            None => self.chain.account(address).await,
        }
    }

    async fn transactions(
        &self,
        address: &Address,
        from: Option<TransactionId>,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError> {
        self.chain.transactions(address, from, limit).await
    }

    async fn run_get_method(
        &self,
        address: &Address,
        method: &str,
        arguments: &[StackValue],
    ) -> Result<Vec<StackValue>, ChainError> {
        self.chain.run_get_method(address, method, arguments).await
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.chain.head().await
    }

    async fn global_id(&self) -> Result<GlobalId, ChainError> {
        self.chain.global_id().await
    }
}
