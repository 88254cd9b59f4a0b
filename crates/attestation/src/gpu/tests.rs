//! On what NVIDIA's service really answered: tokens of eight H100 and of an H200, which the source package of
//! `voltage-verify` has.

use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};

use super::*;
use crate::findings::Outcome;
use crate::policy::Policy;

/// The eight H100 were asked for this, at this time, and the tokens live for an hour.
const H100_NONCE: &str = "211b20f54486162c3a447c8a88e4a6f9f6416e4c0b10d96e59d9f7fefad1c99d";
const H100_ISSUED: u64 = 1_789_064_303_000;
const H100_ENDS: u64 = 1_789_067_903_000;
const H200_NONCE: &str = "6154dbb21ed4bf90d79e4464aa5ea4c2cf4dbc7e1a814a13c0a131c0bb598d05";
const H200_ISSUED: u64 = 1_788_525_065_000;

const POLICY: &str = "[gpu]\ncount = 8\nmodels = ['GH100']\ndrivers = ['595.71.05']\n";

fn fixture(name: &str) -> Value {
    let folder = std::env::var_os("COCOON_TEST_VOLTAGE_VERIFY").unwrap_or_else(|| {
        panic!("COCOON_TEST_VOLTAGE_VERIFY must name the unpacked source of voltage-verify; `cargo xtask test` sets it")
    });
    let path = Path::new(&folder).join("tests/fixtures").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn eight_h100() -> Value {
    json!({
        "nras": fixture("nras_ppcie_8xh100_2026-09-10.json"),
        "jwks": fixture("nras_jwks_2026-09-12.json"),
    })
}

/// Until when it is believed, and which checks failed.
fn judged(devices: &Value, policy: &str, nonce: &str, now: u64) -> (Option<u64>, Vec<Check>, Findings) {
    let policy = Policy::from_toml(policy).unwrap();
    let mut findings = Findings::default();
    let (devices, root) = (devices.to_string(), nonce.parse().unwrap());
    let until = judge(policy.gpu(), devices.as_bytes(), root, policy.roots(), now, &mut findings);
    let failed = findings.failures().map(|finding| finding.check).collect();
    (until, failed, findings)
}

#[test]
fn eight_real_h100_are_believed_within_their_hour() {
    let devices = eight_h100();
    for now in [H100_ISSUED, H100_ISSUED + 1_800_000, H100_ENDS - 1001] {
        let (until, failed, findings) = judged(&devices, POLICY, H100_NONCE, now);
        assert_eq!(failed, [], "{findings:?}");
        assert!(findings.as_slice().iter().all(|finding| finding.outcome == Outcome::Passed));
        // One of the eight was issued a second before the others.
        assert_eq!(until, Some(H100_ENDS - 1000));
    }
}

#[test]
fn eight_real_h100_are_refused_where_something_else_is_asked() {
    let devices = eight_h100();
    let now = H100_ISSUED + 60_000;
    let other_nonce = H100_NONCE.replace("211b", "211c");
    let cases = [
        ("another nonce", POLICY.to_owned(), other_nonce.as_str(), now, Check::GpuNonce),
        ("an hour later", POLICY.to_owned(), H100_NONCE, H100_ENDS, Check::GpuEvidence),
        ("before", POLICY.to_owned(), H100_NONCE, H100_ISSUED - 61_000, Check::GpuEvidence),
        ("seven", POLICY.replace("= 8", "= 7"), H100_NONCE, now, Check::GpuCount),
        ("nine", POLICY.replace("= 8", "= 9"), H100_NONCE, now, Check::GpuCount),
        ("another model", POLICY.replace("GH100", "GB100"), H100_NONCE, now, Check::GpuModel),
        ("another driver", POLICY.replace("595.71.05", "595.71.06"), H100_NONCE, now, Check::GpuDriver),
        ("too old", format!("{POLICY}max_age_s = 59\n"), H100_NONCE, now, Check::GpuEvidence),
    ];
    for (what, policy, nonce, now, check) in cases {
        let (_, failed, findings) = judged(&devices, &policy, nonce, now);
        assert_eq!(failed, [check], "{what}: {findings:?}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_real_tokens_and_their_key_is_refused() {
    let devices = eight_h100();
    let kid = {
        let token = devices["nras"][1]["REMOTE_GPU_CLAIMS"][0][1].as_str().unwrap();
        jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
    };
    let keys = devices["jwks"]["keys"].as_array().unwrap();
    let key = keys.iter().position(|key| key["kid"] == kid.as_str()).unwrap();
    let key = |member: &str| format!("/jwks/keys/{key}/{member}");
    let tokens = ["0/1", "1/GPU-0", "1/GPU-7"].map(|token| format!("/nras/1/REMOTE_GPU_CLAIMS/{token}"));
    let signed = tokens.into_iter().chain([key("kid"), key("x"), key("y"), key("x5c/0")]);
    let mut flipped = 0;
    for place in signed {
        let text = devices.pointer(&place).unwrap().as_str().unwrap().as_bytes();
        for at in (0..text.len()).step_by(37).chain([text.len() - 1]) {
            let mut changed = text.to_vec();
            changed[at] ^= 1;
            let mut devices = devices.clone();
            *devices.pointer_mut(&place).unwrap() = String::from_utf8(changed).unwrap().into();
            let (_, failed, _) = judged(&devices, POLICY, H100_NONCE, H100_ISSUED);
            assert_eq!(failed, [Check::GpuEvidence], "{place}, byte {at}");
            flipped += 1;
        }
    }
    assert!(flipped > 150, "{flipped}");
}

#[test]
fn a_real_token_whose_key_is_not_there_is_refused() {
    let devices = json!({
        "nras": fixture("nras_h200_2026-09-04.json"),
        "jwks": fixture("nras_jwks_2026-09-12.json"),
    });
    let (_, failed, findings) =
        judged(&devices, &POLICY.replace("= 8", "= 1"), H200_NONCE, H200_ISSUED + 60_000);
    assert_eq!(failed, [Check::GpuEvidence]);
    let detail = &findings.as_slice()[0].detail;
    assert!(detail.contains("its key is not in the set"), "{detail}");
}

/// There are no tokens under 005 yet that could be tried, but there are keys.
#[test]
fn real_keys_under_both_authorities_are_believed_and_one_authority_does_not_stand_for_the_other() {
    let set = fixture("nras_jwks_2026-10-22_two_intermediates.json");
    let jwks = |set: &Value| -> devices::Jwks { serde_json::from_value(set.clone()).unwrap() };
    let pinned = || anchors(&Roots::default());
    let read = jwks(&set);
    let mut keys = Keys::new(&read, pinned());
    let kids: Vec<&str> = read.keys.iter().map(|key| key.kid.as_str()).collect();
    assert_eq!(kids.len(), 2);
    let organization = "NVIDIA Attestation Service GPU Intermediate 005";
    let der = base64::engine::general_purpose::STANDARD.decode(&read.keys[1].x5c[1]).unwrap();
    assert!(der.windows(organization.len()).any(|window| window == organization.as_bytes()));
    for kid in &kids {
        assert!(keys.get(kid).is_ok(), "{kid}: {:?}", keys.get(kid));
    }
    let mut crossed = set.clone();
    let above = [set["keys"][0]["x5c"][1].clone(), set["keys"][1]["x5c"][1].clone()];
    (crossed["keys"][0]["x5c"][1], crossed["keys"][1]["x5c"][1]) = (above[1].clone(), above[0].clone());
    let crossed = jwks(&crossed);
    let mut keys = Keys::new(&crossed, pinned());
    for kid in &kids {
        let refused = keys.get(kid).unwrap_err().to_string();
        assert_eq!(refused, "its key's own certificate is not signed by the one above it");
    }
}

/// Its own certificate, which nothing proves, is in date for years.
#[test]
fn an_authority_ends_when_its_pin_does() {
    let read: devices::Jwks = serde_json::from_value(fixture("nras_jwks_2026-09-12.json")).unwrap();
    let kid = &read.keys[0].kid;
    let until = |ends: Option<u64>| {
        let pins = anchors(&Roots::default()).into_iter();
        let pins = pins.map(|pin| anchors::Anchor { ends: ends.unwrap_or(pin.ends), ..pin });
        Keys::new(&read, pins.collect()).get(kid).unwrap().until
    };
    assert!(until(None) > H100_ISSUED);
    assert_eq!(until(Some(7)), 7000);
}
