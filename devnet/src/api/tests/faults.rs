use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

async fn set(api: &Api, faults: Value) {
    api.steer(Method::PUT, "/faults/endpoint", faults).await;
}

async fn seqno(api: &Api) -> Value {
    api.result("getMasterchainInfo", json!({})).await["last"]["seqno"].clone()
}

#[tokio::test]
async fn calls_are_refused_as_often_as_it_was_said() {
    let api = Api::new();
    set(&api, json!({"refuse": 2})).await;
    let limited = json!({"ok": false, "error": "Ratelimit exceed", "code": 429});
    for _ in 0..2 {
        assert_eq!(api.rpc("getMasterchainInfo", &json!({})).await, (429, limited.clone()));
    }
    seqno(&api).await;
    set(&api, json!({"refuse": 1, "refuse_with": 502})).await;
    let refused = json!({"ok": false, "error": "refused, because it was told to be", "code": 502});
    assert_eq!(api.send(Method::GET, "/api/v2/getMasterchainInfo", "").await, (502, refused));
    seqno(&api).await;
}

#[tokio::test]
async fn a_refused_call_does_nothing_and_one_whose_answer_is_lost_does_all() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let boc = json!({"boc": STANDARD.encode(purse.pay(1, &nobody(9), TON))});
    set(&api, json!({"refuse": 1, "lose_answers": 1})).await;
    assert_eq!(api.rpc("sendBoc", &boc).await.0, 429);
    assert_eq!(api.chain(|chain| chain.waiting()), 0);
    let lost = json!({"ok": false, "error": "timeout", "code": 504});
    assert_eq!(api.rpc("sendBoc", &boc).await, (504, lost));
    assert_eq!(api.chain(|chain| chain.waiting()), 1);
    assert_eq!(api.rpc("sendBoc", &boc).await.0, 200);
}

#[tokio::test]
async fn only_the_named_methods_fail() {
    let api = Api::new();
    set(&api, json!({"methods": ["getTransactions", "sendBoc"], "refuse": 2})).await;
    seqno(&api).await;
    let params = json!({"address": nobody(1).to_string()});
    assert_eq!(api.rpc("getTransactions", &params).await.0, 429);
    assert_eq!(api.rpc("getAddressState", &params).await.0, 200);
    assert_eq!(api.rpc("sendBoc", &params).await.0, 429);
    assert_eq!(api.rpc("getTransactions", &params).await.0, 200);
    // An endpoint that fails follows the chain all the same.
    api.chain(|chain| chain.produce()).unwrap();
    assert_eq!(seqno(&api).await, json!(1));
}

#[tokio::test]
async fn a_call_that_hangs_is_not_answered_and_the_next_one_is() {
    let chain = shared();
    let url = listening(&chain).await;
    let client = reqwest::Client::new();
    let faults =
        client.put(format!("{url}/devnet/faults/endpoint")).body(r#"{"hang": 1}"#).send().await.unwrap();
    assert_eq!(faults.status(), 200);
    let hanging = client.get(format!("{url}/api/v2/getMasterchainInfo")).timeout(Duration::from_millis(300));
    assert!(hanging.send().await.unwrap_err().is_timeout());
    let answered = client.get(format!("{url}/api/v2/getMasterchainInfo")).timeout(Duration::from_secs(60));
    assert_eq!(answered.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stale_endpoint_tells_of_the_past_while_another_one_of_the_chain_goes_on() {
    let stale = Api::new();
    let fresh = Api::of(Arc::clone(&stale.chain));
    let purse = stale.chain(|chain| funded(chain, 1));
    let made = stale.chain(|chain| chain.head().seqno);
    set(&stale, json!({"stale": true})).await;
    // What it takes it takes for the chain, not for the past.
    let boc = json!({"boc": STANDARD.encode(purse.pay(1, &nobody(9), TON))});
    assert_eq!(stale.rpc("sendBoc", &boc).await.0, 200);
    stale.chain(|chain| {
        chain.advance(100).unwrap();
        chain.produce_until_idle(10).unwrap();
    });
    let params = json!({"address": nobody(9).to_string()});
    let of = async |api: &Api| {
        let account = api.result("getAddressInformation", params.clone()).await;
        (seqno(api).await, account["balance"].clone(), account["sync_utime"].clone())
    };
    assert_eq!(of(&stale).await, (json!(made), json!("0"), json!(START)));
    assert_eq!(of(&fresh).await, (json!(made + 2), json!("1000000000"), json!(START + 100)));
    let wallet = json!({"address": purse.address().to_string()});
    assert_eq!(stale.result("getWalletInformation", wallet.clone()).await["seqno"], json!(1));
    assert_eq!(fresh.result("getWalletInformation", wallet).await["seqno"], json!(2));
    set(&stale, json!({})).await;
    assert_eq!(of(&stale).await, of(&fresh).await);
}

#[tokio::test]
async fn whoever_steers_the_chain_is_never_refused() {
    let api = Api::new();
    set(&api, json!({"refuse": 100, "hang": 100})).await;
    api.steer(Method::POST, "/blocks", json!({"count": 1})).await;
    assert_eq!(api.send(Method::GET, "/devnet", "").await.0, 200);
}

#[tokio::test]
async fn a_lock_that_a_panic_left_is_taken_up() {
    let api = Api::new();
    let chain = Arc::clone(&api.chain);
    let panicked = std::thread::spawn(move || {
        let _chain = chain.lock().unwrap();
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert!(api.chain.is_poisoned());
    api.steer(Method::POST, "/blocks", json!({"count": 1})).await;
    assert_eq!(seqno(&api).await, json!(1));
}
