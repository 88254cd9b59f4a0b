//! `cargo xtask demo`: a whole story on this machine, told by real parts.

mod channel;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::console::Steps;
use crate::contract::{Deployment, Holder, Ledger, Prices, Wallets};
use crate::loopback::{self, Reply};
use crate::places::Places;
use crate::run::{capture, cargo, run_quietly};
use crate::stack::Stack;
use crate::{chain, engine, files, interrupt, model, node, up};

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    story: Story,
}

#[derive(Subcommand)]
enum Story {
    /// A user pays in by a wallet's transfer, requests are answered and charged, the operator is paid, and the books close
    Settle(engine::Options),
    /// The same without custody: `cocoon-connect` opens a payment channel, pays by vouchers, and gets the rest back
    Channel(engine::Options),
}

/// 0.02 TON for a thousand tokens of prompt: a few answers of a small model are then worth a transfer.
const PRICES: Prices = Prices { prompt: 20_000_000_000, block_ms: 300 };

/// What the user sends, nanoTON.
const DEPOSIT: u64 = 5_000_000_000;

/// Of what the faucet gives the user first.
const GIFT: &str = "10000000000";

/// Seed of the user's wallet: money of this chain is worth nothing.
const USER_SEED: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// More requests than are needed, so that the story ends in any case.
const MOST_REQUESTS: u32 = 200;

const LIMIT: Duration = Duration::from_secs(120);

const SCRIPT: &str = "ton_wallet.mjs";

pub(crate) fn demo(places: &Places, options: &Options) -> anyhow::Result<()> {
    let (name, engine_options) = match &options.story {
        Story::Settle(options) => ("demo-settle", options),
        Story::Channel(options) => ("demo-channel", options),
    };
    let dir = places.root.join("target").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    files::private_dir(&dir)?;
    let mut stack = Stack::new(&dir)?;
    let told = match &options.story {
        Story::Settle(_) => settle(places, engine_options, dir, &mut stack),
        Story::Channel(_) => channel::tell(places, engine_options, dir, &mut stack),
    };
    stack.end().and(told)
}

fn settle(places: &Places, options: &engine::Options, dir: PathBuf, stack: &mut Stack) -> anyhow::Result<()> {
    let mut steps = Steps::new(7);
    let wallet = Wallet::new(places, &dir)?;
    let (deployment, wallets) = begin(places, options, dir, stack, &mut steps)?;
    let chain_port = deployment.chain_port;

    let key = deployment.create_key(Holder::Payer)?;
    steps.begin("deposit");
    let user = pay_in(&deployment, &key, &wallet, stack)?;
    steps.finish(&format!("{} TON, by a transfer of {user}", ton(DEPOSIT)));

    steps.begin("requests");
    let requests = ask_until_paid(&deployment, &key, &wallets, stack)?;
    steps.finish(&format!("{requests} answered, and the operator was paid"));

    steps.begin("the books come to rest");
    let statement = at_rest(&deployment, stack)?;
    steps.finish("nothing is on its way");

    steps.begin("the chain says the same");
    let paid = nano(&statement["operators"][0]["paid"])?;
    let on_chain = wait("what was sent", stack, || {
        let has = i128::from(wallet.balance(chain_port, &wallets.operator)?);
        // The wallet's own rent is a nanoTON or so.
        Ok((paid > 0 && (0..1_000).contains(&(paid - has))).then_some(has))
    })?;
    steps.finish(&format!("{} TON in the operator's wallet", ton(u64::try_from(on_chain)?)));

    steps.begin("the table");
    closes(&statement)?;
    ensure!(nano(&statement["deposits"])? == i128::from(DEPOSIT), "the deposit: {statement}");
    steps.finish("closes to the nano");
    println!("\n{}", capture(&mut deployment.reconcile(false), "cocoon-settler reconcile")?);
    Ok(())
}

/// The first two steps of every story: everything is built and runs.
fn begin(
    places: &Places,
    options: &engine::Options,
    dir: PathBuf,
    stack: &mut Stack,
    steps: &mut Steps,
) -> anyhow::Result<(Deployment, Wallets)> {
    steps.begin("what is needed");
    let mut build = cargo(&places.root);
    build.args(["build", "--release", "--workspace", "--bins"]);
    run_quietly(&mut build, "the build")?;
    let engine = engine::engine(places, options)?;
    let model = model::default_model(places, &engine)?;
    steps.finish(&model.name);

    steps.begin("start");
    let [port, ops_port, backend_port, connect_port, chain_port] = free_ports()?;
    let deployment = Deployment {
        dir,
        release: places.release.clone(),
        engine,
        model,
        ledger: Ledger::Embedded,
        port,
        ops_port,
        backend_port,
        connect_port,
        chain_port,
        prices: PRICES,
    };
    let wallets = deployment.configure()?;
    up::start(&deployment, &wallets, stack)?;
    steps.finish("chain, backend, gateway, sidecar and settler are ready");
    Ok((deployment, wallets))
}

fn ton(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // All at once, so that they differ.
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = listeners
        .iter()
        .map(|one| one.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()?;
    ports.try_into().ok().context("not as many ports as were asked for")
}

/// A wallet of the user's own: TON's JavaScript client, which nobody here wrote.
struct Wallet {
    script: PathBuf,
}

impl Wallet {
    fn new(places: &Places, dir: &Path) -> anyhow::Result<Self> {
        // Node.js looks for packages beside a script alone.
        let folder = dir.join("wallet");
        files::private_dir(&folder)?;
        let script = folder.join(SCRIPT);
        fs::copy(places.root.join("tests/clients").join(SCRIPT), &script).context("the wallet's script")?;
        std::os::unix::fs::symlink(node::for_contracts(places)?, folder.join("node_modules"))?;
        Ok(Self { script })
    }

    fn run(&self, chain_port: u16, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("node");
        command.arg(&self.script).arg(format!("http://127.0.0.1:{chain_port}")).args(arguments);
        capture(&mut command, "the user's wallet")
    }

    fn balance(&self, chain_port: u16, address: &str) -> anyhow::Result<u64> {
        self.run(chain_port, &["balance", address])?.parse().context("the wallet gave no balance")
    }
}

/// As a user does: from what the API says, with a wallet of one's own. Gives the wallet's address.
fn pay_in(deployment: &Deployment, key: &str, wallet: &Wallet, stack: &mut Stack) -> anyhow::Result<String> {
    let chain_port = deployment.chain_port;
    let user = wallet.run(chain_port, &["address", USER_SEED])?;
    let gift = json!({ "address": user, "amount": GIFT });
    chain::post(chain_port, "/devnet/faucet", &gift.to_string())?;
    let body = request(deployment, "Say hello.").to_string();
    let refused = wait("the refusal of who has not paid", stack, || {
        let reply = loopback::post(deployment.port, "/v1/chat/completions", key, &body, LIMIT)?;
        // Until the backend's evidence is verified there are other errors.
        Ok((reply.status == 402).then_some(reply))
    })?;
    let refused: Value = serde_json::from_str(&refused.body)?;
    let topup = &refused["error"]["topup"];
    let [to, comment] = ["address", "comment"].map(|name| topup[name].as_str());
    let (to, comment) = (to.context("no address to pay to")?, comment.context("no comment to pay with")?);
    wallet.run(chain_port, &["send", USER_SEED, to, &DEPOSIT.to_string(), comment])?;
    wait("the credit", stack, || {
        let reply = loopback::post(deployment.port, "/v1/chat/completions", key, &body, LIMIT)?;
        Ok((reply.status == 200).then_some(()))
    })?;
    Ok(user)
}

fn request(deployment: &Deployment, text: &str) -> Value {
    json!({
        "model": deployment.model.name, "max_tokens": 48, "temperature": 0,
        "messages": [{ "role": "user", "content": text }],
    })
}

/// Requests until the operator's wallet has something; how many they were.
fn ask_until_paid(
    deployment: &Deployment,
    key: &str,
    wallets: &Wallets,
    stack: &mut Stack,
) -> anyhow::Result<u32> {
    for number in 1..=MOST_REQUESTS {
        interrupt::check()?;
        stack.check_running()?;
        let body = request(deployment, &format!("Tell me something about the number {number}.")).to_string();
        let reply = loopback::post(deployment.port, "/v1/chat/completions", key, &body, LIMIT)?;
        let Reply { status, body } = reply;
        ensure!(status == 200, "request {number}: {status} {body}");
        if chain::balance(deployment.chain_port, &wallets.operator)? > 0 {
            return Ok(number);
        }
    }
    bail!(
        "{MOST_REQUESTS} requests were answered, and the operator was not paid; the settler's log:\n{}",
        stack.tail("settler")
    )
}

/// The settler's statement once nothing is on its way and nobody is due.
fn at_rest(deployment: &Deployment, stack: &mut Stack) -> anyhow::Result<Value> {
    wait("the books", stack, || {
        let Ok(text) = capture(&mut deployment.reconcile(true), "cocoon-settler reconcile") else {
            return Ok(None);
        };
        let statement: Value = serde_json::from_str(&text)?;
        let operators = statement["operators"].as_array().context("no operators")?;
        let still = operators.iter().all(|one| one["on_its_way"] == "0") && statement["at_channels"] == "0";
        let resting = still && statement["findings"].as_array().is_some_and(Vec::is_empty);
        Ok(resting.then_some(statement))
    })
}

fn nano(value: &Value) -> anyhow::Result<i128> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is no amount"))
}

/// What came in is what there is and what went out.
fn closes(statement: &Value) -> anyhow::Result<()> {
    let of = |name: &str| nano(&statement[name]);
    let operators = statement["operators"].as_array().context("no operators")?;
    let mut shares = 0;
    for operator in operators {
        shares += nano(&operator["paid"])? + nano(&operator["owed"])? + nano(&operator["on_its_way"])?;
    }
    let came = of("deposits")? + of("float")? + of("unclaimed")? + of("redeemed")?;
    let is = of("balances")?
        + of("withdrawing")?
        + of("withdrawn")?
        + of("unclaimed")?
        + of("platform")?
        + of("at_channels")?
        + of("fees")?
        + shares;
    ensure!(came == is, "{came} nanoTON came in, and {is} are accounted for");
    Ok(())
}

/// Asks again and again until there is an answer.
fn wait<T>(
    what: &str,
    stack: &mut Stack,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        interrupt::check()?;
        stack.check_running()?;
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if begun.elapsed() > LIMIT {
            bail!(
                "{what} did not come within {} s; the settler's log:\n{}",
                LIMIT.as_secs(),
                stack.tail("settler")
            );
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
