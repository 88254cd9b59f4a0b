//! `cocoon-backend`: see the library of the same name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use cocoon_attestation::Nonce;
use cocoon_backend::{Backend, Config, dev_root, earnings, evidence_once};
use cocoon_process::Signals;

/// Answers sealed requests with a model, and signs a receipt for each.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; a second one ends the grace period.
    Serve {
        #[command(flatten)]
        config: ConfigFile,
        /// The engine's program, in place of the configuration's.
        #[arg(long, value_name = "PATH")]
        engine: Option<PathBuf>,
    },
    /// Make the development root of this machine, where there is none, and print its public key.
    DevRoot {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the attestation document of this machine once, with an empty keyset, or say why there is none.
    Evidence {
        #[command(flatten)]
        config: ConfigFile,
        /// What the evidence is to be fresh for: 64 lower-case hexadecimal characters; random where none is given.
        #[arg(long, value_name = "HEX")]
        nonce: Option<Nonce>,
    },
    /// What the backends of one operator earned and were paid; ends with 0 where nothing is found wrong with it.
    Earnings {
        /// The configuration of each of them; variables named COCOON_BACKEND__KEY go over all.
        #[arg(long = "config", value_name = "FILE", required = true)]
        configs: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Questions about the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether a configuration can be used, the keys it names included.
    Check(ConfigFile),
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration; variables named COCOON_BACKEND__KEY go over it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self, engine: Option<&Path>) -> anyhow::Result<Config> {
        load(&self.config, engine)
    }
}

fn load(config: &Path, engine: Option<&Path>) -> anyhow::Result<Config> {
    // A variable that is not UTF-8 is none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Config::load(config, environment, engine)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cocoon_process::start_log();
    let result = match arguments.command {
        Command::Serve { config, engine } => serve(&config, engine.as_deref()),
        Command::Evidence { config, nonce } => evidence(&config, nonce),
        Command::DevRoot { dir } => dev_root::ensure(&dir).map(|public| say(&public)).map_err(Into::into),
        Command::Earnings { configs, json } => match show_earnings(&configs, json) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Config(ConfigCommand::Check(config)) => check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(config: &ConfigFile) -> anyhow::Result<()> {
    config.load(None)?.read_keys()?;
    say("the configuration is valid");
    Ok(())
}

fn evidence(config: &ConfigFile, nonce: Option<Nonce>) -> anyhow::Result<()> {
    let config = config.load(None)?;
    // Nobody relies on it: whoever verifies gives their own.
    let nonce = nonce.unwrap_or_else(|| Nonce(std::array::from_fn(|_| fastrand::u8(..))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let document = runtime.block_on(evidence_once(&config, nonce))?;
    tracing::info!(%nonce, tee = document.tee.as_str(), "gathered");
    say(&serde_json::to_string(&document)?);
    Ok(())
}

/// Whether nothing was found wrong.
fn show_earnings(configs: &[PathBuf], json: bool) -> anyhow::Result<bool> {
    let configs = configs.iter().map(|config| load(config, None)).collect::<anyhow::Result<Vec<Config>>>()?;
    let now = std::time::UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let earnings = runtime.block_on(earnings(&configs, now))?;
    if json {
        say(&serde_json::to_string(&earnings)?);
    } else {
        say(&earnings.to_string());
    }
    Ok(earnings.is_fine())
}

fn serve(config: &ConfigFile, engine: Option<&Path>) -> anyhow::Result<()> {
    let config = config.load(engine)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(config));
    runtime.shutdown_background();
    result
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let mut backend = tokio::select! {
        backend = Backend::start(config) => backend?,
        () = signals.next() => return Ok(()),
    };
    say(&format!("{{\"ready\":true,\"listen\":\"{}\"}}", backend.address()));
    let failure = tokio::select! {
        () = signals.next() => None,
        failure = backend.failed() => Some(failure),
    };
    if let Some(failure) = &failure {
        tracing::error!(error = %failure, "cannot go on");
    }
    backend.stop(signals.next()).await;
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

#[expect(
    clippy::print_stdout,
    reason = "the answer of a command, and the ready line, belong on standard output"
)]
fn say(line: &str) {
    println!("{line}");
}
