//! What leaves the machine, and what is refused before it does.

use axum::http::Method;
use cocoon_receipts::{AccountTagKey, NanoTon};
use cocoon_sealing::Kem;

use crate::stand::{BOTH, KEY, Options, START, Stand, read};
use crate::vm::{MODEL, PRICE, Vm};

#[tokio::test]
async fn what_is_sealed_says_what_it_belongs_to_and_the_headers_say_no_more() {
    let stand = Stand::new().await;
    let body = r#"{ "model":"m","max_completion_tokens":9,"n":3, "messages":[{"content":"top secret"}]}"#;
    assert_eq!(read(stand.post(body).await).await.status, 200);
    let seen = stand.fake.behave().seen[0].clone();
    let digest = stand.fake.behave().vms[0].digest();
    let opened = seen.opened.unwrap();
    assert_eq!(String::from_utf8(opened.body).unwrap(), body, "the caller's bytes, each of them");
    let context = opened.context;
    assert_eq!((context.v, context.ts, context.keyset), (1, START, digest));
    assert_eq!((seen.path.as_str(), context.path.as_str()), ("/v1/chat/completions", "/v1/chat/completions"));
    assert_eq!(context.model, MODEL);
    assert_eq!(context.price_max, Some(PRICE));
    assert_eq!((context.max_cost, context.pad), (None, None));
    assert_eq!(context.acct, Some(AccountTagKey::of_api_key(KEY).tag(&opened.encapsulated_key)));
    assert_eq!(opened.kem, Kem::XWing, "the better key is used where there is one");

    let mut names: Vec<&str> = seen.headers.keys().map(axum::http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "authorization",
            "cocoon-key-digest",
            "cocoon-max-tokens",
            "cocoon-model",
            "content-length",
            "content-type",
            "ehbp-encapsulated-key",
            "host",
            "te",
            "user-agent",
        ]
    );
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(seen.headers["cocoon-max-tokens"], "27");
    assert_eq!(seen.headers["cocoon-model"], MODEL);
    assert_eq!(seen.headers["cocoon-key-digest"], digest.to_string());
    let wire = String::from_utf8_lossy(&seen.wire).into_owned();
    assert!(!wire.contains("secret") && !wire.contains("messages"));
}

#[tokio::test]
async fn every_request_has_a_nonce_and_a_key_of_its_own() {
    let stand = Stand::new().await;
    stand.chat().await;
    stand.chat().await;
    let behaviour = stand.fake.behave();
    let [one, two] = [0, 1].map(|at| behaviour.seen[at].opened.clone().unwrap());
    assert_ne!(one.context.nonce, two.context.nonce);
    assert_ne!(one.encapsulated_key, two.encapsulated_key);
    assert_eq!(behaviour.price_lists, 1, "prices are asked for once");
}

#[tokio::test]
async fn bodies_that_cannot_be_sealed_are_refused_here() {
    let stand = Stand::with(
        vec![Vm::new(BOTH, 7, u64::MAX)],
        Options { body_limit: Some(1000), ..Options::default() },
    )
    .await;
    let key = format!("Bearer {KEY}");
    let key = ("authorization", key.as_str());
    let long = format!(r#"{{"model":"m","messages":"{}"}}"#, "x".repeat(1000));
    let gzip = ("content-encoding", "gzip");
    for (headers, body, status, param) in [
        (&[key][..], "{", 400, None),
        (&[key], "[]", 400, None),
        (&[key], "{}", 400, Some("model")),
        (&[key], r#"{"model":7}"#, 400, Some("model")),
        (&[key], r#"{"model":"m","model":"m"}"#, 400, Some("model")),
        (&[key], r#"{"model":"m","x_conf":{}}"#, 400, Some("x_conf")),
        (&[key], r#"{"model":"m","\u0078_conf":{}}"#, 400, Some("x_conf")),
        (&[key], r#"{"model":"m","stream":"yes"}"#, 400, Some("stream")),
        (&[key], &long, 413, None),
        (&[key, gzip], r#"{"model":"m"}"#, 415, None),
        (&[], r#"{"model":"m"}"#, 401, None),
    ] {
        let got = read(stand.send(Method::POST, "/v1/chat/completions", headers, body).await).await;
        assert_eq!(got.status, status, "{body}");
        assert_eq!(got.json()["error"]["param"].as_str(), param, "{body}");
        assert!(got.json()["error"]["message"].is_string(), "{body}");
        assert!(!got.headers.contains_key("cocoon-unauthenticated"), "we said so");
    }
    assert!(stand.fake.behave().seen.is_empty(), "nothing of it left");
}

#[tokio::test]
async fn all_four_endpoints_are_sealed_and_no_other_post_is_served() {
    let stand = Stand::new().await;
    let key = format!("Bearer {KEY}");
    let key = [("authorization", key.as_str())];
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"] {
        let got = read(stand.send(Method::POST, path, &key, r#"{"model":"m"}"#).await).await;
        assert_eq!(got.status, 200, "{path}");
        let seen = stand.fake.behave().seen.pop().unwrap();
        assert_eq!((seen.path.as_str(), seen.opened.unwrap().context.path.as_str()), (path, path));
        let got = read(stand.send(Method::GET, path, &key, "").await).await;
        assert_eq!((got.status, got.code().as_str()), (405, "method_not_allowed"), "{path}");
    }
    for path in ["/v1/audio/speech", "/v1/files", "/v2/chat/completions", "/"] {
        let got = read(stand.send(Method::POST, path, &key, r#"{"model":"m"}"#).await).await;
        assert_eq!((got.status, got.code().as_str()), (404, "unknown_url"), "{path}");
    }
    assert!(stand.fake.behave().seen.is_empty());
}

#[tokio::test]
async fn gets_are_asked_of_the_gateway() {
    let stand = Stand::new().await;
    let key = format!("Bearer {KEY}");
    let got = stand.get("/v1/models", &[("authorization", &key)]).await;
    assert_eq!((got.status, got.json()["data"][0]["id"].as_str()), (200, Some(MODEL)));
    assert_eq!(got.headers["content-type"], "application/json");
    let got = stand.get("/v1/models", &[]).await;
    assert_eq!((got.status, got.code().as_str()), (401, "invalid_api_key"));
    assert_eq!(got.headers["cocoon-unauthenticated"], "true");
    let got = stand.get("/v1/models/a%2Fb?x=1", &[]).await;
    assert_eq!(got.json()["error"]["message"], "no /v1/models/a%2Fb?x=1");
}

#[tokio::test]
async fn a_key_that_the_gateway_refuses_is_told_before_anything_is_sealed() {
    let stand = Stand::new().await;
    let headers = [("authorization", "Bearer wrong")];
    let got = read(stand.send(Method::POST, "/v1/completions", &headers, r#"{"model":"m"}"#).await).await;
    assert_eq!((got.status, got.code().as_str()), (401, "invalid_api_key"));
    assert_eq!(got.json()["error"]["unauthenticated"], true);
    assert!(stand.fake.behave().seen.is_empty());
}

#[tokio::test]
async fn a_model_that_nobody_serves_is_404() {
    let stand = Stand::new().await;
    let got = read(stand.post(r#"{"model":"another"}"#).await).await;
    assert_eq!((got.status, got.code().as_str()), (404, "model_not_found"));
}

#[tokio::test]
async fn a_price_that_rose_is_read_again_after_a_refusal() {
    let stand = Stand::new().await;
    stand.chat().await;
    stand.fake.behave().price.prompt = NanoTon(9_000_000);
    stand.fake.next_plain(400, &[], "");
    assert_eq!(stand.chat().await.status, 400);
    assert_eq!(stand.chat().await.status, 200);
    let sealed = stand.fake.behave().seen[2].opened.clone().unwrap().context.price_max.unwrap();
    assert_eq!(sealed.prompt, NanoTon(9_000_000));
    stand.pass(5 * 60 * 1000);
    stand.chat().await;
    assert_eq!(stand.fake.behave().price_lists, 3, "and after five minutes");
}
