//! What an epoch's root commits to: its number, how many receipts it has, up to where it has them, and the tree of them.

use std::collections::BTreeMap;

use cocoon_ledger::{JournalId, Shard};
use cocoon_receipts::Digest;

use super::tree;

/// First bytes of what is hashed; 0 to 3 are those of the tree and of the registry's mountain range.
const EPOCH: u8 = 4;
const CUTS: u8 = 5;

/// The first epoch of every registry. It has no receipts, says that from here on every one is in an epoch, and is
/// what deploys the registry: the only message that its publisher may send is the next root.
pub const FIRST: u32 = 1;

/// The last journal entry of each shard that is in this epoch or an earlier one; a shard without any is left out.
pub type Cuts = BTreeMap<Shard, JournalId>;

/// What is hashed into a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    pub epoch: u32,
    /// Receipts in it.
    pub count: u64,
    /// Of all cuts, see [`cuts_digest`].
    pub cuts: Digest,
    /// Root of the tree over the receipts.
    pub tree: Digest,
}

impl Commitment {
    /// SHA-256(04 ‖ epoch, 4 bytes ‖ count, 8 bytes ‖ cuts ‖ tree); numbers are big-endian.
    #[must_use]
    pub fn root(&self) -> Digest {
        let Self { epoch, count, cuts, tree } = self;
        Digest::of(&[&[EPOCH], &epoch.to_be_bytes(), &count.to_be_bytes(), &cuts.0, &tree.0])
    }

    /// The first epoch.
    #[must_use]
    pub fn first() -> Self {
        Self { epoch: FIRST, count: 0, cuts: cuts_digest(&Cuts::new()), tree: tree::root(&[]) }
    }
}

/// SHA-256(05 ‖ for each shard in order: its number, 2 bytes ‖ the length of the entry's id, 1 byte ‖ the id's text).
#[must_use]
pub fn cuts_digest(cuts: &Cuts) -> Digest {
    let mut bytes = vec![CUTS];
    for (Shard(shard), JournalId(id)) in cuts {
        bytes.extend(shard.to_be_bytes());
        // Ids are two numbers at most.
        bytes.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        bytes.extend(id.as_bytes());
    }
    Digest::of(&[&bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(all: &[(u16, &str)]) -> Cuts {
        all.iter().map(|(shard, id)| (Shard(*shard), JournalId((*id).to_owned()))).collect()
    }

    #[test]
    fn cuts_that_differ_have_other_digests() {
        let all = [
            cuts(&[]),
            cuts(&[(0, "1")]),
            cuts(&[(1, "1")]),
            cuts(&[(0, "11")]),
            cuts(&[(0, "1"), (1, "1")]),
            cuts(&[(0, "1790000000000-1")]),
        ];
        let digests: std::collections::BTreeSet<Digest> = all.iter().map(cuts_digest).collect();
        assert_eq!(digests.len(), all.len());
        let (shard, length) = ([0, 1], [2]);
        let by_hand = Digest::of(&[&[5], &shard, &length, b"17"]);
        assert_eq!(cuts_digest(&cuts(&[(1, "17")])), by_hand);
    }

    #[test]
    fn every_field_is_in_the_root() {
        let first = Commitment::first();
        let changed = [
            Commitment { epoch: 2, ..first },
            Commitment { count: 1, ..first },
            Commitment { cuts: Digest([1; 32]), ..first },
            Commitment { tree: Digest([1; 32]), ..first },
        ];
        for other in changed {
            assert_ne!(other.root(), first.root(), "{other:?}");
        }
    }

    /// Registries were deployed with it.
    #[test]
    fn the_first_root_is_what_it_was() {
        assert_eq!(
            Commitment::first().root().to_string(),
            "2c866a1fdf2062a8eb4e2599f362f895b662603095711e302e2393b615c9ce7b"
        );
    }
}
