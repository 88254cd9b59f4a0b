//! `cocoon-connect channel`: from the user's TON to an open channel, and back.

mod close;
mod deposit;
mod open;
mod status;
mod withdraw;

pub use close::close;
pub use deposit::deposit;
pub use open::open;
pub use status::{address, status};
pub use withdraw::withdraw;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cocoon_receipts::NanoTon;
use cocoon_ton::Network;
use serde_json::Value;

use super::desk::Desk;
use super::file::Channel;
use super::remote::{self, refusal};
use super::ton;
use super::wallet::OwnWallet;
use crate::config::{CALL_TIMEOUT, ChainOptions, Place, network};
use crate::gateway::{Gateway, GatewayError};
use crate::state::StateDir;

/// Held by the one command that moves money.
const LOCK: &str = "channel.lock";
/// Between two looks at the chain, which makes a block every few seconds.
const POLL: Duration = Duration::from_secs(2);

/// What can be done with the sidecar's own payment channel.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the address of the sidecar's own wallet: send the TON there that you want to spend
    ///
    /// Its key is made once, in the state folder. Who reads that folder can spend what is in the wallet; back it up.
    Address {
        #[command(flatten)]
        options: Options,
    },
    /// Open a channel to the gateway and deposit in it
    ///
    /// May be ended anywhere and run again: it goes on with the same channel, and deposits once.
    Open {
        /// What to deposit, at least: 0.04 TON more is sent for fees and rent; what these do not need is deposited too
        #[arg(long, value_name = "TON", value_parser = ton::read)]
        deposit: NanoTon,
        /// How long you are ready to wait for your money if the gateway does not answer, seconds
        #[arg(long, env = "COCOON_CONNECT__MAX_CLOSE_DELAY", default_value_t = 2 * 24 * 3600)]
        max_close_delay: u32,
        #[command(flatten)]
        options: Options,
    },
    /// Add to the open channel
    ///
    /// Run again after it was ended with the same amount, it finishes that deposit and makes no second one.
    Deposit {
        /// What to add, at least: what fees and rent do not need is deposited too
        #[arg(long, value_name = "TON", value_parser = ton::read)]
        amount: NanoTon,
        #[command(flatten)]
        options: Options,
    },
    /// Show the wallet, and how the channel stands on the chain, at the gateway and here
    Status {
        #[command(flatten)]
        options: Options,
    },
    /// Close the channel and get back what the gateway has not earned
    Close {
        /// Without the gateway, which has the close delay to claim what it has earned: run it again after that
        #[arg(long)]
        alone: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Send all that the wallet has to an address
    Withdraw {
        /// Where to, in any form
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        #[command(flatten)]
        options: Options,
    },
}

/// What all of them need.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub place: Place,
    /// The TON network: mainnet, where money is real, or test:GLOBAL_ID, such as test:-3
    #[arg(long, env = "COCOON_CONNECT__NETWORK", value_parser = network)]
    pub network: Network,
    #[command(flatten)]
    pub chain: ChainOptions,
    /// How long to wait for the chain before leaving the rest to the next run, seconds
    #[arg(long, env = "COCOON_CONNECT__WAIT_S", default_value_t = 600)]
    pub wait_s: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a command found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// For people, with its line's end.
    pub text: String,
    pub json: Value,
}

impl Options {
    fn desk(&self) -> anyhow::Result<Desk> {
        let state = StateDir::open(&self.place.state_path()?)?;
        Ok(Desk {
            chain: Arc::new(self.chain.open(self.network)?),
            network: self.network,
            gateway: Gateway::new(self.place.gateway()?, CALL_TIMEOUT)?,
            own: OwnWallet::load_or_create(&state, self.network.global_id())?,
            state,
            poll: POLL,
            patience: Duration::from_secs(self.wait_s),
        })
    }
}

/// Does it, and prints what came of it.
///
/// # Errors
/// Where it cannot be done; what was begun goes on with the next run.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let (options, moves_money) = match &command {
        Command::Address { options } | Command::Status { options } => (options.clone(), false),
        Command::Open { options, .. }
        | Command::Deposit { options, .. }
        | Command::Close { options, .. }
        | Command::Withdraw { options, .. } => (options.clone(), true),
    };
    let json = options.json;
    let said = if let Command::Address { .. } = command {
        let state = StateDir::open(&options.place.state_path()?)?;
        address(&OwnWallet::load_or_create(&state, options.network.global_id())?, options.network)
    } else {
        let desk = options.desk()?;
        let lock = desk.state.lock(LOCK)?;
        if moves_money && lock.is_none() {
            bail!("another `cocoon-connect channel` works with this folder");
        }
        match command {
            Command::Address { .. } | Command::Status { .. } => status(&desk, lock.is_some()).await?,
            Command::Open { deposit, max_close_delay, .. } => open(&desk, deposit, max_close_delay).await?,
            Command::Deposit { amount, .. } => deposit(&desk, amount).await?,
            Command::Close { alone, .. } => close(&desk, alone).await?,
            Command::Withdraw { to, .. } => withdraw(&desk, &to).await?,
        }
    };
    let text = if json { said.json.to_string() + "\n" } else { said.text };
    std::io::stdout().write_all(text.as_bytes()).context("standard output is closed")
}

/// A failure of the gateway's for people, with the code that it gave.
fn told(error: &GatewayError) -> String {
    let code = refusal(error).unwrap_or_default();
    let known = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if code.is_empty() || !known { error.to_string() } else { format!("{error} ({code})") }
}

/// Has the gateway look at the channel, after money came into it.
async fn introduce(desk: &Desk, channel: &Channel) -> anyhow::Result<NanoTon> {
    let seen = remote::introduce(&desk.gateway, &channel.shown()).await.map_err(|error| {
        anyhow::anyhow!(
            "the money is in the channel, but the gateway does not take it: {}. Run the command again",
            told(&error)
        )
    })?;
    if seen.status != "open" {
        bail!("the gateway has closed this channel");
    }
    Ok(seen.deposited)
}

#[cfg(test)]
mod tests {
    use cocoon_ton::GlobalId;

    use super::*;

    #[test]
    fn mainnet_is_used_only_where_it_is_named() {
        assert_eq!(network("mainnet"), Ok(Network::Mainnet));
        assert_eq!(network("test:-3"), Ok(Network::test(GlobalId::TESTNET).unwrap()));
        for wrong in ["", "test", "test:", "test:-239", "Mainnet", "-239", "test:x"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
