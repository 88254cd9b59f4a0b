//! Who may ask.

use axum::http::Method;

use crate::stand::{BOTH, KEY, Options, Stand, read};
use crate::vm::Vm;

const PAGE: &str = "https://chat.example";

#[tokio::test]
async fn pages_and_other_hosts_are_403_on_every_path() {
    let stand = Stand::new().await;
    let key = format!("Bearer {KEY}");
    for path in ["/v1/chat/completions", "/v1/models", "/verification", "/"] {
        for header in [
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("host", "evil.example"),
            ("host", "127.0.0.1:1"),
        ] {
            for method in [Method::POST, Method::GET, Method::OPTIONS] {
                let headers = [("authorization", key.as_str()), header];
                let got = read(stand.send(method, path, &headers, r#"{"model":"m"}"#).await).await;
                assert_eq!((got.status, got.code().as_str()), (403, "forbidden"), "{path} {header:?}");
                assert!(!got.headers.contains_key("access-control-allow-origin"));
            }
        }
    }
    let behaviour = stand.fake.behave();
    assert_eq!((behaviour.seen.len(), behaviour.lists, behaviour.price_lists), (0, 0, 0));
}

#[tokio::test]
async fn a_page_that_was_named_may_ask() {
    let options = Options { origins: vec![PAGE], ..Options::default() };
    let stand = Stand::with(vec![Vm::new(BOTH, 7, u64::MAX)], options).await;
    let preflight = [
        ("origin", PAGE),
        ("sec-fetch-site", "cross-site"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let got = read(stand.send(Method::OPTIONS, "/v1/chat/completions", &preflight, "").await).await;
    assert_eq!((got.status, &got.headers["access-control-allow-origin"]), (200, &PAGE.parse().unwrap()));
    assert_eq!(got.headers["access-control-allow-headers"], "authorization,content-type");
    let key = format!("Bearer {KEY}");
    let headers = [("origin", PAGE), ("sec-fetch-site", "cross-site"), ("authorization", key.as_str())];
    let got =
        read(stand.send(Method::POST, "/v1/chat/completions", &headers, r#"{"model":"m"}"#).await).await;
    assert_eq!((got.status, &got.headers["access-control-allow-origin"]), (200, &PAGE.parse().unwrap()));
    let exposed = got.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("cocoon-receipt") && exposed.contains("cocoon-verified-keyset"), "{exposed}");
}

#[tokio::test]
async fn where_the_sidecar_has_the_key_callers_need_its_token_and_the_key_stays_here() {
    let options = Options { own_key: true, ..Options::default() };
    let stand = Stand::with(vec![Vm::new(BOTH, 7, u64::MAX)], options).await;
    let right = format!("Bearer {}", std::fs::read_to_string(stand.state.join("token")).unwrap().trim());
    let own = format!("Bearer {KEY}");
    let body = r#"{"model":"m"}"#;
    for headers in [&[][..], &[("authorization", own.as_str())], &[("authorization", "Bearer x")]] {
        let got = read(stand.send(Method::POST, "/v1/chat/completions", headers, body).await).await;
        assert_eq!((got.status, got.code().as_str()), (401, "invalid_local_token"));
        let got = stand.get("/v1/models", headers).await;
        assert_eq!(got.status, 401);
    }
    assert_eq!(stand.fake.behave().price_lists, 0);
    let headers = [("authorization", right.as_str())];
    let got = read(stand.send(Method::POST, "/v1/chat/completions", &headers, body).await).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(!format!("{got:?}").contains(KEY));
    assert_eq!(stand.get("/v1/models", &headers).await.status, 200);
    assert_eq!(stand.fake.behave().seen[0].headers["authorization"], own, "the token goes nowhere");
}
