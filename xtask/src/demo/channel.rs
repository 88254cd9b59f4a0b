//! `cargo xtask demo channel`: a user pays without giving anybody custody.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{LIMIT, MOST_REQUESTS, at_rest, begin, closes, free_ports, nano, request, ton, wait};
use crate::console::Steps;
use crate::contract::Deployment;
use crate::places::Places;
use crate::run::capture;
use crate::stack::Stack;
use crate::{chain, engine, interrupt, loopback};

/// Of what the faucet gives the user first, nanoTON.
const GIFT: &str = "3000000000";

/// What is deposited, TON.
const DEPOSIT: &str = "1";

/// Charged, nanoTON, of which nine tenths are worth a payout to the operator.
const ENOUGH: i128 = 56_000_000;

const START: Duration = Duration::from_secs(60);

pub(super) fn tell(
    places: &Places,
    options: &engine::Options,
    dir: PathBuf,
    stack: &mut Stack,
) -> anyhow::Result<()> {
    let mut steps = Steps::new(7);
    let (deployment, wallets) = begin(places, options, dir, stack, &mut steps)?;
    let run = |arguments: &[&str]| -> anyhow::Result<Value> {
        let said = capture(&mut deployment.channel(arguments), "cocoon-connect channel")?;
        serde_json::from_str(&said).with_context(|| format!("channel {arguments:?} said {said}"))
    };

    steps.begin("open");
    let wallet = run(&["address"])?["address"].as_str().context("no address")?.to_owned();
    let gift = json!({ "address": wallet, "amount": GIFT });
    chain::post(deployment.chain_port, "/devnet/faucet", &gift.to_string())?;
    wait("the faucet's gift", stack, || {
        Ok((chain::balance(deployment.chain_port, &wallet)? > 0).then_some(()))
    })?;
    let opened = run(&["open", "--deposit", DEPOSIT])?;
    let deposited = nano(&opened["deposited"])?;
    steps.finish(&format!("{} TON in a channel of {wallet}", ton(u64::try_from(deposited)?)));

    steps.begin("requests");
    let (requests, charged) =
        pay(&deployment, stack, || nano(&run(&["status"])?["channel"]["gateway"]["charged"]))?;
    steps.finish(&format!("{requests} answered and sealed, each paid by a voucher"));

    steps.begin("close");
    let closed = run(&["close"])?;
    let (settled, refund) = (nano(&closed["settled"])?, nano(&closed["refund"])?);
    ensure!(settled == charged, "{settled} settled of {charged} charged");
    ensure!(settled + refund == deposited, "{settled} and {refund} of {deposited}");
    steps.finish(&format!("{} TON were charged, the rest is back", ton(u64::try_from(settled)?)));

    steps.begin("the books come to rest");
    let paid = wait("the operator's share", stack, || {
        Ok(Some(chain::balance(deployment.chain_port, &wallets.operator)?).filter(|has| *has > 0))
    })?;
    let statement = at_rest(&deployment, stack)?;
    steps.finish(&format!("{} TON in the operator's wallet", ton(paid)));

    steps.begin("the table");
    closes(&statement)?;
    ensure!(nano(&statement["redeemed"])? == charged, "{charged} charged: {statement}");
    steps.finish("closes to the nano");
    println!("\n{}", capture(&mut deployment.reconcile(false), "cocoon-settler reconcile")?);
    Ok(())
}

/// Asks through the user's sidecar until enough is charged: how many requests, and what the gateway says of them.
fn pay(
    deployment: &Deployment,
    stack: &mut Stack,
    charged: impl Fn() -> anyhow::Result<i128>,
) -> anyhow::Result<(u32, i128)> {
    let [port] = free_ports()?;
    stack.start("payer", &mut deployment.serve_payer(port), "the user's sidecar", START)?;
    let token = fs::read_to_string(deployment.payer().join("token")).context("the sidecar's token")?;
    for number in 1..=MOST_REQUESTS {
        interrupt::check()?;
        stack.check_running()?;
        let body = request(deployment, &format!("Tell me something about the number {number}.")).to_string();
        let reply = loopback::post(port, "/v1/chat/completions", token.trim(), &body, LIMIT)?;
        ensure!(reply.status == 200, "request {number}: {} {}", reply.status, reply.body);
        let charged = charged()?;
        if charged >= ENOUGH {
            return Ok((number, charged));
        }
    }
    bail!("{MOST_REQUESTS} requests were answered, and cost too little to be paid on")
}
