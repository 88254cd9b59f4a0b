//! The life of a hold before it is charged.

use cocoon_ledger::{
    Bind, Bound, Checkpoint, Expired, Extended, JournalEntry, JournalKind, Refusal, Released, Reserve,
    Reserved, Shard,
};
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use crate::bench::held;

use super::{End, Model, Request, ms, nano, old, share};

impl Model {
    pub(crate) fn reserve(&mut self, reserve: &Reserve) -> Reserved {
        let id = self.id(&reserve.account, reserve.request);
        if let Some(found) = self.requests.get(&id) {
            return match found.hold {
                Some(amount) if found.account == reserve.account => held(nano(amount).0),
                _ => Reserved::Refused(Refusal::Finished),
            };
        }
        if old(reserve.request.made_at_ms(), self.now_ms) {
            return Reserved::Refused(Refusal::Finished);
        }
        let account = self.account(&reserve.account);
        let available = account.balance.0 - account.held.0;
        let worst = reserve.estimate.worst_case.0;
        let needed = match reserve.estimate.useful_minimum {
            Some(useful) => worst.min(useful.0.max(available / 4)),
            None => worst,
        };
        if needed > available {
            let (needed, available) = (NanoTon(needed), NanoTon(available));
            return Reserved::Refused(if needed <= account.balance {
                Refusal::BalanceHeld { needed, available }
            } else {
                Refusal::InsufficientBalance { needed, available }
            });
        }
        let account = self.accounts.entry(reserve.account.clone()).or_default();
        account.held.0 += needed;
        account.open_holds += 1;
        let request = Request {
            reserve: Some(reserve.clone()),
            account: reserve.account.clone(),
            hold: Some(i128::from(needed)),
            due_ms: i128::from(self.now_ms) + ms(reserve.lease),
            attempt: 0,
            keyset: None,
            checkpoint: None,
            end: None,
            charged: 0,
            operator: None,
            operator_part: 0,
        };
        self.requests.insert(id, request);
        held(needed)
    }

    pub(crate) fn bind(&mut self, bind: &Bind) -> Bound {
        let due_ms = i128::from(self.now_ms) + ms(bind.lease) + self.grace_ms;
        let Some(found) = self.open(&bind.account, bind.request) else { return Bound::Gone };
        if (found.attempt, found.keyset) == (bind.attempt, Some(bind.keyset)) {
            return Bound::Bound;
        }
        if bind.attempt <= found.attempt {
            return Bound::Superseded;
        }
        (found.attempt, found.keyset, found.checkpoint) = (bind.attempt, Some(bind.keyset), None);
        found.due_ms = due_ms;
        Bound::Bound
    }

    pub(crate) fn extend(&mut self, checkpoint: &Checkpoint) -> Extended {
        let due_ms = i128::from(self.now_ms) + ms(checkpoint.lease) + self.grace_ms;
        let Some(found) = self.open(&checkpoint.account, checkpoint.request) else { return Extended::Gone };
        let bound = (found.attempt, found.keyset) == (checkpoint.attempt, Some(checkpoint.keyset));
        let grows = found.checkpoint.as_ref().is_none_or(|last| {
            checkpoint.cost >= last.cost && checkpoint.usage.total() >= last.usage.total()
        });
        if !bound || !grows || Some(i128::from(checkpoint.cost.0)) > found.hold {
            return Extended::Ignored;
        }
        found.checkpoint = Some(checkpoint.clone());
        found.due_ms = found.due_ms.max(due_ms);
        Extended::Extended
    }

    pub(crate) fn release(&mut self, account: &AccountId, request: RequestId) -> Released {
        let id = self.id(account, request);
        if self.open(account, request).is_some() {
            let amount = self.end_hold(id, End::Released);
            return Released::Released { amount: nano(amount) };
        }
        if old(request.made_at_ms(), self.now_ms) {
            return Released::Already;
        }
        match self.requests.get(&id) {
            Some(found) if found.end == Some(End::Tombstone) && found.account == *account => {
                Released::Tombstone
            }
            Some(_) => Released::Already,
            None => {
                self.requests.insert(id, Request::ended(account, End::Tombstone));
                Released::Tombstone
            }
        }
    }

    pub(super) fn end_hold(&mut self, id: (Shard, RequestId), end: End) -> i128 {
        let found = self.requests.get_mut(&id).expect("an open hold");
        let amount = found.hold.take().expect("an open hold");
        found.end = Some(end);
        let account = self.accounts.get_mut(&found.account).expect("its account");
        account.held = nano(i128::from(account.held.0) - amount);
        account.open_holds -= 1;
        amount
    }

    pub(crate) fn expired(&self, shard: Shard, limit: usize) -> Vec<RequestId> {
        let mut over: Vec<(i128, RequestId)> = self
            .requests
            .iter()
            .filter(|((of, _), found)| *of == shard && found.hold.is_some())
            .filter(|(_, found)| found.due_ms <= i128::from(self.now_ms))
            .map(|((_, request), found)| (found.due_ms, *request))
            .collect();
        over.sort();
        over.into_iter().take(limit).map(|(_, request)| request).collect()
    }

    pub(crate) fn expire(&mut self, shard: Shard, request: RequestId) -> Expired {
        let id = (shard, request);
        let Some(found) = self.requests.get(&id).filter(|found| found.hold.is_some()).cloned() else {
            return Expired::Gone;
        };
        if i128::from(self.now_ms) < found.due_ms {
            return Expired::NotYet;
        }
        self.end_hold(id, End::Expired);
        let Some(checkpoint) = found.checkpoint else { return Expired::Expired { charged: NanoTon(0) } };
        let cost = i128::from(checkpoint.cost.0);
        let part = share(checkpoint.cost, checkpoint.operator_share.get());
        let ended = self.requests.get_mut(&id).expect("it was there");
        (ended.charged, ended.operator, ended.operator_part) =
            (cost, Some(checkpoint.operator.clone()), part);
        let reserve = found.reserve.expect("a hold was reserved");
        self.charge(&found.account, cost, 0);
        let entry = JournalEntry {
            key: Some(reserve.key),
            project: reserve.project,
            model: Some(reserve.model),
            work: Some(reserve.work),
            operator: Some(checkpoint.operator),
            usage: Some(checkpoint.usage),
            ..self.entry(JournalKind::Expiry, &found.account, request.to_string(), [-cost, 0, part])
        };
        self.journal.push((shard, entry));
        Expired::Expired { charged: checkpoint.cost }
    }
}
