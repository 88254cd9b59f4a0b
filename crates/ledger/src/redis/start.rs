//! What is asked of a server before it may hold a ledger.

use std::collections::HashMap;

use ::redis::cmd;

use crate::LedgerError;
use crate::redis::link::{Durability, Link, unless_refused};

/// How writes become durable on this server, or why it must not be used.
pub(super) async fn check(link: &Link) -> Result<Durability, LedgerError> {
    let mut get = cmd("CONFIG");
    get.arg("GET").arg(&["appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write"]);
    let config: HashMap<String, String> =
        link.query(&get).await.map_err(|error| unless_refused(error, "CONFIG GET must be allowed"))?;
    let setting = |name: &str| config.get(name).map_or("", String::as_str);
    if setting("appendonly") != "yes" {
        return Err(refused("set `appendonly yes`: without it a restart loses balances"));
    }
    if setting("maxmemory-policy") != "noeviction" {
        return Err(refused(
            "set `maxmemory-policy noeviction`: any other drops accounts when memory is short",
        ));
    }
    check_replicas(link, setting("min-replicas-to-write")).await?;
    durability(link, setting("appendfsync")).await
}

async fn check_replicas(link: &Link, required: &str) -> Result<(), LedgerError> {
    let replication: String = link.command(cmd("INFO").arg("replication")).await?;
    let field =
        |name: &str| replication.lines().find_map(|line| line.trim_end().strip_prefix(name)).unwrap_or("");
    if field("role:") == "slave" {
        return Err(refused("this server is a replica: connect to its primary"));
    }
    if !matches!(field("connected_slaves:"), "" | "0") && matches!(required, "" | "0") {
        return Err(refused(
            "set `min-replicas-to-write`: a primary cut off from its replicas must stop writing",
        ));
    }
    Ok(())
}

async fn durability(link: &Link, appendfsync: &str) -> Result<Durability, LedgerError> {
    let mut list = cmd("COMMAND");
    list.arg(&["LIST", "FILTERBY", "PATTERN", "waitaof"]);
    match appendfsync {
        "always" => Ok(Durability::Always),
        "everysec" if !link.command::<Vec<String>>(&list).await?.is_empty() => Ok(Durability::WaitAof),
        "everysec" => Err(refused(
            "this server has no WAITAOF, so nothing tells when a deposit is on disk: set `appendfsync always`, or use \
             Redis 7.2 or Valkey",
        )),
        _ => Err(refused("set `appendfsync` to `everysec` or `always`")),
    }
}

fn refused(reason: impl Into<String>) -> LedgerError {
    LedgerError::Configuration(reason.into())
}
