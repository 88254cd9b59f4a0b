//! `cocoon-connect policy`: for those who write the policies that they, or others, follow.

mod check;
mod explain;
mod init;
mod key;
mod template;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use cocoon_attestation::Policy;
use cocoon_receipts::VerifyingKey;

use crate::clock::Clock;
use crate::config::signer;

/// What can be done with a policy.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a policy to begin with, with a comment at every field
    Init(init::Options),
    /// Say whether a policy can be followed, and what is wrong with it; the exit status says the same
    Check {
        file: PathBuf,
        /// The public key that FILE.sig must be of
        #[arg(long, value_parser = signer, allow_hyphen_values = true)]
        signer: Option<VerifyingKey>,
    },
    /// Say in plain words what a policy believes, what it does not, and what is risky in it
    Explain { file: PathBuf },
    /// Sign a policy for others: writes FILE.sig
    Sign {
        file: PathBuf,
        /// Ed25519 private key, PKCS#8 PEM, mode 0600
        #[arg(long)]
        key: PathBuf,
    },
    /// Make a key to sign policies with, and print its public half for --policy-signer
    Keygen {
        /// A new file, mode 0600
        #[arg(long)]
        out: PathBuf,
    },
}

/// Does it. Whether all is well: only `check` says no.
///
/// # Errors
/// Where it cannot be done.
pub async fn run(command: Command, clock: &Clock) -> anyhow::Result<bool> {
    let now = clock.now_ms();
    match command {
        Command::Init(options) => init::init(&options, now).await.map(|()| true),
        Command::Check { file, signer } => {
            let checked = check::check(&file, signer.as_ref(), now);
            print(&checked.text)?;
            Ok(checked.good)
        }
        Command::Explain { file } => {
            let loaded = Policy::load(&file, None, None)?;
            print(&explain::explain(&loaded.policy, now))?;
            Ok(true)
        }
        Command::Sign { file, key } => {
            let signature = key::sign(&file, &key::read(&key)?, now)?;
            print(&format!("{}\n", signature.display()))?;
            Ok(true)
        }
        Command::Keygen { out } => {
            print(&format!("{}\n", key::create(&out)?.to_base64url()))?;
            Ok(true)
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("standard output is closed")
}
