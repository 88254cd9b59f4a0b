//! A Redis ledger that is carried away, and one that is being filled.

mod packed;
mod read;
mod read_accounts;
mod scan;
mod state;
mod write;

use ::redis::cmd;
use async_trait::async_trait;

use super::RedisLedger;
use super::access::Access;
use super::create::{FILLING, SCHEMA};
use super::functions::Functions;
use super::names::{self, ShardKeys};
use crate::rules::{half_filled, not_empty};
use crate::transfer::record::Record;
use crate::transfer::{Pages, Part, Source, Target};
use crate::{Ledger, LedgerError, Options, Shard};
use scan::Scan;

#[async_trait]
impl Source for RedisLedger {
    fn store(&self) -> &'static str {
        "redis"
    }

    async fn read(&self, part: Part, mut pages: Pages) -> Result<(), LedgerError> {
        match part {
            Part::Shared => self.read_shared(&mut pages).await?,
            Part::Shard(shard) => self.read_shard(shard, &mut pages).await?,
        }
        pages.flush().await
    }

    async fn state(&self, shard: Shard) -> Result<Option<String>, LedgerError> {
        self.shard_state(shard).await.map(Some)
    }
}

impl RedisLedger {
    /// Makes or takes an empty ledger, and marks it.
    pub(crate) async fn fill(url: &str, options: Options, access: &Access) -> Result<Self, LedgerError> {
        let ledger = Self::on(Functions::load(url, access).await?, &options);
        let mut get = cmd("HGET");
        get.arg(names::SCHEMA).arg("schema");
        // Before anything is made or marked.
        if ledger.functions.link().command::<Option<String>>(&get).await?.as_deref() == Some(FILLING) {
            return Err(half_filled());
        }
        ledger.check_empty().await?;
        ledger.create(&options).await?;
        ledger.set_schema(FILLING).await?;
        Ok(ledger)
    }

    /// Whether there is nothing but the schema and the shards' clocks.
    async fn check_empty(&self) -> Result<(), LedgerError> {
        let link = self.functions.link();
        let clocks: Vec<String> = self.shards.all().map(|shard| ShardKeys(shard).clock()).collect();
        for primary in link.primaries().await? {
            let mut keys = Scan::of(primary, "cocoon:*");
            while let Some(keys) = keys.next(link).await? {
                if keys.iter().any(|key| key != names::SCHEMA && !clocks.contains(key)) {
                    return Err(not_empty());
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Target for RedisLedger {
    fn ledger(&self) -> &dyn Ledger {
        self
    }

    async fn write(&self, part: Part, records: Vec<Record>) -> Result<(), LedgerError> {
        match part {
            Part::Shared => self.write_shared(&records).await,
            Part::Shard(shard) => self.write_shard(shard, &records).await,
        }
    }

    async fn complete(&self) -> Result<(), LedgerError> {
        for shard in self.shards.all() {
            // A write that changes nothing: once it is durable, so is all before it on its server.
            let mut touch = cmd("HINCRBY");
            touch.arg(ShardKeys(shard).clock()).arg("last").arg(0);
            self.functions.durably(&touch).await?;
        }
        self.set_schema(SCHEMA).await
    }
}
