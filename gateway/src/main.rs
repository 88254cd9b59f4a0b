//! `cocoon-gateway`: serve, and the operator's commands beside it.

mod keys_command;

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
use keys_command::KeysCommand;

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
        Command::Ledger(command) => return ledger_cli::execute(command).await,
        Command::Config(ConfigCommand::Check { config }) => {
            let config = Config::load(&config)?;
            Keys::load(&config.keys_dir).context("keys_dir")?;
            policy::check(&config, now_ms())?;
            run::load_tls(&config).await?;
            print("the configuration can be used")?;
        }
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

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
