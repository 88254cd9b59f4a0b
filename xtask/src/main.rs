//! `cargo xtask`: builds, starts, tests and checks Cocoon Gateway on one machine.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool: results go to stdout, progress to stderr"
)]

mod bench;
mod chain;
mod completion;
mod console;
mod contract;
mod demo;
mod down;
mod engine;
mod evidence;
mod files;
mod fingerprint;
mod greeting;
mod guards;
mod interrupt;
mod issued;
mod lint;
mod lock;
mod logs;
mod loopback;
mod model;
mod node;
mod places;
mod processes;
mod python;
mod run;
mod stack;
mod staging;
mod system;
mod test;
mod up;
mod up_env;
mod valkey;
mod vendor;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::places::Places;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, long_about = None, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start gateway, backend, sidecar, settler, a local chain and a small real model on this machine
    Up(up::Options),
    /// End what `up` started
    Down(down::Options),
    /// Build cocoon-engine (mistral.rs), or find the kept one; prints its path
    Engine(engine::Options),
    /// Run every test, installing what the tests need first
    Test(test::Options),
    /// Take each guard against a pitfall out in turn, and show which test notices
    Guards(guards::Options),
    /// Measure what the gateway adds to a backend's time to first byte, or what the ledger costs
    Bench(bench::Options),
    /// Show a whole story on this machine, from real parts
    Demo(demo::Options),
    /// Check formatting and lints
    Lint,
    /// Copy what the dashboard takes from others out of its packages
    Vendor,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match perform(arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    interrupt::listen()?;
    let places = Places::find()?;
    match task {
        Task::Up(options) => up::up(&places, &options),
        Task::Down(options) => down::down(&places, &options),
        Task::Engine(options) => {
            println!("{}", engine::engine(&places, &options)?.display());
            Ok(())
        }
        Task::Test(options) => test::test(&places, &options),
        Task::Guards(options) => guards::guards(&places, &options),
        Task::Bench(options) => bench::bench(&places, &options),
        Task::Demo(options) => demo::demo(&places, &options),
        Task::Lint => lint::lint(&places),
        Task::Vendor => vendor::vendor(&places),
    }
}
