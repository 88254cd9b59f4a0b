//! The engine process: mistral.rs behind the protocol of `cocoon-engine-api`.

mod embed;
mod engine;
mod generate;
mod gguf;
mod grammar;
mod logging;
mod model;
mod pipe;
mod quantize;
mod sampler;
mod serve;
mod stop;
mod vocabulary;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs a language model for cocoon-backend.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Answer the backend's commands: frames on standard input and output, the log on standard error.
    Serve {
        /// A .gguf file, a directory with safetensors, or the id of a model on the hub.
        #[arg(long, value_name = "PATH")]
        model: String,
        /// Sequences that run at the same time; further ones wait.
        #[arg(long, value_name = "N", default_value = "32")]
        max_sequences: NonZeroUsize,
    },
    /// Re-quantize a GGUF file's slow weights (Q4_1, Q5_0, Q5_1) to Q8_0.
    Quantize {
        #[arg(value_name = "IN.gguf")]
        input: PathBuf,
        #[arg(value_name = "OUT.gguf")]
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start();
    let result = match arguments.command {
        Job::Serve { model, max_sequences } => serve::serve(model, max_sequences),
        Job::Quantize { input, output } => quantize::quantize(&input, &output)
            .map(|tensors| tracing::info!(tensors, "re-quantized to q8_0"))
            .map_err(anyhow::Error::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
