//! `/devnet`: coins, time, blocks, snapshots and faults, for whoever steers the chain.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State as Shared};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::parameters::{address, cell};
use super::{Endpoint, aside, lock, methods, read, shapes};
use crate::chain::MOST_BLOCKS;
use crate::state::State;
use crate::{Chain, ChainError, Clock, EndpointFaults, NetworkFaults};

type Answer = Result<Json<Value>, ApiError>;

type Body = Result<Bytes, BytesRejection>;

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

#[derive(Default, Serialize)]
struct Supply {
    minted: String,
    balances: String,
    on_the_way: String,
    fees: String,
    burned: String,
}

impl Status {
    /// All but what takes time to add up, with the state to add it up from.
    fn begin(chain: &Chain) -> (Self, Arc<State>) {
        let (network, head) = (chain.network(), chain.head());
        let status = Self {
            fees: network.fees(),
            global_id: network.global_id(),
            zerostate: shapes::hash(&network.zerostate()),
            clock: chain.clock(),
            now: chain.now(),
            seqno: head.seqno,
            time: head.time,
            end_lt: head.end_lt.to_string(),
            accounts: chain.state().accounts.len(),
            transactions: 0,
            waiting: chain.waiting(),
            on_the_way: chain.state().queue.len(),
            supply: Supply::default(),
        };
        (status, Arc::clone(chain.state()))
    }

    fn end(mut self, state: &State) -> Answer {
        self.transactions = state.history.values().map(Vec::len).sum();
        self.supply = Supply {
            minted: state.supply.minted.to_string(),
            balances: state.balances()?.to_string(),
            on_the_way: state.on_the_way().to_string(),
            fees: state.supply.fees.to_string(),
            burned: state.supply.burned.to_string(),
        };
        Ok(Json(json!(self)))
    }
}

/// Changes the chain, and says how it is then.
async fn steer(
    endpoint: Arc<Endpoint>,
    change: impl FnOnce(&mut Chain) -> Result<(), ChainError> + Send + 'static,
) -> Answer {
    aside(move || {
        let (status, state) = {
            let mut chain = lock(&endpoint.chain);
            change(&mut chain).map_err(|error| ApiError::of_control(&error))?;
            Status::begin(&chain)
        };
        status.end(&state)
    })
    .await
}

async fn status(Shared(endpoint): Shared<Arc<Endpoint>>) -> Answer {
    steer(endpoint, |_| Ok(())).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gift {
    address: String,
    /// NanoTON, in text.
    amount: String,
    comment: Option<String>,
}

async fn faucet(Shared(endpoint): Shared<Arc<Endpoint>>, body: Body) -> Answer {
    let Gift { address: to, amount, comment } = read(body)?;
    let to = address(&to)?;
    let amount = amount.parse().map_err(|_| ApiError::of_control(&ChainError::Amount))?;
    steer(endpoint, move |chain| match comment {
        None => chain.give(&to, amount),
        Some(comment) => chain.give_with_comment(&to, amount, &comment),
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    /// A message between accounts, in base64.
    boc: String,
}

async fn message(Shared(endpoint): Shared<Arc<Endpoint>>, body: Body) -> Answer {
    let message: Message = read(body)?;
    let message =
        cell(&message.boc).ok_or_else(|| ApiError::Control("boc is not a bag of cells".to_owned()))?;
    steer(endpoint, |chain| chain.send_internal(message)).await
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

async fn blocks(Shared(endpoint): Shared<Arc<Endpoint>>, body: Body) -> Answer {
    let Blocks { count, until_idle } = read(body)?;
    if count > MOST_BLOCKS {
        return Err(ApiError::Control(format!("count is above {MOST_BLOCKS}")));
    }
    // Block by block: others get their turn in between, and who hangs up or ends the process ends this too.
    for _ in 0..count {
        let endpoint = Arc::clone(&endpoint);
        let idle = aside(move || {
            let mut chain = lock(&endpoint.chain);
            if until_idle && chain.is_idle() {
                return Ok(true);
            }
            chain.produce().map(|()| false).map_err(|error| ApiError::of_control(&error))
        });
        if idle.await? {
            break;
        }
    }
    steer(endpoint, move |chain| match until_idle && !chain.is_idle() {
        true => Err(ChainError::NotIdle(count)),
        false => Ok(()),
    })
    .await
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

async fn time(Shared(endpoint): Shared<Arc<Endpoint>>, body: Body) -> Answer {
    let time = read(body)?;
    let change = move |chain: &mut Chain| match time {
        Time::Standing(at) => chain.set_clock(Clock::Standing { at }),
        Time::Running(ahead) => chain.set_clock(Clock::Running { ahead }),
        Time::Advance(seconds) => chain.advance(seconds),
    };
    steer(endpoint, change).await
}

type Name = Result<Path<String>, PathRejection>;

async fn snapshot(Shared(endpoint): Shared<Arc<Endpoint>>, name: Name) -> Answer {
    let Path(name) = name.map_err(|_| ApiError::NoSuchPath)?;
    steer(endpoint, move |chain| chain.snapshot(&name)).await
}

async fn restore(Shared(endpoint): Shared<Arc<Endpoint>>, name: Name) -> Answer {
    let Path(name) = name.map_err(|_| ApiError::NoSuchPath)?;
    steer(endpoint, move |chain| chain.restore(&name)).await
}

async fn network_faults(Shared(endpoint): Shared<Arc<Endpoint>>) -> Answer {
    aside(move || Ok(Json(json!(lock(&endpoint.chain).faults())))).await
}

async fn set_network_faults(Shared(endpoint): Shared<Arc<Endpoint>>, body: Body) -> Answer {
    let faults: NetworkFaults = read(body)?;
    aside(move || {
        let answer = Json(json!(faults));
        lock(&endpoint.chain).set_faults(faults);
        Ok(answer)
    })
    .await
}

async fn endpoint_faults(Shared(endpoint): Shared<Arc<Endpoint>>) -> Answer {
    Ok(Json(json!(lock(&endpoint.failing).faults)))
}

async fn set_endpoint_faults(Shared(endpoint): Shared<Arc<Endpoint>>, body: Body) -> Answer {
    let faults: EndpointFaults = read(body)?;
    if faults.refuse_with.is_some_and(|status| !(400..=599).contains(&status)) {
        return Err(ApiError::Control("refuse_with is not 400 to 599".to_owned()));
    }
    let unknown = faults.methods.iter().flatten().find(|method| !methods::NAMES.contains(&method.as_str()));
    if let Some(method) = unknown {
        return Err(ApiError::Control(format!("there is no method {method:?}")));
    }
    aside(move || {
        let answer = Json(json!(faults));
        endpoint.set_faults(faults);
        Ok(answer)
    })
    .await
}
