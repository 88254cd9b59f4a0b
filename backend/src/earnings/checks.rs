//! Whether what three tell fits together.

use cocoon_receipts::{BasisPoints, NanoTon};
use serde::Serialize;

use super::Paid;
use crate::receipts::Tally;

/// An operator who is owed so much is paid at once, nanoTON: the settler's rule where its configuration has no other.
const AT_ONCE: i128 = 1_000_000_000;
/// So much is paid a day after the last payout, nanoTON.
const SMALL: i128 = 50_000_000;
/// Seconds.
const SMALL_AFTER: u64 = 24 * 60 * 60;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// A payout is due. It may be on its way.
    Late,
    Failed,
    /// Not all is known that it takes.
    Unknown,
}

impl Verdict {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
        }
    }
}

/// One check, with the figures that it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub check: &'static str,
    pub verdict: Verdict,
    pub detail: String,
}

/// What is judged. Amounts are nanoTON.
pub(super) struct Judged<'a> {
    pub(super) tally: &'a Tally,
    /// What was promised, where the configuration says it.
    pub(super) share: Option<BasisPoints>,
    /// Accrued without what was reversed.
    pub(super) booked: Option<i128>,
    pub(super) paid: Option<&'a Paid>,
    pub(super) owed: Option<i128>,
    /// Unix time.
    pub(super) now: u64,
}

type Judge = fn(&Judged<'_>) -> (Verdict, String);

/// All of them, in the order in which they are printed.
pub(super) fn all(judged: &Judged<'_>) -> Vec<Check> {
    let checks: [(&'static str, Judge); 5] = [
        ("nothing_lost", nothing_lost),
        ("booked_as_said", booked_as_said),
        ("share_as_promised", share_as_promised),
        ("paid_within_booked", paid_within_booked),
        ("paid_in_time", paid_in_time),
    ];
    let of = |(check, judge): (&'static str, Judge)| {
        let (verdict, detail) = judge(judged);
        Check { check, verdict, detail }
    };
    checks.map(of).to_vec()
}

fn unless(failed: bool) -> Verdict {
    if failed { Verdict::Failed } else { Verdict::Ok }
}

/// Every receipt that is finished with was booked.
fn nothing_lost(judged: &Judged<'_>) -> (Verdict, String) {
    let Tally { refused, expired, damaged, .. } = judged.tally;
    let lost = refused.receipts > 0 || expired.receipts > 0 || *damaged > 0;
    let detail = format!(
        "{} refused with {} nanoTON, {} expired with {} nanoTON, {damaged} unreadable lines",
        refused.receipts, refused.cost, expired.receipts, expired.cost
    );
    (unless(lost), detail)
}

/// The ledger has what acknowledgements said. It may have more: of other backends of the operator's, and of receipts that
/// were acknowledged without an amount.
fn booked_as_said(judged: &Judged<'_>) -> (Verdict, String) {
    let said = judged.tally.earned;
    let Some(booked) = judged.booked else {
        return (Verdict::Unknown, format!("{said} nanoTON acknowledged; what is booked is not known"));
    };
    let detail = format!("{said} nanoTON acknowledged, {booked} booked");
    (unless(i128::from(said.0) > booked), detail)
}

/// Of the cost of each receipt that was charged the operator has the promised share, whether the account could pay it or
/// not. What is said to be charged to nobody is no part of it: that is right for an attempt that another one superseded, and
/// a backend cannot know of which. Receipts are rounded down one by one.
fn share_as_promised(judged: &Judged<'_>) -> (Verdict, String) {
    let Tally { booked, unsaid, not_charged, earned, .. } = judged.tally;
    let rest = format!(
        "{} receipts with {} nanoTON were not charged, {} with {} were acknowledged without an amount",
        not_charged.receipts, not_charged.cost, unsaid.receipts, unsaid.cost
    );
    let Some(share) = judged.share else {
        return (Verdict::Unknown, format!("payouts.operator_share_bps is not set; {rest}"));
    };
    let cost = booked.cost.0.saturating_sub(unsaid.cost.0).saturating_sub(not_charged.cost.0);
    let receipts = booked.receipts.saturating_sub(unsaid.receipts).saturating_sub(not_charged.receipts);
    let promised = NanoTon(cost).basis_points(share);
    let short = earned.0.saturating_add(receipts) < promised.0;
    (unless(short), format!("{earned} nanoTON of {promised} promised for {receipts} receipts; {rest}"))
}

/// Somebody who was paid what the ledger does not have is not asked about the same ledger.
fn paid_within_booked(judged: &Judged<'_>) -> (Verdict, String) {
    let (Some(booked), Some(paid)) = (judged.booked, judged.paid) else {
        return (Verdict::Unknown, "it takes a gateway's answer and the chain's".to_owned());
    };
    let detail = format!("{} nanoTON paid, {booked} booked", paid.amount);
    (unless(i128::from(paid.amount.0) > booked), detail)
}

/// By the settler's rule. A small amount that has waited for longer than a day is not on its way any more.
fn paid_in_time(judged: &Judged<'_>) -> (Verdict, String) {
    let (Some(owed), Some(paid)) = (judged.owed, judged.paid) else {
        return (Verdict::Unknown, "it takes a gateway's answer and the chain's".to_owned());
    };
    if owed < SMALL {
        return (Verdict::Ok, format!("{owed} nanoTON owed, less than is paid out"));
    }
    let first = judged.tally.since.map(|since_ms| since_ms / 1000);
    let (what, since) = match (paid.newest, first) {
        (Some(newest), _) => ("payout", u64::from(newest)),
        (None, Some(first)) => ("receipt", first),
        (None, None) => {
            return (Verdict::Unknown, format!("{owed} nanoTON owed; no outbox here says since when"));
        }
    };
    let waited = judged.now.saturating_sub(since);
    let last = if what == "payout" { "last" } else { "first" };
    let detail = format!("{owed} nanoTON owed, {waited} s since the {last} {what}");
    if waited > SMALL_AFTER {
        (Verdict::Failed, format!("late: {detail}"))
    } else if owed >= AT_ONCE {
        (Verdict::Late, detail)
    } else {
        (Verdict::Ok, detail)
    }
}
