//! How far the journal is archived, read and dropped (`functions/retention.lua`).

use std::collections::HashMap;
use std::time::Duration;

use ::redis::cmd;
use async_trait::async_trait;
use cocoon_receipts::{Digest, ReceiptId};

use super::functions::Function;
use super::names::ShardKeys;
use super::reply::{Reply, parse};
use super::requests::kept_receipt;
use super::{RedisLedger, is_stream_id};
use crate::retention::{MAX_CURSORS, MAX_TRIM};
use crate::rules::{day_of, lease_ms};
use crate::{ChainHead, CursorName, JournalId, Kept, LedgerError, Retention, Shard};

#[async_trait]
impl Retention for RedisLedger {
    async fn kept(&self, shard: Shard) -> Result<Kept, LedgerError> {
        let k = ShardKeys(shard);
        let mut both = ::redis::pipe();
        both.atomic().cmd("HGETALL").arg(k.retention()).cmd("HGETALL").arg(k.cursors());
        let (mut kept, cursors): (HashMap<String, String>, HashMap<String, String>) =
            self.functions.link().pipeline(&both).await?;
        let id = |text: String| if text.is_empty() { None } else { Some(JournalId(text)) };
        Ok(Kept {
            trimmed: kept.remove("trimmed").and_then(id),
            head: head(&kept)?,
            cursors: cursors
                .into_iter()
                .map(|(name, at)| Ok((name.parse()?, id(at))))
                .collect::<Result<_, LedgerError>>()?,
        })
    }

    async fn put_head(
        &self,
        shard: Shard,
        before: Option<Digest>,
        head: &ChainHead,
    ) -> Result<bool, LedgerError> {
        let k = ShardKeys(shard);
        let args = [
            before.map_or_else(String::new, |digest| digest.to_string()),
            head.number.to_string(),
            head.digest.to_string(),
            stream_id(&head.at)?.to_owned(),
            head.entries.to_string(),
        ];
        let keys = [k.clock(), k.retention()];
        let reply = Reply(self.functions.call_durably(Function::PutHead, &keys, &args).await?);
        match reply.word() {
            "put" => Ok(true),
            "moved" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn put_cursor(
        &self,
        shard: Shard,
        name: &CursorName,
        at: Option<&JournalId>,
    ) -> Result<(), LedgerError> {
        let k = ShardKeys(shard);
        let at = at.map_or(Ok(""), stream_id)?;
        let args = [name.as_str().to_owned(), at.to_owned(), MAX_CURSORS.to_string()];
        self.functions.call_durably(Function::PutCursor, &[k.clock(), k.cursors()], &args).await.map(drop)
    }

    async fn drop_cursor(&self, shard: Shard, name: &CursorName) -> Result<(), LedgerError> {
        let mut drop_it = cmd("HDEL");
        drop_it.arg(ShardKeys(shard).cursors()).arg(name.as_str());
        self.functions.durably(&drop_it).await.map(drop)
    }

    async fn trim(&self, shard: Shard, age: Duration) -> Result<u32, LedgerError> {
        let k = ShardKeys(shard);
        let keys = [k.clock(), k.retention(), k.cursors(), k.journal()];
        let args = [lease_ms(age).to_string(), MAX_TRIM.to_string()];
        let reply = self.call(Function::Trim, &keys, &args).await?;
        match reply.word() {
            "trimmed" => parse(reply.text(1)?),
            _ => Err(reply.unexpected()),
        }
    }

    async fn sent_receipts(
        &self,
        shard: Shard,
        receipts: &[ReceiptId],
    ) -> Result<Vec<Option<String>>, LedgerError> {
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let k = ShardKeys(shard);
        let mut all = ::redis::pipe();
        for receipt in receipts {
            all.cmd("HGET").arg(k.kept(day_of(receipt.made_at_ms()))).arg(receipt.to_string());
        }
        let packed: Vec<Option<String>> = self.functions.link().pipeline(&all).await?;
        let jws = |(receipt, packed): (&ReceiptId, Option<String>)| {
            packed.map(|packed| Ok(kept_receipt(*receipt, &packed)?.1.jws)).transpose()
        };
        receipts.iter().zip(packed).map(jws).collect()
    }
}

fn stream_id(id: &JournalId) -> Result<&str, LedgerError> {
    if is_stream_id(&id.0) {
        Ok(&id.0)
    } else {
        Err(LedgerError::Configuration(format!("{:?} is no journal id of this store", id.0)))
    }
}

fn head(kept: &HashMap<String, String>) -> Result<Option<ChainHead>, LedgerError> {
    let field = |name: &str| {
        kept.get(name).ok_or_else(|| LedgerError::Corrupt(format!("a checkpoint without its {name}")))
    };
    if !kept.contains_key("digest") {
        return Ok(None);
    }
    Ok(Some(ChainHead {
        number: parse(field("number")?)?,
        digest: parse(field("digest")?)?,
        at: JournalId(field("at")?.clone()),
        entries: parse(field("entries")?)?,
    }))
}
