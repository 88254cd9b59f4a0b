use cocoon_receipts::SigningKey;

use super::*;
use crate::dev::DevRoot;
use crate::document::Section;
use crate::findings::Outcome;
use crate::keyset::{EngineInfo, HpkeKey, ModelInfo, Operator, Release};
use crate::tree::Tree;

const NOW: u64 = 1_000_000_000;
const NONCE: Nonce = Nonce([5; 32]);

fn keyset() -> Keyset {
    Keyset {
        version: KEYSET_VERSION,
        operator: Operator { address: "0:00".parse().unwrap(), workchain: 0 },
        not_before: NOW - 1,
        not_after: NOW + 1,
        hpke: vec![HpkeKey::new(0, 0x20, &[9; 32])],
        receipt_key: SigningKey::generate().unwrap().public().to_jwk(),
        model: ModelInfo {
            id: "m".into(),
            sha256: Digest([3; 32]),
            quantization: "q8_0".into(),
            context_length: 8192,
        },
        engine: EngineInfo { name: "mistral.rs".into(), version: "0.8.1".into() },
        prefix_cache: PrefixCache::Off,
        release: Release { name: "dev".into(), sequence: 0 },
    }
}

fn root() -> (DevRoot, String) {
    let key = SigningKey::generate().unwrap();
    let policy = format!("dev_roots = [\"{}\"]\n", key.public().to_base64url());
    (DevRoot::new(key), policy)
}

fn document_of(root: &DevRoot, keyset: &[u8]) -> Document {
    root.document(keyset, NONCE)
}

fn failed(refused: &Result<Verdict, Refusal>) -> Vec<Check> {
    match refused {
        Ok(_) => Vec::new(),
        Err(refusal) => refusal.findings.failures().map(|finding| finding.check).collect(),
    }
}

#[test]
fn a_document_of_a_trusted_root_is_believed() {
    let (root, policy) = root();
    let bytes = keyset().to_bytes();
    let policy = Policy::from_toml(&policy).unwrap();
    let verdict = policy.verify(&document_of(&root, &bytes), NONCE, NOW, true).unwrap();
    assert_eq!((verdict.digest, verdict.tee), (Digest::of(&[&bytes]), Tee::Dev));
    assert_eq!((verdict.verified_at, verdict.valid_until), (NOW, NOW + 1), "the keyset ends first");
    assert!(verdict.findings.are_good());
}

#[test]
fn one_quote_is_believed_for_every_nonce_of_its_tree() {
    let (root, policy) = root();
    let policy = Policy::from_toml(&policy).unwrap();
    let nonces: Vec<Nonce> = (0..5).map(|at| Nonce([at; 32])).collect();
    let tree = Tree::new(&nonces).unwrap();
    let bytes = keyset().to_bytes();
    for (at, nonce) in nonces.iter().enumerate() {
        let document = root.document_under(&bytes, tree.root(), tree.path(at).unwrap());
        assert_eq!(failed(&policy.verify(&document, *nonce, NOW, true)), []);
        let other = nonces[(at + 1) % nonces.len()];
        assert_eq!(failed(&policy.verify(&document, other, NOW, true)), [Check::ReportData]);
    }
}

#[test]
fn what_is_not_as_it_should_be_is_named() {
    let (root, text) = root();
    let (stranger, _) = self::root();
    let policy = Policy::from_toml(&text).unwrap();
    let bytes = keyset().to_bytes();
    let good = document_of(&root, &bytes);
    let refused =
        |document: &Document, nonce, now, loopback| failed(&policy.verify(document, nonce, now, loopback));

    assert_eq!(refused(&document_of(&stranger, &bytes), NONCE, NOW, true), [Check::Quote]);
    assert_eq!(refused(&good, Nonce([6; 32]), NOW, true), [Check::ReportData]);
    for tee in [Tee::Tdx, Tee::SevSnp] {
        assert_eq!(refused(&Document { tee, ..good.clone() }, NONCE, NOW, true), [Check::Kind]);
    }
    let mut other = keyset();
    other.operator.workchain = -1;
    let swapped = Document { keyset: Section(other.to_bytes()), ..good.clone() };
    assert_eq!(refused(&swapped, NONCE, NOW, true), [Check::ReportData]);
    let no_keyset = Document { keyset: Section(b"{}".to_vec()), ..good.clone() };
    assert_eq!(refused(&no_keyset, NONCE, NOW, true), [Check::ReportData, Check::Keyset]);
    let extra = Document { collateral: Section(vec![1]), ..good.clone() };
    assert_eq!(refused(&extra, NONCE, NOW, true), [Check::Sections]);
    let path = Document { nonce_path: Section(vec![0; 32]), ..good.clone() };
    assert_eq!(refused(&path, NONCE, NOW, true), [Check::Nonce]);
    assert_eq!(refused(&good, NONCE, NOW, false), [Check::Loopback]);
    for now in [NOW + 1, NOW - 2] {
        assert_eq!(refused(&good, NONCE, now, true), [Check::KeysetValidity]);
    }
    for at in 0..good.quote.0.len() {
        let mut changed = good.clone();
        changed.quote.0[at] ^= 1;
        assert_eq!(refused(&changed, NONCE, NOW, true), [Check::Quote], "byte {at}");
    }
}

#[test]
fn an_empty_policy_believes_nothing() {
    let (root, _) = root();
    let policy = Policy::from_toml("").unwrap();
    let refused = policy.verify(&document_of(&root, &keyset().to_bytes()), NONCE, NOW, true);
    assert_eq!(failed(&refused), [Check::Kind]);
}

/// Every field of a policy that does not speak of hardware: the document passes, and does not after the smallest change.
#[test]
fn each_field_refuses_what_it_should_and_nothing_else() {
    let weights = Digest([3; 32]);
    let x_wing = |keyset: &mut Keyset| keyset.hpke.push(HpkeKey::new(1, 0x647a, &[9; 1216]));
    type Change = Box<dyn Fn(&mut Keyset)>;
    let cases: Vec<(&str, String, Change, String, Change, Check)> = vec![
        (
            "require_kem",
            "require_kem = 'x-wing'".into(),
            Box::new(x_wing),
            "require_kem = 'x-wing'".into(),
            Box::new(|_| ()),
            Check::Kem,
        ),
        (
            "min_release",
            "[min_release]\ndev = 7\nother = 9".into(),
            Box::new(|keyset| keyset.release.sequence = 7),
            "[min_release]\ndev = 7\nother = 9".into(),
            Box::new(|keyset| keyset.release.sequence = 6),
            Check::Release,
        ),
        (
            "models: weights",
            format!("[models]\nm = ['{}', '{weights}']", Digest([4; 32])),
            Box::new(|_| ()),
            format!("[models]\nm = ['{}']", Digest([4; 32])),
            Box::new(|_| ()),
            Check::Model,
        ),
        (
            "models: name",
            format!("[models]\nm = ['{weights}']"),
            Box::new(|_| ()),
            format!("[models]\nm = ['{weights}']"),
            Box::new(|keyset| keyset.model.id = "n".into()),
            Check::Model,
        ),
        (
            "allow_shared_prefix_cache",
            "allow_shared_prefix_cache = true".into(),
            Box::new(|keyset| keyset.prefix_cache = PrefixCache::Shared),
            String::new(),
            Box::new(|keyset| keyset.prefix_cache = PrefixCache::Shared),
            Check::PrefixCache,
        ),
        (
            "max_keyset_age_s",
            "max_keyset_age_s = 60".into(),
            Box::new(|keyset| keyset.not_before = NOW - 60_000),
            "max_keyset_age_s = 60".into(),
            Box::new(|keyset| keyset.not_before = NOW - 60_001),
            Check::KeysetAge,
        ),
        (
            "not_after",
            "not_after = 1970-01-12T13:46:40.001Z".into(),
            Box::new(|_| ()),
            "not_after = 1970-01-12T13:46:40Z".into(),
            Box::new(|_| ()),
            Check::Policy,
        ),
    ];
    for (field, good_policy, good_keyset, bad_policy, bad_keyset, check) in cases {
        let verify = |more: &str, change: &Change| {
            let (root, policy) = root();
            let mut keyset = keyset();
            change(&mut keyset);
            let policy = Policy::from_toml(&format!("{policy}{more}")).unwrap();
            policy.verify(&document_of(&root, &keyset.to_bytes()), NONCE, NOW, true)
        };
        assert_eq!(failed(&verify(&good_policy, &good_keyset)), [], "{field}");
        assert_eq!(failed(&verify(&bad_policy, &bad_keyset)), [check], "{field}");
    }
}

#[test]
fn a_verdict_ends_with_the_first_of_what_it_rests_on() {
    for (more, hour, until) in [
        ("", 10_u64, NOW + 3_600_000),
        ("max_verdict_age_s = 60", 10, NOW + 60_000),
        ("not_after = 1970-01-12T13:46:41Z", 10, NOW + 1000),
    ] {
        let (root, policy) = root();
        let mut keyset = keyset();
        keyset.not_after = NOW + hour * 3_600_000;
        let policy = Policy::from_toml(&format!("{policy}{more}")).unwrap();
        let verdict = policy.verify(&document_of(&root, &keyset.to_bytes()), NONCE, NOW, true).unwrap();
        assert_eq!(verdict.valid_until, until, "{more}");
    }
}

#[test]
fn a_refusal_says_the_first_failure_and_how_many_more() {
    let (root, policy) = root();
    let policy = Policy::from_toml(&format!("{policy}max_keyset_age_s = 0")).unwrap();
    let refusal = policy.verify(&document_of(&root, &keyset().to_bytes()), NONCE, NOW, false).unwrap_err();
    assert_eq!(refusal.check(), Check::Loopback);
    let text = refusal.to_string();
    assert!(text.starts_with("loopback: ") && text.ends_with("(and 1 more)"), "{text}");
    let unreached = |check: Check| {
        let of = |finding: &crate::findings::Finding| {
            finding.check == check && finding.outcome == Outcome::Unreached
        };
        refusal.findings.as_slice().iter().any(of)
    };
    assert!(!unreached(Check::ReportData), "the quote itself was good");
}

#[test]
fn unknown_members_of_a_document_are_errors() {
    let (root, _) = root();
    let document = serde_json::to_value(document_of(&root, &keyset().to_bytes())).unwrap();
    let mut more = document.clone();
    more["extra"] = "".into();
    assert!(serde_json::from_value::<Document>(document).is_ok());
    assert!(serde_json::from_value::<Document>(more).is_err());
}
