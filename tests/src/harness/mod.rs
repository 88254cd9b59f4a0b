//! What every test uses: real processes of our own binaries, on ports of their own, in folders of their own.

mod append_only;
mod client;
mod ehbp;
mod embedding_model;
mod environment;
mod held;
mod liar;
mod meddler;
mod memory;
mod ports;
mod process;
mod proxy;
mod recorder;
mod redis;
mod script;
mod sealed;
mod search;
mod second_backend;
mod second_gateway;
mod settlement;
mod sidecar;
mod stack;
mod trace;
mod wire;

pub(crate) use append_only::{AppendOnlyFile, Written};
pub(crate) use client::{Client, EventStream, chat};
pub(crate) use ehbp::{Ehbp, EhbpReply, Recipient};
pub(crate) use embedding_model::{CONTEXT as EMBEDDING_CONTEXT, DIMENSIONS};
pub(crate) use environment::{full, path};
pub(crate) use held::{Held, Transport};
pub(crate) use liar::{Liar, Scripted, Seen};
pub(crate) use meddler::{Carried, Meddler};
pub(crate) use memory::find_in_memory;
pub(crate) use ports::free_port;
pub(crate) use process::{Process, signal};
pub(crate) use proxy::{Direction, Proxy};
pub(crate) use recorder::{Exchange, Recorder};
pub(crate) use redis::RedisServer;
pub(crate) use script::{Runtime, run_python, run_script};
pub(crate) use sealed::{PRICE, Sealed, SealedReply, Twist};
pub(crate) use search::Search;
pub(crate) use second_backend::SecondBackend;
pub(crate) use second_gateway::SecondGateway;
pub(crate) use settlement::{FLOAT, OPERATOR, Settlement, nano};
pub(crate) use sidecar::Sidecar;
pub(crate) use stack::{ACCOUNT, Engine, GRANT, MODEL, Settings, Stack, Store};
pub(crate) use trace::Trace;
pub(crate) use wire::{Connection, Protocol};

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

/// Asks `condition` again and again until it gives an answer, for at most `limit`.
///
/// # Errors
/// With `what` where it never does.
pub(crate) async fn eventually<T, F>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let last = condition().await;
        if let Ok(Some(answer)) = last {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            match last {
                Err(error) => return Err(error.context(format!("not within {limit:?}: {what}"))),
                Ok(_) => bail!("not within {limit:?}: {what}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
