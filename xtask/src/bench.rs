//! `cargo xtask bench`: measurements of sealing and of verifications, and on the scripted engine; of the ledger where that
//! is asked for. They assert no times, and are no part of the tests.

use clap::{Args, Subcommand};

use crate::console::Steps;
use crate::places::Places;
use crate::run::{cargo, run};
use crate::{contract, system};

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    subject: Option<Subject>,
}

#[derive(Subcommand)]
enum Subject {
    /// Measure what a request costs in the ledger instead: some minutes, and gigabytes of disk and memory
    Ledger {
        /// How long the journal is made [default: 10000000]; 0 leaves that measurement out
        #[arg(long)]
        entries: Option<u64>,
    },
}

pub(crate) fn bench(places: &Places, options: &Options) -> anyhow::Result<()> {
    match options.subject {
        None => sealing_and_hop(places),
        Some(Subject::Ledger { entries }) => ledger(places, entries),
    }
}

fn ledger(places: &Places, entries: Option<u64>) -> anyhow::Result<()> {
    system::redis_server()?;
    let mut measure = cargo(&places.root);
    measure.args(["bench", "--workspace", "--bench", "ledger_cost", "--"]);
    if let Some(entries) = entries {
        measure.arg("--entries").arg(entries.to_string());
    }
    run(&mut measure, "the measurement")
}

fn sealing_and_hop(places: &Places) -> anyhow::Result<()> {
    let mut steps = Steps::new(3);
    steps.begin("build");
    system::redis_server()?;
    run(cargo(&places.root).args(["build", "--release", "--workspace", "--bins"]), "the build")?;
    steps.finish("built");

    steps.begin("time to first byte, the processor's share of sealing, and verification");
    let mut measure = cargo(&places.root);
    measure.args(["test", "--release", "--workspace", "--test", "behaviours", "--"]);
    // Ignored are the measurements, and nothing else.
    measure.args(["--ignored", "--nocapture", "--test-threads=1"]);
    contract::name_binaries(&mut measure, &places.release);
    run(&mut measure, "the measurement")?;
    steps.finish("measured");

    steps.begin("sealing, and the verification of evidence");
    let mut measure = cargo(&places.root);
    // The whole workspace, as above: its packages keep the features they were built with.
    measure.args(["bench", "--workspace", "--bench", "sealing", "--bench", "verify", "--bench", "verdict"]);
    run(&mut measure, "the measurement")?;
    steps.finish("measured");
    Ok(())
}
