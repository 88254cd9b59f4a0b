//! Redis is killed, or hangs, under a gateway at work: requests are refused in time, running streams finish and are billed,
//! nothing grows meanwhile, and the gateway serves again once Redis does.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cocoon_receipts::NanoTon;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::bill::claims;
use crate::harness::{EventStream, Process, RedisServer, Settings, Stack, Store, chat, eventually, signal};

/// Streams that run when Redis goes.
const STREAMS: usize = 4;
const REFUSED: usize = 2000;
const AT_ONCE: usize = 64;
/// Both of the gateway's timeouts.
const CONFIGURED: Duration = Duration::from_millis(1500);
/// What a machine may add that is busy with other tests.
const SLACK: Duration = Duration::from_secs(10);
/// KiB that a gateway may grow by between the first and the last of the refused requests.
const GROWTH: u64 = 16 * 1024;

#[derive(Debug, Clone, Copy)]
enum Way {
    Killed,
    Hanging,
}

pub(crate) async fn killed_under_streams() -> anyhow::Result<()> {
    gone(Way::Killed).await
}

pub(crate) async fn hanging_under_streams() -> anyhow::Result<()> {
    gone(Way::Hanging).await
}

async fn gone(way: Way) -> anyhow::Result<()> {
    let settings = Settings {
        store: Store::Redis,
        gateway: "ledger.connect_timeout_ms = 500\nledger.response_timeout_ms = 1000".into(),
        // A receipt that finds no ledger comes again soon.
        backend: "receipt_retry_ms = 200".into(),
        ..Settings::default()
    };
    let mut stack = Stack::start(settings).await?;
    let script = json!({ "tokens": 500, "text": "tick ", "delay_ms": 20 }).to_string();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = stack.client().stream(&chat(&script, json!({}))).await?;
        stream.content(5).await?;
        streams.push(stream);
    }
    let pid = gateway(&stack)?.pid();

    match way {
        Way::Killed => redis(&mut stack)?.kill()?,
        Way::Hanging => signal(redis_pid(&stack)?, "STOP")?,
    }
    refuse_in_time(&stack).await?;
    is_down(&stack).await?;
    // What a burst of requests needs of memory by itself is there after the first of them.
    refuse(&stack, REFUSED / 4).await?;
    let (memory, tasks) = (gateway(&stack)?.resident()?, metric(&stack, "cocoon_tasks").await?);
    refuse(&stack, REFUSED).await?;
    let grown = gateway(&stack)?.resident()?.saturating_sub(memory);
    ensure!(grown < GROWTH, "{grown} KiB more after {REFUSED} refused requests");
    eventually("no task is left of refused requests", SLACK, || async {
        Ok((metric(&stack, "cocoon_tasks").await? <= tasks + 2).then_some(()))
    })
    .await?;
    for stream in &mut streams {
        finishes(stream).await?;
    }
    let log = gateway(&stack)?.log();
    ensure!(lines(&log, "does not answer") == 1, "one line says that it is gone:\n{log}");
    let loud = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    ensure!(loud < 20, "{loud} lines of trouble:\n{log}");

    match way {
        Way::Killed => redis(&mut stack)?.restart().await?,
        Way::Hanging => signal(redis_pid(&stack)?, "CONT")?,
    }
    stack.wait_ready().await?;
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    ensure!(gateway(&stack)?.pid() == pid && metric(&stack, "cocoon_ledger_up").await? == 1);
    ensure!(lines(&gateway(&stack)?.log(), "answers again") == 1, "and one that it is back");
    let connections = connections_taken(&stack)?;
    ensure!(connections < 100, "{connections} connections for {REFUSED} requests");
    let charged = billed(&stack).await?;
    println!(
        "{way:?}: {REFUSED} refused, {grown} KiB and {connections} connections; {STREAMS} streams finished, charged \
         {charged} nanoTON"
    );
    Ok(())
}

/// The first requests find out, and all wait for it at once.
async fn refuse_in_time(stack: &Stack) -> anyhow::Result<()> {
    let asked = Instant::now();
    refuse(stack, AT_ONCE).await?;
    ensure!(asked.elapsed() < CONFIGURED + SLACK, "refused after {:?}", asked.elapsed());
    Ok(())
}

async fn refuse(stack: &Stack, requests: usize) -> anyhow::Result<()> {
    let one = |_| async {
        let (status, headers, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
        ensure!(status == 503 && answer["error"]["code"] == "store_unavailable", "{status} {answer}");
        ensure!(headers.contains_key("retry-after"), "{headers:?}");
        Ok(())
    };
    futures_util::stream::iter(0..requests).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// The process lives and says that it cannot serve.
async fn is_down(stack: &Stack) -> anyhow::Result<()> {
    let alive = reqwest::get(format!("{}/healthz", stack.ops_url())).await?;
    ensure!(alive.status() == 200, "{}", alive.status());
    let ready = reqwest::get(format!("{}/readyz", stack.ops_url())).await?;
    ensure!(ready.status() == 503, "{}", ready.status());
    let health: Value = ready.json().await?;
    ensure!(health["ledger"] == "down" && health["status"] == "not_ready", "{health}");
    ensure!(metric(stack, "cocoon_ledger_up").await? == 0);
    Ok(())
}

async fn finishes(stream: &mut EventStream) -> anyhow::Result<()> {
    let rest = stream.rest().await?;
    ensure!(rest.last().map(String::as_str) == Some("[DONE]"), "the stream was cut: {:?}", rest.last());
    ensure!(rest.len() > 490, "{} events", rest.len());
    Ok(())
}

/// What the account paid: every receipt of the backend, once.
async fn billed(stack: &Stack) -> anyhow::Result<u64> {
    let account = stack.settled_account().await?;
    let receipts = stack.outbox()?;
    ensure!(receipts.len() == STREAMS + 1, "{} receipts", receipts.len());
    let mut sum = 0;
    for (receipt, _) in &receipts {
        let cost: NanoTon = claims(receipt)?["cost"].as_str().context("no cost")?.parse()?;
        sum += cost.0;
    }
    ensure!(account.charged.0 == sum && account.shortfall == NanoTon::ZERO, "{account:?} {sum}");
    Ok(sum)
}

async fn metric(stack: &Stack, name: &str) -> anyhow::Result<u64> {
    let text = reqwest::get(format!("{}/metrics", stack.ops_url())).await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in\n{text}"))?.parse()?)
}

/// Connections that this Redis process ever took.
fn connections_taken(stack: &Stack) -> anyhow::Result<u64> {
    let port = stack.redis.as_ref().context("no redis")?.port().to_string();
    let info = std::process::Command::new("redis-cli").args(["-p", &port, "INFO", "stats"]).output()?;
    let info = String::from_utf8(info.stdout)?;
    let taken = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    Ok(taken.context("no count of connections")?.trim().parse()?)
}

fn gateway(stack: &Stack) -> anyhow::Result<&Process> {
    stack.gateway.as_ref().context("no gateway")
}

fn redis(stack: &mut Stack) -> anyhow::Result<&mut RedisServer> {
    stack.redis.as_mut().context("no redis")
}

fn redis_pid(stack: &Stack) -> anyhow::Result<u32> {
    Ok(stack.redis.as_ref().and_then(RedisServer::process).context("no redis")?.pid())
}

fn lines(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}
