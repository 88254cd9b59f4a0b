//! Redis is killed, or hangs, under a gateway at work: requests are refused in time, running streams finish and are billed
//! once, nobody rushes the server, nothing grows meanwhile, and the same process serves again once Redis does.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cocoon_receipts::NanoTon;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::bill::claims;
use crate::harness::{
    Direction, EventStream, GRANT, Process, Proxy, RedisServer, Settings, Stack, Store, chat, eventually,
    full, signal,
};

/// Streams that run when Redis goes.
const STREAMS: usize = 4;
const AT_ONCE: usize = 64;
const CONNECT: Duration = Duration::from_millis(500);
const RESPONSE: Duration = Duration::from_millis(1000);
/// What a machine may add to one call that is busy with other tests.
const SLACK: Duration = Duration::from_secs(3);
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

/// Guards against: a call without a deadline, an outage that each request finds out for itself, a stream that ends with the
/// store, a refused request that leaves something behind, a receipt lost or charged twice.
async fn gone(way: Way) -> anyhow::Result<()> {
    let refused = if full() { 20_000 } else { 2000 };
    let settings = Settings {
        store: Store::Redis,
        store_proxy: true,
        // A Redis that goes on finds reserves that nobody waits for any more: their holds must end soon.
        gateway: format!(
            "lease_ms = 3000\nsweep_ms = 200\nledger.connect_timeout_ms = {}\nledger.response_timeout_ms = {}",
            CONNECT.as_millis(),
            RESPONSE.as_millis()
        ),
        ..Settings::default()
    };
    let mut stack = Stack::start(settings).await?;
    let script = json!({ "tokens": 600, "text": "tick ", "delay_ms": 20 }).to_string();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = stack.client().stream(&chat(&script, json!({}))).await?;
        stream.content(5).await?;
        streams.push(stream);
    }
    let pid = gateway(&stack)?.pid();

    let before = Traffic::so_far(&stack)?;
    let since = Instant::now();
    match way {
        Way::Killed => redis(&mut stack)?.kill()?,
        Way::Hanging => signal(redis_pid(&stack)?, "STOP")?,
    }
    let found_out = slowest(refuse(&stack, AT_ONCE).await?);
    ensure!(found_out < CONNECT + RESPONSE + SLACK, "refused after {found_out:?}");
    is_down(&stack).await?;
    // What a burst of requests needs of memory by itself is there after the first of them.
    refuse(&stack, refused / 4).await?;
    let (memory, tasks) = (gateway(&stack)?.resident()?, stack.metric("cocoon_tasks").await?);
    let known = median(refuse(&stack, refused).await?);
    ensure!(known < RESPONSE / 2, "refused after {known:?} though Redis was known to be gone");
    let grown = gateway(&stack)?.resident()?.saturating_sub(memory);
    ensure!(grown < GROWTH, "{grown} KiB more after {refused} refused requests");
    eventually("no task is left of refused requests", SLACK, || async {
        Ok((stack.metric("cocoon_tasks").await? <= tasks + 2).then_some(()))
    })
    .await?;
    for stream in &mut streams {
        finishes(stream).await?;
    }
    is_down(&stack).await?;
    let log = gateway(&stack)?.log();
    ensure!(lines(&log, "calls are refused until it does") == 1, "one line says that it is gone:\n{log}");
    let loud = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    ensure!(loud < 20, "{loud} lines of trouble:\n{log}");
    let (traffic, outage) = (Traffic::so_far(&stack)?.since(&before), since.elapsed());
    // One try at a time, each no sooner than half a second after the last once it was gone for a while, and at most twice a
    // try; a dozen more until then.
    let most = 16 + 4 * outage.as_secs() as usize;
    ensure!(traffic.connections <= most, "{traffic:?} in {outage:?}");
    ensure!(traffic.commands <= most + AT_ONCE + 64, "{traffic:?} in {outage:?}");

    match way {
        Way::Killed => redis(&mut stack)?.restart().await?,
        Way::Hanging => signal(redis_pid(&stack)?, "CONT")?,
    }
    stack.wait_ready().await?;
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    ensure!(gateway(&stack)?.pid() == pid && stack.metric("cocoon_ledger_up").await? == 1);
    ensure!(lines(&gateway(&stack)?.log(), "answers again") == 1, "and one that it is back");
    let unavailable = "cocoon_ledger_calls_total{call=\"reserve\",outcome=\"unavailable\"}";
    ensure!(stack.metric(unavailable).await? >= i64::try_from(refused)?, "refusals are counted");
    let charged = billed(&stack).await?;
    println!(
        "{way:?} for {outage:?}: {refused} refused, the first within {found_out:?}, half of the rest within {known:?}; \
         {grown} KiB more, {traffic:?}; {STREAMS} streams finished, charged {charged} nanoTON"
    );
    Ok(())
}

/// What the gateway asked of its Redis.
#[derive(Debug)]
struct Traffic {
    connections: usize,
    commands: usize,
}

impl Traffic {
    fn so_far(stack: &Stack) -> anyhow::Result<Self> {
        let proxy: &Proxy = stack.store_proxy.as_ref().context("no proxy")?;
        // An array of strings each. No argument of ours has such a line end before an asterisk.
        let commands = memchr::memmem::find_iter(&proxy.recorded(Direction::ToBackend), b"\r\n*").count();
        Ok(Self { connections: proxy.accepted(), commands })
    }

    fn since(&self, before: &Self) -> Self {
        Self { connections: self.connections - before.connections, commands: self.commands - before.commands }
    }
}

/// Makes requests that are all refused as they must; answers how long each took.
async fn refuse(stack: &Stack, requests: usize) -> anyhow::Result<Vec<Duration>> {
    let one = |_| async {
        let asked = Instant::now();
        let (status, headers, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
        let took = asked.elapsed();
        ensure!(status == 503 && answer["error"]["code"] == "store_unavailable", "{status} {answer}");
        ensure!(headers.contains_key("retry-after"), "{headers:?}");
        Ok(took)
    };
    futures_util::stream::iter(0..requests).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

fn slowest(times: Vec<Duration>) -> Duration {
    times.into_iter().max().unwrap_or_default()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The process lives and says that it cannot serve.
async fn is_down(stack: &Stack) -> anyhow::Result<()> {
    let alive = reqwest::get(format!("{}/healthz", stack.ops_url())).await?;
    ensure!(alive.status() == 200, "{}", alive.status());
    let ready = reqwest::get(format!("{}/readyz", stack.ops_url())).await?;
    ensure!(ready.status() == 503, "{}", ready.status());
    let health: Value = ready.json().await?;
    ensure!(health["ledger"] == "down" && health["status"] == "not_ready", "{health}");
    ensure!(stack.metric("cocoon_ledger_up").await? == 0);
    Ok(())
}

async fn finishes(stream: &mut EventStream) -> anyhow::Result<()> {
    let rest = stream.rest().await?;
    ensure!(rest.last().map(String::as_str) == Some("[DONE]"), "the stream was cut: {:?}", rest.last());
    ensure!(rest.len() > 590, "{} events", rest.len());
    let trailers = stream.trailers.as_ref().context("no trailers")?;
    ensure!(trailers.contains_key("cocoon-receipt"), "{trailers:?}");
    Ok(())
}

/// What the account paid: every receipt of the backend, once, and nothing for what was refused.
async fn billed(stack: &Stack) -> anyhow::Result<u64> {
    let receipts = stack.outbox()?;
    ensure!(receipts.len() == STREAMS + 1, "{} receipts", receipts.len());
    let mut sum = 0;
    for (receipt, _) in &receipts {
        let cost: NanoTon = claims(receipt)?["cost"].as_str().context("no cost")?.parse()?;
        sum += cost.0;
    }
    let account = stack.settled_account().await?;
    ensure!(account.charged.0 == sum && account.shortfall == NanoTon::ZERO, "{account:?} {sum}");
    ensure!(account.balance.0 == GRANT - sum && account.held == NanoTon::ZERO, "{account:?} {sum}");
    Ok(sum)
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
