//! The Merkle tree of one epoch, over the digests of its receipts in their order. It is that of RFC 6962, section 2.1:
//! of `n` leaves the left side has the largest power of two below `n`.

use cocoon_receipts::Digest;

/// First byte of what is hashed for a leaf; 2 and 3 are those of the registry's mountain range.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The leaf of a receipt: SHA-256(00 ‖ SHA-256 of its JWS).
#[must_use]
pub fn leaf(receipt: &Digest) -> Digest {
    Digest::of(&[&[LEAF], &receipt.0])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[NODE], &left.0, &right.0])
}

/// Where the leaves of a tree divide.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The root over these receipts; over none, SHA-256 of nothing.
#[must_use]
pub fn root(receipts: &[Digest]) -> Digest {
    match receipts {
        [] => Digest::of(&[]),
        [one] => leaf(one),
        _ => {
            let (left, right) = receipts.split_at(split(receipts.len()));
            node(&root(left), &root(right))
        }
    }
}

/// What proves the receipt at `position`: its siblings from the leaf up. None where there is no such position.
#[must_use]
pub fn path(receipts: &[Digest], position: usize) -> Option<Vec<Digest>> {
    if position >= receipts.len() {
        return None;
    }
    let (mut rest, mut position, mut siblings) = (receipts, position, Vec::new());
    while rest.len() > 1 {
        let (left, right) = rest.split_at(split(rest.len()));
        if position < left.len() {
            siblings.push(root(right));
            rest = left;
        } else {
            siblings.push(root(left));
            position -= left.len();
            rest = right;
        }
    }
    siblings.reverse();
    Some(siblings)
}

/// The root that these siblings make of the receipt at `position` among `count`; none where a tree of `count` leaves
/// has no such path.
#[must_use]
pub fn root_by_path(receipt: &Digest, position: u64, count: u64, siblings: &[Digest]) -> Option<Digest> {
    let (mut position, mut last) = (position, count.checked_sub(1)?);
    if position > last {
        return None;
    }
    let mut hash = leaf(receipt);
    // From the leaf up, a level at a time. What is last on its level and has nobody to its right goes up as it is.
    for sibling in siblings {
        while position == last && position.is_multiple_of(2) {
            if last == 0 {
                return None;
            }
            (position, last) = (position / 2, last / 2);
        }
        hash = if position.is_multiple_of(2) { node(&hash, sibling) } else { node(sibling, &hash) };
        (position, last) = (position / 2, last / 2);
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests;
