//! Who signed the tokens, with which key, when, and which belong together.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_attestation::Check;
use cocoon_synthetic_tee::SyntheticNvidia;
use cocoon_synthetic_tee::nvidia::Answer;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{NOW, answer, bytes, detail, failed, policy, root, signed, verify};

#[test]
fn the_token_over_all_is_of_these_tokens_and_no_others() {
    let gpus = |devices: &mut Value, change: &dyn Fn(&mut Value)| {
        change(&mut devices["nras"][1]["REMOTE_GPU_CLAIMS"][1]);
    };
    let other = signed(&SyntheticNvidia::new().answer(root(), 3, NOW));
    let foreign = other["nras"][1]["REMOTE_GPU_CLAIMS"][1]["GPU-1"].clone();
    type Change = Box<dyn Fn(&mut Value)>;
    let cases: Vec<(&str, Change)> = vec![
        (
            "swapped",
            Box::new(|gpus| {
                let (first, second) = (gpus["GPU-0"].take(), gpus["GPU-1"].take());
                (gpus["GPU-0"], gpus["GPU-1"]) = (second, first);
            }),
        ),
        ("of another batch", Box::new(move |gpus| gpus["GPU-1"] = foreign.clone())),
        ("one more", Box::new(|gpus| gpus["GPU-2"] = gpus["GPU-1"].clone())),
        ("one less", Box::new(|gpus| drop(gpus.as_object_mut().unwrap().remove("GPU-1")))),
        (
            "renamed",
            Box::new(|gpus| {
                let token = gpus.as_object_mut().unwrap().remove("GPU-1").unwrap();
                gpus["GPU-9"] = token;
            }),
        ),
    ];
    for (what, change) in cases {
        let mut devices = signed(&answer());
        gpus(&mut devices, &change);
        for count in 1..=3 {
            let verified = verify(&bytes(&devices), &SyntheticNvidia::new().policy_toml(count));
            assert_eq!(failed(&verified), [Check::GpuEvidence], "{what}");
            assert!(detail(&verified, Check::GpuEvidence).contains("not of the tokens"), "{what}");
        }
    }
}

#[test]
fn a_token_is_of_nvidias_service_and_of_now() {
    let (now, hour) = (NOW / 1000, 3600);
    let cases = [
        ("iss", json!("https://nras.attestation.nvidia.com.example"), "not issued by"),
        ("exp", json!(now), "valid from"),
        ("nbf", json!(now + 61), "valid from"),
        ("iat", json!(now + 61), "valid from"),
        ("iat", json!(now - 601), "longer ago"),
        ("iat", json!(now - 3 * 24 * hour), "certified"),
        ("iat", json!(now + 3 * 24 * hour), "certified"),
        ("exp", json!("never"), "claims"),
        ("exp", json!(-1), "claims"),
        ("iat", json!(null), "claims"),
    ];
    for (claim, value, says) in cases {
        for at in 0..2 {
            let mut answer = answer();
            let claims = if at == 0 { &mut answer.overall } else { &mut answer.gpus[1].1 };
            claims[claim] = value.clone();
            let verified = verify(&bytes(&signed(&answer)), &policy());
            assert_eq!(failed(&verified), [Check::GpuEvidence], "{claim} {value}");
            let text = detail(&verified, Check::GpuEvidence);
            assert!(text.contains(says), "{claim} {value}: {text}");
        }
    }
}

#[test]
fn a_verdict_ends_with_the_first_token() {
    let mut early = answer();
    early.gpus[1].1["exp"] = json!(NOW / 1000 + 7);
    let verdict = verify(&bytes(&signed(&early)), &policy()).unwrap();
    assert_eq!(verdict.valid_until, NOW + 7000);
    let verdict = verify(&bytes(&signed(&answer())), &policy()).unwrap();
    assert_eq!(verdict.valid_until, NOW + 600_000, "then it is older than the policy allows");
}

#[test]
fn a_key_counts_only_through_its_certificates() {
    let stranger = |answer: &mut Answer| answer.leaf.forged = true;
    type OfAnswer = fn(&mut Answer);
    let leaf: [(&str, OfAnswer, &str); 6] = [
        ("signed by a stranger", stranger, "own certificate is not signed"),
        ("no authority", |answer| answer.leaf.authority = false, "authority's certificate may not sign"),
        ("ended", |answer| answer.leaf.valid = (0, NOW / 1000 - 1), "not certified when"),
        ("to begin", |answer| answer.leaf.valid.0 = NOW / 1000 + 1, "not certified when"),
        ("another's", |answer| answer.leaf.subject = "CN=x,O=NVIDIA Corp".into(), "not of NVIDIA"),
        ("two", |a| a.leaf.subject = "CN=x,O=y,O=NVIDIA Corporation".into(), "not of NVIDIA"),
    ];
    for (what, change, says) in leaf {
        let mut answer = answer();
        change(&mut answer);
        let verified = verify(&bytes(&signed(&answer)), &policy());
        assert_eq!(failed(&verified), [Check::GpuEvidence], "{what}");
        let text = detail(&verified, Check::GpuEvidence);
        assert!(text.contains(says), "{what}: {text}");
    }
    type Change = fn(&mut Value);
    let jwks: [(&str, Change, &str); 11] = [
        ("none", |keys| *keys = json!([]), "not in the set"),
        ("other kid", |keys| keys[0]["kid"] = "x".into(), "not in the set"),
        ("twice", |keys| *keys = json!([keys[0], keys[0]]), "more than once"),
        ("bare", |keys| drop(keys[0].as_object_mut().unwrap().remove("x5c")), "no certificate"),
        ("alone", |keys| drop(keys[0]["x5c"].as_array_mut().unwrap().pop()), "no certificate"),
        ("its own authority", |keys| keys[0]["x5c"][1] = keys[0]["x5c"][0].clone(), "pinned"),
        ("not base64", |keys| keys[0]["x5c"][0] = "%".into(), "own certificate cannot be read"),
        ("not DER", |keys| keys[0]["x5c"][1] = "MAA=".into(), "authority's certificate cannot be read"),
        ("other point", |keys| keys[0]["x"] = keys[0]["y"].clone(), "not the one in the certificate"),
        ("other curve", |keys| keys[0]["crv"] = "P-256".into(), "not an EC key"),
        ("other type", |keys| keys[0]["kty"] = "oct".into(), "not an EC key"),
    ];
    for (what, change, says) in jwks {
        let mut devices = signed(&answer());
        change(&mut devices["jwks"]["keys"]);
        let verified = verify(&bytes(&devices), &policy());
        assert_eq!(failed(&verified), [Check::GpuEvidence], "{what}");
        let text = detail(&verified, Check::GpuEvidence);
        assert!(text.contains(says), "{what}: {text}");
    }
}

fn stranger(algorithm: &'static EcdsaSigningAlgorithm) -> EncodingKey {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref())
}

#[test]
fn no_algorithm_but_es384_is_believed() {
    let good = signed(&answer());
    let overall = good["nras"][1]["REMOTE_GPU_CLAIMS"][0][1].as_str().unwrap();
    let payload = overall.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"synthetic-kid"}"#);
    let token = |algorithm, kid: Option<&str>, key: &EncodingKey| {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, &claims, key).unwrap()
    };
    let kid = Some("synthetic-kid");
    // The public key as the secret of an HMAC.
    let public = EncodingKey::from_secret(good["jwks"]["keys"][0]["x"].as_str().unwrap().as_bytes());
    let (p256, p384) =
        (stranger(&ECDSA_P256_SHA256_FIXED_SIGNING), stranger(&ECDSA_P384_SHA384_FIXED_SIGNING));
    for (token, says) in [
        (format!("{header}.{payload}."), "not a token"),
        (token(Algorithm::HS256, kid, &public), "ES384"),
        (token(Algorithm::ES256, kid, &p256), "ES384"),
        (token(Algorithm::ES384, kid, &p384), "its signature"),
        (token(Algorithm::ES384, None, &p384), "not a token"),
        (format!("{overall}."), "not a token"),
        (String::new(), "not a token"),
        ("x".repeat(17 << 10), "not a token"),
    ] {
        let mut devices = good.clone();
        devices["nras"][1]["REMOTE_GPU_CLAIMS"][0][1] = token.into();
        let verified = verify(&bytes(&devices), &policy());
        assert_eq!(failed(&verified), [Check::GpuEvidence], "{says}");
        let text = detail(&verified, Check::GpuEvidence);
        assert!(text.contains(says), "{says}: {text}");
    }
}
