//! What a shard's state is told by: there is no snapshot over several commands.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::streams::StreamRangeReply;
use ::redis::{cmd, from_redis_value};

use crate::redis::RedisLedger;
use crate::redis::link::redis_error;
use crate::redis::names::ShardKeys;
use crate::redis::reply::parse;
use crate::{LedgerError, Shard};

/// Looks at a clock that is not behind its server's.
const LOOKS: usize = 50;
const BETWEEN: Duration = Duration::from_millis(2);

type Text = BTreeMap<String, String>;

impl RedisLedger {
    /// Every function call leaves its time in the shard's clock. Once the server's time is past that, every later call
    /// leaves another one. What is no function call is looked at beside it.
    pub(super) async fn shard_state(&self, shard: Shard) -> Result<String, LedgerError> {
        let k = ShardKeys(shard);
        for _ in 0..LOOKS {
            let mut all = ::redis::pipe();
            all.atomic().cmd("HGETALL").arg(k.clock()).cmd("TIME");
            all.cmd("HGETALL").arg(k.totals()).cmd("ZCARD").arg(k.leases()).cmd("GET").arg(k.stopped());
            for log in [k.journal(), k.decisions()] {
                all.cmd("XREVRANGE").arg(log).arg("+").arg("-").arg("COUNT").arg(1);
            }
            let (clock, now, totals, leases, stopped, entries, decisions): (
                Text,
                (u64, u64),
                Text,
                u64,
                Option<String>,
                StreamRangeReply,
                StreamRangeReply,
            ) = self.functions.link().pipeline(&all).await?;
            let last_ms: u64 = clock.get("last").map_or(Ok(0), |last| parse(last))?;
            if clock.contains_key("test") || last_ms < now.0 * 1000 + now.1 / 1000 {
                let server = self.server_of(k).await?;
                let last = [&entries, &decisions].map(|of| of.ids.first().map(|entry| &entry.id));
                return Ok(format!("{server} {clock:?} {totals:?} {leases} {stopped:?} {last:?}"));
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Err(LedgerError::Unavailable(format!("the clock of {shard} is ahead of its server's")))
    }

    /// Which run of which server has the shard: another one lists its keys in another order.
    async fn server_of(&self, k: ShardKeys) -> Result<String, LedgerError> {
        let (mut like, mut info) = (cmd("EXISTS"), cmd("INFO"));
        like.arg(k.clock());
        info.arg("server");
        let told = self.functions.link().beside_of(&like, &info).await.map_err(redis_error)?;
        let told: String = from_redis_value(told).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        Ok(told.lines().find(|line| line.starts_with("run_id:")).unwrap_or_default().to_owned())
    }
}
