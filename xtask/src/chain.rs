//! The local chain, as far as this program asks it for anything.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::contract::{Deployment, Wallets};
use crate::loopback::{self, Reply};

const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at what a block is to bring.
const LOOKS: Duration = Duration::from_millis(100);

/// Gives the treasury the platform's own money, where it has none yet.
pub(crate) fn float(deployment: &Deployment, wallets: &Wallets) -> anyhow::Result<()> {
    if balance(deployment.chain_port, &wallets.treasury)? == 0 {
        post(deployment.chain_port, "/devnet/faucet", &Deployment::float(wallets))?;
    }
    Ok(())
}

/// Makes a registry for epochs, where there is none yet.
pub(crate) fn registry(deployment: &Deployment, wallets: &Wallets) -> anyhow::Result<()> {
    /// nanoTON, for a great many epochs.
    const FOR_ROOTS: &str = "5000000000";
    if deployment.has_registry() {
        return Ok(());
    }
    let to = &wallets.publisher_non_bounceable;
    let gift = serde_json::json!({ "address": to, "amount": FOR_ROOTS, "comment": "for roots" });
    post(deployment.chain_port, "/devnet/faucet", &gift.to_string())?;
    let deadline = Instant::now() + LIMIT;
    while balance(deployment.chain_port, to)? == 0 {
        ensure!(Instant::now() < deadline, "the publisher's money did not arrive in {LIMIT:?}");
        std::thread::sleep(LOOKS);
    }
    deployment.deploy_registry(wallets)
}

/// What an account of the local chain has, nanoTON.
pub(crate) fn balance(port: u16, address: &str) -> anyhow::Result<u64> {
    let call = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "getAddressBalance", "params": { "address": address },
    });
    let answer = post(port, "/api/v2/jsonRPC", &call.to_string())?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    answer["result"].as_str().and_then(|nano| nano.parse().ok()).context("the chain gave no balance")
}

/// An answer of the local chain.
///
/// # Errors
/// Anything but 200.
pub(crate) fn post(port: u16, path: &str, json: &str) -> anyhow::Result<String> {
    // The local chain asks for no key.
    match loopback::post(port, path, "none", json, LIMIT)? {
        Reply { status: 200, body } => Ok(body),
        Reply { status, body } => bail!("the local chain: {status} {body}"),
    }
}
