use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// Made by `goldens/make.mjs` from the definition that the contract's tests hold it to.
#[derive(Deserialize)]
struct Golden {
    roots: Vec<Digest>,
    peaks: Vec<Digest>,
    /// Of every epoch.
    paths: Vec<Vec<Digest>>,
}

fn bytes(peaks: &[Digest]) -> Vec<[u8; 32]> {
    peaks.iter().map(|peak| peak.0).collect()
}

#[test]
fn peaks_and_paths_are_those_of_the_contracts_definition() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../../../goldens/mountains.json")).unwrap();
    assert_eq!(goldens.len(), 13);
    for (last, golden) in (1..).zip(goldens) {
        let on_chain = bytes(&golden.peaks);
        assert_eq!(peaks(&golden.roots, last), Some(on_chain.clone()), "{last}");
        for (epoch, siblings) in (1..).zip(&golden.paths) {
            assert_eq!(path(&golden.roots, last, epoch).as_ref(), Some(siblings), "{epoch} of {last}");
            let root = golden.roots[epoch as usize - 1];
            assert!(proves(siblings, epoch, &root, last, &on_chain), "{epoch} of {last}");
        }
        assert_eq!(path(&golden.roots, last, last + 1), None);
        assert_eq!(peaks(&golden.roots, last + 1), None);
    }
}

#[test]
fn there_is_nothing_to_prove_without_epochs() {
    assert_eq!(peaks(&[], 0), Some(Vec::new()));
    assert_eq!((path(&[], 0, 0), path(&[], 0, 1)), (None, None));
    assert!(!proves(&[], 0, &Digest([0; 32]), 0, &[]) && !proves(&[], 1, &Digest([0; 32]), 0, &[]));
}

#[test]
fn the_largest_range_has_a_path_for_each_of_its_epochs() {
    assert_eq!(path_length(u32::MAX, 1), Some(31));
    assert_eq!(path_length(u32::MAX, u32::MAX), Some(0));
    assert_eq!(path_length(u32::MAX, 0), None);
}

proptest! {
    #[test]
    fn nothing_but_the_epochs_own_root_and_path_proves_it(
        last in 1_u32..200, at: prop::sample::Index, other: prop::sample::Index,
        which: prop::sample::Index, bit in 0_u8..=255,
    ) {
        let roots: Vec<Digest> = (0..last).map(|epoch| Digest::of(&[&epoch.to_le_bytes()])).collect();
        let epoch = u32::try_from(at.index(roots.len())).unwrap() + 1;
        let root = roots[epoch as usize - 1];
        let on_chain = peaks(&roots, last).unwrap();
        let siblings = path(&roots, last, epoch).unwrap();
        prop_assert!(proves(&siblings, epoch, &root, last, &on_chain));

        let another = u32::try_from(other.index(roots.len())).unwrap() + 1;
        if another != epoch {
            prop_assert!(!proves(&siblings, another, &root, last, &on_chain));
            prop_assert!(!proves(&siblings, epoch, &roots[another as usize - 1], last, &on_chain));
        }
        let longer = [siblings.as_slice(), &[root]].concat();
        prop_assert!(!proves(&longer, epoch, &root, last, &on_chain));
        let flip = |digest: &mut Digest| digest.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
        let (mut changed_root, mut changed) = (root, siblings.clone());
        match which.index(siblings.len() + 1) {
            0 => flip(&mut changed_root),
            sibling => flip(&mut changed[sibling - 1]),
        }
        prop_assert!(!proves(&changed, epoch, &changed_root, last, &on_chain));
    }
}
