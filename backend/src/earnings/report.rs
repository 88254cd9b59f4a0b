//! Earnings, to be read.

use std::fmt;

use super::{Earnings, Told};
use crate::receipts::Sum;

impl fmt::Display for Earnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(f, "operator {}, {} backend(s)", self.operator, self.backends)?;
        writeln!(f, "{:<16}{:>12}{:>24}{:>24}", "", "number", "nanoTON", "TON")?;
        for (name, Sum { receipts, cost }) in [
            ("signed", self.signed),
            ("booked", tally.booked),
            ("  not charged", tally.not_charged),
            ("  no amount said", tally.unsaid),
            ("waiting", self.waiting),
            ("refused", tally.refused),
            ("expired", tally.expired),
        ] {
            line(f, name, Some(receipts), cost.0.into())?;
        }
        line(f, "acknowledged", None, tally.earned.0.into())?;
        if tally.differing > 0 {
            writeln!(f, "{} receipt(s) were acknowledged with two different amounts", tally.differing)?;
        }
        match &self.gateway {
            Told::Said(view) => {
                line(f, "accrued", None, view.accrued.0.into())?;
                line(f, "reversed", None, view.reversed.0.into())?;
            }
            Told::NotAsked => writeln!(f, "accrued: not asked")?,
            Told::Unknown(why) => writeln!(f, "accrued: unknown: {}", printable(why))?,
        }
        match &self.chain {
            Told::Said(paid) => {
                line(f, "paid", Some(paid.payouts), paid.amount.0.into())?;
                if let Some(newest) = paid.newest {
                    writeln!(f, "the newest payout came at {newest} (Unix time)")?;
                }
            }
            Told::NotAsked => writeln!(f, "paid: [payouts] is not configured")?,
            Told::Unknown(why) => writeln!(f, "paid: unknown: {}", printable(why))?,
        }
        if let Some(owed) = self.owed {
            line(f, "owed", None, owed)?;
        }
        let mut checks = self.checks.iter();
        checks.try_for_each(|check| {
            write!(f, "\n{:<8}{}: {}", check.verdict.as_str(), check.check, check.detail)
        })
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, number: Option<u64>, nano: i128) -> fmt::Result {
    let number = number.map_or_else(String::new, |number| number.to_string());
    writeln!(f, "{name:<16}{number:>12}{nano:>24}{:>24}", ton(nano))
}

/// All nine digits, so that amounts stand below each other.
fn ton(nano: i128) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let nano = nano.unsigned_abs();
    format!("{sign}{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// What others say must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
