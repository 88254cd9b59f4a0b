//! A gateway that starts before its Redis can serve waits for it, for a while; one whose Redis must not be used does not
//! start at all.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::harness::{Process, RedisServer, Settings, Stack, Store, chat, eventually, path};

/// What the log says while the start waits.
const WAITS: &str = "the start waits for it";
const LIMIT: Duration = Duration::from_secs(30);

/// Without a gateway and without a Redis, which both have run.
async fn at_rest(wait_ms: u64) -> anyhow::Result<(Stack, RedisServer)> {
    let gateway = format!("ledger.start_wait_ms = {wait_ms}");
    let mut stack = Stack::start(Settings { store: Store::Redis, gateway, ..Settings::default() }).await?;
    stack.kill_gateway()?;
    let mut redis = stack.redis.take().context("no Redis")?;
    redis.kill()?;
    Ok((stack, redis))
}

fn serve_command(stack: &Stack) -> anyhow::Result<Command> {
    let mut serve = Command::new(path("COCOON_GATEWAY_BIN")?);
    serve.args(["serve", "--config"]).arg(stack.path("gateway.toml"));
    Ok(serve)
}

/// A gateway that begins to start.
fn serve(stack: &Stack) -> anyhow::Result<Process> {
    Process::start_silent(&mut serve_command(stack)?, &stack.path("gateway.log"))
}

async fn until_it_waits(stack: &Stack) -> anyhow::Result<()> {
    eventually("the gateway says that it waits", LIMIT, || async {
        let log = std::fs::read_to_string(stack.path("gateway.log"))?;
        Ok(log.contains(WAITS).then_some(()))
    })
    .await
}

/// Starts the gateway, which gets ready after `meanwhile`, and serves.
async fn starts_after(
    stack: &mut Stack,
    meanwhile: impl AsyncFnOnce(&Stack) -> anyhow::Result<RedisServer>,
) -> anyhow::Result<()> {
    stack.gateway = Some(serve(stack)?);
    stack.redis = Some(meanwhile(stack).await?);
    stack.wait_ready().await?;
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    ensure!(stack.settled_account().await?.charged.0 > 0);
    let log = stack.gateway.as_ref().context("no gateway")?.log();
    let waits = log.lines().filter(|line| line.contains(WAITS)).count();
    ensure!((1..20).contains(&waits) && log.contains("the ledger's store answers"), "{waits} in\n{log}");
    Ok(())
}

pub(crate) async fn one_that_is_not_there_is_waited_for() -> anyhow::Result<()> {
    let (mut stack, mut redis) = at_rest(60_000).await?;
    starts_after(&mut stack, async |stack| {
        until_it_waits(stack).await?;
        redis.restart().await?;
        Ok(redis)
    })
    .await
}

pub(crate) async fn one_that_reads_its_file_is_waited_for() -> anyhow::Result<()> {
    /// Commands in the file, and what the server takes for each: it answers after every 1024 of them.
    const COMMANDS: usize = 20_000;
    const PAUSE: Duration = Duration::from_micros(100);

    let (mut stack, mut redis) = at_rest(60_000).await?;
    redis.restart().await?;
    let mut fill = redis::pipe();
    for number in 0..COMMANDS {
        fill.cmd("SET").arg("filler").arg(number).ignore();
    }
    let client = redis::Client::open(redis.url())?;
    fill.exec_async(&mut client.get_multiplexed_async_connection().await?).await?;
    redis.restart_slowly(PAUSE).await?;
    starts_after(&mut stack, async |stack| {
        until_it_waits(stack).await?;
        let log = std::fs::read_to_string(stack.path("gateway.log"))?;
        ensure!(log.contains("LOADING") || log.contains("loading"), "{log}");
        Ok(redis)
    })
    .await
}

/// `cocoon-gateway serve`, to its end.
async fn ends(stack: &Stack) -> anyhow::Result<(ExitStatus, String, Duration)> {
    let (begun, mut serve) = (Instant::now(), serve_command(stack)?);
    let output = tokio::task::spawn_blocking(move || serve.output()).await??;
    Ok((output.status, String::from_utf8(output.stderr)?, begun.elapsed()))
}

pub(crate) async fn one_that_never_comes_ends_the_start() -> anyhow::Result<()> {
    let (stack, _redis) = at_rest(1500).await?;
    let (status, log, took) = ends(&stack).await?;
    ensure!(!status.success() && log.contains(WAITS) && log.contains("ledger: it cannot be opened"), "{log}");
    ensure!((Duration::from_millis(1500)..LIMIT).contains(&took), "it ended after {took:?}");
    Ok(())
}

pub(crate) async fn one_that_must_not_be_used_ends_the_start_at_once() -> anyhow::Result<()> {
    let (mut stack, mut redis) = at_rest(120_000).await?;
    redis.restart().await?;
    let client = redis::Client::open(redis.url())?;
    let mut client = client.get_multiplexed_async_connection().await?;
    redis::cmd("CONFIG").arg(&["SET", "maxmemory-policy", "allkeys-lru"]).exec_async(&mut client).await?;
    stack.redis = Some(redis);
    let (status, log, took) = ends(&stack).await?;
    ensure!(!status.success() && log.contains("noeviction") && !log.contains(WAITS), "{log}");
    ensure!(took < LIMIT, "it ended after {took:?}");
    Ok(())
}

pub(crate) async fn a_start_that_waits_ends_when_told() -> anyhow::Result<()> {
    let (stack, _redis) = at_rest(120_000).await?;
    let mut gateway = serve(&stack)?;
    until_it_waits(&stack).await?;
    gateway.terminate()?;
    let status = eventually("the gateway ends", LIMIT, || {
        let exited = gateway.exited();
        async move { exited }
    })
    .await?;
    ensure!(status.success(), "{status}");
    Ok(())
}
