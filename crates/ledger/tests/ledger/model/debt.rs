//! One limit per minute.

use cocoon_ledger::Rate;

use super::DAY_MS;

pub(super) const MINUTE_MS: i128 = 60_000;
pub(super) const MOST_OWED: i128 = 1 << 52;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Debt {
    owed: i128,
    at_ms: i128,
    pub(super) limit: i128,
}

impl Debt {
    pub(super) fn change(&mut self, parts: i128, now_ms: i128) {
        let owed = (self.owed - self.limit * (now_ms - self.at_ms)).max(0) + parts;
        self.owed = owed.clamp(0, MOST_OWED.min(self.limit * DAY_MS));
        self.at_ms = now_ms;
    }

    pub(super) fn set_limit(&mut self, limit: Option<u32>, now_ms: i128) {
        self.change(0, now_ms);
        self.limit = limit.map_or(0, i128::from);
        self.change(0, now_ms);
    }

    /// None: never.
    pub(super) fn wait(&self, count: i128) -> Option<i128> {
        let over = self.owed + (count - self.limit) * MINUTE_MS;
        (self.limit > 0).then(|| if over > 0 { (over + self.limit - 1) / self.limit } else { 0 })
    }

    pub(super) fn rate(&self) -> Rate {
        let count = |number: i128| u64::try_from(number).unwrap();
        Rate {
            limit: count(self.limit),
            remaining: count((self.limit * MINUTE_MS - self.owed).max(0) / MINUTE_MS),
            reset_ms: count((self.owed + self.limit - 1).max(0) / self.limit.max(1)),
        }
    }
}
