//! `[[issuers]]` of the configuration.

use cocoon_ledger::Limits;
use http::Uri;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

/// With prefix, separators and a digest it still fits in an account's name.
const MAX_NAME: usize = 16;

/// A table that cannot be used; `key` is its member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct IssuerConfigError {
    pub key: &'static str,
    pub message: String,
}

/// One issuer of tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its accounts are named after it: 1 to 16 of a-z, 0-9 and `-`. It must never change, nor be given to another.
    pub name: String,
    /// Where its keys are (RFC 7517): HTTPS, or HTTP on this machine.
    pub url: String,
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// What `aud` of a token must be or contain: tokens for others are none for us.
    pub audience: String,
    pub algorithms: Vec<TokenAlgorithm>,
    /// The claim that says who pays.
    #[serde(default = "default_account_claim")]
    pub account_claim: String,
    /// The claim that names a project.
    #[serde(default)]
    pub project_claim: Option<String>,
    /// What each of its accounts' tokens may use.
    #[serde(default)]
    pub limits: Limits,
    /// Models its tokens may use; all where absent.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// How often its keys are fetched.
    #[serde(default = "default_refresh_s")]
    pub refresh_s: u64,
}

/// Signatures that are understood (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TokenAlgorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl TokenAlgorithm {
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Ps256 => Algorithm::PS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

fn default_account_claim() -> String {
    "sub".into()
}

fn default_refresh_s() -> u64 {
    300
}

/// Whether all can be used, beside a deployment that calls itself `own`.
///
/// # Errors
/// [`IssuerConfigError`] for the first that cannot.
pub fn check(issuers: &[IssuerConfig], own: &str) -> Result<(), IssuerConfigError> {
    let error = |key, message: &str| Err(IssuerConfigError { key, message: message.to_owned() });
    for (index, issuer) in issuers.iter().enumerate() {
        let before = &issuers[..index];
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if issuer.name.is_empty() || issuer.name.len() > MAX_NAME || !issuer.name.bytes().all(plain) {
            return error("issuers.name", "must be 1 to 16 of a-z, 0-9 and '-'");
        }
        if before.iter().any(|other| other.name == issuer.name) {
            return error("issuers.name", "is there twice: their accounts would be the same");
        }
        if issuer.issuer.is_empty() || issuer.issuer == own {
            return error("issuers.issuer", "must be the `iss` of another's tokens");
        }
        if before.iter().any(|other| other.issuer == issuer.issuer) {
            return error("issuers.issuer", "is there twice");
        }
        if issuer.audience.is_empty() {
            return error("issuers.audience", "is needed: tokens for others are none for us");
        }
        if issuer.algorithms.is_empty() {
            return error("issuers.algorithms", "must name at least one");
        }
        if issuer.account_claim.is_empty() || issuer.project_claim.as_ref().is_some_and(String::is_empty) {
            return error("issuers.account_claim", "claims have names");
        }
        if issuer.refresh_s == 0 {
            return error("issuers.refresh_s", "must be above 0");
        }
        if !is_trusted_url(&issuer.url) {
            return error("issuers.url", "must be an https URL, or http on a loopback address");
        }
    }
    Ok(())
}

/// Whoever can change what the URL answers can log in as anyone.
fn is_trusted_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::issuers) fn good() -> IssuerConfig {
        IssuerConfig {
            name: "corp".into(),
            url: "https://login.example/jwks".into(),
            issuer: "https://login.example".into(),
            audience: "cocoon".into(),
            algorithms: vec![TokenAlgorithm::Rs256, TokenAlgorithm::Es256, TokenAlgorithm::EdDsa],
            account_claim: default_account_claim(),
            project_claim: None,
            limits: Limits::default(),
            models: None,
            refresh_s: 300,
        }
    }

    #[test]
    fn what_could_mix_accounts_up_or_trust_anyone_is_refused() {
        check(&[good(), IssuerConfig { name: "b".into(), issuer: "b".into(), ..good() }], "cocoon").unwrap();
        for url in ["http://127.0.0.1:1/jwks", "http://[::1]/jwks", "https://a.b/c?d"] {
            check(&[IssuerConfig { url: url.into(), ..good() }], "cocoon").unwrap();
        }
        let refused = [
            (vec![IssuerConfig { name: "Corp".into(), ..good() }], "issuers.name"),
            (vec![IssuerConfig { name: "a:b".into(), ..good() }], "issuers.name"),
            (vec![IssuerConfig { name: "a".repeat(17), ..good() }], "issuers.name"),
            (vec![good(), IssuerConfig { issuer: "b".into(), ..good() }], "issuers.name"),
            (vec![good(), IssuerConfig { name: "b".into(), ..good() }], "issuers.issuer"),
            (vec![IssuerConfig { issuer: "cocoon".into(), ..good() }], "issuers.issuer"),
            (vec![IssuerConfig { audience: String::new(), ..good() }], "issuers.audience"),
            (vec![IssuerConfig { algorithms: Vec::new(), ..good() }], "issuers.algorithms"),
            (vec![IssuerConfig { refresh_s: 0, ..good() }], "issuers.refresh_s"),
            (vec![IssuerConfig { url: "http://login.example/jwks".into(), ..good() }], "issuers.url"),
            (vec![IssuerConfig { url: "http://localhost.evil/jwks".into(), ..good() }], "issuers.url"),
            (vec![IssuerConfig { url: "/jwks".into(), ..good() }], "issuers.url"),
        ];
        for (issuers, key) in refused {
            assert_eq!(check(&issuers, "cocoon").unwrap_err().key, key, "{issuers:?}");
        }
    }
}
