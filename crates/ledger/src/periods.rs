//! Periods of budgets, in UTC. The Redis library counts them in the same way (`functions/limits.lua`).

use crate::Period;

const DAY_MS: u64 = 86_400_000;

/// From 1 March of the year 0 to 1970. Months are counted from there: then a leap day is the last of its year.
const DAYS_BEFORE_1970: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

/// Which period of its length a time lies in: a number that grows by one from each to the next.
pub(crate) fn number(period: Period, at_ms: u64) -> u64 {
    let day = at_ms / DAY_MS;
    match period {
        Period::Day => day,
        // 1970 began on a Thursday.
        Period::Week => (day + 3) / 7,
        Period::Month => month_of(day),
        Period::Total => 0,
    }
}

/// When the period that a time lies in ends, milliseconds since 1970; all time does not.
pub(crate) fn end_ms(period: Period, at_ms: u64) -> Option<u64> {
    let next = number(period, at_ms) + 1;
    match period {
        Period::Day => Some(next * DAY_MS),
        Period::Week => Some((next * 7 - 3) * DAY_MS),
        Period::Month => Some(first_day_of(next) * DAY_MS),
        Period::Total => None,
    }
}

/// Of a day since 1970; the proleptic Gregorian calendar.
fn month_of(day: u64) -> u64 {
    let day = day + DAYS_BEFORE_1970;
    let (era, day) = (day / DAYS_OF_400_YEARS, day % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    (era * 400 + year) * 12 + (5 * day + 2) / 153
}

/// Since 1970; the inverse of [`month_of`], for months that are not before it.
fn first_day_of(month: u64) -> u64 {
    let (year, month) = (month / 12, month % 12);
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - DAYS_BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(date: jiff::civil::Date) -> u64 {
        let since = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).unwrap();
        u64::try_from(since.get_days()).unwrap() * DAY_MS
    }

    #[test]
    fn periods_are_those_of_the_calendar() {
        let mut date = jiff::civil::date(1970, 1, 1);
        let mut last = [0, 0, 0].map(|_: i32| None);
        while date.year() < 2405 {
            let at = ms(date);
            let starts = [true, date.weekday() == jiff::civil::Weekday::Monday, date.day() == 1];
            for (index, period) in [Period::Day, Period::Week, Period::Month].into_iter().enumerate() {
                let number = number(period, at);
                assert_eq!(super::number(period, at + DAY_MS - 1), number, "{period:?} of {date}");
                if let Some(last) = last[index] {
                    assert_eq!(number, last + u64::from(starts[index]), "{period:?} of {date}");
                }
                last[index] = Some(number);
            }
            date = date.tomorrow().unwrap();
        }
    }

    #[test]
    fn a_period_ends_where_the_next_begins() {
        // 2027-02-26 was a Friday; 2028 is a leap year.
        let at = |year, month, day| ms(jiff::civil::date(year, month, day));
        let noon = |year, month, day| at(year, month, day) + DAY_MS / 2;
        assert_eq!(end_ms(Period::Day, noon(2027, 2, 28)), Some(at(2027, 3, 1)));
        assert_eq!(end_ms(Period::Week, noon(2027, 2, 26)), Some(at(2027, 3, 1)));
        assert_eq!(end_ms(Period::Week, at(2027, 3, 1)), Some(at(2027, 3, 8)));
        assert_eq!(end_ms(Period::Month, noon(2028, 2, 29)), Some(at(2028, 3, 1)));
        assert_eq!(end_ms(Period::Month, noon(2027, 12, 31)), Some(at(2028, 1, 1)));
        assert_eq!(end_ms(Period::Month, 0), Some(at(1970, 2, 1)));
        assert_eq!(end_ms(Period::Total, 0), None);
    }
}
