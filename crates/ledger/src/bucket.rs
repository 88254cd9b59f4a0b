//! One limit per minute. The Redis library counts in the same way (`functions/limits.lua`).

use crate::Rate;

/// Debts count requests and tokens in parts of a minute's millisecond: then a limit per minute pays off `limit` of them in
/// a millisecond, and no fraction is ever lost.
const MINUTE_MS: i64 = 60_000;

/// No debt is larger, nor than a day's worth of its limit: so that its sums stay below 2^53, and nobody waits for ever.
const DEBT_LIMIT: i64 = 1 << 52;
const DEBT_DAY_MS: i64 = 86_400_000;

/// One limit per minute, by the generic cell rate algorithm: a debt that is paid off with time, of at most a minute's worth
/// for who asks for more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// As of `at_ms`.
    pub(crate) debt: i64,
    pub(crate) at_ms: i64,
    /// Per minute; 0 where there is none.
    pub(crate) limit: i64,
}

impl Bucket {
    pub(crate) fn pay_off(&mut self, now_ms: i64) {
        let paid = self.limit.saturating_mul(now_ms.saturating_sub(self.at_ms).max(0));
        (self.debt, self.at_ms) = (self.debt.saturating_sub(paid).max(0), now_ms);
    }

    /// What was used under another limit is paid off at that limit's pace until now.
    pub(crate) fn set_limit(&mut self, limit: Option<u32>, now_ms: i64) {
        self.pay_off(now_ms);
        self.limit = limit.map_or(0, i64::from);
        self.bound();
    }

    fn bound(&mut self) {
        self.debt = self.debt.clamp(0, self.limit.saturating_mul(DEBT_DAY_MS).min(DEBT_LIMIT));
    }

    /// More than the limit is never asked for at once: else it would never be there.
    pub(crate) fn asks_for(&self, count: u64) -> i64 {
        i64::try_from(count).unwrap_or(i64::MAX).min(self.limit)
    }

    /// Milliseconds until `count` may be taken; none where that is never.
    pub(crate) fn wait_ms(&self, count: i64) -> Option<u64> {
        if self.limit == 0 {
            return None;
        }
        let over = (self.debt + (count - self.limit) * MINUTE_MS).max(0);
        u64::try_from(over).ok().map(|over| over.div_ceil(self.limit.unsigned_abs()))
    }

    pub(crate) fn take(&mut self, count: i64) {
        self.debt += count * MINUTE_MS;
    }

    /// What was used in place of what was taken.
    pub(crate) fn correct(&mut self, taken: i64, used: u64, now_ms: i64) {
        self.pay_off(now_ms);
        let used = i64::try_from(used).unwrap_or(i64::MAX).min(DEBT_LIMIT / MINUTE_MS);
        self.debt += (used - taken) * MINUTE_MS;
        self.bound();
    }

    pub(crate) fn rate(&self) -> Rate {
        let left = (self.limit * MINUTE_MS - self.debt).max(0);
        Rate {
            limit: self.limit.unsigned_abs(),
            remaining: (left / MINUTE_MS).unsigned_abs(),
            reset_ms: self.debt.unsigned_abs().div_ceil(self.limit.unsigned_abs().max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(debt: i64, limit: u32) -> Bucket {
        Bucket { debt, at_ms: 0, limit: i64::from(limit) }
    }

    #[test]
    fn what_is_waited_for_is_there_then_and_not_a_millisecond_earlier() {
        for (debt, limit, count) in
            [(0, 1, 1), (60_000, 1, 1), (179_999, 7, 3), (1 << 40, u32::MAX, 9), (1, 7, 7)]
        {
            let wait = bucket(debt, limit).wait_ms(count).unwrap();
            let after = |ms: u64| {
                let mut later = bucket(debt, limit);
                later.pay_off(i64::try_from(ms).unwrap());
                later.wait_ms(count)
            };
            assert_eq!(after(wait), Some(0), "{debt} {limit} {count}");
            assert!(wait == 0 || after(wait - 1) == Some(1), "{debt} {limit} {count}");
        }
        assert_eq!(bucket(0, 0).wait_ms(0), None);
    }

    #[test]
    fn debts_are_bounded_by_a_day_and_stay_exact_in_a_double() {
        let mut small = bucket(0, 10);
        small.correct(10, u64::MAX, 0);
        assert_eq!(small.wait_ms(10), Some(86_400_000));
        let mut large = bucket(0, u32::MAX);
        for _ in 0..2 {
            large.correct(0, u64::MAX, 0);
        }
        assert_eq!(large.debt, DEBT_LIMIT);
        assert!(DEBT_LIMIT + i64::from(u32::MAX) * MINUTE_MS < 1 << 53);
        large.set_limit(None, 0);
        assert_eq!((large.debt, large.wait_ms(1)), (0, None));
    }
}
