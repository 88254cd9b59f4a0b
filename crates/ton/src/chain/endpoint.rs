//! One toncenter v2 endpoint, of one network.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::http::Http;
use super::{Account, Chain, ChainError, Head, MAX_PAGE, answers};
use crate::transaction::TransactionId;
use crate::{Address, GlobalId, Network, StackValue, Transaction};

/// A secret that an endpoint's operator has given out. It is sent in a header and printed nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// Where an endpoint is: an origin, under which `/api/v2/jsonRPC` is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(Uri);

impl EndpointUrl {
    /// # Errors [`ChainError::Configuration`] unless it is an origin of http or https. A key in the URL would
    /// be logged by others.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let url: Uri = text.parse().map_err(|_| ChainError::Configuration("not a URL"))?;
        let is_origin = url.path() == "/" && url.query().is_none() && !text.contains(['#', '@']);
        if !matches!(url.scheme_str(), Some("http" | "https")) || !is_origin {
            return Err(ChainError::Configuration(
                "an endpoint is an origin, such as https://toncenter.example",
            ));
        }
        Ok(Self(url))
    }

    pub(super) fn rpc(&self) -> String {
        format!("{}api/v2/jsonRPC", self.0)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

#[derive(Debug, Clone)]
pub struct EndpointConfig {
    pub url: EndpointUrl,
    pub api_key: Option<ApiKey>,
    /// Who runs it: two endpoints of one operator do not confirm each other.
    pub operator: String,
    /// What its chain must be.
    pub network: Network,
    /// Of one call, from its beginning to the last byte of its answer.
    pub timeout: Duration,
}

/// One endpoint. Before its first use it must have shown that its chain is the configured network.
pub struct Endpoint {
    http: Http,
    operator: String,
    network: Network,
    identified: OnceCell<()>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.operator)
    }
}

impl Endpoint {
    /// # Errors
    /// [`ChainError::Configuration`].
    pub fn new(config: EndpointConfig) -> Result<Self, ChainError> {
        let http = Http::new(&config.url, config.api_key.as_ref(), config.timeout)?;
        Ok(Self { http, operator: config.operator, network: config.network, identified: OnceCell::new() })
    }

    #[must_use]
    pub fn operator(&self) -> &str {
        &self.operator
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, ChainError> {
        self.identified.get_or_try_init(|| self.identify()).await?;
        self.http.call(method, params).await
    }

    /// By ConfigParam 19 and the first block, never by the URL.
    async fn identify(&self) -> Result<(), ChainError> {
        let found = answers::global_id(self.http.call("getConfigParam", json!({"config_id": 19})).await?)?;
        let head = answers::head(self.http.call("getMasterchainInfo", json!({})).await?)?;
        if self.network.is(found, head.zerostate) {
            return Ok(());
        }
        tracing::error!(operator = self.operator, %found, "an endpoint is of another network than the configured one");
        Err(ChainError::OtherNetwork { expected: self.network, found })
    }
}

#[async_trait]
impl Chain for Endpoint {
    async fn send_boc(&self, boc: &[u8]) -> Result<(), ChainError> {
        self.call("sendBoc", json!({"boc": STANDARD.encode(boc)})).await.map(drop)
    }

    async fn account(&self, address: &Address) -> Result<Account, ChainError> {
        answers::account(self.call("getAddressInformation", json!({"address": address.to_string()})).await?)
    }

    async fn transactions(
        &self,
        address: &Address,
        from: Option<TransactionId>,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut params = json!({"address": address.to_string(), "limit": limit, "archival": true});
        if let Some(TransactionId { lt, hash }) = from {
            // Text, because a logical time may be above 2^53.
            params["lt"] = lt.to_string().into();
            params["hash"] = hash.to_string().into();
        }
        answers::transactions(self.call("getTransactions", params).await?, address, from, limit)
    }

    async fn run_get_method(
        &self,
        address: &Address,
        method: &str,
        arguments: &[StackValue],
    ) -> Result<Vec<StackValue>, ChainError> {
        let stack = arguments.iter().map(StackValue::to_json).collect::<Result<Vec<_>, _>>()?;
        let params = json!({"address": address.to_string(), "method": method, "stack": stack});
        answers::stack(self.call("runGetMethod", params).await?)
    }

    async fn head(&self) -> Result<Head, ChainError> {
        answers::head(self.call("getMasterchainInfo", json!({})).await?)
    }

    async fn global_id(&self) -> Result<GlobalId, ChainError> {
        answers::global_id(self.call("getConfigParam", json!({"config_id": 19})).await?)
    }
}
