use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::models::StdAddr;

use super::*;
use crate::{Fees, Network};

/// An endpoint of a chain with transactions in both workchains in its third block.
fn api() -> Api {
    let api = Api::new();
    api.chain(|chain| {
        chain.produce().unwrap();
        chain.advance(10).unwrap();
        chain.produce().unwrap();
        for number in [3, 1, 2, 1] {
            chain.give(&nobody(number), TON).unwrap();
        }
        chain.give(&StdAddr::new(-1, nobody(4).address), TON).unwrap();
        chain.advance(10).unwrap();
        chain.produce().unwrap();
        chain.produce().unwrap();
    });
    api
}

fn id(api: &Api, seqno: u32, workchain: i32) -> Value {
    api.chain(|chain| {
        let block = chain.state().block(seqno).unwrap();
        json!({
            "@type": "ton.blockIdExt",
            "workchain": workchain,
            "shard": "-9223372036854775808",
            "seqno": seqno,
            "root_hash": STANDARD.encode(block.root_hash(workchain)),
            "file_hash": STANDARD.encode(block.file_hash(workchain)),
        })
    })
}

#[tokio::test]
async fn the_newest_and_the_first_block_are_told_and_both_chains_have_hashes_of_their_own() {
    let api = api();
    let digest = api.chain(|chain| STANDARD.encode(chain.head().digest));
    assert_eq!(
        api.result("getMasterchainInfo", json!({})).await,
        json!({
            "@type": "blocks.masterchainInfo",
            "last": id(&api, 4, -1),
            "state_root_hash": digest,
            "init": id(&api, 0, -1),
        })
    );
    let zerostate = api.chain(|chain| STANDARD.encode(chain.network().zerostate()));
    assert_eq!(id(&api, 0, -1)["root_hash"], json!(zerostate));
    assert_eq!(id(&api, 4, -1)["root_hash"], json!(digest));
    assert_ne!(id(&api, 4, 0)["root_hash"], json!(digest));
    let consensus = api.result("getConsensusBlock", json!({})).await;
    assert_eq!(consensus, json!({"consensus_block": 4, "timestamp": START + 20}));
}

#[tokio::test]
async fn every_block_has_one_shard() {
    let api = api();
    for method in ["shards", "getShards"] {
        let shards = api.result(method, json!({"seqno": 3})).await;
        assert_eq!(shards, json!({"@type": "blocks.shards", "shards": [id(&api, 3, 0)]}));
        let expected = (500, "LITE_SERVER_NOTREADY: block is not applied".to_owned());
        assert_eq!(api.error(method, json!({"seqno": 5})).await, expected);
        let expected = (422, "Validation error: seqno is missing".to_owned());
        assert_eq!(api.error(method, json!({})).await, expected);
    }
}

#[tokio::test]
async fn a_block_is_looked_up_by_number_by_logical_time_and_by_time() {
    let api = api();
    let shard = "-9223372036854775808";
    let (first, last) = api.chain(|chain| {
        let block = chain.state().block(3).unwrap();
        (block.transactions[0].lt, block.end_lt)
    });
    for (by, seqno) in [
        (json!({"seqno": 2}), 2),
        (json!({"lt": first.to_string()}), 3),
        (json!({"lt": last - 1}), 3),
        (json!({"lt": last}), 4),
        (json!({"unixtime": START}), 1),
        (json!({"unixtime": START + 9}), 1),
        (json!({"unixtime": START + 10}), 2),
        (json!({"unixtime": START + 1_000}), 4),
    ] {
        for (workchain, shard) in [(0, json!(shard)), (-1, json!("9223372036854775808"))] {
            let mut params = by.clone();
            params["workchain"] = workchain.into();
            params["shard"] = shard;
            assert_eq!(api.result("lookupBlock", params).await, id(&api, seqno, workchain), "{by}");
        }
    }
    let unknown = (500, "LITE_SERVER_NOTREADY: block is not applied".to_owned());
    for by in [json!({"seqno": 5}), json!({"lt": u64::MAX.to_string()}), json!({"unixtime": START - 1})] {
        let mut params = by;
        params["workchain"] = 0.into();
        assert_eq!(api.error("lookupBlock", params).await, unknown);
    }
    for (params, expected) in [
        (json!({"workchain": 1, "seqno": 1}), (500, "LITE_SERVER_NOTREADY: no such workchain")),
        (json!({"workchain": 0, "shard": "5", "seqno": 1}), (500, "LITE_SERVER_NOTREADY: no such shard")),
        (json!({"workchain": 0}), (422, "Validation error: seqno, lt or unixtime is missing")),
        (json!({"seqno": 1}), (422, "Validation error: workchain is missing")),
    ] {
        assert_eq!(api.error("lookupBlock", params).await, (expected.0, expected.1.to_owned()));
    }
}

#[tokio::test]
async fn a_header_tells_of_its_block_and_the_one_before() {
    let api = api();
    let header =
        api.result("getBlockHeader", json!({"workchain": 0, "shard": "-9223372036854775808", "seqno": 3}));
    let (start, end) = api.chain(|chain| {
        let block = chain.state().block(3).unwrap();
        (block.start_lt.to_string(), block.end_lt.to_string())
    });
    let expected = json!({
        "@type": "blocks.header",
        "id": id(&api, 3, 0),
        "global_id": -3,
        "version": 0,
        "flags": 0,
        "after_merge": false,
        "after_split": false,
        "before_split": false,
        "want_merge": false,
        "want_split": false,
        "validator_list_hash_short": 0,
        "catchain_seqno": 0,
        "min_ref_mc_seqno": 2,
        "is_key_block": false,
        "prev_key_block_seqno": 0,
        "start_lt": start,
        "end_lt": end,
        "gen_utime": START + 20,
        "vert_seqno": 0,
        "prev_blocks": [id(&api, 2, 0)],
    });
    assert_eq!(header.await, expected);
    let first = api.result("getBlockHeader", json!({"workchain": -1, "seqno": 0})).await;
    assert_eq!((&first["prev_blocks"], &first["min_ref_mc_seqno"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn transactions_of_a_block_come_by_account_and_page_by_page() {
    let api = api();
    let found = async |more: Value| {
        let mut params = json!({"workchain": 0, "shard": "-9223372036854775808", "seqno": 3});
        params.as_object_mut().unwrap().extend(object(more));
        api.result("getBlockTransactions", params).await
    };
    let all = found(json!({})).await;
    let ids = all["transactions"].as_array().unwrap().clone();
    let of = |number| json!(nobody(number).to_string());
    let accounts: Vec<_> = ids.iter().map(|id| id["account"].clone()).collect();
    assert_eq!(accounts, [of(1), of(1), of(2), of(3)]);
    let (lt, hash) = api.chain(|chain| {
        let id = &history(chain, &nobody(1))[0].id;
        (id.lt.to_string(), STANDARD.encode(id.hash))
    });
    let first = json!({"@type": "blocks.shortTxId", "mode": 135, "account": of(1), "lt": lt, "hash": hash});
    assert_eq!(ids[0], first);
    assert_eq!(
        all,
        json!({
            "@type": "blocks.transactions",
            "id": id(&api, 3, 0),
            "req_count": 40,
            "incomplete": false,
            "transactions": ids,
        })
    );
    let page = found(json!({"count": 2})).await;
    assert_eq!((&page["incomplete"], &page["req_count"]), (&json!(true), &json!(2)));
    assert_eq!(page["transactions"], json!(ids[..2]));
    let after = json!({"count": 2, "after_lt": ids[1]["lt"], "after_hash": hex::encode(nobody(1).address)});
    let rest = found(after).await;
    assert_eq!((&rest["incomplete"], &rest["transactions"]), (&json!(false), &json!(ids[2..])));
    let params = json!({"workchain": -1, "seqno": 3});
    let masterchain = api.result("getBlockTransactions", params.clone()).await;
    assert_eq!(masterchain["transactions"].as_array().unwrap().len(), 1);
    let whole = api.result("getBlockTransactionsExt", params).await;
    let address = StdAddr::new(-1, nobody(4).address).to_string();
    let own = api.result("getTransactions", json!({"address": address})).await;
    assert_eq!((&whole["@type"], &whole["transactions"]), (&json!("blocks.transactionsExt"), &own));
    for (more, error) in [
        (json!({"count": 0}), "count is not 1 to 1024"),
        (json!({"count": 1025}), "count is not 1 to 1024"),
        (json!({"after_lt": 1}), "after_lt and after_hash come together"),
    ] {
        let mut params = json!({"workchain": 0, "seqno": 3});
        params.as_object_mut().unwrap().extend(object(more));
        let expected = (422, format!("Validation error: {error}"));
        assert_eq!(api.error("getBlockTransactions", params).await, expected);
    }
}

#[tokio::test]
async fn the_configuration_is_told_whole_and_by_its_parameters() {
    for (fees, gas) in [(Fees::Old, 400 << 16), (Fees::Current, 4_369_067)] {
        let network = Network::new(fees, -4).unwrap();
        let chain = Chain::in_memory(network.clone(), crate::Clock::Standing { at: START });
        let api = Api::of(Arc::new(std::sync::Mutex::new(chain)));
        let config = |cell| {
            let cell = json!({"@type": "tvm.cell", "bytes": Boc::encode_base64(cell)});
            json!({"@type": "configInfo", "config": cell})
        };
        assert_eq!(api.result("getConfigAll", json!({})).await, config(network.root()));
        for name in ["config_id", "param"] {
            let global_id = api.result("getConfigParam", json!({name: 19})).await;
            assert_eq!(global_id, config(bits("fffffffc")));
        }
        let prices = api.result("getConfigParam", json!({"config_id": 21})).await;
        let prices = Boc::decode_base64(prices["config"]["bytes"].as_str().unwrap()).unwrap();
        let prices = prices.parse::<tycho_types::models::GasLimitsPrices>().unwrap();
        assert_eq!(
            (prices.gas_price, prices.freeze_due_limit, prices.delete_due_limit),
            (gas, TON / 10, TON)
        );
        let unknown = (500, "LITE_SERVER_NOTREADY: no such configuration parameter".to_owned());
        assert_eq!(api.error("getConfigParam", json!({"config_id": 99})).await, unknown);
        let missing = (422, "Validation error: param is missing".to_owned());
        assert_eq!(api.error("getConfigParam", json!({})).await, missing);
    }
}

#[tokio::test]
async fn messages_on_their_way_are_counted() {
    let api = api();
    api.chain(|chain| chain.give(&nobody(1), TON)).unwrap();
    let expected = json!({
        "@type": "blocks.outMsgQueueSizes",
        "shards": [{"@type": "blocks.outMsgQueueSize", "id": id(&api, 4, 0), "size": 1}],
        "ext_msg_queue_size_limit": 0,
    });
    for method in ["getOutMsgQueueSizes", "getOutMsgQueueSize"] {
        assert_eq!(api.result(method, json!({})).await, expected);
    }
}

#[tokio::test]
async fn what_this_chain_does_not_have_is_said_so() {
    let api = Api::new();
    for (method, what) in [
        ("getMasterchainBlockSignatures", "a proof"),
        ("getShardBlockProof", "a proof"),
        ("getTokenData", "what tokens say of themselves"),
    ] {
        let expected = (501, format!("{what} is not offered by this chain"));
        assert_eq!(api.error(method, json!({})).await, expected);
    }
    let none = json!({"@type": "smc.libraryResult", "result": []});
    assert_eq!(api.result("getLibraries", json!({"libraries": "x"})).await, none);
}
