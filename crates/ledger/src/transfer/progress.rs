//! How far an export or an import is.

use super::Part;
use crate::ShardCount;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The ledger is read into the file.
    Exporting,
    /// The file is read, to see that it is whole.
    Verifying,
    /// The file is read into the ledger.
    Importing,
    /// The ledger is read again, to see that it is as the file.
    Comparing,
    /// The journal is replayed.
    Checking,
}

/// After a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// Shards that are done.
    pub done: u16,
    pub of: u16,
    /// In this step so far.
    pub records: u64,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let step = match self.step {
            Step::Exporting => "exported",
            Step::Verifying => "verified in the file",
            Step::Importing => "imported",
            Step::Comparing => "compared with the file",
            Step::Checking => "checked against the journal",
        };
        let Self { done, of, records, .. } = self;
        write!(f, "{step}: {done} of {of} shards, {records} records")
    }
}

/// Tells it shard by shard.
pub(super) struct Reporter<'a> {
    step: Step,
    part: Part,
    of: ShardCount,
    progress: &'a mut (dyn FnMut(&Progress) + Send),
}

impl<'a> Reporter<'a> {
    pub(super) fn new(of: ShardCount, progress: &'a mut (dyn FnMut(&Progress) + Send)) -> Self {
        Self { step: Step::Exporting, part: Part::Shared, of, progress }
    }

    pub(super) fn shards(&self) -> ShardCount {
        self.of
    }

    pub(super) fn begin(&mut self, step: Step) {
        (self.step, self.part) = (step, Part::Shared);
    }

    /// `part` is next, after so many records.
    pub(super) fn at(&mut self, part: Part, records: u64) {
        if part != self.part
            && let Part::Shard(shard) = self.part
        {
            self.tell(shard.0 + 1, records);
        }
        self.part = part;
    }

    /// The step is done.
    pub(super) fn end(&mut self, records: u64) {
        self.tell(self.of.get(), records);
    }

    fn tell(&mut self, done: u16, records: u64) {
        (self.progress)(&Progress { step: self.step, done, of: self.of.get(), records });
    }
}
