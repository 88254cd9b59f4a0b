use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellFamily, HashBytes};

use super::*;

/// toncenter's zeros.
const NO_HASH: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn base64(hash: &HashBytes) -> String {
    STANDARD.encode(hash)
}

fn last(api: &Api, of: &tycho_types::models::StdAddr) -> Value {
    api.chain(|chain| {
        let id = &history(chain, of).last().unwrap().id;
        json!({"@type": "internal.transactionId", "lt": id.lt.to_string(), "hash": base64(&id.hash)})
    })
}

fn block(api: &Api) -> Value {
    api.chain(|chain| {
        let head = chain.head();
        json!({
            "@type": "ton.blockIdExt",
            "workchain": -1,
            "shard": "-9223372036854775808",
            "seqno": head.seqno,
            "root_hash": base64(&head.digest),
            "file_hash": base64(&head.file_hash(-1)),
        })
    })
}

#[tokio::test]
async fn an_account_that_never_was_is_uninitialized_and_empty() {
    let api = Api::new();
    let address = nobody(1).to_string();
    let none = json!({"@type": "internal.transactionId", "lt": "0", "hash": NO_HASH});
    assert_eq!(
        api.result("getAddressInformation", json!({"address": address})).await,
        json!({
            "@type": "raw.fullAccountState",
            "balance": "0",
            "extra_currencies": [],
            "code": "",
            "data": "",
            "frozen_hash": "",
            "last_transaction_id": none,
            "block_id": block(&api),
            "sync_utime": START,
            "state": "uninitialized",
        })
    );
    assert_eq!(
        api.result("getWalletInformation", json!({"address": address})).await,
        json!({
            "wallet": false,
            "balance": "0",
            "account_state": "uninitialized",
            "last_transaction_id": none,
        })
    );
    assert_eq!(api.result("getAddressBalance", json!({"address": address})).await, json!("0"));
    assert_eq!(api.result("getAddressState", json!({"address": address})).await, json!("uninitialized"));
    assert_eq!(api.result("getTransactions", json!({"address": address})).await, json!([]));
}

#[tokio::test]
async fn a_wallet_is_shown_with_its_code_data_balance_and_seqno() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let address = purse.address();
    // The answer is of the newest block, whatever time it is by now.
    api.chain(|chain| chain.advance(1_000)).unwrap();
    let (balance, code, data) = api.chain(|chain| {
        let account = chain.state().account(&address).unwrap().load_account().unwrap().unwrap();
        let tycho_types::models::AccountState::Active(state) = account.state else { panic!() };
        let boc = |cell: Option<Cell>| Boc::encode_base64(cell.unwrap());
        (account.balance.tokens.to_string(), boc(state.code), boc(state.data))
    });
    let shown =
        json!({"@type": "accountAddress", "account_address": ton_address(&address).show(true, false)});
    let params = json!({"address": purse.wallet.address().show(false, true)});
    assert_eq!(
        api.result("getAddressInformation", params.clone()).await,
        json!({
            "@type": "raw.fullAccountState",
            "balance": balance,
            "extra_currencies": [],
            "code": code,
            "data": data,
            "frozen_hash": "",
            "last_transaction_id": last(&api, &address),
            "block_id": block(&api),
            "sync_utime": START,
            "state": "active",
        })
    );
    assert_eq!(
        api.result("getExtendedAddressInformation", params.clone()).await,
        json!({
            "@type": "fullAccountState",
            "address": shown,
            "balance": balance,
            "extra_currencies": [],
            "last_transaction_id": last(&api, &address),
            "block_id": block(&api),
            "sync_utime": START,
            "account_state": {
                "@type": "raw.accountState",
                "code": code,
                "data": data,
                "frozen_hash": "",
            },
            "revision": 0,
        })
    );
    assert_eq!(
        api.result("getWalletInformation", params.clone()).await,
        json!({
            "wallet": true,
            "balance": balance,
            "account_state": "active",
            "seqno": 1,
            "last_transaction_id": last(&api, &address),
        })
    );
    assert_eq!(api.result("getAddressBalance", params.clone()).await, json!(balance));
    assert_eq!(api.result("getAddressState", params).await, json!("active"));
}

#[tokio::test]
async fn a_frozen_account_is_shown_with_the_hash_of_what_it_was() {
    let api = Api::new();
    let address = api.chain(|chain| {
        // Its data is wrapped by the first message: see the tests of time.
        let address = deploy(chain, "ed44c8ccc9ed54", large(4_000), TON / 100);
        chain.advance(600_000_000).unwrap();
        chain.send_internal(Letter::new(&nobody(1), &address, 1).cell()).unwrap();
        chain.produce().unwrap();
        address
    });
    let params = json!({"address": address.to_string()});
    let shown = api.result("getAddressInformation", params.clone()).await;
    assert_eq!((&shown["state"], &shown["code"], &shown["data"]), (&json!("frozen"), &json!(""), &json!("")));
    let hash = STANDARD.decode(shown["frozen_hash"].as_str().unwrap()).unwrap();
    assert_eq!(hash.len(), 32);
    let extended = api.result("getExtendedAddressInformation", params.clone()).await;
    assert_eq!(extended["account_state"]["frozen_hash"], shown["frozen_hash"]);
    assert_eq!(extended["account_state"]["@type"], "raw.accountState");
    assert_eq!(api.result("getAddressState", params).await, json!("frozen"));
}

#[tokio::test]
async fn an_account_with_coins_alone_is_uninitialized() {
    let api = Api::new();
    api.chain(|chain| {
        chain.give(&nobody(1), TON).unwrap();
        chain.produce().unwrap();
    });
    let params = json!({"address": nobody(1).to_string()});
    let extended = api.result("getExtendedAddressInformation", params.clone()).await;
    let expected = json!({"@type": "uninited.accountState", "frozen_hash": ""});
    assert_eq!(extended["account_state"], expected);
    assert_eq!(api.result("getAddressBalance", params).await, json!("1000000000"));
}

#[tokio::test]
async fn an_address_is_read_and_shown_in_all_its_forms() {
    let api = Api::new();
    let address = nobody(0xfb);
    let ton = ton_address(&address);
    let standard = |text: String| text.replace('-', "+").replace('_', "/");
    let forms = |bounceable| {
        let url = ton.show(bounceable, false);
        json!({"b64": standard(url.clone()), "b64url": url})
    };
    for (text, given, test_only) in [
        (address.to_string(), "raw_form", false),
        (ton.show(true, false), "friendly_bounceable", false),
        (ton.show(false, false), "friendly_non_bounceable", false),
        (standard(ton.show(true, true)), "friendly_bounceable", true),
        (ton.show(false, true), "friendly_non_bounceable", true),
    ] {
        let detected = api.result("detectAddress", json!({"address": text})).await;
        let expected = json!({
            "raw_form": address.to_string(),
            "bounceable": forms(true),
            "non_bounceable": forms(false),
            "given_type": given,
            "test_only": test_only,
        });
        assert_eq!(detected, expected);
        let raw = api.result("unpackAddress", json!({"address": text})).await;
        assert_eq!(raw, json!(address.to_string()));
    }
    let packed = api.result("packAddress", json!({"address": address.to_string()})).await;
    assert_eq!(packed, json!(standard(ton.show(true, false))));
}

#[tokio::test]
async fn what_is_no_address_of_the_chain_is_refused() {
    let api = Api::new();
    let other = format!("5:{}", "11".repeat(32));
    let mut wrong = ton_address(&nobody(1)).show(true, false);
    wrong.replace_range(10..11, if &wrong[10..11] == "A" { "B" } else { "A" });
    for text in ["", "x", "0:12", &other, &wrong, &"x".repeat(100_000)] {
        for method in ["getAddressInformation", "getTransactions", "unpackAddress", "detectAddress"] {
            let error = api.rpc(method, &json!({"address": text})).await;
            assert_eq!((error.0, &error.1["error"]), (416, &json!("Incorrect address")), "{method} {text}");
        }
    }
    for (params, error) in [
        (json!({}), "Validation error: address is missing"),
        (json!({"address": null}), "Validation error: address is missing"),
        (json!({"address": [1]}), "Validation error: address is not text"),
    ] {
        assert_eq!(api.error("getAddressBalance", params).await, (422, error.to_owned()));
    }
}

#[tokio::test]
async fn transactions_come_from_the_newest_on_each_the_one_before() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let address = purse.address();
    api.chain(|chain| {
        for seqno in 1..=5 {
            chain.send_external(&purse.pay(seqno, &nobody(9), TON)).unwrap();
            chain.produce().unwrap();
        }
    });
    let all: Vec<Value> = api.chain(|chain| {
        let ids = history(chain, &address).iter().rev().map(|recorded| &recorded.id);
        ids.map(|id| json!({"lt": id.lt.to_string(), "hash": base64(&id.hash)})).collect()
    });
    let asked = async |more: Value| {
        let mut params = json!({"address": address.to_string()});
        params.as_object_mut().unwrap().extend(object(more));
        let found = api.result("getTransactions", params).await;
        let id = |transaction: &Value| {
            let id = &transaction["transaction_id"];
            json!({"lt": id["lt"], "hash": id["hash"]})
        };
        found.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(asked(json!({})).await, all);
    assert_eq!(asked(json!({"limit": 2})).await, all[..2]);
    assert_eq!(asked(json!({"limit": "3", "archival": true})).await, all[..3]);
    assert_eq!(asked(json!({"to_lt": all[2]["lt"]})).await, all[..2]);
    // In hexadecimal and in both alphabets of base64.
    let hash = STANDARD.decode(all[1]["hash"].as_str().unwrap()).unwrap();
    let url = base64::engine::general_purpose::URL_SAFE.encode(&hash);
    for hash in [all[1]["hash"].clone(), json!(hex::encode(&hash)), json!(url)] {
        let from = json!({"lt": all[1]["lt"], "hash": hash, "limit": 2});
        assert_eq!(asked(from).await, all[1..3]);
    }
    let error = |params: Value| {
        let mut params = params;
        params["address"] = address.to_string().into();
        api.error("getTransactions", params)
    };
    let nowhere = "LITE_SERVER_UNKNOWN: cannot locate transaction in block with specified logical time";
    let (lt, hash) = (all[1]["lt"].clone(), all[1]["hash"].clone());
    for wrong in [json!({"lt": lt, "hash": all[2]["hash"]}), json!({"lt": "7", "hash": hash})] {
        assert_eq!(error(wrong).await, (500, nowhere.to_owned()));
    }
    let together = (422, "Validation error: lt and hash come together".to_owned());
    assert_eq!(error(json!({"lt": lt})).await, together);
    assert_eq!(error(json!({"hash": hash})).await, together);
    for value in ["zz", "ab", &"zz".repeat(32)] {
        let expected = "Validation error: hash is not a hash".to_owned();
        assert_eq!(error(json!({"lt": lt, "hash": value})).await, (422, expected));
    }
    for value in [json!("-1"), json!("x"), json!(1.5), json!(true), json!(""), json!("18446744073709551616")]
    {
        let expected = "Validation error: lt is not a number in range".to_owned();
        assert_eq!(error(json!({"hash": hash, "lt": value})).await, (422, expected));
    }
}

#[tokio::test]
async fn a_page_has_1_to_100_transactions_and_the_one_that_ton_ton_asks_for_beside_it() {
    let api = Api::new();
    api.chain(|chain| {
        for _ in 0..105 {
            chain.give(&nobody(1), TON).unwrap();
        }
        chain.produce().unwrap();
    });
    let params = |limit: Value| json!({"address": nobody(1).to_string(), "limit": limit});
    for (limit, count) in [(1, 1), (100, 100), (101, 101)] {
        let found = api.result("getTransactions", params(json!(limit))).await;
        assert_eq!(found.as_array().unwrap().len(), count);
    }
    let found = api.result("getTransactions", json!({"address": nobody(1).to_string()})).await;
    assert_eq!(found.as_array().unwrap().len(), 10);
    for limit in [0, 102] {
        let expected = "Validation error: limit is not 1 to 101".to_owned();
        assert_eq!(api.error("getTransactions", params(json!(limit))).await, (422, expected));
    }
    let expected = "Validation error: limit is not a number in range".to_owned();
    assert_eq!(api.error("getTransactions", params(json!(-1))).await, (422, expected));
}

#[tokio::test]
async fn a_transaction_is_shown_with_its_messages_fees_and_bag_of_cells() {
    let api = Api::new();
    let purse = api.chain(|chain| funded(chain, 1));
    let address = purse.address();
    let batch = purse.batch(1, FAR, &[(nobody(9), TON, false)]);
    let recorded = api.chain(|chain| {
        chain.send_external(&batch.boc).unwrap();
        chain.produce_until_idle(10).unwrap();
        history(chain, &address).last().unwrap().clone()
    });
    let (transaction, info) = parsed(&recorded);
    let total = transaction.total_fees.tokens.into_inner();
    let storage = info.storage_phase.unwrap().storage_fees_collected.into_inner();
    let (incoming, outgoing) =
        (transaction.in_msg.clone().unwrap(), transaction.out_msgs.values().next().unwrap().unwrap());
    let sent = outgoing.parse::<tycho_types::models::OwnedMessage>().unwrap();
    let tycho_types::models::MsgInfo::Int(internal) = sent.info else { panic!() };
    let shown = |of: &tycho_types::models::StdAddr| ton_address(of).show(true, false);
    let body = cell(&cocoon_ton::payout_body(batch.payouts[0].id).unwrap());
    let signed = incoming.as_slice().unwrap().get_reference_cloned(0).unwrap();
    let expected = json!([{
        "@type": "raw.transaction",
        "address": {"@type": "accountAddress", "account_address": shown(&address)},
        "account": address.to_string(),
        "utime": START,
        "data": Boc::encode_base64(&recorded.cell),
        "transaction_id": {
            "@type": "internal.transactionId",
            "lt": recorded.id.lt.to_string(),
            "hash": base64(&recorded.id.hash),
        },
        "fee": total.to_string(),
        "storage_fee": storage.to_string(),
        "other_fee": (total - storage).to_string(),
        "in_msg": {
            "@type": "raw.message",
            "hash": base64(incoming.repr_hash()),
            "source": "",
            "destination": shown(&address),
            "value": "0",
            "extra_currencies": [],
            "fwd_fee": "0",
            "ihr_fee": "0",
            "created_lt": "0",
            "body_hash": batch.body_hash.to_string(),
            "msg_data": {"@type": "msg.dataRaw", "body": Boc::encode_base64(&signed), "init_state": ""},
            "message": STANDARD.encode(signed.data()),
        },
        "out_msgs": [{
            "@type": "raw.message",
            "hash": base64(outgoing.repr_hash()),
            "source": shown(&address),
            "destination": shown(&nobody(9)),
            "value": "1000000000",
            "extra_currencies": [],
            "fwd_fee": internal.fwd_fee.to_string(),
            "ihr_fee": "0",
            "created_lt": internal.created_lt.to_string(),
            "body_hash": base64(body.repr_hash()),
            "msg_data": {"@type": "msg.dataRaw", "body": Boc::encode_base64(&body), "init_state": ""},
            "message": STANDARD.encode(body.data()),
        }],
    }]);
    let params = json!({"address": address.to_string(), "limit": 1});
    assert_eq!(api.result("getTransactions", params).await, expected);
    // What arrived, and what sent it, is found by that message too.
    let message = json!({
        "source": address.to_string(),
        "destination": nobody(9).to_string(),
        "created_lt": internal.created_lt,
    });
    assert_eq!(api.result("tryLocateSourceTx", message.clone()).await, expected[0]);
    let arrived = api.result("getTransactions", json!({"address": nobody(9).to_string()})).await;
    assert_eq!(api.result("tryLocateTx", message.clone()).await, arrived[0]);
    assert_eq!(api.result("tryLocateResultTx", message.clone()).await, arrived[0]);
    for (name, value) in [
        ("created_lt", json!("1")),
        ("source", json!(nobody(3).to_string())),
        ("destination", json!(nobody(3).to_string())),
    ] {
        let mut other = message.clone();
        other[name] = value;
        for method in ["tryLocateTx", "tryLocateResultTx", "tryLocateSourceTx"] {
            let expected = (500, "LITE_SERVER_NOTREADY: message not found".to_owned());
            assert_eq!(api.error(method, other.clone()).await, expected);
        }
    }
}

#[tokio::test]
async fn a_comment_is_shown_as_text_and_the_state_that_a_message_brings_beside_its_body() {
    let api = Api::new();
    let long = "a comment that goes on in other cells, ".repeat(8);
    let (init, address) = contract(SINK, Cell::empty_cell());
    api.chain(|chain| {
        let mut letter = Letter::new(&nobody(1), &address, TON);
        letter.init = Some(init.clone());
        letter.body = bits("00000001");
        chain.send_internal(letter.cell()).unwrap();
        chain.produce().unwrap();
        let mut letter = Letter::new(&nobody(1), &address, TON);
        let mut rest: Option<Cell> = None;
        for chunk in long.as_bytes().chunks(100).rev() {
            let mut builder = tycho_types::cell::CellBuilder::new();
            builder.store_raw(chunk, u16::try_from(chunk.len() * 8).unwrap()).unwrap();
            if let Some(rest) = rest {
                builder.store_reference(rest).unwrap();
            }
            rest = Some(builder.build().unwrap());
        }
        let mut builder = tycho_types::cell::CellBuilder::new();
        builder.store_u32(0).unwrap();
        builder.store_reference(rest.unwrap()).unwrap();
        letter.body = builder.build().unwrap();
        chain.send_internal(letter.cell()).unwrap();
        chain.produce().unwrap();
        // Not UTF-8, and not whole bytes.
        for (number, body) in ["00000000ff", "000000006"].into_iter().enumerate() {
            let mut letter = Letter::new(&nobody(1), &address, TON + number as u64);
            let whole = bits(&format!("{body:0<10}"));
            let mut slice = whole.as_slice().unwrap();
            slice.only_first(u16::try_from(body.len() * 4).unwrap(), 0).unwrap();
            letter.body = crate::network::to_cell(slice).unwrap();
            chain.send_internal(letter.cell()).unwrap();
        }
        chain.produce().unwrap();
    });
    let found = api.result("getTransactions", json!({"address": address.to_string()})).await;
    let message = |index: usize| &found[index]["in_msg"];
    let state = Boc::encode_base64(tycho_types::cell::CellBuilder::build_from(init).unwrap());
    assert_eq!(message(3)["msg_data"]["init_state"], json!(state));
    assert_eq!(message(3)["message"], json!(STANDARD.encode([0, 0, 0, 1])));
    assert_eq!(message(2)["msg_data"], json!({"@type": "msg.dataText", "text": STANDARD.encode(&long)}));
    assert_eq!(message(2)["message"], json!(long));
    assert_eq!(message(1)["msg_data"]["@type"], "msg.dataRaw");
    assert_eq!(message(0)["msg_data"]["@type"], "msg.dataRaw");
}
