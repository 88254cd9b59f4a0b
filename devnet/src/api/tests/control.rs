use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tycho_types::boc::Boc;

use super::*;
use crate::chain::{MOST_BLOCKS, MOST_GIVEN};

#[tokio::test]
async fn the_status_has_all_that_the_chain_is_and_where_its_coins_are() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    api.chain(|chain| {
        chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
        chain.produce().unwrap();
        chain.advance(5).unwrap();
        chain.send_external(&purse.pay(2, &nobody(9), TON)).unwrap();
    });
    let (status, answer) = api.send(Method::GET, "/devnet", "").await;
    let (zerostate, lt, supply, balances, way) = api.chain(|chain| {
        let state = chain.state();
        let zerostate = STANDARD.encode(chain.network().zerostate());
        let balances = balance(chain, &purse.address()).to_string();
        (zerostate, chain.head().end_lt.to_string(), chain.supply(), balances, state.on_the_way().to_string())
    });
    let expected = json!({
        "fees": "current",
        "global_id": -3,
        "zerostate": zerostate,
        "clock": {"standing": {"at": START + 5}},
        "now": START + 5,
        "seqno": 4,
        "time": START,
        "end_lt": lt,
        "accounts": 1,
        "transactions": 4,
        "waiting": 1,
        "on_the_way": 1,
        "supply": {
            "minted": (100 * TON).to_string(),
            "balances": balances,
            "on_the_way": way,
            "fees": supply.fees.to_string(),
            "burned": "0",
        },
    });
    assert_eq!((status, answer), (200, expected));
}

#[tokio::test]
async fn the_faucet_gives_what_it_is_asked_for_in_the_next_block() {
    let api = Api::new();
    let gift =
        json!({"address": ton_address(&nobody(1)).show(false, true), "amount": MOST_GIVEN.to_string()});
    let status = api.steer(Method::POST, "/faucet", gift).await;
    assert_eq!(
        (&status["on_the_way"], &status["supply"]["minted"]),
        (&json!(1), &json!(MOST_GIVEN.to_string()))
    );
    let status = api.steer(Method::POST, "/blocks", json!({"count": 1})).await;
    assert_eq!((&status["seqno"], &status["on_the_way"]), (&json!(1), &json!(0)));
    assert_eq!(api.chain(|chain| balance(chain, &nobody(1))), u128::from(MOST_GIVEN));
    let address = nobody(1).to_string();
    let amount = format!("an amount is 1 to {MOST_GIVEN} nanoTON");
    for (body, status, error) in [
        (json!({"address": address, "amount": "0"}), 400, amount.as_str()),
        (json!({"address": address, "amount": (MOST_GIVEN + 1).to_string()}), 400, &amount),
        (json!({"address": address, "amount": "-1"}), 400, &amount),
        (json!({"address": address, "amount": "1.5"}), 400, &amount),
        (json!({"address": address, "amount": 1}), 422, "Validation error: invalid type: integer `1`"),
        (json!({"address": address}), 422, "Validation error: missing field `amount`"),
        (json!({"address": "x", "amount": "1"}), 416, "Incorrect address"),
        (
            json!({"address": address, "amount": "1", "more": 1}),
            422,
            "Validation error: unknown field `more`",
        ),
    ] {
        let (found, text) = api.not_steered(Method::POST, "/faucet", &body.to_string()).await;
        assert_eq!(found, status, "{body}");
        assert!(text.starts_with(error), "{body}: {text}");
    }
}

#[tokio::test]
async fn a_message_is_put_on_its_way_as_if_an_account_had_sent_it() {
    let api = Api::new();
    let boc = Boc::encode_base64(Letter { bounce: false, ..Letter::new(&nobody(1), &nobody(2), TON) }.cell());
    let status = api.steer(Method::POST, "/messages", json!({"boc": boc})).await;
    assert_eq!(status["on_the_way"], json!(1));
    api.steer(Method::POST, "/blocks", json!({"count": 1})).await;
    assert_eq!(api.chain(|chain| balance(chain, &nobody(2))), u128::from(TON));
    for (boc, error) in [
        ("AQID", "boc is not a bag of cells"),
        (
            &Boc::encode_base64(bits("ff")),
            "not a message between accounts of this chain: it is not a message",
        ),
    ] {
        let body = json!({"boc": boc}).to_string();
        assert_eq!(api.not_steered(Method::POST, "/messages", &body).await, (400, error.to_owned()));
    }
}

#[tokio::test]
async fn blocks_are_made_as_many_as_are_asked_for_or_until_nothing_is_left() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let made = api.chain(|chain| chain.head().seqno);
    let status = api.steer(Method::POST, "/blocks", json!({"count": 3})).await;
    assert_eq!(status["seqno"], json!(made + 3));
    let status = api.steer(Method::POST, "/blocks", json!({"count": 5, "until_idle": true})).await;
    assert_eq!(status["seqno"], json!(made + 3));
    api.chain(|chain| chain.send_external(&purse.pay(1, &nobody(9), TON))).unwrap();
    let body = json!({"count": 1, "until_idle": true}).to_string();
    let expected = (400, "messages are still on their way after 1 blocks".to_owned());
    assert_eq!(api.not_steered(Method::POST, "/blocks", &body).await, expected);
    let status = api.steer(Method::POST, "/blocks", json!({"count": 5, "until_idle": true})).await;
    assert_eq!((&status["seqno"], &status["on_the_way"]), (&json!(made + 5), &json!(0)));
    let body = json!({"count": MOST_BLOCKS + 1}).to_string();
    let expected = (400, format!("count is above {MOST_BLOCKS}"));
    assert_eq!(api.not_steered(Method::POST, "/blocks", &body).await, expected);
    assert_eq!(api.chain(|chain| chain.head().seqno), made + 5);
}

#[tokio::test]
async fn time_is_set_moved_and_let_run() {
    let api = Api::new();
    let moved = async |time: Value| api.steer(Method::PUT, "/time", time).await;
    let status = moved(json!({"standing": START + 10})).await;
    assert_eq!(
        (&status["now"], &status["clock"]),
        (&json!(START + 10), &json!({"standing": {"at": START + 10}}))
    );
    assert_eq!(moved(json!({"advance": 90})).await["now"], json!(START + 100));
    api.chain(|chain| chain.produce()).unwrap();
    let back = json!({"standing": START}).to_string();
    let expected = format!("time does not go back: the newest block is of {}", START + 100);
    assert_eq!(api.not_steered(Method::PUT, "/time", &back).await, (400, expected));
    let far = json!({"advance": u32::MAX}).to_string();
    let expected = (400, "blocks have no time after 4294967295".to_owned());
    assert_eq!(api.not_steered(Method::PUT, "/time", &far).await, expected);
    let status = moved(json!({"running": 60})).await;
    assert_eq!(status["clock"], json!({"running": {"ahead": 60}}));
    assert!(status["now"].as_u64() > Some(u64::from(START) + 100));
    for body in
        [json!({"sideways": 1}), json!({"standing": -1}), json!({}), json!({"standing": 1, "advance": 1})]
    {
        let (status, error) = api.not_steered(Method::PUT, "/time", &body.to_string()).await;
        assert!(status == 422 && error.starts_with("Validation error: "), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_snapshot_is_restored_by_its_name() {
    let api = Api::new();
    let status = api.steer(Method::PUT, "/snapshots/one", Value::Null).await;
    api.steer(Method::POST, "/blocks", json!({"count": 3})).await;
    let restored = api.steer(Method::POST, "/snapshots/one/restore", Value::Null).await;
    assert_eq!(restored, status);
    let none = (400, "there is no snapshot of this name".to_owned());
    assert_eq!(api.not_steered(Method::POST, "/snapshots/two/restore", "").await, none);
    let name = (400, "a snapshot's name has 1 to 64 letters, digits, - and _".to_owned());
    assert_eq!(api.not_steered(Method::PUT, "/snapshots/a%20b", "").await, name);
}

#[tokio::test]
async fn a_file_that_fails_is_told_apart_from_a_wrong_request() {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::Store::open(&dir.path().join("chain")).unwrap();
    let clock = crate::Clock::Standing { at: START };
    let chain = crate::Chain::kept(network(), clock, store).unwrap();
    let api = Api::of(Arc::new(std::sync::Mutex::new(chain)));
    api.chain(|chain| chain.break_store("DROP TABLE block"));
    let (status, error) = api.not_steered(Method::POST, "/blocks", r#"{"count": 1}"#).await;
    assert_eq!(status, 500);
    assert!(error.starts_with("the file: "), "{error}");
}

#[tokio::test]
async fn faults_are_told_and_unknown_ones_refused() {
    let api = Api::new();
    let none = json!({
        "drop_externals": 0,
        "duplicate_externals": 0,
        "delay_externals": 0,
        "delay_messages": 0,
        "shuffle": null,
    });
    assert_eq!(api.send(Method::GET, "/devnet/faults/network", "").await, (200, none.clone()));
    let mut faults = none.clone();
    faults["drop_externals"] = 2.into();
    faults["shuffle"] = u64::MAX.into();
    let set =
        api.steer(Method::PUT, "/faults/network", json!({"drop_externals": 2, "shuffle": u64::MAX})).await;
    assert_eq!(set, faults);
    assert_eq!(api.send(Method::GET, "/devnet/faults/network", "").await, (200, faults));
    assert_eq!(api.steer(Method::PUT, "/faults/network", json!({})).await, none);

    let none = json!({
        "methods": null,
        "refuse": 0,
        "refuse_with": null,
        "lose_answers": 0,
        "hang": 0,
        "stale": false,
    });
    assert_eq!(api.send(Method::GET, "/devnet/faults/endpoint", "").await, (200, none.clone()));
    let mut faults = none.clone();
    faults["methods"] = json!(["sendBoc"]);
    faults["refuse_with"] = 503.into();
    let wanted = json!({"methods": ["sendBoc"], "refuse_with": 503});
    assert_eq!(api.steer(Method::PUT, "/faults/endpoint", wanted).await, faults);
    for (path, body, status, error) in [
        ("network", json!({"drop": 1}), 422, "Validation error: unknown field `drop`"),
        ("network", json!({"delay_messages": -1}), 422, "Validation error: invalid value"),
        ("endpoint", json!({"hangs": 1}), 422, "Validation error: unknown field `hangs`"),
        ("endpoint", json!({"refuse_with": 399}), 400, "refuse_with is not 400 to 599"),
        ("endpoint", json!({"refuse_with": 600}), 400, "refuse_with is not 400 to 599"),
        ("endpoint", json!({"methods": ["sendboc"]}), 400, "there is no method \"sendboc\""),
    ] {
        let found = api.not_steered(Method::PUT, &format!("/faults/{path}"), &body.to_string()).await;
        assert_eq!(found.0, status, "{body}");
        assert!(found.1.starts_with(error), "{body}: {}", found.1);
    }
    assert_eq!(api.send(Method::GET, "/devnet/faults/endpoint", "").await, (200, faults));
}
