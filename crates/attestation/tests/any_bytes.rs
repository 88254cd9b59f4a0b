//! Whatever bytes a document has, it is judged, and no changed evidence is believed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::OnceLock;

use cocoon_attestation::tree::Tree;
use cocoon_attestation::{Document, Nonce, Policy, Section, Tee};
use cocoon_synthetic_tee::{SyntheticNvidia, SyntheticSnp, keyset};
use proptest::prelude::*;

/// 2026-11-24T12:00:00Z.
const NOW: u64 = 1_795_521_600_000;
const NONCE: Nonce = Nonce([5; 32]);

/// A good document with a GPU, and the policy that it passes.
fn good() -> &'static (Document, Policy) {
    static GOOD: OnceLock<(Document, Policy)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let (snp, nvidia) = (SyntheticSnp::new(), SyntheticNvidia::new());
        let mut roots = snp.roots();
        nvidia.roots_into(&mut roots);
        let text = format!("{}{}", snp.policy_toml(), nvidia.policy_toml(1));
        #[expect(clippy::disallowed_methods, reason = "this evidence is signed by no vendor")]
        let policy = Policy::from_toml(&text).unwrap().with_roots(roots);
        let devices = nvidia.devices(Tree::new(&[NONCE]).unwrap().root(), 1, NOW);
        (snp.document(&keyset().to_bytes(), &devices, NONCE, NOW), policy)
    })
}

fn is_believed(document: &Document) -> bool {
    good().1.verify(document, NONCE, NOW, false).is_ok()
}

proptest! {
    #[test]
    fn any_sections_are_judged(
        quote in proptest::collection::vec(any::<u8>(), 0..1300),
        collateral in proptest::collection::vec(any::<u8>(), 0..300),
        devices in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let document = Document {
            quote: Section(quote),
            collateral: Section(collateral),
            devices: Section(devices),
            ..good().0.clone()
        };
        prop_assert!(!is_believed(&document));
        let other = Document { tee: Tee::Tdx, ..document };
        prop_assert!(!is_believed(&other));
    }

    #[test]
    fn any_report_of_the_right_length_is_judged(version in 0_u32..8, bytes in proptest::collection::vec(any::<u8>(), 1180)) {
        let quote = [version.to_le_bytes().as_slice(), &bytes].concat();
        let document = Document { quote: Section(quote), ..good().0.clone() };
        prop_assert!(!is_believed(&document));
    }

    #[test]
    fn a_changed_report_is_not_believed(at in 0_usize..1184, bit in 0_u8..8) {
        prop_assert!(is_believed(&good().0));
        let mut document = good().0.clone();
        document.quote.0[at] ^= 1 << bit;
        prop_assert!(!is_believed(&document));
    }

    #[test]
    fn changed_devices_are_not_believed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut document = good().0.clone();
        let at = at.index(document.devices.0.len());
        document.devices.0[at] ^= 1 << bit;
        prop_assert!(!is_believed(&document));
    }

    /// The report does not bind the collateral; what is believed with another must still be what AMD signed.
    #[test]
    fn changed_collateral_is_judged(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>()) {
        let mut document = good().0.clone();
        let at = at.index(document.collateral.0.len());
        document.collateral.0[at] ^= 1 << bit;
        prop_assert!(!is_believed(&document), "byte {at}");
        document.collateral.0.truncate(cut.index(document.collateral.0.len()));
        prop_assert!(!is_believed(&document));
    }
}
