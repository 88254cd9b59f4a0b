use cocoon_attestation::{Document, Hex, Policy, Section, SnpTcb, Tee};
use cocoon_attestation::{
    EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release,
};
use cocoon_receipts::{Digest, SigningKey};

use super::*;

const NOW: u64 = 1_800_000_000_000;

fn keyset(model: &str, release: &str) -> Keyset {
    Keyset {
        version: KEYSET_VERSION,
        operator: Operator { address: "0:00".parse().unwrap(), workchain: 0 },
        not_before: 0,
        not_after: u64::MAX,
        hpke: vec![HpkeKey::new(1, X_WING, &[1; 1216])],
        receipt_key: SigningKey::generate().unwrap().public().to_jwk(),
        model: ModelInfo {
            id: model.into(),
            sha256: Digest([3; 32]),
            quantization: "none".into(),
            context_length: 1,
        },
        engine: EngineInfo { name: "e".into(), version: "1".into() },
        prefix_cache: PrefixCache::Off,
        release: Release { name: release.into(), sequence: 7 },
    }
}

fn tdx() -> ClaimedMachine {
    ClaimedMachine::Tdx(Box::new(ClaimedTdx {
        mr_seam: Hex([1; 48]),
        mr_td: Hex([2; 48]),
        rtmr: [Hex([3; 48]), Hex([4; 48]), Hex([5; 48]), Hex([6; 48])],
        mr_config_id: Hex([7; 48]),
        mr_owner: Hex([0; 48]),
        mr_owner_config: Hex([0; 48]),
        xfam: Hex([8; 8]),
    }))
}

fn snp(product: Option<&'static str>) -> ClaimedMachine {
    ClaimedMachine::Snp(Box::new(ClaimedSnp {
        product,
        tcb: SnpTcb { bootloader: 1, tee: 2, snp: 3, microcode: 4, fmc: 5 },
        launch_digest: Hex([9; 48]),
        id_key: Hex([0; 48]),
        author_key: Hex([0; 48]),
        host_data: Hex([0; 32]),
        allows_smt: false,
    }))
}

fn claimed(machine: ClaimedMachine, model: &str) -> Claimed {
    Claimed { keyset: keyset(model, "cocoon"), machine, has_devices: false }
}

#[test]
fn a_blank_template_is_refused_at_what_must_be_filled_in() {
    for (kind, key) in [(Kind::Tdx, "mr_td"), (Kind::SevSnp, "FILL IN"), (Kind::Dev, "dev_roots[0]")] {
        let text = template(Some(kind), &[], NOW);
        let error = Policy::from_toml(&text).unwrap_err();
        assert!(error.to_string().contains(key), "{kind:?}: {error}");
        let line = text.lines().nth(error.line(&text).unwrap() - 1).unwrap();
        assert!(line.contains(BLANK), "{kind:?}: {line}");
        assert!(!text.contains("VERIFIED"), "there is nothing to verify");
    }
}

#[test]
fn what_machines_say_is_filled_in_and_said_to_be_unverified() {
    let claims =
        [claimed(tdx(), "m"), claimed(tdx(), "n"), claimed(snp(Some("milan")), "m"), claimed(snp(None), "m")];
    let text = template(None, &claims[..3], NOW);
    assert!(text.contains("NOTHING OF IT WAS VERIFIED"));
    let policy = Policy::from_toml(&text).unwrap();
    assert_eq!(policy.not_after(), Some(NOW + LIFE_S * 1000));
    let (tdx, snp) = (policy.tdx().unwrap(), policy.snp().unwrap());
    assert_eq!((tdx.images.len(), tdx.images[0].mr_td), (1, Hex([2; 48])));
    assert_eq!((tdx.mr_seam.as_slice(), tdx.mr_config_id), ([Hex([1; 48])].as_slice(), Hex([7; 48])));
    assert_eq!(tdx.xfam, Some(Hex([8; 8])));
    assert_eq!((snp.images[0].launch_digest, snp.min_tcb.len()), (Hex([9; 48]), 1));
    assert_eq!(policy.models().keys().collect::<Vec<_>>(), ["m", "n"]);
    assert_eq!(policy.min_release("cocoon"), 7);
    assert!(policy.require_kem().is_some() && policy.dev_roots().is_empty() && policy.gpu().is_none());

    // A processor that nobody knows is for the author to name.
    assert!(Policy::from_toml(&template(None, &claims[3..], NOW)).is_err());
    let mut with_gpus = claims[0].clone();
    with_gpus.has_devices = true;
    let error = Policy::from_toml(&template(None, &[with_gpus], NOW)).unwrap_err().to_string();
    assert!(error.contains("gpu."), "{error}");
}

#[test]
fn a_documents_words_stay_values() {
    for evil in [
        "m\"]\n[tdx]\nx = \"",
        "a'''\nb = 1",
        "\"\"\"\nallow_shared_prefix_cache = true",
        "a\r\nb",
        "\u{7f}\u{0}",
    ] {
        let mut claim = claimed(tdx(), evil);
        claim.keyset.release.name = evil.into();
        let text = template(None, &[claim], NOW);
        let policy = Policy::from_toml(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(policy.models().keys().collect::<Vec<_>>(), [evil], "{text}");
        assert!(!text.chars().any(|char| char != '\n' && is_obeyed(char)), "{text}");
        assert_eq!(policy.min_releases().keys().collect::<Vec<_>>(), [evil]);
        assert!(!policy.allows_shared_prefix_cache());
    }
}

#[test]
fn a_document_that_is_not_what_it_says_cannot_be_used() {
    let document = |tee: Tee, quote: &[u8]| Document {
        tee,
        keyset: Section(keyset("m", "r").to_bytes()),
        devices: Section::default(),
        quote: Section(quote.to_vec()),
        nonce_path: Section::default(),
        collateral: Section::default(),
        event_log: Section::default(),
        release_bundle: Section::default(),
    };
    for tee in [Tee::Tdx, Tee::SevSnp] {
        for quote in [&[][..], &[0; 100], &[0xff; 1184], &[4; 5000]] {
            let read = Claimed::read(&document(tee, quote));
            // A report of an unknown version may still parse; what is not one may not.
            assert!(read.is_err() || (tee == Tee::SevSnp && quote.len() == 1184), "{tee:?} {}", quote.len());
        }
    }
    assert!(matches!(Claimed::read(&document(Tee::Dev, &[])).unwrap().machine, ClaimedMachine::Dev));
    let broken = Document { keyset: Section(b"{}".to_vec()), ..document(Tee::Dev, &[]) };
    assert!(Claimed::read(&broken).is_err());
}
