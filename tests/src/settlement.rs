//! Money in and out on a chain with a real TVM: what was paid in is charged, what was earned is paid, once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{
    FLOAT, MODEL, OPERATOR, Process, Settings, Settlement, Stack, Store, chat, eventually, full, nano,
};

/// What the user sends, nanoTON.
const DEPOSIT: u64 = 5_000_000_000;
const USER: &str = "user";
/// nanoTON for a million tokens: two of them, all that the scripted engine says to `hello`, are 0.012 TON.
const PRICE: u64 = 6_000_000_000_000;

pub(crate) async fn an_operator_is_paid_from_what_a_user_paid_in_on_sqlite() -> anyhow::Result<()> {
    paid_from_what_was_paid_in(Store::Sqlite).await
}

pub(crate) async fn an_operator_is_paid_from_what_a_user_paid_in_on_redis() -> anyhow::Result<()> {
    paid_from_what_was_paid_in(Store::Redis).await
}

pub(crate) async fn settlers_that_are_killed_pay_each_once_on_sqlite() -> anyhow::Result<()> {
    killed(Store::Sqlite).await
}

pub(crate) async fn settlers_that_are_killed_pay_each_once_on_redis() -> anyhow::Result<()> {
    killed(Store::Redis).await
}

/// A gateway, a chain, and a user who can pay in.
pub(crate) struct World {
    pub(crate) settlement: Settlement,
    pub(crate) stack: Stack,
    /// The user's.
    pub(crate) key: String,
}

impl World {
    /// A gateway and a chain, an account without anything, and no settler yet.
    async fn start(store: Store) -> anyhow::Result<Self> {
        Self::with(store, |_| String::new()).await
    }

    /// The same, with further lines of the backend's configuration.
    pub(crate) async fn with(store: Store, more: impl FnOnce(&Settlement) -> String) -> anyhow::Result<Self> {
        let settlement = Settlement::start().await?;
        let gateway = format!(
            "billing.treasury = \"{}\"\nprices.\"{MODEL}\".completion = \"{PRICE}\"",
            settlement.treasury
        );
        let backend = format!("operator = \"{OPERATOR}\"\n{}", more(&settlement));
        let stack = Stack::start(Settings { store, gateway, backend, ..Settings::default() }).await?;
        settlement.configure(&stack.ledger_url())?;
        let key = stack.make_key(&["--account", USER])?;
        Ok(Self { settlement, stack, key })
    }

    async fn credits(&self) -> anyhow::Result<Value> {
        let url = format!("{}/credits", self.stack.base_url());
        let credits = reqwest::Client::new().get(url).bearer_auth(&self.key).send().await?;
        let mut credits: Value = credits.error_for_status()?.json().await?;
        Ok(credits["data"].take())
    }

    /// Deploys the wallet, and sends a deposit as `/v1/credits` says; waits until it is credited.
    pub(crate) async fn pay_in(&self) -> anyhow::Result<()> {
        self.settlement.float().await?;
        eventually("the wallet is deployed", Duration::from_secs(60), || async {
            Ok(self.settlement.is_deployed().await?.then_some(()))
        })
        .await?;
        let topup = &self.credits().await?["topup"];
        let comment = topup["comment"].as_str().context("no comment")?;
        let address = topup["address"].as_str().context("no address")?;
        self.settlement.give(address, DEPOSIT, comment).await?;
        eventually("the deposit is credited", Duration::from_secs(60), || async {
            Ok((nano(&self.credits().await?["balance"])? == i128::from(DEPOSIT)).then_some(()))
        })
        .await
    }

    async fn ask(&self) -> anyhow::Result<()> {
        let client = crate::harness::Client::new(self.stack.base_url(), self.key.clone());
        let (status, _, answer) = client.complete(&chat("hello", json!({ "max_tokens": 16 }))).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(())
    }

    /// At the end: every nanoTON is accounted for, by the settler, the ledger and the chain alike, and each payout was
    /// made once. Gives how many there were.
    async fn close(&self) -> anyhow::Result<usize> {
        let statement = self.settlement.at_rest().await?;
        let of = |name: &str| nano(&statement[name]);
        let operators = statement["operators"].as_array().context("no operators")?;
        let [operator] = operators.as_slice() else { anyhow::bail!("not one operator: {statement}") };
        ensure!(operator["operator"] == OPERATOR, "{statement}");
        let (earned, paid) = (nano(&operator["earned"])?, nano(&operator["paid"])?);

        // What was sent arrives some blocks later.
        let payouts = eventually("all payouts arrive", Duration::from_secs(10), || async {
            let payouts = self.settlement.payouts_to(OPERATOR).await?;
            let arrived: i128 = payouts.iter().map(|(_, nano)| nano).sum();
            Ok((arrived >= paid).then_some(payouts))
        })
        .await?;
        let ids: BTreeSet<&String> = payouts.iter().map(|(id, _)| id).collect();
        ensure!(ids.len() == payouts.len(), "a payout came twice: {payouts:?}");
        let arrived: i128 = payouts.iter().map(|(_, nano)| nano).sum();
        let has = self.settlement.balance(OPERATOR).await?;
        ensure!(paid > 0 && arrived == paid, "{paid} sent, {arrived} arrived");
        // An account pays rent for itself, a nanoTON or so from one transaction to the next.
        ensure!((0..1000).contains(&(arrived - has)), "{arrived} arrived, {has} there");
        ensure!((0..20_000).contains(&(earned - paid)), "{earned} earned, {paid} paid");

        let credits = self.credits().await?;
        let charged = nano(&credits["charged"])?;
        ensure!(nano(&credits["balance"])? == i128::from(DEPOSIT) - charged, "{credits}");
        ensure!(
            earned == charged * 9 / 10 || earned.abs_diff(charged * 9 / 10) < 1000,
            "{earned} of {charged}"
        );
        let wallet = self.settlement.balance(&self.settlement.treasury).await?;
        ensure!(of("wallet")? == wallet, "{wallet}: {statement}");
        let came = i128::from(DEPOSIT) + i128::from(FLOAT);
        ensure!(came == wallet + paid + of("fees")?, "{came} came in: {statement}");
        ensure!(of("deposits")? == i128::from(DEPOSIT) && of("float")? == i128::from(FLOAT), "{statement}");
        println!("{}", self.settlement.command(&["reconcile"])?.1);
        Ok(payouts.len())
    }
}

/// Guards against: a deposit that is lost or credited twice, a share that is not paid, a nanoTON that nobody has.
async fn paid_from_what_was_paid_in(store: Store) -> anyhow::Result<()> {
    let world = World::start(store).await?;
    let _settler = world.settlement.settler("settler")?;
    world.pay_in().await?;
    for _ in 0..10 {
        world.ask().await?;
    }
    eventually("the operator is paid", Duration::from_secs(60), || async {
        Ok((world.settlement.balance(OPERATOR).await? > 0).then_some(()))
    })
    .await?;
    world.close().await.map(drop)
}

/// Guards against: a payout that is made twice or never, whenever a settler ends, with another one beside it, and a chain
/// that goes and comes back.
async fn killed(store: Store) -> anyhow::Result<()> {
    let mut world = World::start(store).await?;
    let mut settlers: Vec<Process> = (0..2)
        .map(|number| world.settlement.settler(&format!("settler-{number}")))
        .collect::<Result<_, _>>()?;
    world.pay_in().await?;
    let seed = 7;
    let mut random = fastrand::Rng::with_seed(seed);
    let lasts = Duration::from_secs(if full() { 120 } else { 10 });
    let (begun, mut kills, mut restarts) = (Instant::now(), 0, 0);
    while begun.elapsed() < lasts {
        world.ask().await?;
        // When a settler ends is all that is random here.
        tokio::time::sleep(Duration::from_millis(random.u64(20..600))).await;
        let victim = random.usize(..settlers.len());
        settlers.swap_remove(victim).kill()?;
        kills += 1;
        settlers.push(world.settlement.settler(&format!("settler-{victim}"))?);
        if kills % 7 == 0 {
            world.settlement.restart_chain()?;
            restarts += 1;
        }
    }
    let payouts = world.close().await?;
    println!(
        "{store:?}: {kills} settlers and {restarts} chains killed in {lasts:?}, {payouts} payouts, each once"
    );
    Ok(())
}
