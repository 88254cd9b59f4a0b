//! All that this program knows of the other binaries: their commands, configuration and ready line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, bail};

use crate::files::{private_dir, write_private};
use crate::model::Model;
use crate::run::capture;

const GATEWAY: &str = "cocoon-gateway";
const BACKEND: &str = "cocoon-backend";
const CONNECT: &str = "cocoon-connect";
const SETTLER: &str = "cocoon-settler";
/// How long an epoch is here, seconds.
const EPOCH_S: u32 = 60;
const DEVNET: &str = "cocoon-devnet";
const SCRIPTED_ENGINE: &str = "cocoon-scripted-engine";

/// 10 TON of test credit, in nanoTON.
const GRANT: &str = "10000000000";
/// The number of the local chain, ConfigParam 19: that of test networks.
const GLOBAL_ID: &str = "-3";
/// The operator's part of every charge, ten-thousandths.
const OPERATOR_SHARE_BPS: u32 = 9000;
/// What the platform has of its own on the local chain, nanoTON: for fees, and for what operators earn by test credit.
const FLOAT: &str = "100000000000";
/// The comment of such money.
const FLOAT_COMMENT: &str = "cocoon-float";
/// Least close delay of payment channels on the local chain, seconds; a real one has a day.
const CLOSE_DELAY_S: u32 = 60;
/// Requests that the backend runs at once.
const MAX_RUNNING: u32 = 20;

fn gateway_binary(release: &Path) -> PathBuf {
    release.join(GATEWAY)
}

fn backend_binary(release: &Path) -> PathBuf {
    release.join(BACKEND)
}

fn connect_binary(release: &Path) -> PathBuf {
    release.join(CONNECT)
}

/// Tells the tests where the binaries are.
pub(crate) fn name_binaries(tests: &mut Command, release: &Path) {
    tests
        .env("COCOON_GATEWAY_BIN", gateway_binary(release))
        .env("COCOON_BACKEND_BIN", backend_binary(release))
        .env("COCOON_CONNECT_BIN", connect_binary(release))
        .env("COCOON_SETTLER_BIN", release.join(SETTLER))
        .env("COCOON_DEVNET_BIN", release.join(DEVNET))
        .env("COCOON_SCRIPTED_ENGINE_BIN", release.join(SCRIPTED_ENGINE));
}

pub(crate) fn quantize(engine: &Path, input: &Path, output: &Path) -> Command {
    let mut command = Command::new(engine);
    command.arg("quantize").arg(input).arg(output);
    command
}

/// Each server prints one JSON line with `"ready":true` and its addresses when it can be used.
pub(crate) fn is_ready_line(line: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Line {
        ready: bool,
    }
    serde_json::from_str::<Line>(line).is_ok_and(|line| line.ready)
}

/// The servers log JSON lines where their output is no terminal: one of them as a person reads it,
/// `12:30:01 INFO message name=value`. Any other line is given as it is.
pub(crate) fn readable(line: &str) -> String {
    use serde_json::Value;

    // In the order of their names, whatever features serde_json is built with.
    let Ok(mut event) = serde_json::from_str::<BTreeMap<String, Value>>(line) else { return line.to_owned() };
    if let Some(Value::Object(fields)) = event.remove("fields") {
        event.extend(fields);
    }
    let text = |event: &mut BTreeMap<String, Value>, name: &str| match event.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (Some(level), Some(message)) = (text(&mut event, "level"), text(&mut event, "message")) else {
        return line.to_owned();
    };
    let time = text(&mut event, "timestamp").unwrap_or_default();
    let time = time.split_once('T').and_then(|(_, time)| time.get(..8)).unwrap_or_default().to_owned();
    let message = message.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    let mut readable = format!("{time} {level:<5} {}", message.trim());
    for (name, value) in event {
        match value {
            Value::String(text) if name != "target" => readable += &format!(" {name}={text}"),
            Value::Number(_) | Value::Bool(_) => readable += &format!(" {name}={value}"),
            _ => {}
        }
    }
    readable
}

/// Where balances are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ledger {
    Embedded,
    Redis(String),
}

impl FromStr for Ledger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            Ok(Self::Embedded)
        } else if text.starts_with("redis://") || text.starts_with("rediss://") {
            Ok(Self::Redis(text.to_owned()))
        } else {
            Err("give `embedded`, or the URL of a Redis server like redis://127.0.0.1:6379".to_owned())
        }
    }
}

/// Addresses on the local chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wallets {
    /// Where users pay in, as they are shown it.
    pub(crate) treasury: String,
    /// The same for money that comes before the wallet is deployed.
    pub(crate) treasury_non_bounceable: String,
    /// Raw: who is paid for this machine's answers.
    pub(crate) operator: String,
    /// Of the wallet that publishes epochs, for money that comes before it is deployed.
    pub(crate) publisher_non_bounceable: String,
}

/// What a model costs, and when an operator is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prices {
    /// nanoTON per million tokens of prompt; of completion three times as much.
    pub(crate) prompt: u64,
    /// Time between blocks of the local chain, milliseconds.
    pub(crate) block_ms: u64,
}

impl Prices {
    /// Of a deployment for development: 0.02 TON per million tokens, and blocks as often as nobody has to wait for them.
    pub(crate) const DEVELOPMENT: Self = Self { prompt: 20_000_000, block_ms: 1_000 };
}

/// Whom an API key is for.
#[derive(Clone, Copy)]
pub(crate) enum Holder {
    /// The account whose key is in `OPENAI_API_KEY`.
    Developer,
    /// One without test credit: who has to pay in first.
    Payer,
    /// The one who makes that account's keys and reads its usage.
    Administrator,
    /// The deployment's own, who may ask of every account.
    Operator,
}

/// One gateway with one backend and one sidecar, in one folder of this machine.
pub(crate) struct Deployment {
    /// Absolute.
    pub(crate) dir: PathBuf,
    /// The folder of the binaries.
    pub(crate) release: PathBuf,
    pub(crate) engine: PathBuf,
    pub(crate) model: Model,
    pub(crate) ledger: Ledger,
    pub(crate) port: u16,
    pub(crate) ops_port: u16,
    pub(crate) backend_port: u16,
    pub(crate) connect_port: u16,
    pub(crate) chain_port: u16,
    pub(crate) prices: Prices,
}

impl Deployment {
    pub(crate) fn keys_dir(&self) -> PathBuf {
        self.dir.join("keys")
    }

    pub(crate) fn ledger_url(&self) -> String {
        match &self.ledger {
            Ledger::Embedded => format!("sqlite:{}", self.dir.join("ledger.db").display()),
            Ledger::Redis(url) => url.clone(),
        }
    }

    /// Makes the secrets that are missing and writes all configurations and the policy.
    pub(crate) fn configure(&self) -> anyhow::Result<Wallets> {
        private_dir(&self.keys_dir())?;
        private_dir(&self.dir.join("settler"))?;
        private_dir(&self.epochs_dir())?;
        private_dir(&self.dir.join("backend"))?;
        private_dir(&self.dir.join("connect"))?;
        let keys = self.keys_dir();
        capture(self.gateway().args(["keys", "init", "--dir"]).arg(&keys), "cocoon-gateway keys init")?;
        let root = capture(self.backend().args(["dev-root", "--dir"]).arg(&keys), "cocoon-backend dev-root")?;
        write_private(&self.policy(), &format!("dev_roots = [{}]\n", quoted(&root)?))?;
        write_private(&self.settler_config(), &self.settler_toml()?)?;
        let wallets = self.wallets()?;
        write_private(&self.gateway_config(), &self.gateway_toml(&wallets)?)?;
        write_private(&self.backend_config(), &self.backend_toml(&wallets)?)?;
        Ok(wallets)
    }

    /// The settler's wallet and, on this machine, the operator's.
    fn wallets(&self) -> anyhow::Result<Wallets> {
        #[derive(serde::Deserialize)]
        struct Address {
            address: String,
            non_bounceable: String,
            raw: String,
        }
        let of = |key: &Path| -> anyhow::Result<Address> {
            if !key.exists() {
                capture(self.settler().args(["keygen", "--out"]).arg(key), "cocoon-settler keygen")?;
            }
            let mut command = self.settler();
            command.args(["address", "--config"]).arg(self.settler_config());
            command.env("COCOON_SETTLER__WALLET_KEY", key);
            Ok(serde_json::from_str(&capture(&mut command, "cocoon-settler address")?)?)
        };
        let treasury = of(&self.wallet_key())?;
        let operator = of(&self.dir.join("settler/operator.key"))?;
        let publisher = of(&self.publisher_key())?;
        Ok(Wallets {
            treasury: treasury.address,
            treasury_non_bounceable: treasury.non_bounceable,
            operator: operator.raw,
            publisher_non_bounceable: publisher.non_bounceable,
        })
    }

    /// An API key, with test credit on its account.
    pub(crate) fn create_key(&self, holder: Holder) -> anyhow::Result<String> {
        let mut command = self.gateway();
        command.args(["keys", "create", "--config"]).arg(self.gateway_config());
        match holder {
            Holder::Developer => command.args(["--account", "dev", "--grant", GRANT, "--name", "developer"]),
            Holder::Payer => command.args(["--account", "payer", "--name", "payer"]),
            Holder::Administrator => {
                command.args(["--account", "dev", "--scope", "admin", "--name", "administrator"])
            }
            Holder::Operator => {
                command.args(["--account", "operator", "--scope", "operator", "--name", "operator"])
            }
        };
        let key = capture(&mut command, "cocoon-gateway keys create")?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            bail!("cocoon-gateway keys create printed something else than one key");
        }
        Ok(key)
    }

    pub(crate) fn serve_gateway(&self) -> Command {
        let mut command = self.gateway();
        command.args(["serve", "--config"]).arg(self.gateway_config());
        command
    }

    pub(crate) fn serve_backend(&self) -> Command {
        let mut command = self.backend();
        command.args(["serve", "--config"]).arg(self.backend_config());
        command
    }

    /// Under the gateway's own policy: it trusts this machine's root alone.
    pub(crate) fn serve_connect(&self) -> Command {
        let mut command = Command::new(connect_binary(&self.release));
        command
            .args(["serve", "--gateway", &format!("http://127.0.0.1:{}", self.port)])
            .args(["--listen", &format!("127.0.0.1:{}", self.connect_port)])
            .arg("--policy")
            .arg(self.policy())
            .arg("--state-dir")
            .arg(self.dir.join("connect"));
        command
    }

    /// The same for somebody else on this machine, who pays from a payment channel.
    pub(crate) fn serve_payer(&self, port: u16) -> Command {
        let mut command = Command::new(connect_binary(&self.release));
        command
            .args(["serve", "--channel", "--gateway", &format!("http://127.0.0.1:{}", self.port)])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--policy")
            .arg(self.policy())
            .arg("--state-dir")
            .arg(self.payer());
        command
    }

    /// `cocoon-connect channel …` of theirs.
    pub(crate) fn channel(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(connect_binary(&self.release));
        command
            .arg("channel")
            .args(arguments)
            .args(["--gateway", &format!("http://127.0.0.1:{}", self.port), "--json"])
            .args(["--network", &format!("test:{GLOBAL_ID}"), "--chain-endpoint"])
            .arg(format!("http://127.0.0.1:{}", self.chain_port))
            .arg("--state-dir")
            .arg(self.payer());
        command
    }

    /// The state folder of whoever pays from a channel.
    pub(crate) fn payer(&self) -> PathBuf {
        self.dir.join("payer")
    }

    /// The local chain, which goes on where it was.
    pub(crate) fn serve_chain(&self) -> Command {
        let mut command = Command::new(self.release.join(DEVNET));
        command
            .args(["--listen", &format!("127.0.0.1:{}", self.chain_port)])
            .args(["--global-id", GLOBAL_ID])
            .args(["--block-interval", &self.prices.block_ms.to_string()])
            .arg("--state")
            .arg(self.dir.join("chain.db"));
        command
    }

    pub(crate) fn serve_settler(&self) -> Command {
        let mut command = self.settler();
        command.args(["run", "--config"]).arg(self.settler_config());
        command
    }

    /// Whether chain, log and ledger agree, as JSON.
    pub(crate) fn reconcile(&self, json: bool) -> Command {
        let mut command = self.settler();
        command.args(["reconcile", "--config"]).arg(self.settler_config());
        if json {
            command.arg("--json");
        }
        command
    }

    /// What asks the chain's faucet for the platform's own money.
    pub(crate) fn float(wallets: &Wallets) -> String {
        serde_json::json!({
            "address": wallets.treasury_non_bounceable, "amount": FLOAT, "comment": FLOAT_COMMENT,
        })
        .to_string()
    }

    fn settler(&self) -> Command {
        Command::new(self.release.join(SETTLER))
    }

    fn wallet_key(&self) -> PathBuf {
        self.dir.join("settler/wallet.key")
    }

    fn publisher_key(&self) -> PathBuf {
        self.dir.join("settler/publisher.key")
    }

    fn epochs_dir(&self) -> PathBuf {
        self.dir.join("settler/epochs")
    }

    /// A file with the address of the registry, once there is one.
    fn registry(&self) -> PathBuf {
        self.dir.join("settler/registry")
    }

    /// Whether epochs have a registry to be published in.
    pub(crate) fn has_registry(&self) -> bool {
        self.registry().exists()
    }

    /// Deploys one from the publisher's money, and names it to the settler.
    pub(crate) fn deploy_registry(&self, wallets: &Wallets) -> anyhow::Result<()> {
        #[derive(serde::Deserialize)]
        struct Deployed {
            raw: String,
        }
        let mut command = self.settler();
        command.args(["registry", "deploy", "--owner", &wallets.operator, "--config"]);
        command.arg(self.settler_config());
        let deployed = capture(&mut command, "cocoon-settler registry deploy")?;
        let Deployed { raw } = serde_json::from_str(&deployed)?;
        write_private(&self.registry(), &raw)?;
        write_private(&self.settler_config(), &self.settler_toml()?)
    }

    fn settler_config(&self) -> PathBuf {
        self.dir.join("settler.toml")
    }

    fn policy(&self) -> PathBuf {
        self.dir.join("policy.toml")
    }

    fn gateway(&self) -> Command {
        Command::new(gateway_binary(&self.release))
    }

    fn backend(&self) -> Command {
        Command::new(backend_binary(&self.release))
    }

    fn gateway_config(&self) -> PathBuf {
        self.dir.join("gateway.toml")
    }

    fn backend_config(&self) -> PathBuf {
        self.dir.join("backend.toml")
    }

    fn settler_toml(&self) -> anyhow::Result<String> {
        let mut text = String::from("# Written by `cargo xtask up`, and again at every start.\n");
        writeln!(text, "ledger = {}", quoted(&self.ledger_url())?)?;
        writeln!(text, "wallet_key = {}", quoted_path(&self.wallet_key())?)?;
        writeln!(text, "poll_ms = 500")?;
        writeln!(text, "\n[network]\nname = \"test\"\nglobal_id = {GLOBAL_ID}")?;
        writeln!(text, "\n[[endpoints]]\nurl = \"http://127.0.0.1:{}\"", self.chain_port)?;
        writeln!(text, "operator = \"this machine\"")?;
        writeln!(text, "\n[epochs]\nevery_s = {EPOCH_S}")?;
        writeln!(text, "publisher_key = {}", quoted_path(&self.publisher_key())?)?;
        writeln!(text, "folder = {}", quoted_path(&self.epochs_dir())?)?;
        if self.has_registry() {
            writeln!(text, "registry = {}", quoted(&std::fs::read_to_string(self.registry())?)?)?;
        }
        Ok(text)
    }

    fn gateway_toml(&self, wallets: &Wallets) -> anyhow::Result<String> {
        let mut text = String::from("# Written by `cargo xtask up`, and again at every start.\n");
        writeln!(text, "listen = \"127.0.0.1:{}\"", self.port)?;
        writeln!(text, "ops_listen = \"127.0.0.1:{}\"", self.ops_port)?;
        writeln!(text, "keys_dir = {}", quoted_path(&self.keys_dir())?)?;
        writeln!(text, "policy = {}", quoted_path(&self.policy())?)?;
        writeln!(text, "operator_share_bps = {OPERATOR_SHARE_BPS}")?;
        writeln!(text, "\n[ledger]\nurl = {}", quoted(&self.ledger_url())?)?;
        writeln!(text, "\n[billing]\ntreasury = {}", quoted(&wallets.treasury)?)?;
        writeln!(text, "\n[channels]\nnetwork = {{ name = \"test\", global_id = {GLOBAL_ID} }}")?;
        writeln!(text, "min_close_delay_s = {CLOSE_DELAY_S}")?;
        writeln!(text, "endpoints = {}", self.endpoints())?;
        writeln!(text, "\n[[backends]]\nurl = \"http://127.0.0.1:{}\"", self.backend_port)?;
        writeln!(text, "\n# nanoTON per million tokens")?;
        writeln!(text, "[prices.{}]\ntable = 1", quoted(&self.model.name)?)?;
        let prompt = self.prices.prompt;
        let completion = prompt * 3;
        for (kind, price) in
            [("prompt", prompt), ("cached", prompt), ("completion", completion), ("reasoning", completion)]
        {
            writeln!(text, "{kind} = \"{price}\"")?;
        }
        Ok(text)
    }

    /// Who tells of the chain.
    fn endpoints(&self) -> String {
        format!("[{{ url = \"http://127.0.0.1:{}\", operator = \"this machine\" }}]", self.chain_port)
    }

    fn backend_toml(&self, wallets: &Wallets) -> anyhow::Result<String> {
        let keys = self.keys_dir();
        let receipts = format!("http://127.0.0.1:{}/internal/receipts", self.ops_port);
        let mut text = String::from("# Written by `cargo xtask up`, and again at every start.\n");
        writeln!(text, "listen = \"127.0.0.1:{}\"", self.backend_port)?;
        writeln!(text, "state_dir = {}", quoted_path(&self.dir.join("backend"))?)?;
        writeln!(text, "engine = {}", quoted_path(&self.engine)?)?;
        writeln!(text, "model_path = {}", quoted(&self.model.source)?)?;
        writeln!(text, "model_name = {}", quoted(&self.model.name)?)?;
        writeln!(text, "receipt_urls = [{}]", quoted(&receipts)?)?;
        writeln!(text, "gateway_keys = [{}]", quoted_path(&keys.join("ticket.pub.json"))?)?;
        writeln!(text, "operator = {}", quoted(&wallets.operator)?)?;
        writeln!(text, "max_running = {MAX_RUNNING}")?;
        writeln!(text, "\n[evidence]\nkind = \"dev\"")?;
        writeln!(text, "dev_root = {}", quoted_path(&keys.join("dev-root.pem"))?)?;
        writeln!(text, "\n[payouts]\ntreasury = {}", quoted(&wallets.treasury)?)?;
        writeln!(text, "network = {{ name = \"test\", global_id = {GLOBAL_ID} }}")?;
        writeln!(text, "endpoints = {}", self.endpoints())?;
        writeln!(text, "operator_share_bps = {OPERATOR_SHARE_BPS}")?;
        Ok(text)
    }
}

/// A TOML basic string: JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> anyhow::Result<String> {
    Ok(serde_json::to_string(text)?)
}

fn quoted_path(path: &Path) -> anyhow::Result<String> {
    quoted(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        Deployment {
            dir: "/tmp/a \"b\"/.cocoon".into(),
            release: "/r".into(),
            engine: "/e/cocoon-engine".into(),
            model: Model { name: "tiny".into(), source: "/m/tiny.gguf".into() },
            ledger: Ledger::Embedded,
            port: 8080,
            ops_port: 8081,
            backend_port: 8090,
            connect_port: 4141,
            chain_port: 8100,
            prices: Prices::DEVELOPMENT,
        }
    }

    #[test]
    fn a_folder_with_quotes_in_its_name_cannot_break_a_configuration() {
        let text = deployment().gateway_toml(&Wallets::default()).unwrap();
        assert!(text.contains(r#"keys_dir = "/tmp/a \"b\"/.cocoon/keys""#), "{text}");
        assert!(text.contains(r#"url = "sqlite:/tmp/a \"b\"/.cocoon/ledger.db""#), "{text}");
    }

    #[test]
    fn the_backend_delivers_receipts_to_the_ops_listener() {
        let text = deployment().backend_toml(&Wallets::default()).unwrap();
        assert!(text.contains(r#"receipt_urls = ["http://127.0.0.1:8081/internal/receipts"]"#), "{text}");
    }

    #[test]
    fn a_ledger_is_embedded_or_a_redis_url() {
        assert_eq!("embedded".parse(), Ok(Ledger::Embedded));
        assert_eq!("redis://h:1".parse(), Ok(Ledger::Redis("redis://h:1".into())));
        assert!("postgres://h".parse::<Ledger>().is_err());
    }

    #[test]
    fn a_log_line_is_shown_as_a_person_reads_it() {
        let line = r#"{"timestamp":"2026-01-02T12:30:01.5Z","level":"WARN","message":"slow\nly\n","ms":7,"model":"m","target":"x"}"#;
        assert_eq!(readable(line), "12:30:01 WARN  slow ly model=m ms=7");
        let nested = r#"{"timestamp":"2026-01-02T12:30:01.5Z","level":"INFO","fields":{"message":"up","port":1},"target":"x"}"#;
        assert_eq!(readable(nested), "12:30:01 INFO  up port=1");
        for other in ["thread 'main' panicked", r#"{"a":1}"#, ""] {
            assert_eq!(readable(other), other);
        }
    }

    #[test]
    fn only_a_json_line_that_says_so_is_a_ready_line() {
        assert!(is_ready_line(r#"{"ready":true,"listen":"127.0.0.1:8080"}"#));
        assert!(!is_ready_line(r#"{"ready":false}"#));
        assert!(!is_ready_line("ready: true"));
    }
}
