//! Answers that are right.

use super::*;

#[tokio::test]
async fn an_account_is_read_whatever_its_state() {
    let never = json!({
        "balance": -1, "code": "", "data": "", "state": "uninitialized", "sync_utime": 5,
        "last_transaction_id": {"lt": "0", "hash": CellHash([0; 32]).to_string()},
    });
    let mut frozen = never.clone();
    frozen["state"] = "frozen".into();
    let server = Scripted::start(-3, [ok(&active(1)), ok(&never), ok(&frozen)]).await;
    let endpoint = server.endpoint("one");
    let account = endpoint.account(&treasury()).await.unwrap();
    assert_eq!(account.balance, NanoTon(u64::MAX));
    assert_eq!(account.at, 1_790_000_000);
    let last = TransactionId { lt: 9_007_199_254_740_993, hash: CellHash([3; 32]) };
    assert_eq!(account.last_transaction, Some(last));
    assert!(matches!(account.status, Status::Active { code, .. } if code.bit_len() == 64));
    let account = endpoint.account(&treasury()).await.unwrap();
    assert!(matches!(
        account,
        Account { balance: NanoTon::ZERO, status: Status::Uninitialized, last_transaction: None, .. }
    ));
    assert!(matches!(endpoint.account(&treasury()).await.unwrap().status, Status::Frozen));
    assert_eq!(server.asked()[0].0["params"], json!({"address": treasury().to_string()}));
}

#[tokio::test]
async fn transactions_are_parsed_from_their_bytes_and_paged_by_lt_and_hash() {
    let newest_first = ["deposit_bounceable", "deposit"];
    let server = Scripted::start(-3, [ok(&raw(&newest_first)), ok(&raw(&newest_first[1..]))]).await;
    let endpoint = server.endpoint("one");
    let page = endpoint.transactions(&treasury(), None, 2).await.unwrap();
    assert_eq!(page.len(), 2);
    assert_eq!(page[1].id, recorded().transaction("deposit").id);
    let next = endpoint.transactions(&treasury(), page[0].previous, 200).await.unwrap();
    assert_eq!(next[0].id, page[1].id);
    let params = server.asked().into_iter().map(|(request, _)| request["params"].clone()).collect::<Vec<_>>();
    assert_eq!(params[0]["limit"], 2);
    assert_eq!(params[1]["limit"], MAX_PAGE);
    assert_eq!(params[1]["lt"], page[1].id.lt.to_string());
    assert_eq!(params[1]["hash"], page[1].id.hash.to_string());
}

#[tokio::test]
async fn a_page_has_no_more_than_was_asked_for() {
    let server = Scripted::start(-3, [ok(&raw(&["deposit_bounceable", "deposit"]))]).await;
    assert_eq!(server.endpoint("one").transactions(&treasury(), None, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_get_method_answers_values_or_its_exit_code() {
    let run = |exit_code: i32| json!({"gas_used": 1, "stack": [["num", "-0x2a"]], "exit_code": exit_code});
    let server = Scripted::start(-3, [ok(&run(0)), ok(&run(-13)), ok(&run(1))]).await;
    let endpoint = server.endpoint("one");
    let argument = [StackValue::Number(0x5043_0101.into())];
    let values = endpoint.run_get_method(&treasury(), "required_value", &argument).await.unwrap();
    assert!(matches!(&values[..], [StackValue::Number(number)] if *number == (-42).into()));
    assert_eq!(server.asked()[0].0["params"]["stack"], json!([["num", "0x50430101"]]));
    let failed = endpoint.run_get_method(&treasury(), "required_value", &[]).await;
    assert_eq!(failed.unwrap_err(), ChainError::ExitCode(-13));
    assert!(endpoint.run_get_method(&treasury(), "required_value", &[]).await.is_ok());
}

#[tokio::test]
async fn the_head_and_the_network_are_read() {
    let server = Scripted::start(-3, []).await;
    let endpoint = server.endpoint("one");
    let head = endpoint.head().await.unwrap();
    assert_eq!((head.seqno, head.zerostate), (77, ZEROSTATE));
    assert_eq!(endpoint.global_id().await.unwrap(), GlobalId::TESTNET);
}

#[tokio::test]
async fn a_message_is_sent_as_base64_and_the_key_only_as_a_header() {
    let server = Scripted::start(-3, [ok(&json!({"@type": "ok"}))]).await;
    let config = EndpointConfig { api_key: Some(ApiKey::new("geheim".to_owned())), ..server.config("one") };
    let printed = format!("{config:?}");
    let endpoint = endpoint(config).unwrap();
    endpoint.send_boc(&[1, 2, 3]).await.unwrap();
    let (request, headers) = server.asked().remove(0);
    assert_eq!(request["params"], json!({"boc": "AQID"}));
    assert!(headers.contains("x-api-key: geheim"));
    assert!(!printed.contains("geheim") && !format!("{endpoint:?}").contains("geheim"));
}
