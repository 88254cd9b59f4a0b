//! Several endpoints as one chain: who fails or asks for fewer requests rests, and the next one is asked.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

use super::{Account, Chain, ChainError, Disagreement, Endpoint, Head, agreed};
use crate::transaction::TransactionId;
use crate::{Address, GlobalId, StackValue, Transaction};

/// Times that every endpoint is tried before a call fails.
const ROUNDS: u32 = 3;

/// Rest of an endpoint after its first failure; doubles by the round.
const FIRST_REST: Duration = Duration::from_millis(500);

/// Endpoints in the order of preference.
#[derive(Debug)]
pub struct Failover {
    endpoints: Vec<Endpoint>,
    /// Until when each one rests.
    rests: Mutex<Vec<Instant>>,
}

impl Failover {
    /// # Errors
    /// [`ChainError::Configuration`] without any endpoint.
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self, ChainError> {
        if endpoints.is_empty() {
            return Err(ChainError::Configuration("no endpoint is named"));
        }
        let rests = Mutex::new(vec![Instant::now(); endpoints.len()]);
        Ok(Self { endpoints, rests })
    }

    /// What two endpoints of different operators answer alike: for credits above a threshold, and channels.
    ///
    /// # Errors
    /// [`Disagreement`].
    pub async fn agreed<'a, T, F>(&'a self, ask: impl Fn(&'a Endpoint) -> F) -> Result<T, Disagreement>
    where
        T: PartialEq,
        F: Future<Output = Result<T, ChainError>>,
    {
        agreed(&self.endpoints, ask).await
    }

    fn rests(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        // Instants are whole whoever panicked.
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a Endpoint) -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let mut last = ChainError::Unreachable;
        for round in 0..ROUNDS {
            let earliest = self.rests().iter().min().copied();
            if let Some(earliest) = earliest {
                sleep_until(earliest).await;
            }
            for (index, endpoint) in self.endpoints.iter().enumerate() {
                if self.rests()[index] > Instant::now() {
                    continue;
                }
                let error = match ask(endpoint).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) if !error.is_the_endpoints() => return Err(error),
                    Err(error) => error,
                };
                let rest = match error {
                    ChainError::Limited { retry_after: Some(asked) } => asked,
                    _ => FIRST_REST * 2_u32.pow(round),
                };
                tracing::warn!(operator = endpoint.operator(), %error, ?rest, "an endpoint rests");
                self.rests()[index] = Instant::now() + rest;
                last = error;
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Chain for Failover {
    async fn send_boc(&self, boc: &[u8]) -> Result<(), ChainError> {
        self.first(|endpoint| endpoint.send_boc(boc)).await
    }

    async fn account(&self, address: &Address) -> Result<Account, ChainError> {
        self.first(|endpoint| endpoint.account(address)).await
    }

    async fn transactions(
        &self,
        address: &Address,
        from: Option<TransactionId>,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError> {
        self.first(|endpoint| endpoint.transactions(address, from, limit)).await
    }

    async fn run_get_method(
        &self,
        address: &Address,
        method: &str,
        arguments: &[StackValue],
    ) -> Result<Vec<StackValue>, ChainError> {
        self.first(|endpoint| endpoint.run_get_method(address, method, arguments)).await
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.first(Endpoint::head).await
    }

    async fn global_id(&self) -> Result<GlobalId, ChainError> {
        self.first(Endpoint::global_id).await
    }
}
