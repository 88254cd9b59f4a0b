//! What the lines of an outbox come to: the receipts that wait, and a tally of those that do not any more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use cocoon_receipts::{NanoTon, ReceiptId, claimed_cost};
use serde::{Deserialize, Serialize};

/// The outbox's file in its folder.
pub(super) const FILE: &str = "outbox.jsonl";

/// A signed receipt with its ticket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: ReceiptId,
    pub(crate) receipt: String,
    pub(crate) ticket: String,
    /// As the receipt says.
    pub(crate) cost: NanoTon,
}

/// A receipt that is still to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) kept: Arc<Kept>,
    /// When a gateway acknowledged it for the first time, milliseconds since 1970.
    pub(crate) acknowledged_at: Option<u64>,
    /// What the operator earns by it, in the words of that acknowledgement.
    pub(crate) earned: Option<NanoTon>,
}

/// Some receipts, and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sum {
    pub receipts: u64,
    /// nanoTON.
    pub cost: NanoTon,
}

impl Sum {
    fn add(&mut self, cost: NanoTon) {
        self.add_all(Self { receipts: 1, cost });
    }

    /// Saturating: costs are bounded by tickets, which are others' words.
    pub(crate) fn add_all(&mut self, other: Self) {
        self.receipts = self.receipts.saturating_add(other.receipts);
        self.cost = saturating(self.cost, other.cost);
    }
}

fn saturating(one: NanoTon, other: NanoTon) -> NanoTon {
    NanoTon(one.0.saturating_add(other.0))
}

/// What became of the receipts that are finished with. Kept with the outbox for good: their own lines are dropped from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Acknowledged twice.
    pub booked: Sum,
    /// What the operator earns by those, nanoTON, as the acknowledgements say.
    pub earned: NanoTon,
    /// Those of them that were acknowledged without an amount.
    pub unsaid: Sum,
    /// Those of them by which, as was said, the operator earns nothing, though they cost something.
    pub not_charged: Sum,
    /// How many of them were acknowledged with one amount first and with another one then.
    pub differing: u64,
    pub refused: Sum,
    /// Nobody took them in time.
    pub expired: Sum,
    /// Lines that could not be read: what they said is in no sum here.
    pub damaged: u64,
    /// When the first receipt was made, milliseconds since 1970.
    pub since: Option<u64>,
}

impl Tally {
    /// The later acknowledgement is believed: the ledger may have lost what it said with the first.
    fn book(&mut self, cost: NanoTon, first: Option<NanoTon>, second: Option<NanoTon>) {
        self.booked.add(cost);
        if differ(first, second) {
            self.differing = self.differing.saturating_add(1);
        }
        match second.or(first) {
            None => self.unsaid.add(cost),
            Some(NanoTon::ZERO) if cost > NanoTon::ZERO => self.not_charged.add(cost),
            Some(earned) => self.earned = saturating(self.earned, earned),
        }
    }

    fn begin(&mut self, made_at_ms: u64) {
        self.since = Some(self.since.map_or(made_at_ms, |since| since.min(made_at_ms)));
    }

    /// Adds another outbox's.
    pub(crate) fn add_all(&mut self, other: &Self) {
        let Self { booked, earned, unsaid, not_charged, differing, refused, expired, damaged, since } = other;
        self.booked.add_all(*booked);
        self.earned = saturating(self.earned, *earned);
        self.unsaid.add_all(*unsaid);
        self.not_charged.add_all(*not_charged);
        self.differing = self.differing.saturating_add(*differing);
        self.refused.add_all(*refused);
        self.expired.add_all(*expired);
        self.damaged = self.damaged.saturating_add(*damaged);
        if let Some(since) = *since {
            self.begin(since);
        }
    }
}

/// Whether two acknowledgements say different amounts.
pub(super) fn differ(first: Option<NanoTon>, second: Option<NanoTon>) -> bool {
    first.zip(second).is_some_and(|(first, second)| first != second)
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Line {
    Receipt {
        id: ReceiptId,
        receipt: String,
        ticket: String,
    },
    Acknowledged {
        ack: ReceiptId,
        n: u8,
        at: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        earned: Option<NanoTon>,
    },
    Refused {
        refused: ReceiptId,
        code: String,
    },
    Expired {
        expired: ReceiptId,
    },
    /// The first line of a file that was written anew: all that its receipts' own lines do not say any more.
    Tally {
        tally: Tally,
    },
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(super) pending: BTreeMap<ReceiptId, Pending>,
    pub(super) tally: Tally,
}

impl Books {
    /// Reads whole lines; how many there are, and how many of them cannot be read.
    pub(super) fn of(bytes: &[u8]) -> (Self, usize, usize) {
        let (mut books, mut lines, mut damaged) = (Self::default(), 0, 0_u32);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            match serde_json::from_slice(line) {
                // It replaces what was counted, so it counts nowhere but at the head.
                Ok(Line::Tally { .. }) if lines > 1 => damaged += 1,
                Ok(line) => damaged += u32::from(!books.apply(line)),
                Err(_) => damaged += 1,
            }
        }
        books.tally.damaged = books.tally.damaged.saturating_add(damaged.into());
        (books, lines, damaged as usize)
    }

    /// Reads the outbox in `dir` as it is, also while a backend writes to it: without a lock, and changing nothing. A last
    /// line that is not whole is passed over.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read.
    pub(crate) fn look(dir: &Path) -> io::Result<Self> {
        // Once it is open it is this one file to its end, whatever takes its place meanwhile.
        let bytes = fs::read(dir.join(FILE))?;
        Ok(Self::of(&bytes[..whole_lines(&bytes)]).0)
    }

    /// What waits to be acknowledged, for the first time or the second.
    pub(crate) fn waiting(&self) -> Sum {
        let mut sum = Sum::default();
        self.pending.values().for_each(|pending| sum.add(pending.kept.cost));
        sum
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn wait(&mut self, kept: Arc<Kept>) {
        self.tally.begin(kept.id.made_at_ms());
        self.pending.insert(kept.id, Pending { kept, acknowledged_at: None, earned: None });
    }

    /// False for a receipt that says no cost. What is said of a receipt that waits no more changes nothing.
    pub(super) fn apply(&mut self, line: Line) -> bool {
        match line {
            Line::Receipt { id, receipt, ticket } => {
                let Ok(cost) = claimed_cost(&receipt) else { return false };
                self.wait(Arc::new(Kept { id, receipt, ticket, cost }));
            }
            Line::Acknowledged { ack, n: 1, at, earned } => {
                if let Some(pending) = self.pending.get_mut(&ack) {
                    (pending.acknowledged_at, pending.earned) = (Some(at), earned);
                }
            }
            Line::Acknowledged { ack, earned, .. } => {
                if let Some(pending) = self.pending.remove(&ack) {
                    self.tally.book(pending.kept.cost, pending.earned, earned);
                }
            }
            Line::Refused { refused, .. } => {
                if let Some(pending) = self.pending.remove(&refused) {
                    self.tally.refused.add(pending.kept.cost);
                }
            }
            Line::Expired { expired } => {
                if let Some(pending) = self.pending.remove(&expired) {
                    self.tally.expired.add(pending.kept.cost);
                }
            }
            Line::Tally { tally } => self.tally = tally,
        }
        true
    }
}

/// Bytes of `bytes` that are whole lines.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booked(acknowledgements: &[(u64, Option<u64>, Option<u64>)]) -> Tally {
        let mut tally = Tally::default();
        for (cost, first, second) in acknowledgements {
            tally.book(NanoTon(*cost), first.map(NanoTon), second.map(NanoTon));
        }
        tally
    }

    fn sum(receipts: u64, cost: u64) -> Sum {
        Sum { receipts, cost: NanoTon(cost) }
    }

    #[test]
    fn the_later_word_counts_and_one_that_differs_is_noticed() {
        let tally = booked(&[(10, Some(9), Some(9)), (10, Some(9), Some(8)), (10, None, Some(9))]);
        assert_eq!((tally.booked, tally.earned, tally.differing), (sum(3, 30), NanoTon(26), 1));
        assert_eq!((tally.unsaid, tally.not_charged), (Sum::default(), Sum::default()));
        let kept = booked(&[(10, Some(9), None)]);
        assert_eq!((kept.earned, kept.differing), (NanoTon(9), 0));
    }

    #[test]
    fn what_was_not_said_is_told_from_what_is_said_to_be_nothing() {
        let tally = booked(&[(10, None, None), (7, Some(0), Some(0)), (0, Some(0), Some(0))]);
        assert_eq!((tally.unsaid, tally.not_charged), (sum(1, 10), sum(1, 7)));
        assert_eq!((tally.booked, tally.earned), (sum(3, 17), NanoTon(0)));
    }

    /// What a gateway says is others' word: it must not end the backend.
    #[test]
    fn an_endless_amount_is_no_overflow() {
        let most = Some(u64::MAX);
        assert_eq!(booked(&[(u64::MAX, most, most), (1, most, most)]).earned, NanoTon(u64::MAX));
    }

    #[test]
    fn tallies_add_up_member_by_member() {
        let one = Tally {
            booked: sum(1, 2),
            earned: NanoTon(3),
            unsaid: sum(4, 5),
            not_charged: sum(6, 7),
            differing: 8,
            refused: sum(9, 10),
            expired: sum(11, 12),
            damaged: 13,
            since: Some(14),
        };
        let mut both = one;
        both.add_all(&Tally { since: Some(3), ..one });
        let twice = Tally {
            booked: sum(2, 4),
            earned: NanoTon(6),
            unsaid: sum(8, 10),
            not_charged: sum(12, 14),
            differing: 16,
            refused: sum(18, 20),
            expired: sum(22, 24),
            damaged: 26,
            since: Some(3),
        };
        assert_eq!(both, twice);
        both.add_all(&Tally::default());
        assert_eq!(both, twice);
    }
}
