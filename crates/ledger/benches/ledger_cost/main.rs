//! What a request costs in the ledger: reserve, bind and settle, by store, callers, accounts and length of the journal.
//! `cargo xtask bench ledger` runs it. It asserts no times.
#![expect(clippy::print_stdout, reason = "a measurement: its tables go to stdout")]

mod fill;
mod load;
mod store;

use clap::Parser;

use crate::load::{Load, Measured};
use crate::store::{Kind, Store};

#[derive(Parser)]
struct Arguments {
    /// How long the journal is made for the second table; 0 leaves it out
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
    /// What cargo calls every benchmark with
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism()?;
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{cores} cores, load before {}", busy.trim());
    println!("milliseconds, p50 / p99; a request is reserve, bind and settle\n");
    by_callers_and_accounts().await?;
    if arguments.entries > 0 {
        println!();
        by_journal(arguments.entries).await?;
    }
    Ok(())
}

async fn by_callers_and_accounts() -> anyhow::Result<()> {
    head("| store | accounts | callers |");
    for kind in Kind::ALL {
        for accounts in [1, 1000, 100_000] {
            let store = Store::new(kind).await?;
            let accounts = fill::accounts(store.ledger(), accounts).await?;
            for callers in [1, 8, 64] {
                let measured = Load { callers, accounts: &accounts }.run(store.ledger()).await?;
                row(&format!("| {kind} | {} | {callers} |", accounts.len()), &measured);
            }
        }
    }
    Ok(())
}

async fn by_journal(entries: u64) -> anyhow::Result<()> {
    head("| store | journal | on disk | in memory |");
    for kind in Kind::ALL {
        let store = Store::new(kind).await?;
        let accounts = fill::accounts(store.ledger(), 1000).await?;
        let load = Load { callers: 8, accounts: &accounts };
        let line = async |entries: u64| {
            let measured = load.run(store.ledger()).await?;
            let size = store.size()?;
            row(&format!("| {kind} | {entries} | {} | {} |", size.disk, size.memory), &measured);
            anyhow::Ok(())
        };
        line(0).await?;
        store.lengthen_journal(entries)?;
        line(entries).await?;
    }
    Ok(())
}

fn head(first: &str) {
    let columns = " requests/s | reserve | bind | settle | all three |";
    println!("{first}{columns}");
    println!("|{}", "---|".repeat((first.matches('|').count() - 1) + (columns.matches('|').count())));
}

fn row(first: &str, measured: &Measured) {
    let Measured { per_second, reserve, bind, settle, whole } = measured;
    println!("{first} {per_second:.0} | {reserve} | {bind} | {settle} | {whole} |");
}
