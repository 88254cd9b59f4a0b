//! A ledger that is carried into another store goes on as if nothing had happened.

mod archived;
mod cluster;
mod damage;
mod full;
mod in_use;
mod on;
mod reads;

use std::path::Path;

use cocoon_ledger::redis::Access;
use cocoon_ledger::transfer::{self, Place, Progress, TransferError, Transferred};
use serde_json::Value;
use tempfile::TempDir;

use crate::bench::*;
use crate::invariants;
use crate::redis_server::RedisServer;

/// Where a ledger is carried to.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    Embedded,
    /// Emptied for it.
    Redis(&'a RedisServer),
}

fn place(url: &str) -> Place {
    Place { url: url.to_owned(), options: options(), access: Access::default() }
}

async fn export(url: &str, file: &Path) -> Result<Transferred, TransferError> {
    transfer::export(&place(url), file, &mut |_| ()).await
}

async fn import(url: &str, file: &Path) -> Result<Transferred, TransferError> {
    transfer::import(&place(url), file, None, &mut |_: &Progress| ()).await
}

/// An empty place, and what keeps it.
fn empty(to: To<'_>) -> (String, Option<TempDir>) {
    match to {
        To::Embedded => {
            let folder = tempfile::tempdir().unwrap();
            (format!("sqlite:{}", folder.path().join("ledger.db").display()), Some(folder))
        }
        To::Redis(server) => {
            redis::cmd("FLUSHALL").exec(&mut server.client()).unwrap();
            (server.url(), None)
        }
    }
}

/// The same ledger in another store, at the same time.
pub(crate) async fn moved(bench: &Bench, to: To<'_>) -> Bench {
    let files = tempfile::tempdir().unwrap();
    let (first, second) = (files.path().join("first"), files.path().join("second"));
    let exported = export(&bench.url, &first).await.unwrap();
    let (url, folder) = empty(to);
    assert_eq!(import(&url, &first).await.unwrap(), exported);
    assert_eq!(export(&url, &second).await.unwrap(), exported);
    assert_eq!(lines(&second), lines(&first));
    Bench::at(url, folder, bench.now_ms(), bench.next()).await
}

/// In a store of the other kind all is as it must be.
pub(crate) async fn carried(bench: &Bench) {
    let server;
    let to = if bench.url.starts_with("sqlite:") {
        server = RedisServer::start();
        To::Redis(&server)
    } else {
        To::Embedded
    };
    let moved = moved(bench, to).await;
    let everyone: Vec<_> = accounts().collect();
    invariants::check(moved.ledger.as_ref(), &everyone, moved.now_ms()).await;
}

/// The records of a file in one order, without what a store has of its own: journal ids.
fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let records = text.lines().skip(1).filter(|line| !line.starts_with("{\"end\":"));
    let mut records: Vec<String> = records.map(comparable).collect();
    records.sort_unstable();
    records
}

fn comparable(line: &str) -> String {
    let mut record: Value = serde_json::from_str(line).unwrap();
    if let Some(entry) = record.get_mut("journal") {
        entry["id"].take();
    }
    if let Some(state) = record.get_mut("shard").and_then(Value::as_object_mut) {
        state.remove("last_entry");
    }
    record.to_string()
}
