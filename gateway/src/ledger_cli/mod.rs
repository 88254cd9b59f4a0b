//! `cocoon-gateway ledger`: look into the ledger, check it, carry it away and back.

mod archive;
mod check;
mod export;
mod import;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use cocoon_ledger::transfer::{Place, Progress};
use cocoon_ledger::{Archive, Ledger};
use cocoon_receipts::AccountId;

use crate::account;
use crate::config::Config;
use crate::open_ledger::{self, open_archive, open_ledger};

/// What is in no export.
const ANSWERS_STAY: &str = "answers kept under idempotency keys are not carried";

/// What an operator can do with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Print an account's state as JSON.
    Account {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        account: AccountId,
    },
    /// Replay the journal and compare it with the books, which may be in use; ends well only if nothing differs.
    Check {
        #[arg(long)]
        config: PathBuf,
        /// JSON, one report per shard.
        #[arg(long)]
        json: bool,
    },
    /// Carry what the journal has gained into the archive, and drop from the store what is old and archived. Run it at least
    /// every few days: receipts are kept for eight.
    Archive {
        #[arg(long)]
        config: PathBuf,
        /// Days that archived entries stay in the store.
        #[arg(long, default_value_t = archive::KEEP_DAYS)]
        keep_days: u16,
    },
    /// Verify the archive from its first entry to its last, and the journal and the books after it; ends well only if
    /// nothing differs.
    Verify {
        #[arg(long)]
        config: PathBuf,
    },
    /// Write the whole ledger into a new file. SQLite may be in use meanwhile; a Redis must not be.
    Export {
        #[arg(long)]
        config: PathBuf,
        /// Must not be there.
        #[arg(long)]
        to: PathBuf,
    },
    /// Fill the empty ledger that the configuration names from such a file, and see that it is the same.
    Import {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        from: PathBuf,
    },
    /// Let withdrawals begin again that were stopped because the store was found behind.
    ResumeWithdrawals {
        #[arg(long)]
        config: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// Where the ledger cannot be used.
pub async fn execute(command: LedgerCommand) -> anyhow::Result<ExitCode> {
    match command {
        LedgerCommand::Account { config, account: name } => {
            let ledger = open_ledger(&Config::load(&config)?).await?;
            let state = ledger.account(&name).await?;
            print(&serde_json::to_string(&account::view(name, &state))?)?;
        }
        LedgerCommand::Check { config, json } => return check::check(&config, json).await,
        LedgerCommand::Archive { config, keep_days } => return archive::archive(&config, keep_days).await,
        LedgerCommand::Verify { config } => return verify::verify(&config).await,
        LedgerCommand::Export { config, to } => export::export(&config, &to).await?,
        LedgerCommand::Import { config, from } => import::import(&config, &from).await?,
        LedgerCommand::ResumeWithdrawals { config } => {
            let ledger = open_ledger(&Config::load(&config)?).await?;
            for shard in ledger.shards().all() {
                if let Some(reason) = ledger.withdrawals_stopped(shard).await? {
                    ledger.resume_withdrawals(shard).await?;
                    print(&format!("{shard}: withdrawals begin again; they were stopped because {reason}"))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The ledger and its archive, for commands that are of no use without one.
async fn open(config: &Path) -> anyhow::Result<(Arc<dyn Ledger>, Archive)> {
    let config = Config::load(config)?;
    let archive = open_archive(&config)?.context("set ledger.archive to the folder of the archive")?;
    Ok((open_ledger(&config).await?, archive))
}

/// Where the configuration has its ledger.
fn place(config: &Config) -> Place {
    let (url, access) = (config.ledger.url.clone(), config.ledger.access());
    Place { url, options: open_ledger::options(config), access }
}

/// A line on standard error. Who no longer reads it does not stop the work.
fn tell(progress: &Progress) {
    let _ = writeln!(std::io::stderr(), "{progress}");
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
