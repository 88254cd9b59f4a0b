//! `/devnet`: coins, time, blocks, snapshots and faults, for whoever steers the chain.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::parameters::{address, cell};
use super::{Endpoint, lock, shapes};
use crate::chain::MOST_BLOCKS;
use crate::{Chain, ChainError, Clock, EndpointFaults, NetworkFaults};

/// Most that one call of the faucet gives: 5 billion TON, as many as the network began with.
const MOST_GIVEN: u64 = 5_000_000_000_000_000_000;

type Answer = Result<Json<Value>, ApiError>;

pub(super) fn routes() -> Router<Arc<Endpoint>> {
    Router::new()
        .route("/devnet", get(status))
        .route("/devnet/faucet", post(faucet))
        .route("/devnet/messages", post(message))
        .route("/devnet/blocks", post(blocks))
        .route("/devnet/time", put(time))
        .route("/devnet/snapshots/{name}", put(snapshot))
        .route("/devnet/snapshots/{name}/restore", post(restore))
        .route("/devnet/faults/network", get(network_faults).put(set_network_faults))
        .route("/devnet/faults/endpoint", get(endpoint_faults).put(set_endpoint_faults))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::Control(error.to_string()))
}

fn refused(error: ChainError) -> ApiError {
    ApiError::Control(error.to_string())
}

/// Nanoton are text: they may be above 2^53.
#[derive(Serialize)]
struct Status {
    fees: crate::Fees,
    global_id: i32,
    zerostate: String,
    clock: Clock,
    now: u32,
    seqno: u32,
    time: u32,
    end_lt: String,
    accounts: usize,
    transactions: usize,
    /// External messages that wait for a block.
    waiting: usize,
    /// Messages between accounts that are on their way.
    on_the_way: usize,
    supply: Supply,
}

#[derive(Serialize)]
struct Supply {
    minted: String,
    balances: String,
    on_the_way: String,
    fees: String,
    burned: String,
}

fn status_of(chain: &Chain) -> Answer {
    let (network, state, supply) = (chain.network(), chain.state(), chain.supply());
    let head = state.head();
    let status = Status {
        fees: network.fees(),
        global_id: network.global_id(),
        zerostate: shapes::hash(&network.zerostate()),
        clock: chain.clock(),
        now: chain.now(),
        seqno: head.seqno,
        time: head.time,
        end_lt: head.end_lt.to_string(),
        accounts: state.accounts.len(),
        transactions: state.history.values().map(Vec::len).sum(),
        waiting: chain.waiting(),
        on_the_way: state.queue.len(),
        supply: Supply {
            minted: supply.minted.to_string(),
            balances: state.balances()?.to_string(),
            on_the_way: state.on_the_way().to_string(),
            fees: supply.fees.to_string(),
            burned: supply.burned.to_string(),
        },
    };
    Ok(Json(json!(status)))
}

async fn status(Shared(endpoint): Shared<Arc<Endpoint>>) -> Answer {
    status_of(&lock(&endpoint.chain))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gift {
    address: String,
    /// NanoTON, in text.
    amount: String,
    comment: Option<String>,
}

async fn faucet(Shared(endpoint): Shared<Arc<Endpoint>>, body: Bytes) -> Answer {
    let Gift { address: to, amount, comment } = read(&body)?;
    let to = address(&to)?;
    let amount = amount.parse().ok().filter(|amount| (1..=MOST_GIVEN).contains(amount));
    let amount = amount.ok_or_else(|| ApiError::Control(format!("amount is not 1 to {MOST_GIVEN} nanoTON in text")))?;
    let mut chain = lock(&endpoint.chain);
    match comment {
        None => chain.give(&to, amount),
        Some(comment) => chain.give_with_comment(&to, amount, &comment),
    }
    .map_err(refused)?;
    status_of(&chain)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    /// A message between accounts, in base64.
    boc: String,
}

async fn message(Shared(endpoint): Shared<Arc<Endpoint>>, body: Bytes) -> Answer {
    let message: Message = read(&body)?;
    let message = cell(&message.boc).ok_or_else(|| ApiError::Control("boc is not a bag of cells".to_owned()))?;
    let mut chain = lock(&endpoint.chain);
    chain.send_internal(message).map_err(refused)?;
    status_of(&chain)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    /// How many, or at most how many.
    count: u32,
    /// Whether to stop when nothing waits or is on its way any more.
    #[serde(default)]
    until_idle: bool,
}

async fn blocks(Shared(endpoint): Shared<Arc<Endpoint>>, body: Bytes) -> Answer {
    let Blocks { count, until_idle } = read(&body)?;
    if count > MOST_BLOCKS {
        return Err(ApiError::Control(format!("count is above {MOST_BLOCKS}")));
    }
    let mut chain = lock(&endpoint.chain);
    if until_idle {
        chain.produce_until_idle(count).map_err(refused)?;
    } else {
        for _ in 0..count {
            chain.produce().map_err(refused)?;
        }
    }
    status_of(&chain)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Time {
    /// Stands still at this Unix time.
    Standing(u32),
    /// So many seconds later than it was; stands or runs as before.
    Advance(u32),
    /// Runs with the machine's clock, so many seconds ahead of it.
    Running(i64),
}

async fn time(Shared(endpoint): Shared<Arc<Endpoint>>, body: Bytes) -> Answer {
    let time = read(&body)?;
    let mut chain = lock(&endpoint.chain);
    let clock = match time {
        Time::Standing(at) => Clock::Standing { at },
        Time::Running(ahead) => Clock::Running { ahead },
        Time::Advance(seconds) => chain.clock().advanced(seconds),
    };
    chain.set_clock(clock).map_err(refused)?;
    status_of(&chain)
}

async fn snapshot(Shared(endpoint): Shared<Arc<Endpoint>>, Path(name): Path<String>) -> Answer {
    let mut chain = lock(&endpoint.chain);
    chain.snapshot(&name).map_err(refused)?;
    status_of(&chain)
}

async fn restore(Shared(endpoint): Shared<Arc<Endpoint>>, Path(name): Path<String>) -> Answer {
    let mut chain = lock(&endpoint.chain);
    chain.restore(&name).map_err(refused)?;
    status_of(&chain)
}

async fn network_faults(Shared(endpoint): Shared<Arc<Endpoint>>) -> Json<NetworkFaults> {
    Json(lock(&endpoint.chain).faults().clone())
}

async fn set_network_faults(Shared(endpoint): Shared<Arc<Endpoint>>, body: Bytes) -> Result<Json<NetworkFaults>, ApiError> {
    let faults: NetworkFaults = read(&body)?;
    lock(&endpoint.chain).set_faults(faults.clone());
    Ok(Json(faults))
}

async fn endpoint_faults(Shared(endpoint): Shared<Arc<Endpoint>>) -> Json<EndpointFaults> {
    Json(lock(&endpoint.failing).faults.clone())
}

async fn set_endpoint_faults(Shared(endpoint): Shared<Arc<Endpoint>>, body: Bytes) -> Result<Json<EndpointFaults>, ApiError> {
    let faults: EndpointFaults = read(&body)?;
    endpoint.set_faults(faults.clone());
    Ok(Json(faults))
}
