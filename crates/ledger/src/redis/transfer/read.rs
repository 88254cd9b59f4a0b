//! A shard's own keys to records.

use std::collections::HashMap;

use ::redis::cmd;
use ::redis::streams::StreamRangeReply;
use cocoon_receipts::{AccountId, Digest, ReceiptId, RequestId};

use super::packed;
use super::scan::{self, Fields, Scan};
use crate::redis::names::{self, ShardKeys};
use crate::redis::reply::{optional, parse, usage};
use crate::redis::{RedisLedger, requests};
use crate::rules::day_of;
use crate::transfer::Pages;
use crate::transfer::record::{
    Checkpointed, Decision, Document, Hold, KeptReceiptOf, Keyset, Receipt, Record, ShardState,
};
use crate::treasury::TREASURY;
use crate::{
    Books, Channels, JournalId, Kept, Ledger, LedgerError, MAX_CHANNELS, Retention, Shard, Withdrawals,
};

/// Keys that one step asks for.
const STEP: usize = 500;

/// Decisions, which may be long.
const DECISIONS: usize = 64;

type Text = HashMap<String, String>;

impl RedisLedger {
    pub(super) async fn read_shared(&self, pages: &mut Pages) -> Result<(), LedgerError> {
        let link = self.functions.link();
        for prefix in [names::KEYSETS, names::DOCUMENTS] {
            let mut found = std::collections::BTreeSet::new();
            for primary in link.primaries().await? {
                let mut keys = Scan::of(primary, &format!("{prefix}*"));
                while let Some(keys) = keys.next(link).await? {
                    for key in keys {
                        found.insert(parse::<Digest>(key.strip_prefix(prefix).unwrap_or_default())?);
                    }
                }
            }
            for digest in found {
                let record = match prefix {
                    names::KEYSETS => {
                        self.keyset(digest).await?.map(|bytes| Record::Keyset(Keyset { bytes }))
                    }
                    _ => self.document(digest).await?.map(|kept| {
                        let nonce = Digest(kept.nonce);
                        let (verified_at, bytes) = (kept.verified_at, kept.bytes);
                        Record::Document(Document { keyset: digest, nonce, verified_at, bytes })
                    }),
                };
                // What is kept is never taken away.
                let gone = || LedgerError::Corrupt(format!("{prefix}{digest} is gone"));
                pages.put(record.ok_or_else(gone)?).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn read_shard(&self, shard: Shard, pages: &mut Pages) -> Result<(), LedgerError> {
        let k = ShardKeys(shard);
        pages.put(Record::Shard(Box::new(self.read_state(shard).await?))).await?;
        let kept = self.kept(shard).await?;
        if kept != Kept::default() {
            pages.put(Record::Retention(Box::new(kept))).await?;
        }
        let accounts = scan::accounts(self.functions.link(), shard).await?;
        self.read_states(shard, &accounts, pages).await?;
        self.read_open_holds(k, pages).await?;
        self.read_days(k, pages).await?;
        self.read_hashes(k, pages).await?;
        self.read_channels(shard, pages).await?;
        self.read_journal(shard, pages).await?;
        if shard == TREASURY {
            self.read_decisions(k, pages).await?;
        }
        for (account, of) in &accounts {
            self.read_account(k, account, of, pages).await?;
        }
        Ok(())
    }

    async fn read_state(&self, shard: Shard) -> Result<ShardState, LedgerError> {
        let k = ShardKeys(shard);
        let mut all = ::redis::pipe();
        all.cmd("HMGET").arg(k.clock()).arg(&["last", "test"]).cmd("HGET").arg(k.totals()).arg("tokens");
        let (clock, tokens): ([Option<String>; 2], Option<String>) =
            self.functions.link().pipeline(&all).await?;
        let number = |text: Option<&String>| text.map(|text| parse::<u64>(text)).transpose();
        let [last, test] = &clock;
        Ok(ShardState {
            shard,
            last_ms: number(last.as_ref())?.unwrap_or(0),
            test_ms: number(test.as_ref())?,
            last_entry: self.last_entry(shard).await?.map(|entry| entry.id),
            totals: self.totals(shard).await?,
            tokens: number(tokens.as_ref())?.unwrap_or(0),
            withdrawals_stopped: self.withdrawals_stopped(shard).await?,
        })
    }

    async fn read_open_holds(&self, k: ShardKeys, pages: &mut Pages) -> Result<(), LedgerError> {
        let link = self.functions.link();
        let mut leases = cmd("ZRANGE");
        leases.arg(k.leases()).arg(0).arg(-1);
        let ids: Vec<String> = link.command(&leases).await?;
        for ids in ids.chunks(STEP) {
            let mut all = ::redis::pipe();
            for id in ids {
                all.cmd("HGETALL").arg(k.hold(parse(id)?));
            }
            let holds: Vec<Text> = link.pipeline(&all).await?;
            for (id, fields) in ids.iter().zip(&holds) {
                pages.put(Record::Hold(Box::new(hold(parse(id)?, fields)?))).await?;
            }
        }
        Ok(())
    }

    /// What is remembered of requests and receipts, by the day they were made.
    async fn read_days(&self, k: ShardKeys, pages: &mut Pages) -> Result<(), LedgerError> {
        let link = self.functions.link();
        let mut days = cmd("ZRANGE");
        days.arg(k.days()).arg(0).arg(-1);
        for day in link.command::<Vec<u64>>(&days).await? {
            let mut requests = Fields::of(k.finished(day));
            while let Some(some) = requests.next(link).await? {
                for (id, packed) in some {
                    pages.put(Record::Finished(packed::finished(parse(&id)?, &packed)?)).await?;
                }
            }
            let mut receipts = Fields::of(k.receipts(day));
            while let Some(some) = receipts.next(link).await? {
                for (id, charged) in some {
                    let receipt = Receipt { receipt: parse(&id)?, charged: parse(&charged)? };
                    pages.put(Record::Receipt(receipt)).await?;
                }
            }
            let mut kept = Fields::of(k.kept(day));
            while let Some(some) = kept.next(link).await? {
                for record in self.kept_receipts(k, &some).await? {
                    pages.put(record).await?;
                }
            }
        }
        Ok(())
    }

    async fn kept_receipts(
        &self,
        k: ShardKeys,
        some: &[(String, String)],
    ) -> Result<Vec<Record>, LedgerError> {
        let unpacked = some.iter().map(|(id, packed)| requests::kept_receipt(parse(id)?, packed));
        let unpacked = unpacked.collect::<Result<Vec<_>, LedgerError>>()?;
        if unpacked.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = ::redis::pipe();
        for (_, kept) in &unpacked {
            all.cmd("HGET").arg(k.kept_of(day_of(kept.request.made_at_ms()))).arg(kept.request.to_string());
        }
        let charged_by: Vec<Option<String>> = self.functions.link().pipeline(&all).await?;
        let record = |((account, kept), charged_by): (_, Option<String>)| {
            let kept: crate::KeptReceipt = kept;
            Record::KeptReceipt(Box::new(KeptReceiptOf {
                account,
                billed: charged_by.is_some_and(|receipt| receipt == kept.receipt.to_string()),
                receipt: kept.receipt,
                request: kept.request,
                key: kept.key,
                project: kept.project,
                charged: kept.charged,
                jws: kept.jws,
            }))
        };
        Ok(unpacked.into_iter().zip(charged_by).map(record).collect())
    }

    async fn read_hashes(&self, k: ShardKeys, pages: &mut Pages) -> Result<(), LedgerError> {
        type Read = fn(&str, &str) -> Result<Record, LedgerError>;
        let hashes: [(String, Read); 4] = [
            (k.aside(), |id, of| Ok(Record::Aside(packed::aside(parse::<ReceiptId>(id)?, of)?))),
            (k.deposits(), |cause, _| Ok(Record::Deposit(cause.to_owned()))),
            (k.grants(), |cause, _| Ok(Record::Grant(parse(cause)?))),
            (k.withdrawals(), |id, of| {
                Ok(Record::Withdrawal(packed::withdrawal(parse::<RequestId>(id)?, of)?))
            }),
        ];
        for (key, read) in hashes {
            let mut fields = Fields::of(key);
            while let Some(some) = fields.next(self.functions.link()).await? {
                for (field, value) in some {
                    pages.put(read(&field, &value)?).await?;
                }
            }
        }
        Ok(())
    }

    async fn read_channels(&self, shard: Shard, pages: &mut Pages) -> Result<(), LedgerError> {
        let mut last: Option<AccountId> = None;
        loop {
            let channels = self.channels(shard, last.as_ref(), MAX_CHANNELS).await?;
            let Some((channel, _)) = channels.last() else { return Ok(()) };
            last = Some(channel.account.clone());
            for (channel, _) in channels {
                pages.put(Record::Channel(Box::new(channel))).await?;
            }
        }
    }

    async fn read_journal(&self, shard: Shard, pages: &mut Pages) -> Result<(), LedgerError> {
        let mut last: Option<JournalId> = None;
        loop {
            let entries = self.journal(shard, last.as_ref(), 500).await?;
            let Some(entry) = entries.last() else { return Ok(()) };
            last = Some(entry.id.clone());
            for entry in entries {
                pages.put(Record::Journal(Box::new(entry))).await?;
            }
        }
    }

    /// As commands, because every function leaves its time in the shard, which is read as it is at rest.
    async fn read_decisions(&self, k: ShardKeys, pages: &mut Pages) -> Result<(), LedgerError> {
        let mut number = 0;
        loop {
            let mut range = cmd("XRANGE");
            range.arg(k.decisions()).arg(format!("(0-{number}")).arg("+").arg("COUNT").arg(DECISIONS);
            let entries: StreamRangeReply = self.functions.link().command(&range).await?;
            if entries.ids.is_empty() {
                return Ok(());
            }
            for entry in &entries.ids {
                number += 1;
                let missing = || LedgerError::Corrupt(format!("{} is no decision {number}", entry.id));
                let text = entry.get("d").filter(|_| entry.id == format!("0-{number}"));
                let text = text.ok_or_else(missing)?;
                pages.put(Record::Decision(Decision { number, text })).await?;
            }
        }
    }
}

fn hold(request: RequestId, fields: &Text) -> Result<Hold, LedgerError> {
    let text = |name: &str| {
        let missing = || LedgerError::Corrupt(format!("hold {request} lacks {name}"));
        fields.get(name).map(String::as_str).ok_or_else(missing)
    };
    let checkpoint = match fields.contains_key("cost") {
        false => None,
        true => Some(Checkpointed {
            cost: parse(text("cost")?)?,
            operator: parse(text("operator")?)?,
            operator_part: parse(text("operator_part")?)?,
            usage: usage(text("usage")?)?.unwrap_or_default(),
        }),
    };
    Ok(Hold {
        request,
        account: parse(text("account")?)?,
        key: parse(text("key")?)?,
        project: optional(text("project")?)?,
        model: text("model")?.to_owned(),
        work: text("work")?.parse()?,
        amount: parse(text("amount")?)?,
        due_ms: parse(text("due")?)?,
        reserved_ms: parse(text("reserved")?)?,
        lease_end_ms: parse(text("lease_end")?)?,
        took: text("took")?.parse()?,
        attempt: parse(text("attempt")?)?,
        keyset: optional(text("keyset")?)?,
        checkpoint,
    })
}
