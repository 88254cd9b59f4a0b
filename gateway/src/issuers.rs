//! Token issuers besides the deployment: who logs in elsewhere runs models here, with the JWT that he was given there.
//!
//! Such a token is for inference alone. Its account is named after the issuer ([`ACCOUNT_PREFIX`]), so that no two
//! issuers, and no issuer and the deployment, share one.

mod config;
mod jwks;
mod keys;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use cocoon_process::FetchError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{IssuerConfig, IssuerConfigError, TokenAlgorithm, check};
use jwks::{Jwks, Lookup};

use crate::authenticate::ApiKey;
use crate::error::Failure;

/// What the accounts of issuers begin with, and no others: `iss:<name>:<who>`.
pub const ACCOUNT_PREFIX: &str = "iss:";

/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 8 << 10;

/// All issuers that are configured.
#[derive(Debug, Default)]
pub struct Issuers(Vec<Arc<Issuer>>);

#[derive(Debug)]
struct Issuer {
    config: IssuerConfig,
    jwks: Jwks,
}

impl Issuers {
    /// Fetches nothing yet.
    ///
    /// # Errors
    /// [`FetchError`] where the machine's root certificates are needed and cannot be used.
    pub fn new(configs: &[IssuerConfig]) -> Result<Self, FetchError> {
        let issuer =
            |config: &IssuerConfig| Ok(Arc::new(Issuer { jwks: Jwks::new(config)?, config: config.clone() }));
        configs.iter().map(issuer).collect::<Result<_, _>>().map(Self)
    }

    /// Keeps every issuer's keys up to date until `ended`.
    pub fn follow(&self, background: &TaskTracker, ended: &CancellationToken) {
        for issuer in &self.0 {
            let (issuer, ended) = (Arc::clone(issuer), ended.clone());
            background.spawn(async move { issuer.jwks.follow(&issuer.config, ended).await });
        }
    }

    /// The claims of a token that says it is of one of the issuers, as those of a key of ours; none where it does not.
    /// `now` in seconds since 1970.
    ///
    /// # Errors
    /// 401 for a token that is not good, 503 where that cannot be known because the issuer's keys cannot be fetched.
    pub async fn authenticate(&self, token: &str, now: u64) -> Result<Option<ApiKey>, Failure> {
        if self.0.is_empty() || token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let Some(named) = token::named_issuer(token) else { return Ok(None) };
        let Some(issuer) = self.0.iter().find(|issuer| issuer.config.issuer == named) else {
            return Ok(None);
        };
        let refused = |error: token::TokenError| Failure::bad_key(&error.to_string());
        let kid = token::kid(token).map_err(refused)?;
        let key = match issuer.jwks.key(&kid).await {
            Lookup::Found(key) => key,
            Lookup::Unknown => return Err(refused(token::TokenError::UnknownKey)),
            Lookup::Unavailable => return Err(Failure::issuer_unavailable()),
        };
        token::verify(token, &key, &issuer.config, now).map(Some).map_err(refused)
    }
}
