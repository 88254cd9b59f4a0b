//! A gateway, a backend and a ledger of one test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use cocoon_openapi::ops::Backends;
use cocoon_openapi::{BACKENDS_PATH, RECEIPTS_PATH};
use serde::Deserialize;
use tempfile::TempDir;

use super::{Client, Process, Proxy, RedisServer, SecondGateway, environment, eventually, free_port};

/// Which store the ledger is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Redis,
}

/// What generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// mistral.rs with the default model.
    Real,
    /// mistral.rs with a tiny embedding model of random weights.
    Embedding,
    /// The tests' own: for faults and long answers, never for claims about a model.
    Scripted,
}

/// What a test may choose. Both `toml` texts are laid over the defaults.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    /// Top-level lines of the gateway's configuration.
    pub(crate) gateway: String,
    pub(crate) backend: String,
    /// Lines of the policy after its development roots.
    pub(crate) policy: String,
    /// Puts a [`Proxy`] between gateway and backend, either way: requests, and receipts from the outbox.
    pub(crate) proxy: bool,
    /// Puts a [`Proxy`] between the gateway and its Redis.
    pub(crate) store_proxy: bool,
    /// What the gateway logs; `info` where there is nothing.
    pub(crate) gateway_log: Option<&'static str>,
    /// A second backend of the gateway, by its origin.
    pub(crate) second_backend: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store: Store::Sqlite,
            engine: Engine::Scripted,
            gateway: String::new(),
            backend: String::new(),
            policy: String::new(),
            proxy: false,
            store_proxy: false,
            gateway_log: None,
            second_backend: None,
        }
    }
}

/// nanoTON that the test account begins with.
pub(crate) const GRANT: u64 = 10_000_000_000;
/// The account of [`Stack::key`].
pub(crate) const ACCOUNT: &str = "tester";
/// Public name of the model.
pub(crate) const MODEL: &str = "smollm2-135m-instruct";

/// As `GET /internal/accounts/{id}` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: cocoon_receipts::NanoTon,
    pub(crate) held: cocoon_receipts::NanoTon,
    pub(crate) charged: cocoon_receipts::NanoTon,
    pub(crate) shortfall: cocoon_receipts::NanoTon,
    pub(crate) open_holds: u64,
}

/// Ends all it started when dropped.
pub(crate) struct Stack {
    pub(crate) gateway: Option<Process>,
    pub(crate) backend: Option<Process>,
    pub(crate) redis: Option<RedisServer>,
    pub(crate) proxy: Option<Proxy>,
    /// From the gateway to Redis.
    pub(crate) store_proxy: Option<Proxy>,
    /// From the backend's outbox to the gateway's ops listener.
    pub(crate) outbox_proxy: Option<Proxy>,
    /// API key of [`ACCOUNT`].
    pub(crate) key: String,
    pub(crate) admin_key: String,
    gateway_log: Option<&'static str>,
    gateway_port: u16,
    ops_port: u16,
    backend_port: u16,
    // Last: the folder goes when nobody uses it any more.
    dir: TempDir,
}

impl Stack {
    /// Starts everything and waits until the gateway can serve.
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let redis = match settings.store {
            Store::Sqlite => None,
            Store::Redis => Some(RedisServer::start(dir.path().to_owned()).await?),
        };
        let (gateway_port, ops_port, backend_port) = (free_port()?, free_port()?, free_port()?);
        let (proxy, outbox_proxy) = match settings.proxy {
            true => (Some(Proxy::start(backend_port).await?), Some(Proxy::start(ops_port).await?)),
            false => (None, None),
        };
        let store_proxy = match &redis {
            Some(redis) if settings.store_proxy => Some(Proxy::start(redis.port()).await?),
            _ => None,
        };
        let mut stack = Self {
            gateway: None,
            backend: None,
            redis,
            proxy,
            store_proxy,
            outbox_proxy,
            key: String::new(),
            admin_key: String::new(),
            gateway_log: settings.gateway_log,
            gateway_port,
            ops_port,
            backend_port,
            dir,
        };
        stack.configure(&settings)?;
        stack.key = stack.make_key(&["--account", ACCOUNT, "--grant", &GRANT.to_string()])?;
        stack.admin_key = stack.make_key(&["--account", "operator", "--scope", "operator"])?;
        stack.start_backend()?;
        stack.start_gateway()?;
        stack.wait_ready().await?;
        Ok(stack)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}/v1", self.origin())
    }

    /// Where the gateway listens to clients.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway_port)
    }

    pub(crate) fn gateway_port(&self) -> u16 {
        self.gateway_port
    }

    pub(crate) fn ops_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ops_port)
    }

    /// What the gateway's `/metrics` say.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("{}/metrics", self.ops_url())).await?.text().await?)
    }

    /// The value of one of them, by its name and labels.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<i64> {
        let text = self.metrics().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {name} in\n{text}"))?.parse()?)
    }

    pub(crate) fn backend_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.backend_port)
    }

    /// A client with the test account's key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.base_url(), self.key.clone())
    }

    pub(crate) fn start_gateway(&mut self) -> anyhow::Result<()> {
        let mut command = gateway_binary()?;
        command.args(["serve", "--config"]).arg(self.path("gateway.toml"));
        if let Some(filter) = self.gateway_log {
            command.env("COCOON_LOG", filter);
        }
        self.gateway = Some(Process::start(&mut command, &self.path("gateway.log"))?.0);
        Ok(())
    }

    /// Another gateway of the same deployment, with the same ledger and backends.
    pub(crate) async fn second_gateway(&self) -> anyhow::Result<SecondGateway> {
        let mut gateway = SecondGateway::new(self)?;
        gateway.start()?;
        ready(&gateway.ops_url).await?;
        Ok(gateway)
    }

    pub(crate) fn start_backend(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(environment::path("COCOON_BACKEND_BIN")?);
        command.args(["serve", "--config"]).arg(self.path("backend.toml"));
        self.backend = Some(Process::start(&mut command, &self.path("backend.log"))?.0);
        Ok(())
    }

    /// kill -9.
    pub(crate) fn kill_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway.take().context("no gateway runs")?.kill()
    }

    /// kill -9; its engine ends with it.
    pub(crate) fn kill_backend(&mut self) -> anyhow::Result<()> {
        self.backend.take().context("no backend runs")?.kill()
    }

    /// Process id of the backend's engine.
    pub(crate) fn engine_pid(&self) -> anyhow::Result<u32> {
        let children = self.backend.as_ref().context("no backend runs")?.children()?;
        match children.as_slice() {
            [engine] => Ok(*engine),
            other => bail!("the backend has {} children", other.len()),
        }
    }

    /// Until the gateway has an attested backend and a ledger.
    pub(crate) async fn wait_ready(&self) -> anyhow::Result<()> {
        ready(&self.ops_url()).await
    }

    /// Makes a key with the gateway's own command.
    pub(crate) fn make_key(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = gateway_binary()?;
        command.args(["keys", "create", "--config"]).arg(self.path("gateway.toml")).args(arguments);
        printed(&mut command)
    }

    /// `cocoon-gateway keys COMMAND`: what it prints.
    pub(crate) fn keys_command(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = gateway_binary()?;
        printed(all.args(["keys", command, "--config"]).arg(self.path("gateway.toml")).args(arguments))
    }

    /// The test account, as the running gateway sees it.
    pub(crate) async fn account(&self) -> anyhow::Result<Account> {
        let url = format!("{}/internal/accounts/{ACCOUNT}", self.ops_url());
        let response = reqwest::Client::new().get(url).bearer_auth(&self.admin_key).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// The account once nothing is held any more.
    pub(crate) async fn settled_account(&self) -> anyhow::Result<Account> {
        eventually("all holds are settled", Duration::from_secs(30), || async {
            Ok(Some(self.account().await?).filter(|account| account.open_holds == 0))
        })
        .await
    }

    /// Receipts in the backend's outbox file, oldest first: (receipt, ticket).
    pub(crate) fn outbox(&self) -> anyhow::Result<Vec<(String, String)>> {
        outbox_of(&self.path("backend"))
    }

    /// How the gateway's backends stand, as it says on its ops listener.
    pub(crate) async fn backends(&self) -> anyhow::Result<Backends> {
        let url = format!("{}{BACKENDS_PATH}", self.ops_url());
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// `cocoon-gateway backends`: whether it ended well, and what it printed.
    pub(crate) fn backends_command(&self, more: &[&str]) -> anyhow::Result<(bool, String)> {
        let (ended_well, printed, _) = self.command(&["backends"], more)?;
        Ok((ended_well, printed))
    }

    /// `cocoon-gateway ledger COMMAND`: whether it ended well, and what it printed, errors after the rest.
    pub(crate) fn ledger_command(&self, command: &str, more: &[&str]) -> anyhow::Result<(bool, String)> {
        let (ended_well, printed, errors) = self.command(&["ledger", command], more)?;
        Ok((ended_well, printed + &errors))
    }

    fn command(&self, command: &[&str], more: &[&str]) -> anyhow::Result<(bool, String, String)> {
        let mut all = gateway_binary()?;
        all.args(command).arg("--config").arg(self.path("gateway.toml")).args(more);
        let output = all.output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    }

    /// Believes what these development roots sign, under `more` lines of policy, from the gateway's next look on.
    pub(crate) fn write_policy(&self, roots: &[&str], more: &str) -> anyhow::Result<()> {
        // In one step: half a policy must never be read.
        let (path, new) = (self.path("policy.toml"), self.path("policy.new"));
        std::fs::write(&new, format!("dev_roots = {roots:?}\n{more}\n"))?;
        Ok(std::fs::rename(new, path)?)
    }

    /// The development root that the backend's evidence is signed by, as a policy names it.
    pub(crate) fn dev_root(&self) -> anyhow::Result<String> {
        dev_root_in(&self.path("keys"))
    }

    /// Sequences that the engine itself says it runs.
    pub(crate) async fn engine_running(&self) -> anyhow::Result<u64> {
        self.backend_health("engine_running").await
    }

    /// Requests that have a place in the backend.
    pub(crate) async fn backend_running(&self) -> anyhow::Result<u64> {
        self.backend_health("running").await
    }

    async fn backend_health(&self, member: &str) -> anyhow::Result<u64> {
        let health: serde_json::Value =
            reqwest::get(format!("{}/healthz", self.backend_url())).await?.json().await?;
        health[member].as_u64().with_context(|| format!("no {member} in {health}"))
    }

    /// The ledger, as the gateway's configuration names it.
    pub(crate) fn ledger_url(&self) -> String {
        match (&self.store_proxy, &self.redis) {
            (Some(proxy), _) => format!("redis://{}", proxy.address()),
            (None, Some(redis)) => redis.url(),
            (None, None) => format!("sqlite:{}", self.path("ledger.db").display()),
        }
    }

    /// Lays lines over the gateway's configuration, for its next start.
    pub(crate) fn reconfigure_gateway(&self, over: &str) -> anyhow::Result<()> {
        let path = self.path("gateway.toml");
        write_config(&path, &std::fs::read_to_string(&path)?, over)
    }

    /// Takes a section out of the gateway's configuration, for its next start.
    pub(crate) fn forget_in_gateway(&self, section: &str) -> anyhow::Result<()> {
        let path = self.path("gateway.toml");
        let mut config: toml::Table = toml::from_str(&std::fs::read_to_string(&path)?)?;
        config.remove(section).with_context(|| format!("there is no {section}"))?;
        Ok(std::fs::write(&path, toml::to_string(&config)?)?)
    }

    fn configure(&self, settings: &Settings) -> anyhow::Result<()> {
        let keys = self.path("keys");
        std::fs::create_dir_all(self.path("backend"))?;
        printed(gateway_binary()?.args(["keys", "init", "--dir"]).arg(&keys))?;
        self.write_policy(&[&self.dev_root()?], &settings.policy)?;
        let ledger = self.ledger_url();
        let backend_url = self.proxy.as_ref().map_or_else(|| self.backend_url(), Proxy::url);
        let second =
            settings.second_backend.as_ref().map_or(String::new(), |url| format!(", {{ url = \"{url}\" }}"));
        let gateway = format!(
            r#"
            listen = "127.0.0.1:{gateway_port}"
            ops_listen = "127.0.0.1:{ops_port}"
            keys_dir = "{keys}"
            policy = "{policy}"
            backends = [{{ url = "{backend_url}" }}{second}]
            ledger.url = "{ledger}"
            [prices."{MODEL}"]
            table = 1
            prompt = "20000000"
            cached = "20000000"
            completion = "60000000"
            reasoning = "60000000"
            "#,
            gateway_port = self.gateway_port,
            ops_port = self.ops_port,
            keys = keys.display(),
            policy = self.path("policy.toml").display(),
        );
        let (engine, model) = match settings.engine {
            Engine::Real => (environment::path("COCOON_ENGINE")?, environment::path("COCOON_MODEL_PATH")?),
            Engine::Embedding => {
                let model = self.path("embedding-model");
                super::embedding_model::write(&model)?;
                (environment::path("COCOON_ENGINE")?, model)
            }
            Engine::Scripted => {
                // It has no weights; the backend still measures a file.
                std::fs::write(self.path("no-weights"), b"scripted")?;
                (environment::path("COCOON_SCRIPTED_ENGINE_BIN")?, self.path("no-weights"))
            }
        };
        let backend = format!(
            r#"
            listen = "127.0.0.1:{backend_port}"
            state_dir = "{state}"
            engine = "{engine}"
            model_path = "{model}"
            model_name = "{MODEL}"
            receipt_urls = ["{ops}{RECEIPTS_PATH}"]
            gateway_keys = ["{gateway_key}"]
            evidence = {{ kind = "dev", dev_root = "{dev_root}" }}
            operator = "0:{operator}"
            max_running = 20
            "#,
            backend_port = self.backend_port,
            state = self.path("backend").display(),
            engine = engine.display(),
            model = model.display(),
            ops = self.outbox_proxy.as_ref().map_or_else(|| self.ops_url(), Proxy::url),
            gateway_key = keys.join("ticket.pub.json").display(),
            dev_root = keys.join("dev-root.pem").display(),
            operator = "0".repeat(64),
        );
        write_config(&self.path("gateway.toml"), &gateway, &settings.gateway)?;
        write_config(&self.path("backend.toml"), &backend, &settings.backend)
    }
}

/// The development root in a folder, which is made where there is none.
pub(super) fn dev_root_in(folder: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(environment::path("COCOON_BACKEND_BIN")?);
    printed(command.args(["dev-root", "--dir"]).arg(folder))
}

/// Receipts in the outbox of the backend with this folder, oldest first: (receipt, ticket).
pub(super) fn outbox_of(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Line {
        receipt: Option<String>,
        ticket: Option<String>,
    }
    let text = std::fs::read_to_string(folder.join("outbox.jsonl"))?;
    // The last line may still be being written.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    Ok(lines.filter_map(|line| Some((line.receipt?, line.ticket?))).collect())
}

async fn ready(ops_url: &str) -> anyhow::Result<()> {
    let url = format!("{ops_url}/readyz");
    eventually("the gateway is ready", Duration::from_secs(30), || async {
        Ok(reqwest::get(&url).await?.status().is_success().then_some(()))
    })
    .await
}

/// Writes `base` with the tables of `over` laid over it.
fn write_config(path: &Path, base: &str, over: &str) -> anyhow::Result<()> {
    let mut config: toml::Table = toml::from_str(base)?;
    lay_over(&mut config, toml::from_str(over)?);
    std::fs::write(path, toml::to_string(&config)?)?;
    Ok(())
}

fn lay_over(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(more)) => lay_over(inner, more),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

pub(super) fn gateway_binary() -> anyhow::Result<Command> {
    Ok(Command::new(environment::path("COCOON_GATEWAY_BIN")?))
}

/// What a command prints, trimmed.
fn printed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
