//! `cocoon-connect`: OpenAI's API on loopback, sealed to backends that were verified here.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cocoon_connect::clock::Clock;
use cocoon_connect::config::{Common, ServeOptions};
use cocoon_connect::{channel, policy, run};
use rustls::crypto::aws_lc_rs;

/// Serves OpenAI's API on loopback and seals every request to a backend whose evidence it has verified under your
/// policy. The gateway between cannot read what is sealed.
#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeOptions,
}

#[derive(Subcommand)]
enum Command {
    /// Serve local clients until SIGTERM: also what runs without a command.
    Serve(ServeOptions),
    /// Verify every backend that the gateway lists, print what was found, and end.
    ///
    /// The exit status is 0 only where at least one backend was verified and none was refused.
    Verify {
        #[command(flatten)]
        common: Common,
        /// Only the backends of this model
        #[arg(long)]
        model: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write, check, read and sign policies: the files that say which evidence is believed.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Pay without giving anybody custody: open, fill, look at and close a payment channel on TON.
    #[command(subcommand)]
    Channel(channel::command::Command),
}

fn main() -> ExitCode {
    // Only a second call fails, and the first one holds.
    drop(aws_lc_rs::default_provider().install_default());
    cocoon_process::start_log();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            None => run::serve(cli.serve).await.map(|()| true),
            Some(Command::Serve(options)) => run::serve(options).await.map(|()| true),
            Some(Command::Verify { common, model, json }) => {
                run::verify(&common, model.as_deref(), json).await
            }
            Some(Command::Policy(command)) => policy::run(command, &Clock::system()).await,
            Some(Command::Channel(command)) => channel::command::run(command).await.map(|()| true),
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
