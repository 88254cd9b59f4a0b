use proptest::prelude::*;

use super::*;

fn receipts(count: usize) -> Vec<Digest> {
    (0..count).map(|number| Digest::of(&[&number.to_be_bytes()])).collect()
}

fn proves(receipts: &[Digest], receipt: &Digest, position: usize, siblings: &[Digest]) -> bool {
    root_by_path(receipt, position as u64, receipts.len() as u64, siblings) == Some(root(receipts))
}

/// By the definition, written out.
#[test]
fn small_trees_are_what_the_definition_says() {
    let all = receipts(7);
    let leaf = |at: usize| Digest::of(&[&[0], &all[at].0]);
    let node = |left: Digest, right: Digest| Digest::of(&[&[1], &left.0, &right.0]);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(root(&[]).to_string(), empty);
    assert_eq!(root(&all[..1]), leaf(0));
    assert_eq!(root(&all[..2]), node(leaf(0), leaf(1)));
    assert_eq!(root(&all[..3]), node(node(leaf(0), leaf(1)), leaf(2)));
    let four = node(node(leaf(0), leaf(1)), node(leaf(2), leaf(3)));
    assert_eq!(root(&all[..4]), four);
    assert_eq!(root(&all[..5]), node(four, leaf(4)));
    assert_eq!(root(&all[..6]), node(four, node(leaf(4), leaf(5))));
    assert_eq!(root(&all), node(four, node(node(leaf(4), leaf(5)), leaf(6))));
    assert_eq!(path(&all, 6).unwrap(), [node(leaf(4), leaf(5)), four]);
    assert_eq!(path(&all[..5], 4).unwrap(), [four]);
}

/// One, two, odd numbers and powers of two are all among them.
#[test]
fn every_leaf_proves_at_its_own_place_and_nowhere_else() {
    for count in 1..=33 {
        let all = receipts(count);
        assert_eq!(path(&all, count), None);
        for position in 0..count {
            let siblings = path(&all, position).unwrap();
            for other in 0..count + 2 {
                let is_it = proves(&all, &all[position], other, &siblings);
                assert_eq!(is_it, other == position, "{count} leaves, {position} at {other}");
                if let Some(receipt) = all.get(other).filter(|_| other != position) {
                    assert!(!proves(&all, receipt, position, &siblings), "{count}: {other} at {position}");
                }
            }
        }
    }
}

#[test]
fn a_path_of_another_length_proves_nothing() {
    for count in 1..=17 {
        let all = receipts(count);
        for position in 0..count {
            let mut siblings = path(&all, position).unwrap();
            siblings.push(root(&all));
            assert_eq!(root_by_path(&all[position], position as u64, count as u64, &siblings), None);
            siblings.truncate(siblings.len() - 1);
            if siblings.pop().is_some() {
                assert!(!proves(&all, &all[position], position, &siblings), "{count} {position}");
            }
        }
    }
    assert_eq!(root_by_path(&receipts(1)[0], 0, 0, &[]), None, "of no leaves");
}

#[test]
fn an_inner_node_is_no_leaf() {
    let all = receipts(4);
    let inner = node(&leaf(&all[0]), &leaf(&all[1]));
    let siblings = [node(&leaf(&all[2]), &leaf(&all[3]))];
    // The same bits above it, as if the tree had two leaves.
    assert_eq!(node(&inner, &siblings[0]), root(&all));
    assert_ne!(root_by_path(&inner, 0, 2, &siblings), Some(root(&all)));
}

proptest! {
    #[test]
    fn any_changed_bit_fails(count in 1_usize..300, at: prop::sample::Index, which: prop::sample::Index, bit in 0_u8..=255) {
        let all = receipts(count);
        let position = at.index(count);
        let siblings = path(&all, position).unwrap();
        prop_assert!(proves(&all, &all[position], position, &siblings));
        let flip = |digest: &mut Digest| digest.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
        let (mut receipt, mut changed) = (all[position], siblings.clone());
        match which.index(siblings.len() + 1) {
            0 => flip(&mut receipt),
            sibling => flip(&mut changed[sibling - 1]),
        }
        prop_assert!(!proves(&all, &receipt, position, &changed));
        // And a tree that differs in one leaf has another root.
        let mut other = all.clone();
        flip(&mut other[position]);
        prop_assert_ne!(root(&other), root(&all));
    }

    #[test]
    fn nothing_panics(position: u64, count: u64, siblings in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let siblings: Vec<Digest> = siblings.into_iter().map(Digest).collect();
        let _ = root_by_path(&Digest([7; 32]), position, count, &siblings);
    }
}
