//! Records to keys.

use ::redis::{Pipeline, Value};
use cocoon_receipts::AccountId;

use super::packed::{pack_aside, pack_finished, pack_kept, pack_recent, pack_withdrawal};
use super::read_accounts::score;
use crate::redis::RedisLedger;
use crate::redis::channels;
use crate::redis::functions::{Function, fcall};
use crate::redis::key_registry::members_of;
use crate::redis::names::{self, ShardKeys};
use crate::redis::reply::{self, or_empty, usage_text};
use crate::requests::RECENT_KEPT_MS;
use crate::rules::day_of;
use crate::transfer::record::{
    AccountState, Hold, KeptReceiptOf, Recent, Record, ShardState, UsageOf, UsedOf,
};
use crate::treasury::TREASURY;
use crate::used::{KEPT_MS, NAMES};
use crate::withdrawals::State;
use crate::{JournalId, Kept, KeptDocument, KeyRecord, Ledger, LedgerError, Payout, Shard, Width};

impl RedisLedger {
    pub(super) async fn write_shared(&self, records: &[Record]) -> Result<(), LedgerError> {
        for record in records {
            match record {
                Record::Keyset(of) => self.put_keyset(&of.bytes).await.map(drop)?,
                Record::Document(of) => {
                    let (nonce, bytes) = (of.nonce.0, of.bytes.clone());
                    let document = KeptDocument { nonce, verified_at: of.verified_at, bytes };
                    self.put_document(of.keyset, &document).await?;
                }
                other => return Err(other.misplaced()),
            }
        }
        Ok(())
    }

    pub(super) async fn write_shard(&self, shard: Shard, records: &[Record]) -> Result<(), LedgerError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut all = Commands { k: ShardKeys(shard), pipeline: ::redis::pipe() };
        records.iter().try_for_each(|record| all.add(record))?;
        // None of it answers anything that matters; an error of one is an error of all.
        self.functions.link().pipeline::<Vec<Value>>(&all.pipeline).await.map(drop)
    }
}

struct Commands {
    k: ShardKeys,
    pipeline: Pipeline,
}

impl Commands {
    fn add(&mut self, record: &Record) -> Result<(), LedgerError> {
        let k = self.k;
        match record {
            Record::Shard(state) => self.state(state),
            Record::Account(of) => self.account(of),
            Record::Hold(hold) => self.hold(hold),
            Record::Finished(of) => {
                let day = day_of(of.request.made_at_ms());
                self.set(k.finished(day), of.request, pack_finished(of));
                self.day(day);
            }
            Record::Receipt(of) => {
                let day = day_of(of.receipt.made_at_ms());
                self.set(k.receipts(day), of.receipt, of.charged);
                self.day(day);
            }
            Record::Aside(of) => self.set(k.aside(), of.receipt, pack_aside(of)),
            // Whether it is there is all that is ever asked; its amount is in the journal.
            Record::Deposit(cause) => self.set(k.deposits(), cause, ""),
            Record::Grant(id) => self.set(k.grants(), id, ""),
            Record::Retention(kept) => self.retention(kept),
            Record::Journal(entry) => {
                let (id, fields) = (stream_id(&entry.id), reply::journal_fields(entry));
                self.pipeline.cmd("XADD").arg(k.journal()).arg(id).arg(&fields[..]);
            }
            Record::Withdrawal(of) => {
                self.set(k.withdrawals(), of.intent, pack_withdrawal(of));
                if of.state == State::Begun {
                    self.pipeline.cmd("ZADD").arg(k.open_withdrawals()).arg(0).arg(of.intent.to_string());
                }
            }
            Record::Payout(of) => self.payout(&of.account, &of.payout),
            Record::Decision(of) if k.0 == TREASURY => {
                let id = format!("0-{}", of.number);
                self.pipeline.cmd("XADD").arg(k.decisions()).arg(id).arg("d").arg(&of.text);
            }
            Record::Channel(channel) => {
                let account = &channel.account;
                self.pipeline.cmd("ZADD").arg(k.channels()).arg(0).arg(account.as_str());
                self.set_all(k.channel(account), &channels::fields(channel));
            }
            Record::Cap(cap) => self.set(k.caps(&cap.account), &cap.name, &cap.value),
            Record::Key(record) => self.key(record)?,
            Record::Project(of) => self.set(k.projects(&of.account), &of.id, of.created),
            Record::Used(of) => self.used(of),
            Record::Usage(of) => self.usage(of),
            Record::Recent(recent) => self.recent(recent),
            Record::KeptReceipt(kept) => self.kept(kept),
            other @ (Record::Keyset(_) | Record::Document(_) | Record::Decision(_)) => {
                return Err(other.misplaced());
            }
        }
        Ok(())
    }

    fn set(&mut self, key: String, field: impl ToString, value: impl ToString) {
        self.pipeline.cmd("HSET").arg(key).arg(field.to_string()).arg(value.to_string());
    }

    fn set_all(&mut self, key: String, fields: &[(&str, String)]) {
        if !fields.is_empty() {
            self.pipeline.cmd("HSET").arg(key).arg(fields);
        }
    }

    /// What is counted from nothing is there once it is something.
    fn count_all(&mut self, key: String, counters: &[(&str, String)]) {
        let counted: Vec<_> = counters.iter().filter(|(_, count)| count != "0").cloned().collect();
        self.set_all(key, &counted);
    }

    fn retention(&mut self, kept: &Kept) {
        let k = self.k;
        if let Some(head) = &kept.head {
            let fields = [
                ("number", head.number.to_string()),
                ("digest", head.digest.to_string()),
                ("at", stream_id(&head.at)),
                ("entries", head.entries.to_string()),
            ];
            self.set_all(k.retention(), &fields);
        }
        if let Some(at) = &kept.trimmed {
            self.set(k.retention(), "trimmed", stream_id(at));
        }
        for (name, at) in &kept.cursors {
            self.set(k.cursors(), name.as_str(), at.as_ref().map_or_else(String::new, stream_id));
        }
    }

    fn day(&mut self, day: u64) {
        self.pipeline.cmd("ZADD").arg(self.k.days()).arg(day).arg(day);
    }

    fn state(&mut self, state: &ShardState) {
        let k = self.k;
        self.set(k.clock(), "last", state.last_ms);
        if let Some(test_ms) = state.test_ms {
            self.set(k.clock(), "test", test_ms);
        }
        let totals = &state.totals;
        let tokens = ("tokens", state.tokens.to_string());
        let sums: Vec<_> = reply::totals_fields(totals).into_iter().chain([tokens]).collect();
        self.count_all(k.totals(), &sums);
        for each in &totals.operators {
            let (accrued, reversed) = (format!("a:{}", each.operator), format!("r:{}", each.operator));
            self.count_all(
                k.operators(),
                &[(&accrued, each.accrued.to_string()), (&reversed, each.reversed.to_string())],
            );
        }
        if let Some(reason) = &state.withdrawals_stopped {
            self.pipeline.cmd("SET").arg(k.stopped()).arg(reason);
        }
    }

    fn account(&mut self, of: &AccountState) {
        let k = self.k;
        self.pipeline.cmd("ZADD").arg(k.accounts()).arg(0).arg(of.account.as_str());
        self.count_all(k.account(&of.account), &reply::account_fields(&of.state));
    }

    fn hold(&mut self, of: &Hold) {
        let k = self.k;
        let (key, request) = (k.hold(of.request), of.request.to_string());
        let (project, lease_end) = (or_empty(of.project.as_ref()), of.lease_end_ms.to_string());
        let fields = [
            ("account", of.account.to_string()),
            ("key", of.key.to_string()),
            ("project", project.clone()),
            ("model", of.model.clone()),
            ("work", of.work.letter().to_owned()),
            ("amount", of.amount.to_string()),
            ("due", of.due_ms.to_string()),
            ("lease_end", lease_end.clone()),
            ("reserved", of.reserved_ms.to_string()),
            ("took", of.took.to_text()),
            ("attempt", of.attempt.to_string()),
            ("keyset", or_empty(of.keyset)),
        ];
        self.set_all(key.clone(), &fields);
        if let Some(last) = &of.checkpoint {
            let fields = [
                ("cost", last.cost.to_string()),
                ("operator", last.operator.to_string()),
                ("operator_part", last.operator_part.to_string()),
                ("usage", usage_text(&last.usage)),
                ("tokens", last.usage.total().to_string()),
            ];
            self.set_all(key, &fields);
        }
        self.pipeline.cmd("ZADD").arg(k.leases()).arg(of.due_ms).arg(&request);
        let keys = [k.slots(&of.account), k.running(&of.account)];
        self.call(Function::FillSlot, &keys, &[request, of.key.to_string(), project, lease_end]);
    }

    fn call(&mut self, function: Function, keys: &[String], args: &[String]) {
        self.pipeline.add_command(fcall(function, keys, args));
    }

    fn payout(&mut self, account: &AccountId, payout: &Payout) {
        let pending = payout.pending.as_ref();
        let fields = [
            ("current", or_empty(payout.current.as_ref())),
            ("pending", or_empty(pending.map(|pending| &pending.address))),
            ("from", pending.map_or(0, |pending| pending.from_ms).to_string()),
        ];
        self.set_all(self.k.payout(account), &fields);
    }

    fn key(&mut self, record: &KeyRecord) -> Result<(), LedgerError> {
        let k = self.k;
        self.set(k.key_records(&record.account), &record.id, record.to_json()?);
        for member in members_of(record) {
            self.pipeline.cmd("ZADD").arg(k.key_ids(&record.account)).arg(0).arg(member);
        }
        Ok(())
    }

    fn used(&mut self, of: &UsedOf) {
        let key = self.k.used(&of.account, &names::counter(&of.whose));
        let fields: Vec<(&str, String)> =
            NAMES.into_iter().zip(of.numbers.iter().map(ToString::to_string)).collect();
        let [_, kept, ..] = of.numbers;
        self.set_all(key.clone(), &fields);
        if kept == 0 {
            self.pipeline.cmd("PEXPIRE").arg(key).arg(KEPT_MS);
        }
    }

    fn usage(&mut self, of: &UsageOf) {
        let (window_ms, tally) = (of.width.window_ms(), &of.tally);
        let number = Width::ALL.iter().position(|width| *width == of.width).map_or(0, |index| index + 1);
        let args = [
            number.to_string(),
            (of.from_ms % window_ms / of.width.ms()).to_string(),
            of.work.letter().to_owned(),
            of.key.to_string(),
            or_empty(of.project.as_ref()),
            of.model.clone(),
            tally.requests.to_string(),
            tally.prompt.to_string(),
            tally.cached.to_string(),
            tally.completion.to_string(),
            tally.reasoning.to_string(),
            tally.cost.to_string(),
        ];
        let window = self.k.usage(&of.account, of.width, of.from_ms / window_ms);
        self.call(Function::FillUsage, &[window], &args);
    }

    fn recent(&mut self, recent: &Recent) {
        let k = self.k;
        let keys = [k.recent(&recent.account), k.requests(&recent.account)];
        let [ids, requests] = keys.clone();
        self.pipeline.cmd("ZADD").arg(ids).arg(score(recent)).arg(recent.request.to_string());
        self.set(requests, recent.request, pack_recent(recent));
        for key in keys {
            self.pipeline.cmd("PEXPIRE").arg(key).arg(RECENT_KEPT_MS);
        }
    }

    fn kept(&mut self, kept: &KeptReceiptOf) {
        let k = self.k;
        let (day, requested) = (day_of(kept.receipt.made_at_ms()), day_of(kept.request.made_at_ms()));
        self.set(k.kept(day), kept.receipt, pack_kept(kept));
        self.day(day);
        if kept.billed {
            self.set(k.kept_of(requested), kept.request, kept.receipt);
            self.day(requested);
        }
    }
}

/// A count goes before all that a server makes.
fn stream_id(id: &JournalId) -> String {
    if id.0.contains('-') { id.0.clone() } else { format!("0-{}", id.0) }
}
