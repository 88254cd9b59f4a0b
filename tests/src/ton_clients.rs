//! Clients of TON that know nothing of us use the local chain as they use toncenter: they parse every answer,
//! deploy a wallet and a channel, pay, read back what became of it, and are refused.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Process, Runtime, path, run_script};

/// That of the public test network, as the local chain has it if not told otherwise.
const GLOBAL_ID: &str = "-3";
/// Milliseconds: both clients wait for blocks most of the time.
const BLOCK_INTERVAL: &str = "100";
/// A W5 wallet's, for a number that is not the next one.
const INVALID_SEQNO: &str = "exitcode=133";

/// A local chain that begins with nothing.
struct Devnet {
    origin: String,
    _process: Process,
    _folder: TempDir,
}

impl Devnet {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(path("COCOON_DEVNET_BIN")?);
        command.args(["--listen", "127.0.0.1:0", "--block-interval", BLOCK_INTERVAL]);
        let (process, ready) = Process::start(&mut command, &folder.path().join("devnet.log"))?;
        let address = ready["listen"][0].as_str().context("no address")?;
        Ok(Self { origin: format!("http://{address}"), _process: process, _folder: folder })
    }

    /// Every coin that was ever there is on an account, on its way, or taken as a fee; none is lost.
    async fn check_supply(&self) -> anyhow::Result<()> {
        let status: Value = reqwest::get(format!("{}/devnet", self.origin)).await?.json().await?;
        let amount = |name: &str| -> anyhow::Result<u128> {
            Ok(status["supply"][name].as_str().with_context(|| format!("no {name}"))?.parse()?)
        };
        let kept = amount("balances")? + amount("on_the_way")? + amount("fees")?;
        ensure!(kept == amount("minted")? && kept > 0, "{:#}", status["supply"]);
        Ok(())
    }
}

/// Runs one client against a chain of its own, and checks what they all say in the end.
async fn served(runtime: Runtime, script: &str) -> anyhow::Result<Value> {
    let devnet = Devnet::start()?;
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/build/pay_channel.json");
    let contract: Value = serde_json::from_str(&std::fs::read_to_string(contract)?)?;
    let code = contract["code"].as_str().context("a contract without code")?;
    let variables = [
        ("COCOON_DEVNET", devnet.origin.as_str()),
        ("COCOON_GLOBAL_ID", GLOBAL_ID),
        ("COCOON_PAY_CHANNEL_CODE", code),
    ];
    let begun = Instant::now();
    let said = run_script(runtime, script, &variables).await?;
    println!("{script} {:.1?}: {said}", begun.elapsed());
    // The faucet, three requests, and what the channel paid.
    ensure!(said["transactions"] == 5, "{said}");
    let refused = said["refused"].as_str().unwrap_or_default();
    ensure!(refused.starts_with("LITE_SERVER_UNKNOWN") && refused.contains(INVALID_SEQNO), "{refused}");
    devnet.check_supply().await?;
    Ok(said)
}

/// Guards against: an answer that `@ton/ton` cannot parse, pages that leave a transaction out or repeat one, a
/// get method's stack that reads differently, a refused message that costs something.
pub(crate) async fn the_official_one_deploys_pays_and_reads_back() -> anyhow::Result<()> {
    let said = served(Runtime::NodeForTon, "ton_client.mjs").await?;
    ensure!(said["pages"] == 3, "{said}");
    Ok(())
}

/// The same with tonutils, which has cells and wallets of its own, and with a highload wallet's batch of 300.
/// Guards against: what only one client's way of asking would find.
pub(crate) async fn another_one_deploys_pays_and_reads_back() -> anyhow::Result<()> {
    let said = served(Runtime::PythonForTon, "ton_utils.py").await?;
    // The faucet, the request, the batch's two halves.
    ensure!(said["highload"] == 4, "{said}");
    Ok(())
}
