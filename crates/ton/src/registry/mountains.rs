//! The registry's Merkle mountain range over the roots of all epochs, as `contracts/README.md` defines it.

use std::ops::Range;

use cocoon_receipts::Digest;

/// First bytes of what is hashed, as in `contracts/mountains.tolk`.
const LEAF: u8 = 2;
const NODE: u8 = 3;

fn leaf(epoch: u32, root: &Digest) -> Digest {
    Digest::of(&[&[LEAF], &epoch.to_be_bytes(), &root.0])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[NODE], &left.0, &right.0])
}

/// The mountains over `last` epochs, the largest first: from which leaf to which.
fn mountains(last: u32) -> impl Iterator<Item = Range<u32>> {
    let mut begin = 0;
    (0..u32::BITS).rev().map(|bit| 1 << bit).filter(move |size| last & size != 0).map(move |size| {
        let range = begin..begin + size;
        begin = range.end;
        range
    })
}

/// The peak of a perfect tree, whose first leaf is that of epoch `first`.
fn peak(first: u32, roots: &[Digest]) -> Digest {
    let mut level: Vec<Digest> = (first..).zip(roots).map(|(epoch, root)| leaf(epoch, root)).collect();
    while level.len() > 1 {
        level = level.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
    }
    level.first().copied().unwrap_or(Digest([0; 32]))
}

/// The part of `roots` that epochs `range` (counted from 0) have.
fn part(roots: &[Digest], range: &Range<u32>) -> Option<(u32, Vec<Digest>)> {
    let (begin, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    Some((range.start + 1, roots.get(begin..end)?.to_vec()))
}

/// The peaks over the roots of epochs 1, 2 and so on up to `last`, the smallest mountain first; none where there are not
/// so many roots.
#[must_use]
pub fn peaks(roots: &[Digest], last: u32) -> Option<Vec<[u8; 32]>> {
    let mut peaks = Vec::new();
    for range in mountains(last) {
        let (first, roots) = part(roots, &range)?;
        peaks.push(peak(first, &roots).0);
    }
    peaks.reverse();
    Some(peaks)
}

/// What proves the root of `epoch` among the first `last`: its siblings from the leaf up. None where there is no such
/// epoch.
#[must_use]
pub fn path(roots: &[Digest], last: u32, epoch: u32) -> Option<Vec<Digest>> {
    let (_, range) = find(last, epoch)?;
    let (first, roots) = part(roots, &range)?;
    let mut level: Vec<Digest> = (first..).zip(&roots).map(|(epoch, root)| leaf(epoch, root)).collect();
    let (mut position, mut siblings) = (usize::try_from(epoch - first).ok()?, Vec::new());
    while level.len() > 1 {
        siblings.push(level[position ^ 1]);
        level = level.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
        position /= 2;
    }
    Some(siblings)
}

/// The mountain that has `epoch`: how many are larger, and its leaves.
fn find(last: u32, epoch: u32) -> Option<(usize, Range<u32>)> {
    let leaf = epoch.checked_sub(1)?;
    mountains(last).enumerate().find(|(_, range)| range.contains(&leaf))
}

/// How many siblings prove `epoch` among the first `last`; none where it is not among them.
#[must_use]
pub fn path_length(last: u32, epoch: u32) -> Option<usize> {
    let (_, range) = find(last, epoch)?;
    usize::try_from((range.end - range.start).trailing_zeros()).ok()
}

/// Whether `siblings` prove that `root` is that of `epoch`, by nothing but what the chain has: the last epoch and the
/// peaks, the smallest mountain first.
#[must_use]
pub fn proves(siblings: &[Digest], epoch: u32, root: &Digest, last: u32, peaks: &[[u8; 32]]) -> bool {
    let Some((larger, range)) = find(last, epoch) else { return false };
    if path_length(last, epoch) != Some(siblings.len()) {
        return false;
    }
    let mut position = epoch - 1 - range.start;
    let mut hash = leaf(epoch, root);
    for sibling in siblings {
        hash = if position.is_multiple_of(2) { node(&hash, sibling) } else { node(sibling, &hash) };
        position /= 2;
    }
    peaks.iter().rev().nth(larger) == Some(&hash.0)
}

#[cfg(test)]
mod tests;
