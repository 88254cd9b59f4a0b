//! The configuration: a TOML file, and environment variables over it.

mod defaults;
mod evidence;
mod payouts;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cocoon_attestation::DevRoot;
use cocoon_receipts::{Digest, Jwk, NanoTon, OperatorId, Price, SigningKey, VerifyingKey};
use http::Uri;
use serde::Deserialize;

pub(crate) use evidence::NONCE_ARGUMENT;
pub use evidence::{EvidenceConfig, EvidenceKind, ReleaseConfig};
pub use payouts::PayoutsConfig;

use crate::keyring::Periods;

/// `COCOON_BACKEND__LISTEN` is the key `listen`.
const ENVIRONMENT_PREFIX: &str = "COCOON_BACKEND__";

/// A configuration that cannot be used; names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The parser's own words, which name key or line.
    #[error("the configuration is not valid: {0}")]
    Syntax(String),
    #[error("the configuration is not valid: {0}")]
    Environment(#[from] cocoon_process::NotAKey),
    #[error("the configuration is not valid: {key}: {problem}")]
    Value { key: &'static str, problem: String },
}

impl From<toml::de::Error> for ConfigError {
    fn from(error: toml::de::Error) -> Self {
        Self::Syntax(error.to_string().trim_end().to_owned())
    }
}

fn bad(key: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, problem: problem.into() }
}

/// Everything a backend is told from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// On loopback where the evidence is of kind `dev`; port 0 takes any.
    pub listen: SocketAddr,
    /// Where unacknowledged receipts are kept; of one backend only.
    pub state_dir: PathBuf,
    /// The engine's program.
    pub engine: PathBuf,
    /// Further arguments of the engine, after `serve --model … --max-sequences …`.
    #[serde(default)]
    pub engine_args: Vec<String>,
    /// A model file, or a folder with one.
    pub model_path: PathBuf,
    /// The digest that the model must have; without it none is served. Must be set where the evidence is of kind `tsm`.
    pub model_sha256: Option<Digest>,
    /// Folder in memory (tmpfs) that the model is copied into at start, hashed in and loaded from.
    pub model_copy_dir: Option<PathBuf>,
    /// The public name, under which gateways know it.
    pub model_name: String,
    /// Where receipts are delivered to: full URLs, the first that answers is used.
    pub receipt_urls: Vec<String>,
    /// Files with the public keys (JWK) of the gateways whose tickets are served.
    pub gateway_keys: Vec<PathBuf>,
    /// What signs the keyset.
    pub evidence: EvidenceConfig,
    /// Which measured image this is.
    #[serde(default)]
    pub release: ReleaseConfig,
    /// Who is paid: a raw TON address, `workchain:hex`.
    pub operator: OperatorId,
    /// Who pays the operator, and who tells of it; without it `earnings` does not ask the chain.
    pub payouts: Option<PayoutsConfig>,
    /// Requests that run at once; one more is answered 503.
    #[serde(default = "defaults::max_running")]
    pub max_running: u32,
    /// Tickets with lower prices are refused.
    #[serde(default)]
    pub min_price: MinPrice,
    /// Silence after which a stream gets a comment.
    #[serde(default = "defaults::keepalive_ms")]
    pub keepalive_ms: u64,
    /// A stream's frame follows the one before after this time at the earliest: what comes sooner is put into it.
    #[serde(default = "defaults::coalesce_ms")]
    pub coalesce_ms: u64,
    /// How long HPKE keys are published, but for a tenth more or less.
    #[serde(default = "defaults::key_lifetime_ms")]
    pub key_lifetime_ms: u64,
    /// How long an X-Wing key is accepted after that.
    #[serde(default = "defaults::xwing_overlap_ms")]
    pub xwing_overlap_ms: u64,
    /// How long an X25519 key is accepted after that.
    #[serde(default = "defaults::x25519_overlap_ms")]
    pub x25519_overlap_ms: u64,
    /// How often a running request says what it has used.
    #[serde(default = "defaults::checkpoint_ms")]
    pub checkpoint_ms: u64,
    /// Time between the two acknowledgements of a receipt.
    #[serde(default = "defaults::receipt_confirm_ms")]
    pub receipt_confirm_ms: u64,
    /// Longest time one request may take.
    #[serde(default = "defaults::request_deadline_ms")]
    pub request_deadline_ms: u64,
    /// Longest request body, bytes.
    #[serde(default = "defaults::max_body")]
    pub max_body: u64,
    /// Longest time the engine may take to load its model.
    #[serde(default = "defaults::engine_ready_ms")]
    pub engine_ready_ms: u64,
    /// How long running requests may go on once the backend is told to end.
    #[serde(default = "defaults::shutdown_grace_ms")]
    pub shutdown_grace_ms: u64,
}

/// Lowest prices of a ticket, nanoTON per million tokens of each class.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinPrice {
    pub prompt: NanoTon,
    pub cached: NanoTon,
    pub completion: NanoTon,
    pub reasoning: NanoTon,
}

impl MinPrice {
    pub(crate) fn allows(&self, price: &Price) -> bool {
        price.prompt >= self.prompt
            && price.cached >= self.cached
            && price.completion >= self.completion
            && price.reasoning >= self.reasoning
    }
}

/// The keys that the configuration names by their files.
#[derive(Debug)]
pub struct ConfiguredKeys {
    /// Where the evidence is of kind `dev`.
    pub dev_root: Option<DevRoot>,
    pub gateway_keys: Vec<VerifyingKey>,
}

impl Config {
    /// Reads `path`, lays `environment` and then `engine` over it, and validates the whole.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
        engine: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml(&text, environment, engine)
    }

    fn from_toml(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
        engine: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut table: toml::Table = text.parse()?;
        cocoon_process::lay_over(&mut table, ENVIRONMENT_PREFIX, environment)?;
        if let Some(engine) = engine {
            let engine = engine.to_str().ok_or_else(|| bad("engine", "the path is not UTF-8"))?;
            table.insert("engine".to_owned(), toml::Value::String(engine.to_owned()));
        }
        let config = Self::deserialize(toml::Value::Table(table))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.evidence.validate()?;
        self.release.validate()?;
        match self.evidence.kind {
            EvidenceKind::Dev if !self.listen.ip().is_loopback() => {
                return Err(bad("listen", "must be on loopback: the evidence is of kind dev"));
            }
            EvidenceKind::Dev => {}
            EvidenceKind::Tsm => self.validate_in_tee()?,
        }
        let printable = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        if self.model_name.is_empty()
            || self.model_name.len() > 128
            || !self.model_name.bytes().all(printable)
        {
            return Err(bad("model_name", "must be 1 to 128 printable ASCII characters, no space or quote"));
        }
        if self.receipt_urls.is_empty() {
            return Err(bad("receipt_urls", "must have one at least: receipts are what earns"));
        }
        self.receipt_uris()?;
        if self.gateway_keys.is_empty() {
            return Err(bad("gateway_keys", "must have one at least: without a ticket nothing is served"));
        }
        self.workchain()?;
        if let Some(payouts) = &self.payouts {
            payouts.check().map_err(|wrong| bad("payouts", wrong.to_string()))?;
        }
        for (key, value, least, most) in [
            ("max_running", u64::from(self.max_running), 1, 4096),
            ("keepalive_ms", self.keepalive_ms, 10, 60_000),
            ("coalesce_ms", self.coalesce_ms, 0, 1_000),
            ("key_lifetime_ms", self.key_lifetime_ms, 1_000, 30 * 86_400_000),
            ("xwing_overlap_ms", self.xwing_overlap_ms, 0, 30 * 86_400_000),
            ("x25519_overlap_ms", self.x25519_overlap_ms, 0, 30 * 86_400_000),
            ("checkpoint_ms", self.checkpoint_ms, 10, 600_000),
            ("receipt_confirm_ms", self.receipt_confirm_ms, 0, 86_400_000),
            ("request_deadline_ms", self.request_deadline_ms, 100, 86_400_000),
            // The engine's frames end at 64 MiB, and a body is one of them.
            ("max_body", self.max_body, 1 << 10, 48 << 20),
            ("engine_ready_ms", self.engine_ready_ms, 100, 3_600_000),
            ("shutdown_grace_ms", self.shutdown_grace_ms, 0, 3_600_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(bad(key, format!("must be from {least} to {most}")));
            }
        }
        Ok(())
    }

    /// What a verifier is told must be all there is to know.
    fn validate_in_tee(&self) -> Result<(), ConfigError> {
        if self.model_sha256.is_none() {
            return Err(bad("model_sha256", "must be set where the evidence is of kind tsm"));
        }
        if !self.engine_args.is_empty() {
            let problem = "must be empty where the evidence is of kind tsm: \
                           what the engine is told to load or do must be measured";
            return Err(bad("engine_args", problem));
        }
        Ok(())
    }

    /// The parsed `receipt_urls`.
    pub(crate) fn receipt_uris(&self) -> Result<Vec<Uri>, ConfigError> {
        self.receipt_urls.iter().map(|url| receipt_uri(url, self.evidence.kind)).collect()
    }

    /// Workchain of the operator's address.
    pub(crate) fn workchain(&self) -> Result<i32, ConfigError> {
        let problem = || bad("operator", "must be a raw TON address: workchain:64 hexadecimal characters");
        let (workchain, account) = self.operator.as_str().split_once(':').ok_or_else(problem)?;
        if account.len() != 64 || !account.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(problem());
        }
        workchain.parse().map_err(|_| problem())
    }

    /// Reads the files of `evidence.dev_root` and `gateway_keys`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] where one is missing or is no such key.
    pub fn read_keys(&self) -> Result<ConfiguredKeys, ConfigError> {
        let dev_root = self.evidence.dev_root.as_deref().map(read_dev_root).transpose()?;
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path)
                .map_err(|error| bad("gateway_keys", format!("{}: {error}", path.display())))?;
            let jwk: Jwk = serde_json::from_str(&text)
                .map_err(|_| bad("gateway_keys", format!("{} is not a JWK", path.display())))?;
            VerifyingKey::from_jwk(&jwk)
                .map_err(|error| bad("gateway_keys", format!("{}: {error}", path.display())))
        };
        let gateway_keys = self.gateway_keys.iter().map(read).collect::<Result<_, _>>()?;
        Ok(ConfiguredKeys { dev_root, gateway_keys })
    }

    pub(crate) fn key_periods(&self) -> Periods {
        Periods {
            published: Duration::from_millis(self.key_lifetime_ms),
            x25519_overlap: Duration::from_millis(self.x25519_overlap_ms),
            xwing_overlap: Duration::from_millis(self.xwing_overlap_ms),
        }
    }

    pub(crate) fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }
}

fn read_dev_root(path: &Path) -> Result<DevRoot, ConfigError> {
    let key = "evidence.dev_root";
    let pem =
        std::fs::read_to_string(path).map_err(|error| bad(key, format!("{}: {error}", path.display())))?;
    SigningKey::from_pem(&pem).map(DevRoot::new).map_err(|error| bad(key, error.to_string()))
}

/// Receipts are signed, and what they say of the payer is sealed under the deployment's own key: they need no TLS, and
/// the client that posts them has none. What a network sees is model, amounts and times.
fn receipt_uri(url: &str, kind: EvidenceKind) -> Result<Uri, ConfigError> {
    let problem = |what: &str| bad("receipt_urls", format!("'{url}' {what}"));
    let uri: Uri = url.parse().map_err(|_| problem("is not a URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(problem(
            "must start with http://: receipts are signed, and who pays is encrypted in them",
        ));
    }
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if kind == EvidenceKind::Dev && !loopback {
        return Err(problem("must be on loopback where the evidence is of kind dev"));
    }
    Ok(uri)
}

#[cfg(test)]
pub(crate) mod tests;
