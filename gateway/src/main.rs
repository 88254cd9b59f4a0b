//! `cocoon-gateway`: serve, and the operator's commands beside it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use cocoon_gateway::authenticate::{ApiKey, Scope};
use cocoon_gateway::clock::{now_ms, now_s};
use cocoon_gateway::config::Config;
use cocoon_gateway::keys::Keys;
use cocoon_gateway::ledger_cli::{self, LedgerCommand};
use cocoon_gateway::{policy, run, show};
use cocoon_ledger::{Booked, Grant, Limits};
use cocoon_receipts::{AccountId, NanoTon, ProjectId, RequestId};

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
    Keys(KeysCommand),
    /// Look into the ledger, and check it.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Check configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make the secrets that are missing; leaves what is there.
    Init {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Make an API key and print it: it is shown this once.
    Create(CreateKey),
}

#[derive(clap::Args)]
struct CreateKey {
    #[arg(long)]
    config: PathBuf,
    /// The account that pays.
    #[arg(long)]
    account: AccountId,
    /// Test credit to book on the account, nanoTON.
    #[arg(long)]
    grant: Option<NanoTon>,
    #[arg(long)]
    project: Option<ProjectId>,
    /// A model the key may use; all where not given.
    #[arg(long = "model")]
    models: Vec<String>,
    /// Refuse requests that the gateway could read.
    #[arg(long)]
    sealed_only: bool,
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,
    #[arg(long)]
    expires_days: Option<u64>,
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
        Command::Keys(KeysCommand::Init { dir }) => Keys::init(&dir).map(drop).context("keys")?,
        Command::Keys(KeysCommand::Create(create)) => create_key(create).await?,
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

async fn create_key(create: CreateKey) -> anyhow::Result<()> {
    let config = Config::load(&create.config)?;
    let keys = Keys::load(&config.keys_dir).context("keys_dir")?;
    let key = ApiKey {
        iss: config.issuer.clone(),
        sub: create.account.clone(),
        jti: RequestId::generate().to_string().parse()?,
        iat: now_s(),
        exp: create.expires_days.map(|days| now_s().saturating_add(days.saturating_mul(86_400))),
        project: create.project,
        models: if create.models.is_empty() { None } else { Some(create.models) },
        sealed_only: create.sealed_only,
        scope: create.scope,
        limits: Limits::default(),
    };
    if let Some(amount) = create.grant {
        let ledger = run::open_ledger(&config).await?;
        let grant = Grant { id: RequestId::generate(), account: create.account, amount };
        match ledger.grant(&grant).await? {
            Booked::Booked { balance } => {
                tracing::info!(account = %grant.account, %amount, %balance, "granted")
            }
            Booked::Already => tracing::info!(account = %grant.account, "granted before"),
        }
    }
    print(&key.issue(&keys.api_keys)?)
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
