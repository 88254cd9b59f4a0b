//! What the log of decisions says of epochs, and of nothing else.

use cocoon_ledger::JournalId;
use cocoon_receipts::Digest;

use super::commitment::{Commitment, Cuts, FIRST, cuts_digest};
use super::journals::place;
use super::record::Record;
use crate::decision::{Decision, Opened};

/// Longest text of a journal id.
const MAX_ID_BYTES: usize = 64;

/// A record that does not follow from those before it: the log is damaged, or of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEpoch {
    #[error("the log begins with something else than whose it is")]
    Opened,
    #[error("an epoch has not the number after the one before it")]
    Number,
    #[error("an epoch was decided before the one before it")]
    Time,
    #[error("an epoch has no receipts")]
    Empty,
    #[error("an epoch ends where it began, or before")]
    Cut,
    #[error("an epoch's root is not that of what it has")]
    Root,
}

/// An epoch that was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub commitment: Commitment,
    /// Unix time of the decision.
    pub at: u32,
}

/// All epochs of the log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    opened: Option<Opened>,
    /// From the second epoch on: the first is the same everywhere.
    sealed: Vec<Sealed>,
    cuts: Cuts,
}

impl Log {
    /// Takes one more record of the log, of whatever kind.
    ///
    /// # Errors
    /// [`NotAnEpoch`], and then nothing was taken.
    pub fn apply(&mut self, decision: &Decision) -> Result<(), NotAnEpoch> {
        match decision {
            Decision::Opened(opened) => {
                self.opened = Some(opened.clone());
                Ok(())
            }
            _ if self.opened.is_none() => Err(NotAnEpoch::Opened),
            Decision::Epoch(record) => self.seal(record),
            _ => Ok(()),
        }
    }

    fn seal(&mut self, record: &Record) -> Result<(), NotAnEpoch> {
        if Some(record.number) != self.next() {
            return Err(NotAnEpoch::Number);
        }
        if self.sealed.last().is_some_and(|before| record.at < before.at) {
            return Err(NotAnEpoch::Time);
        }
        if record.receipts == 0 || record.cuts.is_empty() {
            return Err(NotAnEpoch::Empty);
        }
        let mut cuts = self.cuts.clone();
        for cut in &record.cuts {
            if cut.at.0.len() > MAX_ID_BYTES || !is_after(&cut.at, cuts.get(&cut.shard)) {
                return Err(NotAnEpoch::Cut);
            }
            cuts.insert(cut.shard, cut.at.clone());
        }
        let commitment = Commitment {
            epoch: record.number,
            count: record.receipts,
            cuts: cuts_digest(&cuts),
            tree: record.tree,
        };
        if commitment.root() != record.root {
            return Err(NotAnEpoch::Root);
        }
        self.cuts = cuts;
        self.sealed.push(Sealed { commitment, at: record.at });
        Ok(())
    }

    /// Whose log it is; none for an empty one.
    #[must_use]
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// The number of the last epoch, which is also how many there are.
    #[must_use]
    pub fn last(&self) -> u32 {
        // Their numbers are counted when they are taken.
        u32::try_from(self.sealed.len()).map_or(u32::MAX, |count| count.saturating_add(FIRST))
    }

    /// The number of the epoch that is to be decided next; none after the largest number.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        self.last().checked_add(1)
    }

    /// The epochs that have receipts, from the second on.
    #[must_use]
    pub fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// That epoch; none for the first, and for those that were not decided.
    #[must_use]
    pub fn epoch(&self, number: u32) -> Option<&Sealed> {
        let index = number.checked_sub(FIRST + 1)?;
        self.sealed.get(usize::try_from(index).ok()?)
    }

    /// The roots of all epochs, from the first on.
    #[must_use]
    pub fn roots(&self) -> Vec<Digest> {
        let sealed = self.sealed.iter().map(|sealed| sealed.commitment);
        std::iter::once(Commitment::first()).chain(sealed).map(|commitment| commitment.root()).collect()
    }

    /// Up to where all shards are in epochs.
    #[must_use]
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }
}

/// Whether an id is a later one; ids that no store writes are not.
fn is_after(id: &JournalId, before: Option<&JournalId>) -> bool {
    let Ok(at) = place(id) else { return false };
    before.is_none_or(|before| place(before).is_ok_and(|before| before < at))
}

#[cfg(test)]
mod tests {
    use cocoon_ledger::Shard;

    use super::*;
    use crate::decision::Payee;
    use crate::epochs::record::Cut;

    fn opened() -> Decision {
        let wallet: Payee = format!("0:{}", "ab".repeat(32)).parse().unwrap();
        Decision::Opened(Opened { wallet, global_id: -3 })
    }

    fn cuts(all: &[(u16, &str)]) -> Vec<Cut> {
        all.iter().map(|(shard, at)| Cut { shard: Shard(*shard), at: JournalId((*at).to_owned()) }).collect()
    }

    /// As a settler decides it after `log`.
    fn record(log: &Log, moved: Vec<Cut>) -> Record {
        let mut all = log.cuts().clone();
        all.extend(moved.iter().map(|cut| (cut.shard, cut.at.clone())));
        let (number, tree) = (log.next().unwrap(), Digest([9; 32]));
        let commitment = Commitment { epoch: number, count: 1, cuts: cuts_digest(&all), tree };
        Record { number, at: 100 * number, receipts: 1, tree, root: commitment.root(), cuts: moved }
    }

    fn log(epochs: &[&[(u16, &str)]]) -> Log {
        let mut log = Log::default();
        log.apply(&opened()).unwrap();
        for epoch in epochs {
            let record = record(&log, cuts(epoch));
            log.apply(&Decision::Epoch(record)).unwrap();
        }
        log
    }

    #[test]
    fn epochs_follow_each_other() {
        let log = log(&[&[(0, "5"), (3, "1")], &[(0, "9")], &[(1, "1790000000000-0")]]);
        assert_eq!((log.last(), log.roots().len()), (4, 4));
        assert_eq!(log.roots()[0], Commitment::first().root());
        assert_eq!((log.epoch(1), log.epoch(5)), (None, None));
        assert_eq!(log.epoch(4).unwrap().at, 400);
        let at: Vec<_> = log.cuts().iter().map(|(shard, id)| (shard.0, id.0.as_str())).collect();
        assert_eq!(at, [(0, "9"), (1, "1790000000000-0"), (3, "1")]);
    }

    #[test]
    fn what_does_not_follow_is_refused_and_changes_nothing() {
        let mut log = log(&[&[(0, "5")]]);
        let good = record(&log, cuts(&[(0, "6")]));
        let of = |moved: &[(u16, &str)]| record(&log, cuts(moved));
        let cases = [
            (Record { number: 2, ..good.clone() }, NotAnEpoch::Number),
            (Record { number: 4, ..good.clone() }, NotAnEpoch::Number),
            (Record { at: 199, ..good.clone() }, NotAnEpoch::Time),
            (Record { receipts: 0, ..good.clone() }, NotAnEpoch::Empty),
            (of(&[]), NotAnEpoch::Empty),
            (of(&[(0, "5")]), NotAnEpoch::Cut),
            (of(&[(0, "4")]), NotAnEpoch::Cut),
            // The same place, as a Redis has it.
            (of(&[(0, "0-5")]), NotAnEpoch::Cut),
            (of(&[(1, "x")]), NotAnEpoch::Cut),
            (of(&[(1, "7"), (1, "7")]), NotAnEpoch::Cut),
            (Record { receipts: 2, ..good.clone() }, NotAnEpoch::Root),
            (Record { tree: Digest([0; 32]), ..good.clone() }, NotAnEpoch::Root),
            (Record { cuts: cuts(&[(0, "7")]), ..good.clone() }, NotAnEpoch::Root),
        ];
        for (record, error) in cases {
            assert_eq!(log.apply(&Decision::Epoch(record.clone())), Err(error), "{record:?}");
            assert_eq!((log.last(), log.cuts().len()), (2, 1));
        }
        log.apply(&Decision::Epoch(good)).unwrap();
        assert_eq!(Log::default().apply(&Decision::Lapsed { seqno: 1 }), Err(NotAnEpoch::Opened));
    }

    #[test]
    fn a_count_goes_on_after_it_moved_into_a_redis() {
        let log = log(&[&[(0, "5")], &[(0, "0-6")], &[(0, "1790000000000-0")]]);
        assert_eq!(log.last(), 4);
    }
}
