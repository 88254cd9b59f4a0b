//! An epoch as the log of decisions has it.

use cocoon_ledger::{JournalId, Shard};
use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};

/// What an epoch has, decided before anything is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The one before and 1.
    pub number: u32,
    /// Unix time of the decision.
    pub at: u32,
    /// Receipts in it: at least one.
    pub receipts: u64,
    /// Root of the tree over them.
    pub tree: Digest,
    /// What is published.
    pub root: Digest,
    /// The last entry that is in it, of each shard where that has moved.
    pub cuts: Vec<Cut>,
}

/// How far a shard's journal is in epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    pub shard: Shard,
    /// As the store had it when it was decided.
    pub at: JournalId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Decision;

    fn record(shards: u16) -> Decision {
        let id = JournalId(format!("{}-{}", u64::MAX, u64::MAX));
        let cuts = (0..shards).map(|shard| Cut { shard: Shard(shard), at: id.clone() }).collect();
        let (tree, root) = (Digest([1; 32]), Digest([2; 32]));
        Decision::Epoch(Record { number: u32::MAX, at: u32::MAX, receipts: u64::MAX, tree, root, cuts })
    }

    #[test]
    fn that_of_a_ledger_with_all_the_shards_there_can_be_fits_into_the_log() {
        let text = serde_json::to_string(&record(100)).unwrap();
        assert!(text.len() < cocoon_ledger::MAX_DECISION_BYTES / 4, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), record(100));
    }

    /// The log outlives this program.
    #[test]
    fn it_is_written_as_it_was() {
        let text = format!(
            r#"{{"decision":"epoch","number":2,"at":3,"receipts":4,"tree":"{}","root":"{}","cuts":[{{"shard":7,"at":"12"}}]}}"#,
            "01".repeat(32),
            "02".repeat(32),
        );
        let cuts = vec![Cut { shard: Shard(7), at: JournalId("12".to_owned()) }];
        let (tree, root) = (Digest([1; 32]), Digest([2; 32]));
        let decision = Decision::Epoch(Record { number: 2, at: 3, receipts: 4, tree, root, cuts });
        assert_eq!(serde_json::to_string(&decision).unwrap(), text);
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
    }
}
