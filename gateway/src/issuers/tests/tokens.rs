use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_ledger::Limits;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::authenticate::{ApiKey, Scope};
use crate::issuers::config::TokenAlgorithm;
use crate::issuers::keys;
use crate::issuers::token::{TokenError, kid, verify};

const NOW: u64 = 1_800_000_000;

/// What the issuer's keys make of a token.
fn judge(keys: &[Value], config: &IssuerConfig, token: &str) -> Result<ApiKey, TokenError> {
    let keys = keys::read(set(keys).as_bytes(), config).map_err(|_| TokenError::UnknownKey)?;
    let key = keys.get(&kid(token)?).ok_or(TokenError::UnknownKey)?;
    verify(token, key, config, NOW)
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims(NOW);
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[test]
fn a_good_token_of_each_algorithm_is_a_key_for_inference() {
    let algorithms =
        vec![TokenAlgorithm::Rs256, TokenAlgorithm::Ps256, TokenAlgorithm::Es256, TokenAlgorithm::EdDsa];
    let config = IssuerConfig {
        algorithms,
        project_claim: Some("team".into()),
        models: Some(vec!["m".into()]),
        limits: Limits { rpm: Some(7), ..Limits::default() },
        ..good()
    };
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new("k1", algorithm);
        for jwk in [signer.jwk(), signer.bare_jwk()] {
            let token = signer.sign(&changed("team", json!("red")));
            let key = judge(&[jwk], &config, &token).unwrap();
            assert_eq!(key.sub.as_str(), "iss:corp:alice");
            assert_eq!(key.project.as_ref().map(cocoon_receipts::ProjectId::as_str), Some("red"));
            assert_eq!((key.scope, key.limits.rpm), (Scope::Inference, Some(7)));
            assert_eq!(key.models.as_deref(), Some(["m".to_owned()].as_slice()));
            let other =
                judge(&[signer.bare_jwk()], &config, &signer.sign(&changed("jti", json!("x")))).unwrap();
            assert_eq!(other.jti, key.jti, "what is counted per key is counted per account");
        }
    }
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let both = changed("aud", json!(["other", "cocoon"]));
    judge(&[signer.jwk()], &good(), &signer.sign(&both)).unwrap();
}

#[test]
fn a_token_is_signed_as_its_key_signs_and_by_it() {
    let rsa = Signer::new("k1", Algorithm::RS256);
    let (ed, other) = (Signer::new("k2", Algorithm::EdDSA), Signer::new("k2", Algorithm::EdDSA));
    let keys = [rsa.jwk(), ed.jwk()];
    let judged = |token: &str| judge(&keys, &good(), token).map(drop);
    judged(&rsa.sign(&claims(NOW))).unwrap();
    assert_eq!(judged(&other.sign(&claims(NOW))), Err(TokenError::Signature));

    // The token's own word for how it is signed counts for nothing.
    let encode = |header: &Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(header), part(&claims(NOW)))
    };
    for none in ["none", "None", "NONE", ""] {
        let unsigned = encode(&json!({ "alg": none, "kid": "k1" }));
        assert_eq!(judged(&format!("{unsigned}.")), Err(TokenError::Malformed), "{none}");
    }
    let modulus = keys[0]["n"].as_str().unwrap();
    let secrets = [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        keys[0].to_string().into_bytes(),
        URL_SAFE_NO_PAD.decode(keys[1]["x"].as_str().unwrap()).unwrap(),
    ];
    for secret in secrets {
        for kid in ["k1", "k2"] {
            let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::HS256) };
            let forged =
                jsonwebtoken::encode(&header, &claims(NOW), &EncodingKey::from_secret(&secret)).unwrap();
            assert_eq!(judged(&forged), Err(TokenError::Algorithm));
        }
    }
    // An RSA key that says RS256 signs in no other way, and one that says nothing in none that is not configured.
    let padded = Signer { algorithm: Algorithm::PS256, ..Signer::new("k1", Algorithm::PS256) };
    let both = IssuerConfig { algorithms: vec![TokenAlgorithm::Rs256, TokenAlgorithm::Ps256], ..good() };
    let mut named = padded.bare_jwk();
    named["alg"] = json!("RS256");
    let token = padded.sign(&claims(NOW));
    assert_eq!(judge(&[named], &both, &token).map(drop), Err(TokenError::Algorithm));
    assert_eq!(judge(&[padded.bare_jwk()], &good(), &token).map(drop), Err(TokenError::Algorithm));
    judge(&[padded.bare_jwk()], &both, &token).unwrap();
}

#[test]
fn keys_that_are_of_no_use_are_passed_over() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let with = |name: &str, value: &str| {
        let mut jwk = signer.jwk();
        jwk[name] = json!(value);
        jwk
    };
    let secret = json!({ "kty": "oct", "kid": "k1", "k": "c2VjcmV0" });
    let unnamed = {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let token = signer.sign(&claims(NOW));
    for useless in [
        with("use", "enc"),
        with("alg", "RS256"),
        with("crv", "P-256"),
        with("alg", "x"),
        secret,
        unnamed,
        json!(7),
    ] {
        let only = judge(std::slice::from_ref(&useless), &good(), &token);
        assert_eq!(only.map(drop), Err(TokenError::UnknownKey), "{useless}");
        judge(&[useless, signer.jwk()], &good(), &token).unwrap();
    }
    let twice = judge(&[signer.jwk(), Signer::new("k1", Algorithm::EdDSA).jwk()], &good(), &token);
    assert_eq!(twice.map(drop), Err(TokenError::UnknownKey), "either could be meant");
    let configured = IssuerConfig { algorithms: vec![TokenAlgorithm::Rs256], ..good() };
    assert_eq!(judge(&[signer.jwk()], &configured, &token).map(drop), Err(TokenError::UnknownKey));
}

#[test]
fn a_token_is_of_the_issuer_for_us_and_of_now() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let judged = |claims: &Value| judge(&[signer.jwk()], &good(), &signer.sign(claims)).map(drop);
    for claims in [
        changed("exp", json!(NOW - 59)),
        changed("exp", json!((NOW - 59) as f64 + 0.5)),
        changed("iat", json!(NOW + 60)),
        changed("iat", Value::Null),
        changed("nbf", json!(NOW + 60)),
    ] {
        judged(&claims).unwrap_or_else(|error| panic!("{claims}: {error}"));
    }
    for (claims, error) in [
        (changed("iss", json!("https://login.example/")), TokenError::Issuer),
        (changed("iss", json!(["https://login.example"])), TokenError::Issuer),
        (changed("iss", Value::Null), TokenError::Issuer),
        (changed("aud", json!("other")), TokenError::Audience),
        (changed("aud", json!(["other"])), TokenError::Audience),
        (changed("aud", json!([])), TokenError::Audience),
        (changed("aud", Value::Null), TokenError::Audience),
        (changed("exp", json!(NOW - 60)), TokenError::Expired),
        (changed("exp", json!(0)), TokenError::Expired),
        (changed("exp", Value::Null), TokenError::NoEnd),
        (changed("exp", json!("soon")), TokenError::Malformed),
        (changed("exp", json!(1e300)), TokenError::Malformed),
        (changed("exp", json!(-1)), TokenError::Malformed),
        (changed("iat", json!(NOW + 61)), TokenError::NotYet),
        (changed("nbf", json!(NOW + 61)), TokenError::NotYet),
        (changed("sub", Value::Null), TokenError::Account),
        (changed("sub", json!("")), TokenError::Account),
        (changed("sub", json!(7)), TokenError::Account),
        (changed("sub", json!("s".repeat(1025))), TokenError::Account),
    ] {
        assert_eq!(judged(&claims), Err(error), "{claims}");
    }
    let of_projects = IssuerConfig { project_claim: Some("team".into()), ..good() };
    let judged =
        |claims: &Value| judge(&[signer.jwk()], &of_projects, &signer.sign(claims)).map(|key| key.project);
    assert_eq!(judged(&claims(NOW)), Ok(None));
    for bad in [json!("a/b"), json!(""), json!(["a"])] {
        assert_eq!(judged(&changed("team", bad)), Err(TokenError::Project));
    }
}

#[test]
fn a_header_that_names_no_key_or_asks_for_more_is_refused() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let judged = |header: &Header| {
        let token = jsonwebtoken::encode(header, &claims(NOW), &signer.key).unwrap();
        judge(&[signer.jwk()], &good(), &token).map(drop)
    };
    judged(&signer.header()).unwrap();
    assert_eq!(judged(&Header { kid: None, ..signer.header() }), Err(TokenError::Malformed));
    assert_eq!(judged(&Header { kid: Some("k".repeat(257)), ..signer.header() }), Err(TokenError::Malformed));
    let critical = Header { crit: Some(vec!["x".into()]), ..signer.header() };
    assert_eq!(judged(&critical), Err(TokenError::Malformed));
    assert_eq!(judged(&Header { kid: Some("k2".into()), ..signer.header() }), Err(TokenError::UnknownKey));
    // A key that the token brings along is nobody's.
    let stranger = Signer::new("k1", Algorithm::EdDSA);
    let brought = Header {
        jwk: Some(serde_json::from_value(stranger.jwk()).unwrap()),
        jku: Some("https://evil.example/jwks".into()),
        ..signer.header()
    };
    let token = jsonwebtoken::encode(&brought, &claims(NOW), &stranger.key).unwrap();
    assert_eq!(judge(&[signer.jwk()], &good(), &token).map(drop), Err(TokenError::Signature));
}

fn account(signer: &Signer, subject: &str) -> String {
    let token = signer.sign(&changed("sub", json!(subject)));
    judge(&[signer.jwk()], &good(), &token).unwrap().sub.to_string()
}

#[test]
fn a_subject_that_is_no_name_has_an_account_too() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    assert_eq!(account(&signer, "auth0:42"), "iss:corp:auth0:42");
    let hash =
        |subject: &str| format!("iss:corp:sha256-{}", cocoon_receipts::Digest::of(&[subject.as_bytes()]));
    let long = "s".repeat(65);
    for subject in ["google|42", "ü", " alice", "alice ", "sha256-x", &long] {
        assert_eq!(account(&signer, subject), hash(subject));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_two_subjects_share_an_account(subjects in proptest::collection::hash_set(".{1,80}|[a-z:.-]{1,70}", 2..6)) {
        let signer = Signer::new("k1", Algorithm::EdDSA);
        let accounts: HashSet<String> = subjects.iter().map(|subject| account(&signer, subject)).collect();
        prop_assert_eq!(accounts.len(), subjects.len());
        prop_assert!(accounts.iter().all(|account| account.starts_with("iss:corp:")));
    }

    #[test]
    fn no_text_is_a_token(text in ".{0,200}|[A-Za-z0-9_-]{0,80}[.][A-Za-z0-9_-]{0,80}[.][A-Za-z0-9_-]{0,80}") {
        prop_assert!(crate::issuers::token::named_issuer(&text).is_none());
        prop_assert!(kid(&text).is_err());
    }
}
