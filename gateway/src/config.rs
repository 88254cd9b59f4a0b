//! The gateway's one configuration: a TOML file, overridden by environment variables `COCOON_GATEWAY__KEY` (and
//! `COCOON_GATEWAY__SECTION__KEY`), checked once at start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cocoon_ledger::is_channel;
use cocoon_ledger::redis::{Access, Timeouts};
use cocoon_openapi::billing::{TopUp, Transfer};
use cocoon_receipts::{AccountId, BasisPoints, NanoTon, Price, VerifyingKey};
use cocoon_ton::{Shown, deposit_comment};
use serde::Deserialize;

use crate::channels::ChannelsConfig;
use crate::issuers::{self, IssuerConfig};
use crate::registry::RegistryConfig;

/// Longest address that clients are told, bytes.
const MAX_URL: usize = 1024;
const ENV_PREFIX: &str = "COCOON_GATEWAY__";

/// A configuration that cannot be used; the message names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{key}: {message}")]
    Value { key: String, message: String },
    #[error(transparent)]
    Environment(#[from] cocoon_process::NotAKey),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators and outboxes connect: never a public address.
    pub ops_listen: SocketAddr,
    /// Serves clients over TLS; plain HTTP where absent.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Folder of the deployment's secrets, shared by all its gateways.
    pub keys_dir: PathBuf,
    /// Policy file that backends' evidence is judged under.
    pub policy: PathBuf,
    /// Ed25519 public key, base64url: only a policy that it signed is followed.
    #[serde(default)]
    pub policy_signer: Option<String>,
    /// File that remembers the highest version of each signed policy; its folder is the gateway's alone to write.
    #[serde(default)]
    pub policy_state: Option<PathBuf>,
    /// `iss` of API keys: the deployment's name.
    #[serde(default = "default_issuer")]
    pub issuer: String,
    /// Others whose tokens are good for inference.
    #[serde(default)]
    pub issuers: Vec<IssuerConfig>,
    pub ledger: LedgerConfig,
    #[serde(default)]
    pub billing: BillingConfig,
    /// Payment channels to the treasury; none are taken where absent.
    #[serde(default)]
    pub channels: Option<ChannelsConfig>,
    /// A contract that must name the policy and the prices; the files alone say where absent.
    #[serde(default)]
    pub registry: Option<RegistryConfig>,
    pub backends: Vec<BackendConfig>,
    /// Prices by public model name.
    pub prices: BTreeMap<String, Price>,
    /// Those that come after them, once the registry has them.
    #[serde(default)]
    pub prices_next: Option<BTreeMap<String, Price>>,
    /// Other names that clients may ask for.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// The model of sealed requests that name none.
    #[serde(default)]
    pub default_model: Option<String>,
    /// Host under which every model has a host of its own, `<model>.<base_host>`, for clients that can set no header.
    #[serde(default)]
    pub base_host: Option<String>,
    /// The operator's part of every charge, in ten-thousandths; the platform keeps the rest.
    #[serde(default = "default_operator_share")]
    pub operator_share_bps: BasisPoints,
    /// Largest request body, bytes.
    #[serde(default = "default_body_limit")]
    pub body_limit: usize,
    /// Largest unstreamed answer, bytes.
    #[serde(default = "default_answer_limit")]
    pub answer_limit: usize,
    /// Requests in flight; more get 503.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: usize,
    /// Longest life of a request.
    #[serde(default = "default_request_deadline_ms")]
    pub request_deadline_ms: u64,
    /// How long a hold lasts without a sign of life from its backend.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// How long an idempotency key stays taken after its gateway is gone.
    #[serde(default = "default_idempotency_lease_ms")]
    pub idempotency_lease_ms: u64,
    /// How often overdue holds are looked for.
    #[serde(default = "default_sweep_ms")]
    pub sweep_ms: u64,
    /// How long running requests may go on after SIGTERM.
    #[serde(default = "default_shutdown_grace_ms")]
    pub shutdown_grace_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// `sqlite:PATH`, `redis://…`, `redis+sentinel://…` or `redis-cluster://…`; the last three with `rediss` for TLS.
    pub url: String,
    /// How long a bound hold whose lease ran out waits for its receipt.
    #[serde(default = "default_grace_ms")]
    pub grace_ms: u64,
    /// Folder of the journal's archive, which `cocoon-gateway ledger archive` fills. It must be there.
    #[serde(default)]
    pub archive: Option<PathBuf>,
    /// PEM: authorities that may have signed a Redis's certificate; the system's where absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM: a client certificate, for a Redis that asks for one, and its key.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// File whose first line is the password of the URL's user.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// User of the sentinels, where they ask for a password.
    #[serde(default)]
    pub sentinel_user: Option<String>,
    /// File whose first line is the password for the sentinels.
    #[serde(default)]
    pub sentinel_password_file: Option<PathBuf>,
    /// How long a Redis may take to accept a connection.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long it may take to answer. A request is refused no later than after both.
    #[serde(default = "default_response_timeout_ms")]
    pub response_timeout_ms: u64,
    /// How long a gateway that starts waits for a Redis that does not answer yet.
    #[serde(default = "default_start_wait_ms")]
    pub start_wait_ms: u64,
}

impl LedgerConfig {
    /// What the ledger is opened with beside its URL.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            timeouts: Timeouts {
                connect: Duration::from_millis(self.connect_timeout_ms),
                response: Duration::from_millis(self.response_timeout_ms),
            },
            ca: self.ca.clone(),
            client_certificate: self.certificate.clone().zip(self.key.clone()),
            password_file: self.password_file.clone(),
            sentinel_user: self.sentinel_user.clone(),
            sentinel_password_file: self.sentinel_password_file.clone(),
        }
    }

    /// How long a start waits for the store. A file is there, or it is not.
    #[must_use]
    pub fn start_wait(&self) -> Duration {
        match self.url.starts_with("sqlite:") {
            true => Duration::ZERO,
            false => Duration::from_millis(self.start_wait_ms),
        }
    }
}

/// What those who pay are told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingConfig {
    /// A page that says how to pay in.
    #[serde(default)]
    pub topup_url: Option<String>,
    /// The settler's wallet as `cocoon-settler address` shows it: what is sent there is credited, and withdrawals are
    /// paid from it.
    #[serde(default)]
    pub treasury: Option<String>,
    /// Least that is paid in or out, nanoTON: the settler's `deposits.minimum`.
    #[serde(default = "default_minimum_transfer")]
    pub minimum_transfer: NanoTon,
}

impl BillingConfig {
    /// How `account` pays in `amount`, or any.
    #[must_use]
    pub fn topup(&self, account: &AccountId, amount: Option<NanoTon>) -> Option<TopUp> {
        // A channel is paid into by its contract.
        let treasury = self.treasury.as_ref().filter(|_| !is_channel(account));
        let transfer = treasury.map(|address| self.transfer(address, account, amount));
        let url = self.topup_url.clone();
        (url.is_some() || transfer.is_some()).then_some(TopUp { amount, url, transfer })
    }

    fn transfer(&self, address: &str, account: &AccountId, amount: Option<NanoTon>) -> Transfer {
        let (comment, minimum) = (deposit_comment(account), self.minimum_transfer);
        // Neither an address nor a comment has anything that a URL would escape.
        let link = match amount {
            Some(amount) => format!("ton://transfer/{address}?amount={}&text={comment}", amount.max(minimum)),
            None => format!("ton://transfer/{address}?text={comment}"),
        };
        Transfer { address: address.to_owned(), comment, minimum, link }
    }
}

impl Default for BillingConfig {
    fn default() -> Self {
        Self { topup_url: None, treasury: None, minimum_transfer: default_minimum_transfer() }
    }
}

fn default_minimum_transfer() -> NanoTon {
    NanoTon(10_000_000)
}

/// Both files are read again when they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM: the server's certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendConfig {
    /// Origin, such as `http://127.0.0.1:8090`.
    pub url: String,
}

fn default_issuer() -> String {
    "cocoon".into()
}

fn default_operator_share() -> BasisPoints {
    BasisPoints::NINE_TENTHS
}

fn default_body_limit() -> usize {
    8 << 20
}

fn default_answer_limit() -> usize {
    32 << 20
}

fn default_max_in_flight() -> usize {
    4096
}

fn default_request_deadline_ms() -> u64 {
    600_000
}

fn default_lease_ms() -> u64 {
    60_000
}

/// Shorter than an SDK's two repetitions take, as each waits here first: the last of them then runs.
fn default_idempotency_lease_ms() -> u64 {
    9_000
}

fn default_sweep_ms() -> u64 {
    5_000
}

fn default_shutdown_grace_ms() -> u64 {
    30_000
}

fn default_connect_timeout_ms() -> u64 {
    1_000
}

fn default_response_timeout_ms() -> u64 {
    2_000
}

/// A supervisor starts the gateway again after it, so that a Redis which reads its file for longer is waited for too.
fn default_start_wait_ms() -> u64 {
    60_000
}

fn default_grace_ms() -> u64 {
    15 * 60 * 1000
}

impl Config {
    /// Reads and checks `path`, with the process's environment over it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &text, std::env::vars())
    }

    fn parse(
        path: &Path,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let syntax = |message: String| ConfigError::Syntax { path: path.into(), message };
        let mut table: toml::Table = toml::from_str(text).map_err(|error| syntax(error.to_string()))?;
        cocoon_process::lay_over(&mut table, ENV_PREFIX, environment)?;
        let config: Self = table.try_into().map_err(|error: toml::de::Error| syntax(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let error =
            |key: &str, message: &str| ConfigError::Value { key: key.into(), message: message.into() };
        if self.backends.is_empty() {
            return Err(error("backends", "at least one is needed"));
        }
        match (&self.policy_signer, &self.policy_state) {
            (Some(_), None) => return Err(error("policy_state", "is needed where policy_signer is set")),
            (None, Some(_)) => return Err(error("policy_state", "is of no use without policy_signer")),
            _ => {}
        }
        if self.policy_signer.as_ref().is_some_and(|key| VerifyingKey::from_base64url(key).is_err()) {
            return Err(error("policy_signer", "must be an Ed25519 public key in base64url"));
        }
        for backend in &self.backends {
            let uri: http::Uri = backend
                .url
                .parse()
                .map_err(|_| error("backends.url", "must be an origin such as http://host:port"))?;
            let origin = uri.scheme_str() == Some("http") && uri.host().is_some() && uri.path() == "/";
            if !origin || uri.query().is_some() {
                return Err(error("backends.url", "must be an origin such as http://host:port"));
            }
        }
        let tables = [("prices", Some(&self.prices)), ("prices_next", self.prices_next.as_ref())];
        let tables = tables.into_iter().filter_map(|(key, table)| Some((key, table?)));
        for (key, table) in tables.clone() {
            for (model, price) in table {
                if price.prompt == NanoTon::ZERO && price.completion == NanoTon::ZERO {
                    return Err(error(&format!("{key}.{model}"), "rounds every request to 0"));
                }
            }
        }
        let has_price = |model: &String| tables.clone().any(|(_, table)| table.contains_key(model));
        for (alias, model) in &self.aliases {
            if !has_price(model) {
                return Err(error(&format!("aliases.{alias}"), "names a model that has no price"));
            }
        }
        let is_sold = |model: &String| has_price(model) || self.aliases.contains_key(model);
        if self.default_model.as_ref().is_some_and(|model| !is_sold(model)) {
            return Err(error("default_model", "names a model that has no price"));
        }
        let is_host = |host: &String| {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            !host.is_empty() && !host.starts_with('.') && host.bytes().all(plain)
        };
        if self.base_host.as_ref().is_some_and(|host| !is_host(host)) {
            return Err(error("base_host", "must be a host's name in lower case, without a port"));
        }
        issuers::check(&self.issuers, &self.issuer).map_err(|bad| error(bad.key, &bad.message))?;
        if self.billing.topup_url.as_ref().is_some_and(|url| !is_page(url)) {
            return Err(error("billing.topup_url", "must be an https address"));
        }
        // The form for people, which has a checksum.
        let is_shown = |text: &String| matches!(text.parse(), Ok(Shown { bounceable: Some(_), .. }));
        if self.billing.treasury.as_ref().is_some_and(|address| !is_shown(address)) {
            return Err(error("billing.treasury", "must be an address such as EQ… or kQ…"));
        }
        if let Some(channels) = &self.channels {
            if self.billing.treasury.is_none() {
                return Err(error("channels", "is of no use without billing.treasury"));
            }
            channels.check().map_err(|wrong| error("channels", &wrong.to_string()))?;
        }
        match (&self.registry, &self.prices_next) {
            (Some(registry), _) => {
                registry.check().map_err(|wrong| error("registry", &wrong.to_string()))?;
            }
            (None, Some(_)) => return Err(error("prices_next", "is of no use without registry")),
            (None, None) => {}
        }
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            return Err(error("ops_listen", "must not be the public listener"));
        }
        if self.ledger.certificate.is_some() != self.ledger.key.is_some() {
            return Err(error("ledger.certificate", "is of no use without ledger.key, nor that without it"));
        }
        let positive = [
            ("ledger.connect_timeout_ms", self.ledger.connect_timeout_ms),
            ("ledger.response_timeout_ms", self.ledger.response_timeout_ms),
            ("request_deadline_ms", self.request_deadline_ms),
            ("lease_ms", self.lease_ms),
            ("idempotency_lease_ms", self.idempotency_lease_ms),
            ("sweep_ms", self.sweep_ms),
            ("body_limit", self.body_limit as u64),
            ("answer_limit", self.answer_limit as u64),
            ("max_in_flight", self.max_in_flight as u64),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(error(key, "must be above 0")),
            None => Ok(()),
        }
    }

    #[must_use]
    pub fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }

    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// An address that a page may link to.
fn is_page(url: &str) -> bool {
    let uri = url.parse::<http::Uri>();
    url.len() <= MAX_URL && uri.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::registry::tests::REGISTRY;

    const GOOD: &str = r#"
        listen = "127.0.0.1:8080"
        ops_listen = "127.0.0.1:8081"
        keys_dir = "keys"
        policy = "policy.toml"
        ledger.url = "sqlite:ledger.db"
        backends = [{ url = "http://127.0.0.1:8090" }]
        [prices.m]
        table = 1
        prompt = "20"
        cached = "20"
        completion = "60"
        reasoning = "60"
    "#;

    const CHANNELS: &str = "channels.network = { name = 'test', global_id = -3 }\nchannels.endpoints = [{ url = 'http://127.0.0.1:8100', operator = 'we' }]\n";

    const TREASURY: &str = "EQCdHhhDYkxNF1ppWowt6KWmHwO5MzboyqThZL9su6sgXsq8";

    #[test]
    fn channels_need_a_treasury_and_a_channels_account_is_shown_none() {
        let text = format!("billing.treasury = '{TREASURY}'\n{CHANNELS}{GOOD}");
        let config = parse(&text, &[]).unwrap();
        assert_eq!(config.channels.unwrap().min_close_delay_s, 86_400);
        let topup = |account: &str| config.billing.topup(&account.parse().unwrap(), None);
        assert!(topup("alice").unwrap().transfer.is_some());
        assert_eq!(topup(&format!("channel:{}", "07".repeat(32))), None);
    }

    #[test]
    fn a_name_may_be_of_the_prices_that_come_next() {
        let next = GOOD.replace("[prices.m]", "[aliases]\nn = 'm'\n[prices]\n[prices_next.m]");
        let config = parse(&format!("{REGISTRY}{next}"), &[]).unwrap();
        assert!(config.prices.is_empty() && config.prices_next.unwrap().contains_key("m"));
    }

    const ISSUER: &str = "name = 'a'\nurl = 'https://a.b/jwks'\nissuer = 'https://a.b'\naudience = 'c'";

    const SIGNER: &str = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w";

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::parse(Path::new("gateway.toml"), text, environment)
    }

    /// A configuration that can be used.
    pub(crate) fn good() -> Config {
        parse(GOOD, &[]).unwrap()
    }

    #[test]
    fn the_environment_is_over_the_file() {
        let config = parse(
            GOOD,
            &[
                ("COCOON_GATEWAY__LISTEN", "127.0.0.1:1"),
                ("COCOON_GATEWAY__LEDGER__URL", "redis://127.0.0.1"),
                ("COCOON_GATEWAY__LEASE_MS", "7"),
                ("OTHER", "x"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.ledger.url, "redis://127.0.0.1");
        assert_eq!(config.lease_ms, 7);
        assert_eq!(config.ops_listen.port(), 8081);
    }

    #[test]
    fn an_error_names_the_key() {
        for (text, environment, key) in [
            (GOOD.replace("8081", "8080"), None, "ops_listen"),
            (GOOD.replace("http://127.0.0.1:8090", "http://127.0.0.1:8090/v1"), None, "backends.url"),
            (GOOD.replace("\"20\"", "\"0\"").replace("\"60\"", "\"0\""), None, "prices.m"),
            (GOOD.replace("prompt", "promt"), None, "promt"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__TLS__CERTIFICATE", "cert.pem")), "key"),
            (format!("{CHANNELS}{GOOD}"), None, "channels"),
            (format!("{}{GOOD}", REGISTRY.replace("-3", "-239")), None, "registry"),
            (GOOD.replace("[prices.m]", "[prices_next]\n[prices.m]"), None, "prices_next"),
            (
                format!(
                    "{REGISTRY}{}",
                    GOOD.replace("[prices.m]", "[prices]\n[prices_next.m]")
                        .replace("\"20\"", "\"0\"")
                        .replace("\"60\"", "\"0\"")
                ),
                None,
                "prices_next.m",
            ),
            (
                format!("billing.treasury = '{TREASURY}'\n{}{GOOD}", CHANNELS.replace("-3", "-239")),
                None,
                "channels",
            ),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__LEASE_MS", "0")), "lease_ms"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__LEDGER__CERTIFICATE", "c.pem")), "ledger.certificate"),
            (
                GOOD.to_owned(),
                Some(("COCOON_GATEWAY__LEDGER__CONNECT_TIMEOUT_MS", "0")),
                "ledger.connect_timeout_ms",
            ),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__DEFAULT_MODEL", "unknown")), "default_model"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__BASE_HOST", "api.test:80")), "base_host"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__BASE_HOST", "API.test")), "base_host"),
            (
                GOOD.to_owned(),
                Some(("COCOON_GATEWAY__BILLING__TOPUP_URL", "http://a.b")),
                "billing.topup_url",
            ),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__BILLING__TOPUP_URL", "pay")), "billing.topup_url"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__BILLING__TREASURY", "EQ")), "billing.treasury"),
            (
                GOOD.to_owned(),
                Some((
                    "COCOON_GATEWAY__BILLING__TREASURY",
                    "0:0000000000000000000000000000000000000000000000000000000000000000",
                )),
                "billing.treasury",
            ),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__NO_SUCH", "0")), "no_such"),
            (format!("{GOOD}\n[[issuers]]\n{ISSUER}\nalgorithms = ['HS256']"), None, "HS256"),
            (format!("{GOOD}\n[[issuers]]\n{ISSUER}\nalgorithms = []"), None, "issuers.algorithms"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__POLICY_SIGNER", SIGNER)), "policy_state"),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__POLICY_STATE", "policies.json")), "policy_state"),
            (
                GOOD.replace("keys_dir", "policy_signer = \"x\"\npolicy_state = \"p\"\nkeys_dir"),
                None,
                "policy_signer",
            ),
            (GOOD.to_owned(), Some(("COCOON_GATEWAY__OPERATOR_SHARE_BPS", "10001")), "operator_share_bps"),
        ] {
            let error = parse(&text, environment.as_slice()).unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
