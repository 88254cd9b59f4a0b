//! The log of decisions, the lease, and what is to be paid.

use std::time::Duration;

use cocoon_ledger::{Appending, Lease, OpenWithdrawal, Shard};

use super::{Model, ms};

impl Model {
    pub(crate) fn append_decisions(&mut self, after: u64, records: &[String]) -> Appending {
        let (place, count) = (usize::try_from(after).unwrap(), self.decisions.len());
        if place == count {
            self.decisions.extend_from_slice(records);
        }
        let is_last = self.decisions.get(place..).is_some_and(|last| last == records);
        let count = self.decisions.len() as u64;
        if is_last { Appending::Appended { count } } else { Appending::Moved { count } }
    }

    pub(crate) fn decisions(&self) -> &[String] {
        &self.decisions
    }

    pub(crate) fn hold_lease(&mut self, holder: &str, lasts: Duration) -> Lease {
        let now_ms = self.now_ms;
        let wanted_ms = now_ms + u64::try_from(ms(lasts)).unwrap();
        let (holder, until_ms) = match self.lease.take() {
            Some((of, until_ms)) if of == holder => (of, until_ms.max(wanted_ms)),
            Some((of, until_ms)) if now_ms < until_ms => (of, until_ms),
            _ => (holder.to_owned(), wanted_ms),
        };
        self.lease = Some((holder.clone(), until_ms));
        Lease { holder, until_ms, now_ms }
    }

    pub(crate) fn give_up_lease(&mut self, holder: &str) {
        self.lease.take_if(|(of, _)| of == holder);
    }

    pub(crate) fn open_withdrawals(&self, shard: Shard) -> Vec<OpenWithdrawal> {
        let of_shard = self.intents.iter().filter(|((of, _), _)| *of == shard);
        of_shard.filter_map(|(_, intent)| intent.open()).collect()
    }
}
