//! `cocoon-devnet`: a local TON chain for development and tests. Once it is ready it prints one JSON line with
//! its addresses.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use cocoon_devnet::{Chain, Clock, Endpoint, Fees, Network, SharedChain, Store};
use cocoon_process::{Signals, serve, start_log};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A local TON chain with a real TVM, behind the toncenter v2 API. Its coins are worth nothing.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to serve; several are several endpoints of the one chain, each with faults of its own
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    listen: Vec<SocketAddr>,
    /// The file that keeps the chain; without it, it is gone when this ends
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Which prices of the main network it has
    #[arg(long, value_enum, default_value = "current")]
    fees: Fees,
    /// ConfigParam 19; that of the public test network, so that nothing signed here means anything on the main
    /// network
    #[arg(long, default_value_t = -3, allow_negative_numbers = true)]
    global_id: i32,
    /// Time between blocks; 0 makes none but those that are asked for
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    block_interval: u64,
    /// Let time stand still at this Unix time, until it is moved; a kept chain goes on with its own
    #[arg(long, value_name = "SECONDS")]
    time: Option<u32>,
}

/// The number of the network whose coins are worth something.
const MAINNET: i32 = -239;

/// How long requests that are being answered have when this ends.
const GRACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.global_id != MAINNET, "{MAINNET} is the main network's number, and this is not it");
    let remote = arguments.listen.iter().find(|address| !address.ip().is_loopback());
    if let Some(address) = remote {
        anyhow::bail!(
            "{address} is not a loopback address: whoever reaches this can give coins and move time"
        );
    }
    let network = Network::new(arguments.fees, arguments.global_id).context("the configuration")?;
    let clock = arguments.time.map_or(Clock::REAL, |at| Clock::Standing { at });
    let chain = match &arguments.state {
        None => Chain::in_memory(network, clock),
        Some(file) => {
            let opened = Store::open(file).and_then(|store| Chain::kept(network, clock, store));
            opened.with_context(|| format!("cannot use {}", file.display()))?
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_all(arguments, Arc::new(Mutex::new(chain))))
}

async fn serve_all(arguments: &Arguments, chain: SharedChain) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut addresses = Vec::new();
    for address in &arguments.listen {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        addresses.push(listener.local_addr()?.to_string());
        let router = Endpoint::new(Arc::clone(&chain)).router();
        tasks.spawn(serve(listener, router, stop.clone(), async {
            tokio::time::sleep(GRACE).await;
        }));
    }
    say_ready(&chain, &addresses)?;
    if arguments.block_interval > 0 {
        let every = Duration::from_millis(arguments.block_interval);
        tasks.spawn(make_blocks(chain, every, stop.clone()));
    }
    tasks.close();
    signals.next().await;
    stop.cancel();
    tasks.wait().await;
    Ok(())
}

fn say_ready(chain: &SharedChain, addresses: &[String]) -> anyhow::Result<()> {
    let chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
    let (fees, global_id, seqno) = (chain.network().fees(), chain.network().global_id(), chain.head().seqno);
    tracing::info!(?fees, global_id, seqno, "a local TON chain: its coins are worth nothing");
    let line = serde_json::json!({ "ready": true, "listen": addresses });
    // Who started this may have closed its end, and is in no need of it then.
    drop(writeln!(std::io::stdout(), "{line}"));
    Ok(())
}

async fn make_blocks(chain: SharedChain, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let chain = Arc::clone(&chain);
        let made = tokio::task::spawn_blocking(move || {
            chain.lock().unwrap_or_else(PoisonError::into_inner).produce()
        });
        match made.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "no block"),
            Err(error) => tracing::error!(%error, "no block"),
        }
    }
}
