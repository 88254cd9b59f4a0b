use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellFamily};

use super::*;

const REFUSED: &str = "LITE_SERVER_UNKNOWN: cannot apply external message to current state : \
                       External message was not accepted\n\
                       Cannot run message on account: inbound external message rejected by transaction:";

#[tokio::test]
async fn a_message_is_taken_in_either_base64_and_known_by_its_hash() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let boc = purse.pay(1, &nobody(9), TON);
    let hash = STANDARD.encode(Boc::decode(&boc).unwrap().repr_hash());
    for text in [STANDARD.encode(&boc), URL_SAFE.encode(&boc)] {
        assert_eq!(api.result("sendBoc", json!({"boc": text})).await, json!({"@type": "ok"}));
        let returned = api.result("sendBocReturnHash", json!({"boc": text})).await;
        assert_eq!(returned, json!({"@type": "raw.extMessageInfo", "hash": hash}));
    }
    api.chain(|chain| chain.produce_until_idle(10)).unwrap();
    assert_eq!(api.chain(|chain| balance(chain, &nobody(9))), u128::from(TON));
}

#[tokio::test]
async fn a_message_that_is_not_accepted_is_refused_in_the_words_of_a_lite_server() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let used = STANDARD.encode(purse.pay(0, &nobody(9), TON));
    let nowhere = STANDARD.encode(Purse::new(2).pay(0, &nobody(9), TON));
    for method in ["sendBoc", "sendBocReturnHash"] {
        let expected = (500, format!("{REFUSED}\nexitcode=133"));
        assert_eq!(api.error(method, json!({"boc": used})).await, expected);
        let expected = (500, format!("{REFUSED}\nno code was run"));
        assert_eq!(api.error(method, json!({"boc": nowhere})).await, expected);
        for (boc, error) in [
            (json!("AQID"), (500, "LITE_SERVER_UNKNOWN: not a message from outside: not a bag of cells")),
            (json!("€"), (422, "Validation error: boc is not base64")),
            (json!(null), (422, "Validation error: boc is missing")),
            (json!(5), (422, "Validation error: boc is not text")),
        ] {
            let (status, answer) = api.rpc(method, &json!({"boc": boc})).await;
            assert_eq!((status, answer["error"].as_str().unwrap()), error);
        }
    }
}

#[tokio::test]
async fn a_chain_of_cells_as_long_as_a_request_ends_nothing() {
    let api = Api::new();
    let mut cell = Cell::empty_cell();
    for _ in 0..20_000 {
        match tycho_types::cell::CellBuilder::build_from(cell.clone()) {
            Ok(longer) => cell = longer,
            Err(_) => break,
        }
    }
    let text = STANDARD.encode(Boc::encode(&cell));
    let (status, _) = api.rpc("sendBoc", &json!({"boc": text})).await;
    assert_eq!(status, 500);
    let stack = json!([["cell", text], ["slice", text]]);
    let echo = api.chain(|chain| deploy(chain, ECHO, Cell::empty_cell(), TON));
    let (status, _) =
        api.rpc("runGetMethod", &json!({"address": echo.to_string(), "method": "x", "stack": stack})).await;
    assert!(matches!(status, 200 | 422), "{status}");
}

#[tokio::test]
async fn a_message_is_sent_and_priced_by_its_parts() {
    let api = Api::new();
    let purse = api.chain(|chain| {
        let purse = Purse::new(1);
        chain.give(&purse.address(), 100 * TON).unwrap();
        chain.produce().unwrap();
        purse
    });
    let parts = |purse: &Purse, deploy: bool| {
        let boc = if deploy { purse.pay(0, &nobody(9), TON) } else { purse.pay(1, &nobody(9), TON) };
        let message = Boc::decode(boc).unwrap().parse::<tycho_types::models::OwnedMessage>().unwrap();
        let body = tycho_types::cell::CellSlice::apply(&message.body).unwrap();
        let body = Boc::encode_base64(crate::network::to_cell(body).unwrap());
        let cell = |of: Option<Cell>| of.map(Boc::encode_base64).unwrap_or_default();
        let init = message.init.unwrap_or_default();
        json!({
            "address": purse.address().to_string(),
            "body": body,
            "init_code": cell(init.code),
            "init_data": cell(init.data),
        })
    };
    let priced = api.result("estimateFee", parts(&purse, true)).await;
    assert_eq!(api.result("sendQuery", parts(&purse, true)).await, json!({"@type": "ok"}));
    api.chain(|chain| chain.produce_until_idle(10)).unwrap();
    let (transaction, info) = api.chain(|chain| parsed(&history(chain, &purse.address())[1]));
    let storage = info.storage_phase.unwrap().storage_fees_collected.into_inner();
    let tycho_types::models::ComputePhase::Executed(compute) = info.compute_phase else { panic!() };
    let gas = compute.gas_fees.into_inner();
    let forward = info.action_phase.unwrap().total_fwd_fees.unwrap().into_inner();
    let total = transaction.total_fees.tokens.into_inner();
    let expected = json!({
        "@type": "query.fees",
        "source_fees": {
            "@type": "fees",
            "in_fwd_fee": u64::try_from(total - gas - storage).unwrap(),
            "storage_fee": u64::try_from(storage).unwrap(),
            "gas_fee": u64::try_from(gas).unwrap(),
            "fwd_fee": u64::try_from(forward).unwrap(),
        },
        "destination_fees": [],
    });
    assert_eq!(priced, expected);
    assert!(gas > 0 && forward > 0 && total > gas + storage);

    // One that a stranger has signed costs the same, and is not sent.
    let stranger = Purse { key: Purse::new(2).key, wallet: purse.wallet.clone() };
    let mut forged = parts(&purse, false);
    let boc = Boc::decode_base64(forged["body"].as_str().unwrap()).unwrap();
    let mut builder = tycho_types::cell::CellBuilder::new();
    let mut slice = boc.as_slice().unwrap();
    slice.only_first(slice.size_bits() - 8, slice.size_refs()).unwrap();
    builder.store_slice(slice).unwrap();
    builder.store_u8(0).unwrap();
    forged["body"] = Boc::encode_base64(builder.build().unwrap()).into();
    drop(stranger);
    let honest = api.result("estimateFee", parts(&purse, false)).await;
    assert_eq!(api.result("estimateFee", forged.clone()).await, honest);
    forged["ignore_chksig"] = true.into();
    assert_eq!(api.result("estimateFee", forged.clone()).await, honest);
    forged["ignore_chksig"] = false.into();
    let expected = (500, format!("{REFUSED}\nexitcode=135"));
    assert_eq!(api.error("estimateFee", forged.clone()).await, expected);
    assert_eq!(api.error("sendQuery", forged.clone()).await, expected);
    forged["ignore_chksig"] = "perhaps".into();
    let expected = (422, "Validation error: ignore_chksig is not true or false".to_owned());
    assert_eq!(api.error("estimateFee", forged.clone()).await, expected);
    forged["body"] = "AQID".into();
    let expected = (422, "Validation error: body is not a bag of cells".to_owned());
    assert_eq!(api.error("estimateFee", forged).await, expected);
}
