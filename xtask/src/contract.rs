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
const DEVNET: &str = "cocoon-devnet";
const SCRIPTED_ENGINE: &str = "cocoon-scripted-engine";

/// 10 TON of test credit, in nanoTON.
const GRANT: &str = "10000000000";
/// The raw form of TON's null address: nobody is paid on a development machine.
const NO_OPERATOR: &str = "0:0000000000000000000000000000000000000000000000000000000000000000";
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

/// Whom an API key is for.
#[derive(Clone, Copy)]
pub(crate) enum Holder {
    /// The account whose key is in `OPENAI_API_KEY`.
    Developer,
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

    /// Makes the secrets that are missing and writes both configurations and the policy.
    pub(crate) fn configure(&self) -> anyhow::Result<()> {
        private_dir(&self.keys_dir())?;
        private_dir(&self.dir.join("backend"))?;
        private_dir(&self.dir.join("connect"))?;
        let keys = self.keys_dir();
        capture(self.gateway().args(["keys", "init", "--dir"]).arg(&keys), "cocoon-gateway keys init")?;
        let root = capture(self.backend().args(["dev-root", "--dir"]).arg(&keys), "cocoon-backend dev-root")?;
        write_private(&self.policy(), &format!("dev_roots = [{}]\n", quoted(&root)?))?;
        write_private(&self.gateway_config(), &self.gateway_toml()?)?;
        write_private(&self.backend_config(), &self.backend_toml()?)
    }

    /// An API key, with test credit on its account.
    pub(crate) fn create_key(&self, holder: Holder) -> anyhow::Result<String> {
        let mut command = self.gateway();
        command.args(["keys", "create", "--config"]).arg(self.gateway_config());
        match holder {
            Holder::Developer => command.args(["--account", "dev", "--grant", GRANT, "--name", "developer"]),
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

    fn gateway_toml(&self) -> anyhow::Result<String> {
        let mut text = String::from("# Written by `cargo xtask up`, and again at every start.\n");
        writeln!(text, "listen = \"127.0.0.1:{}\"", self.port)?;
        writeln!(text, "ops_listen = \"127.0.0.1:{}\"", self.ops_port)?;
        writeln!(text, "keys_dir = {}", quoted_path(&self.keys_dir())?)?;
        writeln!(text, "policy = {}", quoted_path(&self.policy())?)?;
        writeln!(text, "operator_share_bps = 9000")?;
        writeln!(text, "\n[ledger]\nurl = {}", quoted(&self.ledger_url())?)?;
        writeln!(text, "\n[[backends]]\nurl = \"http://127.0.0.1:{}\"", self.backend_port)?;
        writeln!(text, "\n# nanoTON per million tokens")?;
        writeln!(text, "[prices.{}]\ntable = 1", quoted(&self.model.name)?)?;
        for (kind, price) in [
            ("prompt", "20000000"),
            ("cached", "20000000"),
            ("completion", "60000000"),
            ("reasoning", "60000000"),
        ] {
            writeln!(text, "{kind} = \"{price}\"")?;
        }
        Ok(text)
    }

    fn backend_toml(&self) -> anyhow::Result<String> {
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
        writeln!(text, "operator = {}", quoted(NO_OPERATOR)?)?;
        writeln!(text, "max_running = {MAX_RUNNING}")?;
        writeln!(text, "\n[evidence]\nkind = \"dev\"")?;
        writeln!(text, "dev_root = {}", quoted_path(&keys.join("dev-root.pem"))?)?;
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
        }
    }

    #[test]
    fn a_folder_with_quotes_in_its_name_cannot_break_a_configuration() {
        let text = deployment().gateway_toml().unwrap();
        assert!(text.contains(r#"keys_dir = "/tmp/a \"b\"/.cocoon/keys""#), "{text}");
        assert!(text.contains(r#"url = "sqlite:/tmp/a \"b\"/.cocoon/ledger.db""#), "{text}");
    }

    #[test]
    fn the_backend_delivers_receipts_to_the_ops_listener() {
        let text = deployment().backend_toml().unwrap();
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
