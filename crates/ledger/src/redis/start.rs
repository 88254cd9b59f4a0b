//! What is asked of the servers before they may hold a ledger: each primary, in a cluster.

use std::collections::HashMap;

use ::redis::{Value, cmd, from_redis_value};

use super::link::{Link, strings, unless_refused};
use crate::LedgerError;

/// How long a write has to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durability {
    /// A write may be answered before it is on the primary's disk: WAITAOF tells when it is. Otherwise no write is
    /// answered before (`appendfsync always`).
    pub(super) waits_for_disk: bool,
    /// Replicas that must have the write: `min-replicas-to-write`.
    pub(super) replicas: u32,
}

/// How writes become durable on these servers, or why they must not be used.
pub(super) async fn check(link: &Link) -> Result<Durability, LedgerError> {
    let mut get = cmd("CONFIG");
    get.arg("GET").arg(&["appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write"]);
    let configs =
        link.everywhere(&get).await.map_err(|error| unless_refused(error, "CONFIG GET must be allowed"))?;
    let mut found = Vec::new();
    for config in configs {
        let config = from_redis_value(config).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        found.push(settings(&config)?);
    }
    let Some(&first) = found.first() else { return Err(refused("there is no primary")) };
    if found.iter().any(|other| *other != first) {
        return Err(refused(
            "`appendfsync` and `min-replicas-to-write` must be the same on every primary of the cluster",
        ));
    }
    check_replicas(link, first.replicas).await?;
    if first.waits_for_disk {
        check_waitaof(link).await?;
    }
    Ok(first)
}

fn settings(config: &HashMap<String, String>) -> Result<Durability, LedgerError> {
    let setting = |name: &str| config.get(name).map_or("", String::as_str);
    if setting("appendonly") != "yes" {
        return Err(refused("set `appendonly yes`: without it a restart loses balances"));
    }
    if setting("maxmemory-policy") != "noeviction" {
        return Err(refused(
            "set `maxmemory-policy noeviction`: any other drops accounts when memory is short",
        ));
    }
    let waits_for_disk = match setting("appendfsync") {
        "always" => false,
        "everysec" => true,
        _ => return Err(refused("set `appendfsync` to `everysec` or `always`")),
    };
    let replicas = match setting("min-replicas-to-write") {
        "" => 0,
        number => super::reply::parse(number)?,
    };
    Ok(Durability { waits_for_disk, replicas })
}

async fn check_replicas(link: &Link, required: u32) -> Result<(), LedgerError> {
    let mut info = cmd("INFO");
    info.arg("replication");
    let answers =
        link.everywhere(&info).await.map_err(|error| unless_refused(error, "INFO must be allowed"))?;
    for answer in answers {
        let replication: String =
            from_redis_value(answer).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        let field = |name: &str| {
            replication.lines().find_map(|line| line.trim_end().strip_prefix(name)).unwrap_or("")
        };
        if field("role:") == "slave" {
            return Err(refused("this server is a replica: connect to its primary"));
        }
        if !matches!(field("connected_slaves:"), "" | "0") && required == 0 {
            return Err(refused(
                "set `min-replicas-to-write`: a primary cut off from its replicas must stop writing",
            ));
        }
    }
    Ok(())
}

async fn check_waitaof(link: &Link) -> Result<(), LedgerError> {
    let mut list = cmd("COMMAND");
    list.arg(&["LIST", "FILTERBY", "PATTERN", "waitaof"]);
    let answers: Vec<Value> = link
        .everywhere(&list)
        .await
        .map_err(|error| unless_refused(error, "COMMAND LIST must be allowed"))?;
    for answer in answers {
        if strings(answer)?.is_empty() {
            return Err(refused(
                "this server has no WAITAOF, so nothing tells when a deposit is on disk: set `appendfsync always`, or \
                 use Redis 7.2 or Valkey",
            ));
        }
    }
    Ok(())
}

fn refused(reason: impl Into<String>) -> LedgerError {
    LedgerError::Configuration(reason.into())
}
