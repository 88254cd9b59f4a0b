use axum::body::Body;
use serde_json::{Value, json};

use super::super::{MAX_REQUEST, methods};
use super::*;

#[tokio::test]
async fn every_method_is_known_by_its_name_and_no_other() {
    let api = Api::new();
    for name in methods::NAMES {
        let (_, body) = api.rpc(name, &json!({})).await;
        assert_ne!(body["error"], json!("Unknown method"), "{name}");
    }
    for name in ["", "getmasterchaininfo", "getMasterchainInfo ", "jsonRPC"] {
        let (status, body) = api.rpc(name, &json!({})).await;
        assert_eq!(body, json!({"ok": false, "error": "Unknown method", "code": 422}), "{name}");
        assert_eq!(status, 422);
    }
}

#[tokio::test]
async fn the_id_of_a_call_comes_back_as_it_was() {
    let api = Api::new();
    for id in [json!("a"), json!(7), json!(null)] {
        for (method, ok) in [("getMasterchainInfo", true), ("nothing", false)] {
            let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}).to_string();
            let (_, body) = api.send(Method::POST, "/api/v2/jsonRPC", call).await;
            assert_eq!((&body["id"], &body["jsonrpc"], &body["ok"]), (&id, &json!("2.0"), &json!(ok)));
        }
    }
    // Neither an id nor parameters are needed.
    let (status, body) =
        api.send(Method::POST, "/api/v2/jsonRPC", r#"{"method":"getMasterchainInfo"}"#).await;
    assert_eq!((status, &body["id"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_body_that_is_no_call_is_refused_with_what_is_wrong_with_it() {
    let api = Api::new();
    for (body, reason) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "invalid type: sequence, expected a map"),
        ("{}", "missing field `method`"),
        (r#"{"method": 1}"#, "invalid type: integer"),
        (r#"{"method": "shards", "params": [1]}"#, "invalid type: sequence, expected a map"),
        (r#"["getMasterchainInfo", {}, 1]"#, "invalid type: sequence, expected a map"),
        (&r#"{"a":"#.repeat(1_000), "recursion limit"),
    ] {
        let (status, answer) = api.send(Method::POST, "/api/v2/jsonRPC", body.to_owned()).await;
        let error = answer["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with("Validation error: ") && error.contains(reason), "{body}: {error}");
        let expected = json!({"ok": false, "error": error, "code": 422, "id": null, "jsonrpc": "2.0"});
        assert_eq!((status, answer), (422, expected));
    }
    let (status, answer) = api.send(Method::POST, "/api/v2/shards", "[1]").await;
    assert_eq!((status, &answer["code"]), (422, &json!(422)));
    assert!(answer["error"].as_str().unwrap().contains("expected a map"), "{answer}");
}

#[tokio::test]
async fn a_body_above_the_bound_is_refused_in_json() {
    let api = Api::new();
    for path in ["/api/v2/jsonRPC", "/api/v2/sendBoc", "/devnet/faucet"] {
        let (status, answer) = api.send(Method::POST, path, " ".repeat(MAX_REQUEST + 1)).await;
        assert_eq!((status, &answer["ok"], &answer["code"]), (413, &json!(false), &json!(413)));
        assert!(answer["error"].as_str().unwrap().contains("length limit"), "{answer}");
        let (status, _) = api.send(Method::POST, path, " ".repeat(MAX_REQUEST)).await;
        assert_eq!(status, 422);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_in_json() {
    let api = Api::new();
    for (method, path, status, error) in [
        (Method::GET, "/", 404, "Not Found"),
        (Method::GET, "/api/v3/shards", 404, "Not Found"),
        (Method::POST, "/devnet/nothing", 404, "Not Found"),
        (Method::GET, "/api/v2/%ff", 404, "Not Found"),
        (Method::POST, "/api/v2/%ff", 404, "Not Found"),
        (Method::PUT, "/devnet/snapshots/%ff", 404, "Not Found"),
        (Method::POST, "/devnet/snapshots/%ff/restore", 404, "Not Found"),
        (Method::PUT, "/api/v2/shards", 405, "Method Not Allowed"),
        (Method::GET, "/api/v2/jsonRPC", 405, "Method Not Allowed"),
        (Method::GET, "/devnet/faucet", 405, "Method Not Allowed"),
    ] {
        let answer = api.send(method.clone(), path, "{}").await;
        let expected = json!({"ok": false, "error": error, "code": status});
        assert_eq!(answer, (status, expected), "{method} {path}");
    }
}

#[tokio::test]
async fn a_query_string_has_the_parameters_of_a_call() {
    let api = Api::new();
    let (status, answer) = api.send(Method::GET, "/api/v2/shards?seqno=0", Body::empty()).await;
    assert_eq!((status, &answer["ok"]), (200, &json!(true)));
    let (status, answer) = api.send(Method::GET, "/api/v2/shards?seqno=x", Body::empty()).await;
    let error = "Validation error: seqno is not a number in range";
    assert_eq!((status, &answer["error"]), (422, &json!(error)));
}
