//! Answers that are not, and what an endpoint must never be used for.

use super::*;
use crate::chain::error::LiteServerError;

async fn of(script: Script) -> ChainError {
    let server = Scripted::start(-3, [script]).await;
    server.endpoint("one").account(&treasury()).await.unwrap_err()
}

#[tokio::test]
async fn what_went_wrong_is_told_apart() {
    let limited = Script::Answer(
        429,
        "retry-after: 7\r\n",
        json!({"ok": false, "error": "Ratelimit exceed", "code": 429}).to_string(),
    );
    assert_eq!(of(limited).await, ChainError::Limited { retry_after: Some(Duration::from_secs(7)) });
    let forever = Script::Answer(429, "retry-after: 99999\r\n", String::new());
    assert_eq!(of(forever).await, ChainError::Limited { retry_after: Some(Duration::from_secs(60)) });
    let date = Script::Answer(429, "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", String::new());
    assert_eq!(of(date).await, ChainError::Limited { retry_after: None });
    assert_eq!(of(error(500, "Internal error")).await, ChainError::Server(500));
    let page = Script::Answer(502, "", "<html>Bad gateway</html>".to_owned());
    assert_eq!(of(page).await, ChainError::Server(502));
    let refused = ChainError::Refused { status: 422, text: "failed to parse address".to_owned() };
    assert_eq!(of(error(422, "failed to parse address")).await, refused);
    assert_eq!(
        of(Script::Answer(302, "location: http://127.0.0.1:1/\r\n", String::new())).await,
        ChainError::Refused { status: 302, text: String::new() }
    );
}

#[tokio::test]
async fn a_lite_servers_words_are_known() {
    let unknown = "LITE_SERVER_UNKNOWN: something";
    let other = ChainError::LiteServer(LiteServerError::Other(unknown.to_owned()));
    assert_eq!(of(error(500, unknown)).await, other);
    // The same as an answer that says itself that it is none.
    assert_eq!(
        of(Script::Answer(200, "", json!({"ok": false, "error": unknown, "code": 500}).to_string())).await,
        other
    );
    let behind = "LITE_SERVER_NOTREADY: block is not applied";
    assert_eq!(
        of(error(500, behind)).await,
        ChainError::LiteServer(LiteServerError::NotReady(behind.to_owned()))
    );
    let network = "LITE_SERVER_NETWORK";
    assert_eq!(
        of(error(500, network)).await,
        ChainError::LiteServer(LiteServerError::Network(network.to_owned()))
    );
    let rejected = "LITE_SERVER_UNKNOWN: cannot apply external message to current state : \
        External message was not accepted";
    assert_eq!(of(error(500, rejected)).await, ChainError::NotAccepted(rejected.to_owned()));
    let ChainError::LiteServer(LiteServerError::Other(text)) =
        of(error(500, &"LITE_SERVER_X\n".repeat(999))).await
    else {
        panic!("not typed")
    };
    assert!(text.len() <= 256 && !text.contains('\n'));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_no_panic() {
    assert_eq!(
        of(Script::Answer(200, "", "garbage".to_owned())).await,
        ChainError::Malformed("a JSON-RPC answer")
    );
    assert_eq!(
        of(Script::Answer(200, "", "{}".to_owned())).await,
        ChainError::Malformed("a JSON-RPC answer")
    );
    assert_eq!(of(ok(&json!({}))).await, ChainError::Malformed("fullAccountState"));
    assert_eq!(of(Script::CutShort(200)).await, ChainError::Truncated);
    assert_eq!(of(Script::CutShort(502)).await, ChainError::Server(502));
    let huge =
        Script::Answer(200, "", format!("{{\"ok\":true,\"result\":\"{}\"}}", "x".repeat(9 * 1024 * 1024)));
    assert_eq!(of(huge).await, ChainError::TooLarge);
    let mut state = active(1);
    state["balance"] = "1.5".into();
    assert_eq!(of(ok(&state)).await, ChainError::Malformed("fullAccountState"));
    state["balance"] = "18446744073709551616".into();
    assert_eq!(of(ok(&state)).await, ChainError::Malformed("a number"));
}

#[tokio::test]
async fn silence_ends_with_the_time_limit() {
    let server = Scripted::start(-3, [Script::Silence]).await;
    let begun = Instant::now();
    let config = EndpointConfig { timeout: Duration::from_secs(2), ..server.config("one") };
    assert_eq!(endpoint(config).unwrap().account(&treasury()).await.unwrap_err(), ChainError::Timeout);
    assert!((2..20).contains(&begun.elapsed().as_secs()));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Scripted::start(-3, []).await;
    let config = EndpointConfig {
        url: EndpointUrl::parse(&format!("http://{free}")).unwrap(),
        ..server.config("one")
    };
    assert_eq!(endpoint(config).unwrap().head().await.unwrap_err(), ChainError::Unreachable);
}

#[tokio::test]
async fn an_endpoint_of_mainnet_is_not_used_unless_the_configuration_names_mainnet() {
    let server = Scripted::start(-239, [ok(&json!({"@type": "ok"})), ok(&json!({"@type": "ok"}))]).await;
    for network in [
        Network::test(GlobalId::TESTNET).unwrap(),
        Network::Test { global_id: GlobalId::MAINNET, zerostate: None },
    ] {
        let endpoint = endpoint(EndpointConfig { network, ..server.config("one") }).unwrap();
        for _ in 0..2 {
            let refused = ChainError::OtherNetwork { expected: network, found: GlobalId::MAINNET };
            assert_eq!(endpoint.send_boc(&[1]).await.unwrap_err(), refused);
        }
    }
    assert_eq!(server.asked(), []);
    // It has mainnet's number, yet not mainnet's first block.
    let endpoint = endpoint(EndpointConfig { network: Network::Mainnet, ..server.config("one") }).unwrap();
    assert!(matches!(endpoint.send_boc(&[1]).await, Err(ChainError::OtherNetwork { .. })));
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn another_test_network_is_not_the_configured_one() {
    let server = Scripted::start(-3, []).await;
    let network = Network::Test { global_id: GlobalId::TESTNET, zerostate: Some(CellHash([8; 32])) };
    let endpoint = endpoint(EndpointConfig { network, ..server.config("one") }).unwrap();
    assert!(matches!(endpoint.head().await, Err(ChainError::OtherNetwork { .. })));
}

#[tokio::test]
async fn transactions_that_do_not_follow_one_another_are_refused() {
    let deposit = recorded().transaction("deposit");
    let cases = [
        // One is left out; one is of another account; the one that was asked for is not there.
        (raw(&["deposit_small", "deposit"]), treasury(), None, "a transaction that does not follow"),
        (
            raw(&["deposit"]),
            Address::new(Workchain::Basechain, [1; 32]),
            None,
            "a transaction of another account",
        ),
        (raw(&["deposit_small"]), treasury(), Some(deposit.id), "a transaction that does not follow"),
        (raw(&[]), treasury(), Some(deposit.id), "a transaction that is not there"),
    ];
    for (answer, address, from, what) in cases {
        let server = Scripted::start(-3, [ok(&answer)]).await;
        let refused = server.endpoint("one").transactions(&address, from, 10).await;
        assert_eq!(refused.unwrap_err(), ChainError::Broken(what));
    }
}

#[tokio::test]
async fn an_error_that_repeats_the_key_does_not_carry_it_on() {
    let text = "API key geheim is not known";
    let in_answer = json!({"ok": false, "error": text, "code": 403}).to_string();
    let server = Scripted::start(-3, [error(403, text), Script::Answer(200, "", in_answer)]).await;
    let config = EndpointConfig { api_key: Some(ApiKey::new("geheim".to_owned())), ..server.config("one") };
    let endpoint = endpoint(config).unwrap();
    for _ in 0..2 {
        let refused = endpoint.account(&treasury()).await.unwrap_err();
        assert_eq!(
            refused,
            ChainError::Refused { status: 403, text: "API key (the key) is not known".to_owned() }
        );
    }
}

#[tokio::test]
async fn an_empty_key_changes_no_text() {
    let server = Scripted::start(-3, [error(403, "no")]).await;
    let config = EndpointConfig { api_key: Some(ApiKey::new(String::new())), ..server.config("one") };
    let refused = endpoint(config).unwrap().account(&treasury()).await.unwrap_err();
    assert_eq!(refused, ChainError::Refused { status: 403, text: "no".to_owned() });
}

#[test]
fn a_head_is_the_masterchains_and_its_beginning_is_block_0() {
    assert!(answers::head(masterchain_info(ZEROSTATE)).is_ok());
    for (block, member, value) in [("last", "workchain", 0), ("init", "workchain", 0), ("init", "seqno", 1)] {
        let mut info = masterchain_info(ZEROSTATE);
        info[block][member] = value.into();
        let refused = Err(ChainError::Malformed("masterchainInfo"));
        assert_eq!(answers::head(info), refused, "{block} {member}");
    }
}

#[test]
fn a_networks_number_with_more_behind_is_none() {
    let cell = Writer::new().i32(-3).bit(false).cell().unwrap();
    let longer = json!({"config": {"bytes": boc::encode_base64(&cell).unwrap()}});
    assert_eq!(answers::global_id(longer), Err(ChainError::Malformed("ConfigParam 19")));
}

#[test]
fn an_endpoint_is_an_origin_without_secrets() {
    for text in ["https://toncenter.example", "http://127.0.0.1:8100", "http://127.0.0.1:8100/"] {
        assert!(EndpointUrl::parse(text).is_ok(), "{text}");
    }
    for text in [
        "",
        "x",
        "ftp://a",
        "https://a/api/v2",
        "https://a/?api_key=b",
        "https://u@a",
        "https://u:p@a",
        "https://a/#x",
    ] {
        assert!(EndpointUrl::parse(text).is_err(), "{text}");
    }
}
