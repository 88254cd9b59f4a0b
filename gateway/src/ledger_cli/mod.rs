//! `cocoon-gateway ledger`: look into the ledger, check it, carry it away and back.

mod check;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use cocoon_receipts::AccountId;

use crate::account;
use crate::config::Config;
use crate::open_ledger::open_ledger;

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

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
