//! What `cocoon-gateway keys` is asked.

use std::path::PathBuf;

use clap::Subcommand;
use cocoon_gateway::authenticate::Scope;
use cocoon_ledger::{Budget, Limits, Period};
use cocoon_receipts::{AccountId, KeyId, NanoTon, ProjectId};

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make the secrets that are missing; leaves what is there.
    Init {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Make an API key and print it: it is shown this once.
    Create(CreateKey),
    /// Print an account's keys, oldest first.
    List {
        #[command(flatten)]
        of: Of,
        /// Only inference keys of this project; `default` is where those without one are.
        #[arg(long)]
        project: Option<ProjectId>,
        #[arg(long)]
        json: bool,
    },
    /// Print one key as JSON.
    Show {
        #[command(flatten)]
        of: Of,
        /// Its id.
        #[arg(long)]
        key: KeyId,
    },
    /// Refuse a key from now on.
    Revoke {
        #[command(flatten)]
        of: Of,
        #[arg(long)]
        key: KeyId,
        /// Refuse it only after this long.
        #[arg(long, default_value_t)]
        after_seconds: u64,
    },
    /// Make a successor of a key, print it, and revoke the key.
    Rotate {
        #[command(flatten)]
        of: Of,
        #[arg(long)]
        key: KeyId,
        /// How long both are good.
        #[arg(long, default_value_t)]
        overlap_seconds: u64,
        #[arg(long)]
        json: bool,
    },
    /// Print the limits of an account, or of a project; with any limit given, set them all.
    Limits {
        #[command(flatten)]
        of: Of,
        #[arg(long)]
        project: Option<ProjectId>,
        #[command(flatten)]
        limits: LimitArgs,
        /// Take all limits away.
        #[arg(long, conflicts_with_all = ["budget", "rpm", "tpm", "concurrency"])]
        clear: bool,
    },
    /// Book test credit on an account.
    Grant {
        #[command(flatten)]
        of: Of,
        /// nanoTON.
        #[arg(long)]
        amount: NanoTon,
    },
}

#[derive(clap::Args)]
pub(crate) struct Of {
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// The account that pays.
    #[arg(long)]
    pub(crate) account: AccountId,
}

#[derive(clap::Args)]
pub(crate) struct CreateKey {
    #[command(flatten)]
    pub(crate) of: Of,
    /// Test credit to book on the account, nanoTON.
    #[arg(long)]
    pub(crate) grant: Option<NanoTon>,
    #[arg(long)]
    pub(crate) project: Option<ProjectId>,
    /// What people call it.
    #[arg(long, default_value = "made by cocoon-gateway keys create")]
    pub(crate) name: String,
    /// A model the key may use; all where not given.
    #[arg(long = "model")]
    pub(crate) models: Vec<String>,
    /// Refuse requests that the gateway could read.
    #[arg(long)]
    pub(crate) sealed_only: bool,
    /// inference, admin of its account, or operator of the deployment.
    #[arg(long, default_value_t)]
    pub(crate) scope: Scope,
    #[arg(long)]
    pub(crate) expires_days: Option<u64>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Print what is recorded of it too, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct LimitArgs {
    /// What may be spent: nanoTON, then `/day`, `/week`, `/month` or `/total`.
    #[arg(long, value_parser = budget)]
    budget: Option<Budget>,
    /// Requests per minute.
    #[arg(long)]
    rpm: Option<u32>,
    /// Tokens per minute.
    #[arg(long)]
    tpm: Option<u32>,
    /// Requests at once.
    #[arg(long)]
    concurrency: Option<u32>,
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        Limits { rpm: self.rpm, tpm: self.tpm, concurrency: self.concurrency, budget: self.budget }
    }
}

fn budget(text: &str) -> Result<Budget, String> {
    let form = || "a budget is AMOUNT/day, /week, /month or /total, in nanoTON".to_owned();
    let (amount, period) = text.split_once('/').ok_or_else(form)?;
    let period = match period {
        "day" => Period::Day,
        "week" => Period::Week,
        "month" => Period::Month,
        "total" => Period::Total,
        _ => return Err(form()),
    };
    Ok(Budget { amount: amount.parse().map_err(|_| form())?, period })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_an_amount_in_a_period() {
        assert_eq!(budget("70/week"), Ok(Budget { amount: NanoTon(70), period: Period::Week }));
        for bad in ["70", "70/year", "/day", "-1/day", "1.5/day"] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
