//! `cocoon-settler`: see the library of the same name.

mod epoch_commands;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use cocoon_process::{Signals, serve, start_log};
use cocoon_settler::config::Config;
use cocoon_settler::decision::{Decision, Payee, Place};
use cocoon_settler::epochs::run_epochs;
use cocoon_settler::{Books, LedgerBooks, Metrics, Pace, Settings, Settler, Statement, Step, run, unix_now};
use cocoon_ton::chain::{Endpoint, Failover};
use cocoon_ton::{KeyPair, Network, Wallet};
use epoch_commands::{Prove, RegistryCommand, VerifyProof};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// Books deposits on TON and pays operators and withdrawals.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Settle until SIGTERM; of several, one is active and the others stand by
    Run(ConfigFile),
    /// Make a wallet's key, where there is none at that path
    Keygen {
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the wallet's address: where deposits go
    Address(ConfigFile),
    /// Where all money is, by the log, the ledger and the chain
    Status {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long)]
        json: bool,
    },
    /// The same, and fail where they contradict each other
    Reconcile {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long)]
        json: bool,
    },
    /// Book what has come and pay what is due, once
    Pay {
        #[command(flatten)]
        config: ConfigFile,
        /// Only say what would be paid
        #[arg(long)]
        dry_run: bool,
    },
    /// Let a payee be paid again that had sent money back
    Release {
        #[command(flatten)]
        config: ConfigFile,
        /// In its raw form, 0:…
        payee: Payee,
    },
    /// Take an unexplained transaction as the platform's own, so that payouts go on
    Explain {
        #[command(flatten)]
        config: ConfigFile,
        /// Its logical time, a colon and its hash, as `status` prints it
        transaction: Place,
    },
    /// The registry on the chain, where epochs are published
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Write the proof that a receipt is in a published epoch
    Prove(Prove),
    /// Check such a proof against the chain, without any ledger
    VerifyProof(VerifyProof),
    /// Questions about the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether a configuration can be used
    Check(ConfigFile),
}

#[derive(Args)]
struct ConfigFile {
    /// Variables named COCOON_SETTLER__KEY go over it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> anyhow::Result<Config> {
        // A variable that is not UTF-8 is none of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Config::load(&self.config, environment)?)
    }
}

/// How long requests for metrics have when the process ends.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(execute(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(config) => serve_all(&config.load()?).await,
        Command::Keygen { out } => keygen(&out),
        Command::Address(config) => address(&config.load()?),
        Command::Status { config, json } => status(&config.load()?, json, false).await,
        Command::Reconcile { config, json } => status(&config.load()?, json, true).await,
        Command::Pay { config, dry_run: true } => dry_run(&config.load()?).await,
        Command::Pay { config, dry_run: false } => pay(&config.load()?).await,
        Command::Release { config, payee } => decide(&config.load()?, Decision::Released { payee }).await,
        Command::Explain { config, transaction } => {
            decide(&config.load()?, Decision::Explained { transaction }).await
        }
        Command::Registry(command) => epoch_commands::registry(command).await,
        Command::Prove(prove) => epoch_commands::prove(prove).await,
        Command::VerifyProof(verify) => epoch_commands::verify_proof(verify).await,
        Command::Config(ConfigCommand::Check(config)) => {
            let config = config.load()?;
            config.endpoints()?;
            key(&config)?;
            epoch_commands::check(&config)?;
            say("the configuration can be used")
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")
}

fn key(config: &Config) -> anyhow::Result<KeyPair> {
    Ok(KeyPair::from_seed(&*config.wallet_seed()?)?)
}

fn keygen(out: &std::path::Path) -> anyhow::Result<()> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| anyhow::anyhow!("no randomness"))?;
    let text = Zeroizing::new(format!("{}\n", &*Zeroizing::new(hex::encode(*seed))));
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(out);
    let mut file = file.with_context(|| format!("cannot make {}", out.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    say(&format!("{}", out.display()))
}

fn address(config: &Config) -> anyhow::Result<()> {
    let network = config.network()?;
    let test_only = network != Network::Mainnet;
    let address = Wallet::new(key(config)?.public(), network.global_id())?.address();
    let line = serde_json::json!({
        "address": address.show(true, test_only),
        "non_bounceable": address.show(false, test_only),
        "raw": address.to_string(),
    });
    say(&line.to_string())
}

async fn ledger(config: &Config) -> anyhow::Result<Arc<dyn cocoon_ledger::Ledger>> {
    cocoon_ledger::open(&config.ledger, cocoon_ledger::Options::default()).await.context("ledger")
}

fn chain(config: &Config) -> anyhow::Result<Arc<Failover>> {
    let endpoints = config.endpoints()?.into_iter().map(Endpoint::new).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Failover::new(endpoints)?))
}

/// A settler on the real ledger and the real chain.
async fn open(config: &Config) -> anyhow::Result<Settler> {
    let (ledger, chain) = (ledger(config).await?, chain(config)?);
    let settings = Settings {
        network: config.network()?,
        deposits: config.deposits.clone(),
        payouts: config.payouts.clone(),
        channels: config.channels.clone(),
    };
    let books: Arc<dyn Books> = Arc::new(LedgerBooks(ledger));
    Ok(Settler::new(books, Arc::clone(&chain) as _, Some(chain), key(config)?, settings)?)
}

async fn serve_all(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let (stop, tasks, metrics) = (CancellationToken::new(), TaskTracker::new(), Arc::new(Metrics::default()));
    let mut settler = open(config).await?;
    let mut epochs = epoch_commands::open(config).await?;
    let mut line = serde_json::json!({"ready": true, "wallet": settler.wallet().address().to_string()});
    if let Some(address) = config.ops_listen {
        let listener = TcpListener::bind(address).await.with_context(|| format!("ops_listen: {address}"))?;
        line["ops"] = listener.local_addr()?.to_string().into();
        let router = Arc::clone(&metrics).router();
        tasks.spawn(serve(listener, router, stop.clone(), async { tokio::time::sleep(GRACE).await }));
    }
    say(&line.to_string())?;
    let holder = format!("settler:{}", uuid::Uuid::now_v7());
    let pace =
        Pace { poll: Duration::from_millis(config.poll_ms), lease: Duration::from_millis(config.lease_ms) };
    let (tell, active) = watch::channel(false);
    let settling = run(&mut settler, &holder, pace, &metrics, &tell, &stop);
    let publishing = async {
        if let Some(epochs) = &mut epochs {
            run_epochs(epochs, pace.poll, active, &metrics, &stop).await;
        }
    };
    let told_to_end = async {
        signals.next().await;
        stop.cancel();
    };
    tokio::join!(settling, publishing, told_to_end);
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Where all money is. While a settler is at work, log and ledger may differ for a moment: it is read again then.
async fn statement(settler: &mut Settler) -> anyhow::Result<Statement> {
    const READINGS: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(500);
    let mut reading = 1;
    loop {
        settler.catch_up().await?;
        let on_chain = settler.balance_if_all_is_booked().await?;
        let (owing, sums) = (settler.books().owing().await?, settler.books().sums().await?);
        let statement = Statement::new(settler.treasury(), &owing, &sums, on_chain);
        if statement.findings.is_empty() || reading == READINGS {
            return Ok(statement);
        }
        reading += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn status(config: &Config, json: bool, strict: bool) -> anyhow::Result<()> {
    let statement = statement(&mut open(config).await?).await?;
    if json {
        say(&serde_json::to_string(&statement)?)?;
    } else {
        say(statement.to_string().trim_end())?;
        for line in &statement.operators {
            let cocoon_settler::OperatorLine { operator, earned, paid, on_its_way, owed } = line;
            say(&format!(
                "  {operator}: earned {earned}, paid {paid}, on its way {on_its_way}, owed {owed}"
            ))?;
        }
    }
    if strict && !statement.findings.is_empty() {
        bail!("chain, log and ledger contradict each other in {} point(s)", statement.findings.len());
    }
    Ok(())
}

async fn dry_run(config: &Config) -> anyhow::Result<()> {
    let mut settler = open(config).await?;
    settler.catch_up().await?;
    let owing = settler.books().owing().await?;
    let plan = settler.plan(owing, unix_now()).await?;
    for payout in &plan.payouts {
        say(&serde_json::to_string(payout)?)?;
    }
    for held in &plan.held {
        say(&format!("! {held}"))?;
    }
    if let Some(batch) = settler.treasury().on_its_way() {
        say(&format!("batch {} is on its way: nothing else is sent before its end", batch.seqno))?;
    }
    Ok(())
}

async fn pay(config: &Config) -> anyhow::Result<()> {
    let mut settler = open(config).await?;
    let poll = Duration::from_millis(config.poll_ms);
    loop {
        let step = settler.step(unix_now()).await?;
        match &step {
            Step::Idle(held) => {
                for held in held {
                    say(&format!("! {held}"))?;
                }
                return Ok(());
            }
            Step::Began { payouts, total } => say(&format!("{payouts} payout(s), {total} nanoTON"))?,
            _ => {}
        }
        tokio::time::sleep(Settler::pause(&step, poll)).await;
    }
}

/// Adds a person's decision; again where a settler was there first.
async fn decide(config: &Config, decision: Decision) -> anyhow::Result<()> {
    const TRIES: u32 = 20;
    let mut settler = open(config).await?;
    for _ in 0..TRIES {
        settler.catch_up().await?;
        if settler.decide(&decision).await? {
            return say("decided");
        }
    }
    bail!("others were always first: try again")
}
