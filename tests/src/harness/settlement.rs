//! The local chain and settlers of one test, beside its stack.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, environment, eventually};

/// Who is paid for the backend's answers; nobody has its key.
pub(crate) const OPERATOR: &str = "0:7777777777777777777777777777777777777777777777777777777777777777";

/// The platform's own money, nanoTON.
pub(crate) const FLOAT: u64 = 1_000_000_000;

/// Of a payout's body (`payout#50410101 id:uint64`), in hexadecimal.
const PAYOUT_OP: &str = "50410101";

/// A chain that makes a block every 100 ms, and the configuration of its settlers. The wallet's key is made before the
/// ledger is: gateways are told its address.
pub(crate) struct Settlement {
    chain: Option<Process>,
    origin: String,
    /// As gateways show it.
    pub(crate) treasury: String,
    non_bounceable: String,
    /// Where epochs are published, in its raw form.
    registry: Option<String>,
    dir: TempDir,
}

impl Settlement {
    /// Starts the chain.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut devnet = Command::new(environment::path("COCOON_DEVNET_BIN")?);
        devnet.args(["--listen", "127.0.0.1:0", "--block-interval", "100", "--state"]);
        devnet.arg(dir.path().join("chain.db"));
        let (chain, ready) = Process::start(&mut devnet, &dir.path().join("chain.log"))?;
        let origin = format!("http://{}", ready["listen"][0].as_str().context("no address")?);
        let (treasury, non_bounceable) = (String::new(), String::new());
        let mut settlement =
            Self { chain: Some(chain), origin, treasury, non_bounceable, registry: None, dir };
        settlement.run(&["keygen", "--out"], Some("wallet.key"))?;
        settlement.configure("sqlite:none")?;
        let address: Value = serde_json::from_str(&settlement.command(&["address"])?.1)?;
        let of = |name: &str| address[name].as_str().map(str::to_owned).context("no address");
        (settlement.treasury, settlement.non_bounceable) = (of("address")?, of("non_bounceable")?);
        Ok(settlement)
    }

    /// Deploys a registry of this owner for epochs of a second, from a publisher's wallet of its own; its address.
    pub(crate) async fn with_epochs(&mut self, ledger: &str, owner: &str) -> anyhow::Result<String> {
        self.run(&["keygen", "--out"], Some("publisher.key"))?;
        std::fs::create_dir(self.path("epochs"))?;
        self.registry = Some(String::new());
        self.configure(ledger)?;
        let status: Value = serde_json::from_str(&self.command(&["registry", "status"])?.1)?;
        let publisher = status["publisher"].as_str().context("no publisher")?;
        self.give(publisher, FLOAT, "for roots").await?;
        let deployed = eventually("the publisher has its money", Duration::from_secs(30), || async {
            let (fine, deployed) = self.command(&["registry", "deploy", "--owner", owner])?;
            Ok(fine.then_some(deployed))
        })
        .await?;
        let deployed: Value = serde_json::from_str(&deployed)?;
        let registry = deployed["raw"].as_str().context("no address")?;
        self.registry = Some(registry.to_owned());
        self.configure(ledger)?;
        Ok(registry.to_owned())
    }

    /// Where the chain answers.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names the gateway's ledger. Whoever is owed anything is due at once.
    pub(crate) fn configure(&self, ledger: &str) -> anyhow::Result<()> {
        let text = format!(
            r#"
            ledger = "{ledger}"
            wallet_key = "{key}"
            poll_ms = 50
            lease_ms = 300
            network = {{ name = "test", global_id = -3 }}
            endpoints = [{{ url = "{origin}", operator = "devnet" }}]
            payouts = {{ at_once = "20000", small = "20000", valid_for_s = 30 }}
            channels = {{ look_every_s = 1 }}
            "#,
            key = self.path("wallet.key").display(),
            origin = self.origin,
        );
        let text = match &self.registry {
            None => text,
            Some(registry) => {
                let named =
                    if registry.is_empty() { String::new() } else { format!("registry = \"{registry}\"") };
                format!(
                    "{text}\n[epochs]\n{named}\nevery_s = 1\npublisher_key = \"{key}\"\nfolder = \"{folder}\"\n",
                    key = self.path("publisher.key").display(),
                    folder = self.path("epochs").display(),
                )
            }
        };
        Ok(std::fs::write(self.path("settler.toml"), text)?)
    }

    /// Lines of a gateway's configuration, by which it takes channels.
    pub(crate) fn channels(&self, min_close_delay_s: u32) -> String {
        format!(
            "channels.network = {{ name = \"test\", global_id = -3 }}\n\
             channels.endpoints = [{{ url = \"{}\", operator = \"devnet\" }}]\n\
             channels.min_close_delay_s = {min_close_delay_s}",
            self.origin
        )
    }

    /// One more settler.
    pub(crate) fn settler(&self, name: &str) -> anyhow::Result<Process> {
        let mut command = Command::new(environment::path("COCOON_SETTLER_BIN")?);
        command.args(["run", "--config"]).arg(self.path("settler.toml"));
        Ok(Process::start(&mut command, &self.path(&format!("{name}.log")))?.0)
    }

    /// `cocoon-settler COMMAND`: whether it ended well, and what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
        let (fine, output, _) = self.told(arguments)?;
        Ok((fine, output))
    }

    /// The same, and what it said beside it.
    pub(crate) fn told(&self, arguments: &[&str]) -> anyhow::Result<(bool, String, String)> {
        let mut all = arguments.to_vec();
        all.push("--config");
        let mut command = Command::new(environment::path("COCOON_SETTLER_BIN")?);
        let output = command.args(all).arg(self.path("settler.toml")).output()?;
        let text = |bytes| Ok::<_, anyhow::Error>(String::from_utf8(bytes)?.trim().to_owned());
        Ok((output.status.success(), text(output.stdout)?, text(output.stderr)?))
    }

    fn run(&self, arguments: &[&str], file: Option<&str>) -> anyhow::Result<()> {
        let mut command = Command::new(environment::path("COCOON_SETTLER_BIN")?);
        command.args(arguments).args(file.map(|file| self.path(file)));
        ensure!(command.status()?.success(), "{arguments:?}");
        Ok(())
    }

    /// `cocoon-settler reconcile`, once it has nothing to complain of and nothing is on its way or due.
    pub(crate) async fn at_rest(&self) -> anyhow::Result<Value> {
        eventually("the books are at rest", Duration::from_secs(60), || async {
            let (fine, text) = self.command(&["reconcile", "--json"])?;
            let statement: Value = serde_json::from_str(&text)?;
            let operators = statement["operators"].as_array().context("no operators")?;
            let owed = operators.iter().map(|one| nano(&one["owed"])).collect::<anyhow::Result<Vec<_>>>()?;
            let still = operators.iter().all(|one| one["on_its_way"] == "0");
            let still = still && statement["at_channels"] == "0";
            Ok((fine && still && owed.iter().all(|owed| *owed < 20_000)).then_some(statement))
        })
        .await
    }

    /// Sends new coins, with a comment.
    pub(crate) async fn give(&self, address: &str, nano: u64, comment: &str) -> anyhow::Result<()> {
        let gift = json!({ "address": address, "amount": nano.to_string(), "comment": comment });
        let sent =
            reqwest::Client::new().post(format!("{}/devnet/faucet", self.origin)).json(&gift).send().await?;
        ensure!(sent.status().is_success(), "{}", sent.text().await?);
        Ok(())
    }

    /// The money with which the wallet is deployed.
    pub(crate) async fn float(&self) -> anyhow::Result<()> {
        self.give(&self.non_bounceable, FLOAT, "cocoon-float").await
    }

    /// An answer of toncenter v2.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer =
            reqwest::Client::new().post(format!("{}/api/v2/jsonRPC", self.origin)).json(&call).send().await?;
        let answer: Value = answer.json().await?;
        ensure!(answer["ok"] == true, "{method}: {answer}");
        Ok(answer["result"].clone())
    }

    pub(crate) async fn balance(&self, address: &str) -> anyhow::Result<i128> {
        nano(&self.ask("getAddressBalance", json!({ "address": address })).await?)
    }

    /// Whether the treasury's wallet has been deployed.
    pub(crate) async fn is_deployed(&self) -> anyhow::Result<bool> {
        Ok(self.ask("getAddressState", json!({ "address": self.treasury })).await? == "active")
    }

    /// Ids and nanoTON of all payouts that came to an address, as the chain has them.
    pub(crate) async fn payouts_to(&self, address: &str) -> anyhow::Result<Vec<(String, i128)>> {
        let mut payouts = Vec::new();
        let mut from = json!({ "address": address, "limit": 100 });
        loop {
            let page = self.ask("getTransactions", from.clone()).await?;
            let page = page.as_array().context("no list")?;
            for transaction in page {
                let message = &transaction["in_msg"];
                let body = message["message"].as_str().context("no body")?;
                use base64::Engine as _;
                let body = base64::engine::general_purpose::STANDARD.decode(body)?;
                let text: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
                let id = text.strip_prefix(PAYOUT_OP).context("a message that is no payout")?;
                payouts.push((id.to_owned(), nano(&message["value"])?));
            }
            let Some(last) = page.last().filter(|_| page.len() == 100) else { return Ok(payouts) };
            // The next page begins with the last one of this.
            payouts.pop();
            from["lt"] = last["transaction_id"]["lt"].clone();
            from["hash"] = last["transaction_id"]["hash"].clone();
        }
    }

    /// kill -9 of the chain, and its start again from its file.
    pub(crate) fn restart_chain(&mut self) -> anyhow::Result<()> {
        self.chain.take().context("no chain runs")?.kill()?;
        let listen = self.origin.trim_start_matches("http://").to_owned();
        let mut devnet = Command::new(environment::path("COCOON_DEVNET_BIN")?);
        devnet.args(["--listen", &listen, "--block-interval", "100", "--state"]);
        devnet.arg(self.path("chain.db"));
        self.chain = Some(Process::start(&mut devnet, &self.path("chain.log"))?.0);
        Ok(())
    }
}

/// An amount in text.
pub(crate) fn nano(value: &Value) -> anyhow::Result<i128> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is no amount"))
}
