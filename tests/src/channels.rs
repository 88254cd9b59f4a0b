//! Paying without giving anybody custody: a payer with TON's official client deposits in a channel, and pays the
//! gateway by vouchers alone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{
    FLOAT, MODEL, OPERATOR, Process, Runtime, Settings, Settlement, Sidecar, Stack, Store, chat, eventually,
    free_port, nano, run_script,
};

/// nanoTON for a million tokens: two of them, all that the scripted engine says to `hello`, are 0.012 TON.
const PRICE: u64 = 6_000_000_000_000;
const TON: u64 = 1_000_000_000;
/// Where the user's rest goes; nobody has its key.
const USER: &str = "0:8888888888888888888888888888888888888888888888888888888888888888";
/// Seconds; a real deployment has a day.
const CLOSE_DELAY: u32 = 5;

struct World {
    settlement: Settlement,
    stack: Stack,
    code: String,
}

impl World {
    async fn start(store: Store) -> anyhow::Result<Self> {
        let settlement = Settlement::start().await?;
        let gateway = format!(
            "billing.treasury = \"{}\"\nprices.\"{MODEL}\".completion = \"{PRICE}\"\n{}",
            settlement.treasury,
            settlement.channels(CLOSE_DELAY)
        );
        let backend = format!("operator = \"{OPERATOR}\"");
        let stack = Stack::start(Settings { store, gateway, backend, ..Settings::default() }).await?;
        settlement.configure(&stack.ledger_url())?;
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/build/pay_channel.json");
        let contract: Value = serde_json::from_str(&std::fs::read_to_string(contract)?)?;
        let code = contract["code"].as_str().context("a contract without code")?.to_owned();
        settlement.float().await?;
        Ok(Self { settlement, stack, code })
    }

    async fn plays(&self, part: &str) -> anyhow::Result<Value> {
        let delay = CLOSE_DELAY.to_string();
        let base = self.stack.base_url();
        let variables = [
            ("COCOON_PART", part),
            ("COCOON_DEVNET", self.settlement.origin()),
            ("COCOON_GATEWAY", base.as_str()),
            ("COCOON_MODEL", MODEL),
            ("COCOON_PAY_CHANNEL_CODE", &self.code),
            ("COCOON_TREASURY", &self.settlement.treasury),
            ("COCOON_CLOSE_DELAY", &delay),
        ];
        let said = run_script(Runtime::NodeForTon, "channel_payer.mjs", &variables).await?;
        println!("{part}: {said}");
        Ok(said)
    }
}

pub(crate) async fn a_payer_pays_by_vouchers_alone_on_sqlite() -> anyhow::Result<()> {
    pays(Store::Sqlite).await
}

pub(crate) async fn a_payer_pays_by_vouchers_alone_on_redis() -> anyhow::Result<()> {
    pays(Store::Redis).await
}

/// Guards against: a voucher that is taken without its signature, network, channel or deposit; credit that an old voucher
/// gives; a claim above what was charged; a payer who does what is the receiver's; a request that was let in and runs on a channel that is closed; a rest
/// that is not given back.
async fn pays(store: Store) -> anyhow::Result<()> {
    let world = World::start(store).await?;
    let _settler: Process = world.settlement.settler("settler")?;
    let said = world.plays("pays").await?;
    let charged = nano(&said["charged"])?;
    ensure!(charged > 0 && said["requests"] == 7, "{said}");

    let statement = world.settlement.at_rest().await?;
    let of = |name: &str| nano(&statement[name]);
    ensure!(of("redeemed")? == charged && of("to_redeem")? == 0, "{charged} charged: {statement}");
    // What its vouchers allowed is nobody's balance here.
    ensure!(of("balances")? == 0 && of("deposits")? == 0, "{statement}");
    let operators = statement["operators"].as_array().context("no operators")?;
    let [operator] = operators.as_slice() else { anyhow::bail!("not one operator: {statement}") };
    let (earned, paid) = (nano(&operator["earned"])?, nano(&operator["paid"])?);
    ensure!(paid > 0 && paid <= earned && earned.abs_diff(charged * 9 / 10) < 1000, "{earned} of {charged}");
    let wallet = world.settlement.balance(&world.settlement.treasury).await?;
    ensure!(of("wallet")? == wallet, "{wallet}: {statement}");
    ensure!(i128::from(FLOAT) + charged == wallet + paid + of("fees")?, "{statement}");
    println!("{}", world.settlement.command(&["reconcile"])?.1);
    Ok(())
}

/// The same with our own sidecar, which seals beside.
///
/// Guards against: halves of one protocol that do not understand each other; a ceiling below what runs at once; a rest
/// that the user does not get back.
pub(crate) async fn the_sidecar_pays_from_a_channel_of_its_own() -> anyhow::Result<()> {
    let world = World::start(Store::Sqlite).await?;
    let _settler = world.settlement.settler("settler")?;
    let (stack, chain) = (&world.stack, world.settlement.origin());
    let run = |arguments: &[&str]| Sidecar::channel(stack, &stack.origin(), chain, arguments);
    let wallet = run(&["address"])?["address"].as_str().context("no address")?.to_owned();
    world.settlement.give(&wallet, 5 * TON, "").await?;
    eventually("the faucet's gift", Duration::from_secs(30), || async {
        Ok((world.settlement.balance(&wallet).await? > 0).then_some(()))
    })
    .await?;
    let opened = run(&["open", "--deposit", "1"])?;
    ensure!(opened["opened_now"] == true && nano(&opened["deposited"])? >= i128::from(TON), "{opened}");

    let sidecar = Sidecar::start(stack, &stack.origin(), &["--channel"]).await?;
    let client = sidecar.local_client(stack)?;
    let ask = async || {
        let (status, headers, answer) = client.complete(&chat("hello", json!({ "max_tokens": 16 }))).await?;
        ensure!(status == 200 && headers["cocoon-privacy"] == "sealed", "{status} {answer}");
        Ok(headers["cocoon-cost"].to_str()?.parse::<i128>()?)
    };
    let mut charged = ask().await?;
    for cost in futures_util::future::join_all((0..4).map(|_| ask())).await {
        charged += cost?;
    }
    let mut stream = client.stream(&chat("hello", json!({ "max_tokens": 16 }))).await?;
    ensure!(stream.rest().await?.last().is_some_and(|last| last == "[DONE]"), "a stream without an end");
    charged += stream.trailers.context("no trailers")?["cocoon-cost"].to_str()?.parse::<i128>()?;
    // Without the local token nobody spends it.
    let (status, _, _) = sidecar.client(stack).complete(&chat("hello", json!({ "max_tokens": 16 }))).await?;
    ensure!(status == 401, "{status}");
    drop(sidecar);

    let stands = run(&["status"])?;
    let gateway = &stands["channel"]["gateway"];
    ensure!(nano(&gateway["charged"])? == charged && gateway["held"] == "0", "{charged} charged: {stands}");
    let signed = nano(&stands["channel"]["signed"])?;
    ensure!(signed >= charged && signed == nano(&gateway["ceiling"])?, "{stands}");
    let more = run(&["deposit", "--amount", "0.5"])?;
    ensure!(nano(&more["deposited"])? >= i128::from(TON + TON / 2), "{more}");
    let closed = run(&["close"])?;
    let refund = nano(&closed["refund"])?;
    ensure!(nano(&closed["settled"])? == charged, "{charged} charged: {closed}");
    ensure!(nano(&more["deposited"])? - charged == refund, "{charged} charged, {more}: {closed}");
    let sent = run(&["withdraw", "--to", USER])?;
    eventually("the user has the rest", Duration::from_secs(30), || async {
        let has = world.settlement.balance(USER).await?;
        Ok((has > 0 && has <= nano(&sent["sent"])?).then_some(()))
    })
    .await?;

    let statement = world.settlement.at_rest().await?;
    ensure!(nano(&statement["redeemed"])? == charged, "{charged} charged: {statement}");
    println!("{charged} charged in 6 requests, {refund} refunded, {} withdrawn", sent["sent"]);
    Ok(())
}

/// Guards against: a user whose gateway is gone and who cannot have the deposit back, or twice.
pub(crate) async fn the_sidecar_takes_its_deposit_back_alone() -> anyhow::Result<()> {
    let world = World::start(Store::Sqlite).await?;
    let (stack, chain) = (&world.stack, world.settlement.origin());
    let run = |gateway: &str, arguments: &[&str]| Sidecar::channel(stack, gateway, chain, arguments);
    let here = stack.origin();
    let wallet = run(&here, &["address"])?["address"].as_str().context("no address")?.to_owned();
    world.settlement.give(&wallet, 5 * TON, "").await?;
    eventually("the faucet's gift", Duration::from_secs(30), || async {
        Ok((world.settlement.balance(&wallet).await? > 0).then_some(()))
    })
    .await?;
    let opened = run(&here, &["open", "--deposit", "1"])?;
    // From here on nobody answers.
    let gone = format!("http://127.0.0.1:{}", free_port()?);
    ensure!(run(&gone, &["close"]).is_err(), "a gateway that is gone has closed it");
    let closing = run(&gone, &["close", "--alone"])?;
    ensure!(closing["phase"] == "closing", "{closing}");
    let closed = eventually("the close delay is over", Duration::from_secs(60), || async {
        let said = run(&gone, &["close", "--alone"])?;
        Ok((said["phase"] == "closed").then_some(said))
    })
    .await?;
    ensure!(closed["settled"] == "0", "{closed}");
    ensure!(nano(&closed["refund"])? == nano(&opened["deposited"])?, "{opened}: {closed}");
    println!("{} deposited, {} came back", opened["deposited"], closed["refund"]);
    Ok(())
}

/// Guards against: a deposit that is lost with its gateway; money that a settler believes it can still have.
pub(crate) async fn a_payer_whose_gateway_is_gone_takes_its_deposit_back() -> anyhow::Result<()> {
    let world = World::start(Store::Sqlite).await?;
    world.plays("prepares").await?;
    // No settler runs, and from here on no gateway is asked.
    let said = world.plays("leaves").await?;
    ensure!(said["settled"] == "0", "{said}");
    // One that comes too late finds nothing, and says so.
    let _settler = world.settlement.settler("settler")?;
    eventually("the settler names what is lost", Duration::from_secs(60), || async {
        let (_, text) = world.settlement.command(&["pay", "--dry-run"])?;
        Ok(text.contains("was closed before it paid").then_some(()))
    })
    .await
}
