//! The sidecar's options: flags, or variables `COCOON_CONNECT__NAME`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use cocoon_attestation::{LoadError, PolicyStore};
use cocoon_receipts::{NanoTon, VerifyingKey};
use cocoon_ton::chain::{ApiKey, Endpoint, EndpointConfig, EndpointUrl, Failover, RegistryReader};
use cocoon_ton::{Address, GlobalId, Network};
use http::{HeaderValue, Uri};

use crate::clock::Clock;
use crate::origin::GatewayUrl;
use crate::registry::{PolicyFiles, Registry};

/// Of one call to an endpoint.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest file of an endpoint's key, bytes.
const MAX_KEY: usize = 4096;

/// Options that cannot be used; the message names the one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("--gateway (or COCOON_CONNECT__GATEWAY) is needed: the gateway's address")]
    NoGateway,
    #[error(
        "a policy is needed, or nothing could be believed: give --policy, or put one at {}",
        .0.as_ref().map_or("$XDG_CONFIG_HOME/cocoon/policy.toml".into(), |path| path.display().to_string())
    )]
    NoPolicy(Option<PathBuf>),
    #[error("--policy {0}")]
    Policy(#[from] LoadError),
    #[error("--listen {0}: the sidecar listens on loopback only; what comes in there is not encrypted")]
    Listen(SocketAddr),
    #[error("--state-dir is needed: neither XDG_STATE_HOME nor HOME is set")]
    NoStateDir,
    #[error("--api-key-file {path}: {message}")]
    ApiKeyFile { path: PathBuf, message: String },
}

/// The gateway, and what is kept here.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The gateway's origin, with or without /v1. https; http for a loopback address only
    #[arg(long, env = "COCOON_CONNECT__GATEWAY")]
    pub gateway: Option<GatewayUrl>,
    /// Folder of the local token, the releases and policies that were seen, the wallet and the channel
    /// [default: $XDG_STATE_HOME/cocoon-connect]
    #[arg(long, env = "COCOON_CONNECT__STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Who tells of the chain.
#[derive(Debug, Clone, Args)]
pub struct ChainOptions {
    /// Origin of a toncenter v2 API of that network; repeatable, in the order of preference
    #[arg(long = "chain-endpoint", env = "COCOON_CONNECT__CHAIN_ENDPOINT", value_delimiter = ',')]
    pub chain_endpoint: Vec<String>,
    /// A file with the API key for the first endpoint, and no other
    #[arg(long, env = "COCOON_CONNECT__CHAIN_API_KEY_FILE")]
    pub chain_api_key_file: Option<PathBuf>,
}

impl ChainOptions {
    /// # Errors
    /// Where there are none, or one cannot be used; the message names the option.
    pub fn open(&self, network: Network) -> anyhow::Result<Failover> {
        if self.chain_endpoint.is_empty() {
            bail!("--chain-endpoint (or COCOON_CONNECT__CHAIN_ENDPOINT) is needed: who tells of the chain");
        }
        let mut key = match &self.chain_api_key_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("--chain-api-key-file {}", path.display()))?;
                if text.len() > MAX_KEY {
                    bail!("--chain-api-key-file {}: too long for a key", path.display());
                }
                Some(ApiKey::new(text.trim().to_owned()))
            }
        };
        let endpoint = |text: &String| {
            let config = EndpointConfig {
                url: EndpointUrl::parse(text)?,
                // An endpoint's key is given to nobody else.
                api_key: key.take(),
                operator: text.clone(),
                network,
                timeout: CALL_TIMEOUT,
            };
            Endpoint::new(config)
        };
        let endpoints: Result<Vec<_>, _> = self.chain_endpoint.iter().map(endpoint).collect();
        Ok(Failover::new(endpoints.context("--chain-endpoint")?)?)
    }
}

/// `mainnet`, or `test:` and a number.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    if text == "mainnet" {
        return Ok(Network::Mainnet);
    }
    let expected = "mainnet, or test:GLOBAL_ID with the number of another network";
    let number = text.strip_prefix("test:").and_then(|number| number.parse().ok());
    number.and_then(|number| Network::test(GlobalId(number))).ok_or_else(|| expected.into())
}

/// The registry to follow.
#[derive(Debug, Clone, Args)]
pub struct RegistryOptions {
    /// The contract that must name the policy and the prices; --policy's .next file is followed once it is named
    #[arg(long, env = "COCOON_CONNECT__REGISTRY", value_name = "ADDRESS", requires = "network")]
    pub registry: Option<String>,
    /// The registry's TON network: mainnet, or test:GLOBAL_ID, such as test:-3
    #[arg(long, env = "COCOON_CONNECT__NETWORK", value_parser = network)]
    pub network: Option<Network>,
    /// How often the registry is asked, seconds
    #[arg(long, env = "COCOON_CONNECT__REGISTRY_EVERY_S", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub registry_every_s: u64,
    #[command(flatten)]
    pub chain: ChainOptions,
}

impl RegistryOptions {
    /// The registry to follow, if any. With two endpoints or more, two must say the same.
    ///
    /// # Errors
    /// Where the options cannot be used; the message names the one.
    pub fn open(&self, clock: Clock) -> anyhow::Result<Option<Registry>> {
        let (Some(address), Some(network)) = (&self.registry, self.network) else { return Ok(None) };
        let address = Address::parse_for(address, network).context("--registry")?;
        let confirmed = self.chain.chain_endpoint.iter().collect::<BTreeSet<_>>().len() > 1;
        let reader = RegistryReader::new(self.chain.open(network)?, address, confirmed);
        Ok(Some(Registry { reader, clock, every: Duration::from_secs(self.registry_every_s) }))
    }
}

/// What both commands need that verify.
#[derive(Debug, Clone, Args)]
pub struct Common {
    #[command(flatten)]
    pub place: Place,
    /// Which evidence is believed [default: $XDG_CONFIG_HOME/cocoon/policy.toml, if it is there]
    #[arg(long, env = "COCOON_CONNECT__POLICY")]
    pub policy: Option<PathBuf>,
    /// Ed25519 public key, base64url: only a policy that it signed is followed, with its signature in FILE.sig
    #[arg(long, env = "COCOON_CONNECT__POLICY_SIGNER", value_parser = signer, allow_hyphen_values = true)]
    pub policy_signer: Option<VerifyingKey>,
    #[command(flatten)]
    pub registry: RegistryOptions,
    /// Longest wait for the gateway's answer, and for each next piece of it
    #[arg(long, env = "COCOON_CONNECT__ANSWER_TIMEOUT_S", default_value_t = 600,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub answer_timeout_s: u64,
}

/// What serving needs beside.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    #[command(flatten)]
    pub common: Common,
    /// Where local clients connect: a loopback address
    #[arg(long, env = "COCOON_CONNECT__LISTEN", default_value = "127.0.0.1:4141")]
    pub listen: SocketAddr,
    /// An origin whose web pages may ask, such as https://chat.example; repeatable
    #[arg(long = "allow-origin", env = "COCOON_CONNECT__ALLOW_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub allow_origin: Vec<HeaderValue>,
    /// A file with the API key to use; callers then present the token of the state folder in place of a key
    #[arg(long, env = "COCOON_CONNECT__API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Pay every request from the state folder's open channel; callers present the token as with --api-key-file
    #[arg(long, env = "COCOON_CONNECT__CHANNEL", conflicts_with = "api_key_file")]
    pub channel: bool,
    /// The most that one request may cost, nanoTON
    #[arg(long, env = "COCOON_CONNECT__MAX_COST")]
    pub max_cost: Option<NanoTon>,
    /// Largest request body, bytes
    #[arg(long, env = "COCOON_CONNECT__BODY_LIMIT", default_value_t = 8 << 20)]
    pub body_limit: usize,
    /// How long running requests may go on after SIGTERM
    #[arg(long, env = "COCOON_CONNECT__SHUTDOWN_GRACE_S", default_value_t = 30)]
    pub shutdown_grace_s: u64,
}

/// A public key as `cocoon-connect policy keygen` prints it.
pub(crate) fn signer(text: &str) -> Result<VerifyingKey, String> {
    VerifyingKey::from_base64url(text).map_err(|_| "an Ed25519 public key in base64url".into())
}

/// An origin as browsers write it.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let expected = "an origin such as https://chat.example, without a path";
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let is_origin = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|authority| {
            format!("{}://{authority}", uri.scheme_str().unwrap_or_default()) == text
        });
    if !is_origin || text.contains('@') || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(expected.into());
    }
    HeaderValue::from_str(text).map_err(|_| expected.into())
}

impl Place {
    /// # Errors
    /// [`ConfigError::NoGateway`].
    pub fn gateway(&self) -> Result<GatewayUrl, ConfigError> {
        self.gateway.clone().ok_or(ConfigError::NoGateway)
    }

    /// # Errors
    /// [`ConfigError::NoStateDir`].
    pub fn state_path(&self) -> Result<PathBuf, ConfigError> {
        self.state_dir
            .clone()
            .or_else(|| home("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("cocoon-connect")))
            .ok_or(ConfigError::NoStateDir)
    }
}

impl Common {
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.answer_timeout_s)
    }

    /// The files of the policy.
    ///
    /// # Errors
    /// [`ConfigError::NoPolicy`]. There is none by default: who is to be believed is for the user to say.
    pub fn policy_files(&self, store: PolicyStore) -> Result<PolicyFiles, ConfigError> {
        let default = home("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("cocoon/policy.toml"));
        let path = match &self.policy {
            Some(path) => path.clone(),
            None => match default {
                Some(path) if path.exists() => path,
                default => return Err(ConfigError::NoPolicy(default)),
            },
        };
        Ok(PolicyFiles { path, signer: self.policy_signer.clone(), store })
    }
}

impl ServeOptions {
    /// # Errors
    /// [`ConfigError::Listen`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.listen.ip().is_loopback() { Ok(()) } else { Err(ConfigError::Listen(self.listen)) }
    }

    /// The key to use, where the sidecar has one.
    ///
    /// # Errors
    /// [`ConfigError::ApiKeyFile`]; the message never has the key in it.
    pub fn api_key(&self) -> Result<Option<zeroize::Zeroizing<String>>, ConfigError> {
        let Some(path) = &self.api_key_file else { return Ok(None) };
        let failed = |message: String| ConfigError::ApiKeyFile { path: path.clone(), message };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let text = zeroize::Zeroizing::new(text);
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed("it must hold one API key and nothing else".into()));
        }
        Ok(Some(zeroize::Zeroizing::new(key.to_owned())))
    }
}

/// A folder of the user's (XDG Base Directory Specification); a relative one is to be ignored.
fn home(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use cocoon_attestation::Policy;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: ServeOptions,
    }

    fn options(arguments: &[&str]) -> Result<ServeOptions, String> {
        let all = ["x", "--gateway", "https://gateway.example"].iter().chain(arguments);
        Cli::try_parse_from(all).map(|cli| cli.options).map_err(|error| error.to_string())
    }

    #[test]
    fn it_listens_on_loopback_only() {
        for (listen, good) in [
            ("127.0.0.1:4141", true),
            ("[::1]:0", true),
            ("0.0.0.0:4141", false),
            ("[::]:4141", false),
            ("10.0.0.1:4141", false),
        ] {
            assert_eq!(options(&["--listen", listen]).unwrap().check().is_ok(), good, "{listen}");
        }
        assert_eq!(options(&[]).unwrap().listen, "127.0.0.1:4141".parse().unwrap());
    }

    #[test]
    fn without_a_policy_nothing_starts() {
        let mut common = options(&[]).unwrap().common;
        common.policy = Some("/nonexistent/policy.toml".into());
        let files = common.policy_files(PolicyStore::new("/nonexistent/policies.json".into())).unwrap();
        let message = ConfigError::from(files.follow(None).unwrap_err()).to_string();
        assert!(message.starts_with("--policy /nonexistent/policy.toml: "), "{message}");
        let message = ConfigError::NoPolicy(None).to_string();
        assert!(message.contains("a policy is needed"), "{message}");
    }

    #[test]
    fn with_a_pinned_signer_an_unsigned_or_older_policy_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        let key = cocoon_receipts::SigningKey::generate().unwrap();
        let write = |version: u64| {
            let text = format!("name = 'n'\nversion = {version}\nnot_after = 2030-01-01T00:00:00Z\n");
            std::fs::write(&path, &text).unwrap();
            text
        };
        let load = |more: &[&str]| {
            let common = options(&[&["--policy", path.to_str().unwrap()], more].concat()).unwrap().common;
            let store = PolicyStore::new(dir.path().join("policies.json"));
            common.policy_files(store).unwrap().follow(None)
        };
        let public = key.public().to_base64url();
        let pinned = ["--policy-signer", public.as_str()];
        let sign = |text: &str| {
            let signature = Policy::sign(text, &key).unwrap();
            std::fs::write(cocoon_attestation::signature_path(&path), signature).unwrap();
        };
        let unsigned = write(2);
        assert!(matches!(load(&pinned), Err(LoadError::Unsigned { .. })));
        assert!(load(&[]).is_ok(), "a local file is the user's word");
        sign(&unsigned);
        assert_eq!(load(&pinned).unwrap().version(), Some(2));
        sign(&write(1));
        assert!(matches!(load(&pinned), Err(LoadError::Version { .. })));
        assert!(options(&["--policy-signer", "x"]).is_err());
    }

    /// One public key in 64 begins with a hyphen in base64url.
    #[test]
    fn a_signer_that_looks_like_an_option_is_taken() {
        let public = || cocoon_receipts::SigningKey::generate().unwrap().public().to_base64url();
        let key = std::iter::repeat_with(public).find(|text| text.starts_with('-')).unwrap();
        let taken = options(&["--policy-signer", &key]).unwrap().common.policy_signer;
        assert_eq!(taken.unwrap().to_base64url(), key);
    }

    #[test]
    fn a_registry_needs_its_network_and_who_tells_of_it() {
        let address = format!("0:{}", "07".repeat(32));
        let registry = ["--registry", &address];
        assert!(options(&registry).is_err_and(|error| error.contains("--network")));
        let open = |more: &[&str]| {
            let all = [&registry[..], &["--network", "test:-3"], more].concat();
            options(&all).unwrap().common.registry.open(Clock::system())
        };
        assert!(open(&[]).is_err_and(|error| error.to_string().contains("--chain-endpoint")));
        let opened = open(&["--chain-endpoint", "http://127.0.0.1:1"]).unwrap().unwrap();
        assert_eq!(opened.reader.address().to_string(), address);
        assert!(options(&[]).unwrap().common.registry.open(Clock::system()).unwrap().is_none());
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in ["https://chat.example", "http://localhost:3000", "http://[::1]:3000"] {
            assert_eq!(options(&["--allow-origin", good]).unwrap().allow_origin, [good], "{good}");
        }
        for bad in
            ["*", "null", "chat.example", "https://chat.example/", "https://Chat.example", "file://x", ""]
        {
            assert!(options(&["--allow-origin", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_file_holds_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            options(&["--api-key-file", path.to_str().unwrap()]).unwrap().api_key()
        };
        assert_eq!(read("sk-cocoon-a.b.c\n").unwrap().unwrap().as_str(), "sk-cocoon-a.b.c");
        for bad in ["", "\n", "sk-secret one", "sk-secret\ntwo"] {
            let message = read(bad).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
