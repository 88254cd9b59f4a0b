//! `cocoon-gateway`: serve, and the operator's commands beside it.

mod keys_command;
mod registry_command;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use cocoon_gateway::clock::now_ms;
use cocoon_gateway::config::Config;
use cocoon_gateway::keys::Keys;
use cocoon_gateway::ledger_cli::{self, LedgerCommand};
use cocoon_gateway::{policy, run, show};
use cocoon_openapi::prices::PriceTable;
use keys_command::KeysCommand;
use registry_command::RegistryCommand;

/// OpenAI's API in front of attested backends.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients until SIGTERM.
    Serve {
        #[arg(long)]
        config: PathBuf,
    },
    /// Ask the running gateway how its backends stand; ends well only if every one is verified.
    Backends {
        #[arg(long)]
        config: PathBuf,
        /// JSON, with all findings.
        #[arg(long)]
        json: bool,
    },
    /// The deployment's secrets and the API keys made with them.
    #[command(subcommand)]
    Keys(Box<KeysCommand>),
    /// Look into the ledger, and check it.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// What the registry says that is followed, and the messages of its owner.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Check configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether a configuration can be used.
    Check {
        #[arg(long)]
        config: PathBuf,
    },
    /// The price table in the one form whose SHA-256 a registry publishes; its number and SHA-256 on standard error.
    Prices {
        #[arg(long)]
        config: PathBuf,
        /// The table `prices_next`.
        #[arg(long)]
        next: bool,
    },
}

fn main() -> ExitCode {
    cocoon_process::start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(execute(Cli::parse().command)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { config } => run::run(Config::load(&config)?).await?,
        Command::Backends { config, json } => return show_backends(&config, json).await,
        Command::Keys(command) => keys_command::execute(*command).await?,
        Command::Registry(command) => registry_command::execute(command).await?,
        Command::Ledger(command) => return ledger_cli::execute(command).await,
        Command::Config(ConfigCommand::Check { config }) => {
            let config = Config::load(&config)?;
            Keys::load(&config.keys_dir).context("keys_dir")?;
            policy::check(&config, now_ms())?;
            run::load_tls(&config).await?;
            print("the configuration can be used")?;
        }
        Command::Config(ConfigCommand::Prices { config, next }) => print_prices(&config, next)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_backends(config: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (text, backends) = show::ask(&Config::load(config)?).await?;
    if json {
        print(&text)?;
    } else {
        print(&show::screen(&backends, now_ms()))?;
    }
    Ok(if show::all_verified(&backends) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_prices(config: &Path, next: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let table = if next { config.prices_next.context("there is no prices_next")? } else { config.prices };
    let table = PriceTable(table);
    let number =
        table.number().context("its prices have no number in common: `table` must be the same in all")?;
    tracing::info!(number, sha256 = %table.digest()?, "price table");
    // Without a line's end: these bytes are what is hashed.
    std::io::stdout().write_all(&table.to_bytes()?).context("standard output is closed")
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
