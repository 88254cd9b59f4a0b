//! The Merkle tree that lets one quote answer many nonces (RFC 6962 section 2.1: hashing, inclusion proofs).
//!
//! A proof travels as `u32be index ‖ u32be leaves ‖ hashes of 32 bytes`, from the leaf up; that of a tree of one is empty.

use cocoon_receipts::Digest;

use crate::document::Nonce;

const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];

/// Nonces that one quote answers.
pub const MAX_LEAVES: usize = 1024;

const HEAD: usize = 8;
const HASH: usize = 32;

/// A tree over at least one nonce.
#[derive(Debug, Clone)]
pub struct Tree {
    leaves: Vec<Digest>,
}

impl Tree {
    /// None where there are no nonces, or more than [`MAX_LEAVES`].
    #[must_use]
    pub fn new(nonces: &[Nonce]) -> Option<Self> {
        let leaves = nonces.iter().map(leaf).collect();
        (1..=MAX_LEAVES).contains(&nonces.len()).then_some(Self { leaves })
    }

    /// What the quote covers.
    #[must_use]
    pub fn root(&self) -> Digest {
        root(&self.leaves)
    }

    /// The proof that the nonce at `index` is in the tree; none where there is no such nonce.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<Vec<u8>> {
        let leaves = self.leaves.len();
        if index >= leaves {
            return None;
        }
        let mut path = Vec::new();
        if leaves > 1 {
            path.extend(u32::try_from(index).ok()?.to_be_bytes());
            path.extend(u32::try_from(leaves).ok()?.to_be_bytes());
            climb(&self.leaves, index, &mut path);
        }
        Some(path)
    }
}

/// The root that `path` leads to from `nonce`; none where it is no proof of an inclusion.
#[must_use]
pub fn root_of(nonce: &Nonce, path: &[u8]) -> Option<Digest> {
    if path.is_empty() {
        return Some(leaf(nonce));
    }
    let (head, hashes) = path.split_first_chunk::<HEAD>()?;
    let index = usize::try_from(u32::from_be_bytes(*head.first_chunk()?)).ok()?;
    let leaves = usize::try_from(u32::from_be_bytes(*head.last_chunk()?)).ok()?;
    // A tree of one has one proof, the empty one.
    if !(2..=MAX_LEAVES).contains(&leaves) || index >= leaves || !hashes.len().is_multiple_of(HASH) {
        return None;
    }
    // RFC 9162 section 2.1.3.2.
    let (mut from, mut last, mut digest) = (index, leaves - 1, leaf(nonce));
    for sibling in hashes.chunks_exact(HASH) {
        if last == 0 {
            return None;
        }
        let sibling = Digest(sibling.try_into().ok()?);
        if from % 2 == 1 || from == last {
            digest = node(sibling, digest);
            while from % 2 == 0 && from != 0 {
                from >>= 1;
                last >>= 1;
            }
        } else {
            digest = node(digest, sibling);
        }
        from >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(digest)
}

/// The root of the tree that has this nonce alone.
#[must_use]
pub fn leaf(nonce: &Nonce) -> Digest {
    Digest::of(&[LEAF, &nonce.0])
}

fn node(left: Digest, right: Digest) -> Digest {
    Digest::of(&[NODE, &left.0, &right.0])
}

fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// Puts the siblings of the leaf at `index` into `path`, the lowest first.
fn climb(leaves: &[Digest], index: usize, path: &mut Vec<u8>) {
    if leaves.len() < 2 {
        return;
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let sibling = if index < left.len() {
        climb(left, index, path);
        root(right)
    } else {
        climb(right, index - left.len(), path);
        root(left)
    };
    path.extend(sibling.0);
}

/// The largest power of two below `leaves`, of which there are two at least.
fn split(leaves: usize) -> usize {
    leaves.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nonces(count: usize) -> Vec<Nonce> {
        (0..count).map(|at| Nonce(Digest::of(&[&at.to_be_bytes()]).0)).collect()
    }

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let of = |bytes: &[&[u8]]| Digest::of(bytes);
        let all = nonces(3);
        let [a, b, c] = [0, 1, 2].map(|at: usize| of(&[&[0], &all[at].0]));
        assert_eq!(Tree::new(&all[..1]).unwrap().root(), a);
        let ab = of(&[&[1], &a.0, &b.0]);
        assert_eq!(Tree::new(&all[..2]).unwrap().root(), ab);
        assert_eq!(Tree::new(&all).unwrap().root(), of(&[&[1], &ab.0, &c.0]));
        assert!(Tree::new(&[]).is_none() && Tree::new(&nonces(MAX_LEAVES + 1)).is_none());
    }

    #[test]
    fn a_tree_of_one_has_an_empty_proof_and_no_other() {
        let all = nonces(1);
        let tree = Tree::new(&all).unwrap();
        assert!(tree.path(0).unwrap().is_empty());
        assert_eq!(root_of(&all[0], &[]), Some(tree.root()));
        assert_eq!(root_of(&all[0], &[0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert!(tree.path(1).is_none());
    }

    #[test]
    fn every_nonce_of_every_small_tree_is_proven_and_no_other() {
        for count in (1..=33).chain([MAX_LEAVES - 1, MAX_LEAVES]) {
            let all = nonces(count);
            let tree = Tree::new(&all).unwrap();
            for at in 0..count {
                let path = tree.path(at).unwrap();
                assert_eq!(root_of(&all[at], &path), Some(tree.root()), "{at} of {count}");
                let other = &all[(at + 1) % count];
                assert_eq!(root_of(other, &path) == Some(tree.root()), count == 1, "{at} of {count}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_changed_proof_leads_elsewhere(count in 2_usize..40, at in 0_usize..40, byte in 0_usize..1000, bit in 0_u8..8) {
            let all = nonces(count);
            let tree = Tree::new(&all).unwrap();
            let at = at % count;
            let mut path = tree.path(at).unwrap();
            let whole = path.clone();
            let byte = byte % path.len();
            path[byte] ^= 1 << bit;
            // Index and size are not hashed, and another may describe the same way up; that proves the same nonce.
            if byte >= HEAD {
                prop_assert_ne!(root_of(&all[at], &path), Some(tree.root()));
            }
            prop_assert_eq!(root_of(&all[at], &whole[..whole.len() - 1]), None);
            prop_assert_ne!(root_of(&all[at], &whole[..whole.len() - HASH]), Some(tree.root()));
        }

        #[test]
        fn any_bytes_are_read(path in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = root_of(&Nonce([7; 32]), &path);
        }
    }
}
