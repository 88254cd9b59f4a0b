//! An operator sees what its backend earned and was paid, and need not believe the gateway.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cocoon_openapi::ops::OperatorView;
use cocoon_openapi::{Deliveries, OPERATORS_PATH, Outcome, Outcomes, RECEIPTS_PATH};
use cocoon_receipts::{BasisPoints, NanoTon, claimed_cost};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::{OPERATOR, Settings, Settlement, Stack, Store, chat, eventually, nano, path};
use crate::settlement::World;

const REQUESTS: u64 = 5;

/// `cocoon-backend earnings` of a stack's backend, by its own configuration or another file: whether it ended well, and
/// what it printed.
fn earnings(stack: &Stack, config: &str, more: &[&str]) -> anyhow::Result<(bool, String)> {
    let mut command = Command::new(path("COCOON_BACKEND_BIN")?);
    let output = command.args(["earnings", "--config"]).arg(stack.path(config)).args(more).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!said.contains("hello"), "a prompt: {said}");
    Ok((output.status.success(), said))
}

fn read(stack: &Stack) -> anyhow::Result<(bool, Value)> {
    let (fine, said) = earnings(stack, "backend.toml", &["--json"])?;
    Ok((fine, serde_json::from_str(&said)?))
}

/// Names of all checks with this verdict.
fn with_verdict<'a>(said: &'a Value, verdict: &str) -> anyhow::Result<Vec<&'a str>> {
    let checks = said["checks"].as_array().context("no checks")?;
    Ok(checks
        .iter()
        .filter(|check| check["verdict"] == verdict)
        .filter_map(|check| check["check"].as_str())
        .collect())
}

/// All is booked that was signed, and the backend knows it.
async fn at_rest(stack: &Stack, receipts: u64) -> anyhow::Result<(bool, Value)> {
    eventually("all receipts are acknowledged twice", Duration::from_secs(60), || async {
        let (fine, said) = read(stack)?;
        let booked = said["booked"]["receipts"] == receipts && said["waiting"]["receipts"] == 0;
        Ok(booked.then_some((fine, said)))
    })
    .await
}

async fn ask(stack: &Stack, key: &str) -> anyhow::Result<()> {
    let client = crate::harness::Client::new(stack.base_url(), key.to_owned());
    let (status, _, answer) = client.complete(&chat("hello", json!({ "max_tokens": 16 }))).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

/// Lines of a backend's configuration.
fn payouts(settlement: &Settlement) -> String {
    format!(
        "receipt_confirm_ms = 100\n\
         payouts.network = {{ name = \"test\", global_id = -3 }}\n\
         payouts.treasury = \"{}\"\n\
         payouts.endpoints = [{{ url = \"{}\", operator = \"devnet\" }}]\n\
         payouts.operator_share_bps = 9000",
        settlement.treasury,
        settlement.origin()
    )
}

/// Guards against: figures of outbox, gateway and chain that do not fit together where all are honest; a tally that a
/// killed backend loses; a payout that is not found on the chain; a gateway of which less is believed than it says.
pub(crate) async fn what_was_signed_is_booked_and_paid() -> anyhow::Result<()> {
    let mut world = World::with(Store::Sqlite, payouts).await?;
    let (fine, said) = read(&world.stack)?;
    let ok = ["nothing_lost", "booked_as_said", "share_as_promised", "paid_within_booked", "paid_in_time"];
    ensure!(fine && with_verdict(&said, "ok")? == ok, "nothing has happened yet: {said}");
    let _settler = world.settlement.settler("settler")?;
    world.pay_in().await?;
    for _ in 0..REQUESTS {
        ask(&world.stack, &world.key).await?;
    }
    at_rest(&world.stack, REQUESTS).await?;
    let (fine, said) = eventually("the operator is paid", Duration::from_secs(60), || async {
        let (fine, said) = read(&world.stack)?;
        let owed = nano(&said["owed"])?;
        Ok((owed < 20_000 && nano(&said["earned"])? > 0).then_some((fine, said)))
    })
    .await?;
    ensure!(fine && with_verdict(&said, "ok")? == ok, "{said}");

    let of = |value: &Value| nano(value);
    let (gateway, chain) = (&said["gateway"]["said"], &said["chain"]["said"]);
    let (cost, earned) = (of(&said["booked"]["cost"])?, of(&said["earned"])?);
    let accrued = of(&gateway["accrued"])? - of(&gateway["reversed"])?;
    ensure!(earned == accrued && earned.abs_diff(cost * 9 / 10) <= REQUESTS.into(), "{said}");
    ensure!(accrued == of(&chain["amount"])? + of(&said["owed"])?, "{said}");
    let on_chain = world.settlement.payouts_to(OPERATOR).await?;
    ensure!(chain["payouts"] == on_chain.len() && !on_chain.is_empty(), "{on_chain:?}: {said}");
    ensure!(of(&chain["amount"])? == on_chain.iter().map(|(_, nano)| nano).sum::<i128>(), "{said}");

    // Also of a backend that was killed, and of one that does not run.
    world.stack.kill_backend()?;
    let (fine, after) = read(&world.stack)?;
    ensure!(fine && after == said, "{said}\n{after}");
    world.stack.start_backend()?;
    let (fine, after) = read(&world.stack)?;
    ensure!(fine && after == said, "{said}\n{after}");
    let (fine, table) = earnings(&world.stack, "backend.toml", &[])?;
    ensure!(fine && table.contains(&accrued.to_string()) && !table.contains("FAILED"), "{table}");
    println!("{table}");

    // The same by a gateway that does not say what it has booked is no good end.
    world.stack.kill_gateway()?;
    let (fine, said) = read(&world.stack)?;
    ensure!(!fine && said["gateway"]["unknown"].is_string(), "{said}");
    ensure!(with_verdict(&said, "unknown")? == [ok[1], ok[3], ok[4]], "{said}");
    Ok(())
}

/// No gateway at all: acknowledges every receipt that an outbox brings, says that nine tenths of it are earned, and books,
/// while it is dishonest, half of that.
struct FakeGateway {
    address: SocketAddr,
    books: Arc<FakeBooks>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct FakeBooks {
    /// What it said, by receipt.
    said: Mutex<HashMap<String, NanoTon>>,
    dishonest: AtomicBool,
}

impl FakeGateway {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let books = Arc::new(FakeBooks::default());
        let app = Router::new()
            .route(RECEIPTS_PATH, post(acknowledge))
            .route(&format!("{OPERATORS_PATH}/{{operator}}"), get(booked))
            .with_state(Arc::clone(&books));
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Ends with the test.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, books, _task: task })
    }
}

async fn acknowledge(State(books): State<Arc<FakeBooks>>, Json(posted): Json<Deliveries>) -> Json<Outcomes> {
    let mut said = books.said.lock().unwrap_or_else(PoisonError::into_inner);
    let outcomes = posted.deliveries.into_iter().map(|delivery| {
        let earned =
            claimed_cost(&delivery.token).ok().map(|cost| cost.basis_points(BasisPoints::NINE_TENTHS));
        said.extend(earned.map(|earned| (delivery.token, earned)));
        Outcome::Acknowledged { earned }
    });
    Json(Outcomes { outcomes: outcomes.collect(), redeliver: None })
}

async fn booked(State(books): State<Arc<FakeBooks>>, Path(operator): Path<String>) -> Json<Value> {
    let said: u64 =
        books.said.lock().unwrap_or_else(PoisonError::into_inner).values().map(|said| said.0).sum();
    let accrued = if books.dishonest.load(Ordering::SeqCst) { said / 2 } else { said };
    Json(json!({ "operator": operator, "accrued": accrued.to_string(), "reversed": "0" }))
}

/// Guards against: a gateway that is believed whatever it says.
pub(crate) async fn a_gateway_that_books_less_than_it_acknowledged_is_found_out() -> anyhow::Result<()> {
    let fake = FakeGateway::start().await?;
    let url = format!("http://{}{RECEIPTS_PATH}", fake.address);
    let backend = format!("operator = \"{OPERATOR}\"\nreceipt_confirm_ms = 100\nreceipt_urls = [\"{url}\"]");
    let stack = Stack::start(Settings { backend, ..Settings::default() }).await?;
    for _ in 0..REQUESTS {
        ask(&stack, &stack.key).await?;
    }
    let (fine, said) = at_rest(&stack, REQUESTS).await?;
    ensure!(fine && with_verdict(&said, "failed")?.is_empty(), "while it is honest: {said}");
    ensure!(nano(&said["earned"])? > 0, "{said}");

    fake.books.dishonest.store(true, Ordering::SeqCst);
    let (fine, said) = read(&stack)?;
    ensure!(!fine && with_verdict(&said, "failed")? == ["booked_as_said"], "{said}");
    let (fine, table) = earnings(&stack, "backend.toml", &[])?;
    ensure!(!fine && table.contains("FAILED  booked_as_said"), "{table}");
    println!("{table}");
    Ok(())
}

/// Guards against: what is no operator's name in the ledger's hands; an operator that is known because it is asked for.
pub(crate) async fn what_an_operator_earned_is_told_on_the_ops_listener_alone() -> anyhow::Result<()> {
    let backend = format!("operator = \"{OPERATOR}\"");
    let stack = Stack::start(Settings { backend, ..Settings::default() }).await?;
    ask(&stack, &stack.key).await?;
    let charged = stack.settled_account().await?.charged;
    let of_operator = |operator: &str| format!("{OPERATORS_PATH}/{operator}");
    let of = async |operator: &str| -> anyhow::Result<OperatorView> {
        let answer = reqwest::get(format!("{}{}", stack.ops_url(), of_operator(operator))).await?;
        Ok(answer.error_for_status()?.json().await?)
    };
    let earned = of(OPERATOR).await?;
    let expected = charged.basis_points(BasisPoints::NINE_TENTHS);
    ensure!((earned.accrued, earned.reversed) == (expected, NanoTon::ZERO) && expected.0 > 0, "{earned:?}");
    let nobody = of("0:abc").await?;
    ensure!((nobody.accrued, nobody.reversed) == (NanoTon::ZERO, NanoTon::ZERO), "{nobody:?}");
    for wrong in ["a%20b", &"x".repeat(97), "%2e%2f"] {
        let answer = reqwest::get(format!("{}{}", stack.ops_url(), of_operator(wrong))).await?;
        ensure!(answer.status() == 400, "{wrong}: {}", answer.status());
    }
    let public = reqwest::get(format!("{}{}", stack.origin(), of_operator(OPERATOR))).await?;
    ensure!(public.status() == 404, "the public listener: {}", public.status());
    Ok(())
}
