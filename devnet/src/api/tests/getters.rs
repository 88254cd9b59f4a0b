use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellFamily};

use super::*;
use crate::{Clock, Fees, Network};

async fn run(api: &Api, address: &str, stack: Value) -> Value {
    api.result("runGetMethod", json!({"address": address, "method": "any", "stack": stack})).await
}

#[tokio::test]
async fn arguments_of_every_type_come_back_as_they_are() {
    let api = Api::new();
    let echo = api.chain(|chain| deploy(chain, ECHO, Cell::empty_cell(), TON)).to_string();
    let cell = Boc::encode_base64(bits("0102"));
    let bytes = json!({"bytes": cell});
    let number = |number: &str| {
        let number = json!({"@type": "tvm.numberDecimal", "number": number});
        json!({"@type": "tvm.stackEntryNumber", "number": number})
    };
    let inner = |kind: &str, name: &str| {
        let content = json!({"@type": format!("tvm.{name}"), "bytes": cell});
        json!({"@type": format!("tvm.stackEntry{kind}"), name: content})
    };
    let tuple = |elements: Value| json!({"@type": "tvm.tuple", "elements": elements});
    let list = |elements: Value| json!({"@type": "tvm.list", "elements": elements});
    let large = format!("0x{}", "f".repeat(64));
    for (argument, result) in [
        (json!(["num", "17"]), json!(["num", "0x11"])),
        (json!(["num", 17]), json!(["num", "0x11"])),
        (json!(["num", "-0x1"]), json!(["num", "-0x1"])),
        (json!(["int", "0"]), json!(["num", "0x0"])),
        (json!(["number", large]), json!(["num", large])),
        (
            json!(["num", format!("-0x1{}", "0".repeat(64))]),
            json!(["num", format!("-0x1{}", "0".repeat(64))]),
        ),
        (json!(["tvm.Cell", cell]), json!(["cell", bytes])),
        (json!(["cell", bytes]), json!(["cell", bytes])),
        (json!(["tvm.Slice", cell]), json!(["slice", bytes])),
        (json!(["slice", bytes]), json!(["slice", bytes])),
        (json!(["tvm.Builder", cell]), json!(["builder", bytes])),
        (json!(["null", null]), json!(["list", list(json!([]))])),
        (json!(["list", {"elements": []}]), json!(["list", list(json!([]))])),
        (json!(["tuple", {"elements": []}]), json!(["tuple", tuple(json!([]))])),
        (
            json!(["tuple", {"elements": [["num", "-5"], ["tvm.Cell", cell], ["tvm.Slice", cell]]}]),
            json!(["tuple", tuple(json!([number("-5"), inner("Cell", "cell"), inner("Slice", "slice")]))]),
        ),
        (
            json!(["list", {"elements": [["num", "1"], ["num", "2"], ["num", "3"]]}]),
            json!(["list", list(json!([number("1"), number("2"), number("3")]))]),
        ),
        (
            json!(["tuple", {"elements": [["null", null], ["tuple", {"elements": [["num", "1"]]}]]}]),
            json!([
                "tuple",
                tuple(json!([
                    {"@type": "tvm.stackEntryList", "list": list(json!([]))},
                    {"@type": "tvm.stackEntryTuple", "tuple": tuple(json!([number("1")]))},
                ]))
            ]),
        ),
        // As it was answered.
        (
            json!([
                "tuple",
                tuple(json!([
                    number("7"),
                    inner("Cell", "cell"),
                    inner("Slice", "slice"),
                    {"@type": "tvm.stackEntryTuple", "tuple": tuple(json!([number("1")]))},
                    {"@type": "tvm.stackEntryList", "list": list(json!([number("2")]))},
                ]))
            ]),
            json!([
                "tuple",
                tuple(json!([
                    number("7"),
                    inner("Cell", "cell"),
                    inner("Slice", "slice"),
                    {"@type": "tvm.stackEntryTuple", "tuple": tuple(json!([number("1")]))},
                    {"@type": "tvm.stackEntryList", "list": list(json!([number("2")]))},
                ]))
            ]),
        ),
        (
            json!(["tuple", {"elements": [["tvm.Builder", cell]]}]),
            json!(["tuple", tuple(json!([{"@type": "tvm.stackEntryUnsupported"}]))]),
        ),
    ] {
        let answer = run(&api, &echo, json!([argument])).await;
        assert_eq!((&answer["exit_code"], &answer["stack"]), (&json!(0), &json!([result])), "{argument}");
    }
    let answer = run(&api, &echo, json!([["num", "1"], ["num", "2"]])).await;
    assert_eq!(answer["stack"], json!([["num", "0x1"], ["num", "0x2"]]));
}

#[tokio::test]
async fn an_answer_has_its_gas_its_block_and_the_last_transaction() {
    let api = Api::new();
    let echo = api.chain(|chain| deploy(chain, ECHO, Cell::empty_cell(), TON));
    let (lt, hash) = api.chain(|chain| {
        let id = history(chain, &echo).last().unwrap().id.clone();
        (id.lt.to_string(), crate::api::shapes::hash(&id.hash))
    });
    let block = api.result("getMasterchainInfo", json!({})).await["last"].clone();
    // DROP takes 18, the implicit RET 5.
    let expected = json!({
        "@type": "smc.runResult",
        "gas_used": 23,
        "stack": [],
        "exit_code": 0,
        "block_id": block,
        "last_transaction_id": {"@type": "internal.transactionId", "lt": lt, "hash": hash},
    });
    assert_eq!(run(&api, &echo.to_string(), json!([])).await, expected);
}

#[tokio::test]
async fn a_method_is_named_or_numbered() {
    let api = Api::new();
    // NOP: the number of the method stays on the stack.
    let address = api.chain(|chain| deploy(chain, "00", Cell::empty_cell(), TON)).to_string();
    let answered = async |method: Value| {
        let params = json!({"address": address, "method": method, "stack": []});
        api.result("runGetMethod", params).await["stack"].clone()
    };
    // crc16("seqno") | 0x10000, as all wallets have it.
    assert_eq!(answered(json!("seqno")).await, json!([["num", "0x14c97"]]));
    let (_, answer) =
        api.rpc("runGetMethod", &json!({"address": address, "method": 85143, "stack": []})).await;
    assert_eq!(answer["result"]["stack"], json!([["num", "0x14c97"]]));
}

#[tokio::test]
async fn a_contract_that_is_not_there_ends_with_minus_13_and_one_that_fails_with_its_own_code() {
    let api = Api::new();
    api.chain(|chain| {
        chain.give(&nobody(2), TON).unwrap();
        chain.produce().unwrap();
    });
    for number in [1, 2] {
        let answer = run(&api, &nobody(number).to_string(), json!([])).await;
        let got = (&answer["exit_code"], &answer["gas_used"], &answer["stack"]);
        assert_eq!(got, (&json!(-13), &json!(0), &json!([])));
    }
    // THROWIF 42: messages, whose number is 0, pass.
    let throws = api.chain(|chain| deploy(chain, "f26a", Cell::empty_cell(), TON));
    assert_eq!(run(&api, &throws.to_string(), json!([])).await["exit_code"], json!(42));
    let endless = api.chain(|chain| deploy(chain, "90ea", Cell::empty_cell(), TON));
    let answer = run(&api, &endless.to_string(), json!([])).await;
    assert_eq!(answer["exit_code"], json!(-14));
    assert!(answer["gas_used"].as_u64().unwrap() >= 1_000_000, "{answer}");
}

#[tokio::test]
async fn a_getter_knows_the_time_of_the_newest_block_its_balance_and_its_address() {
    let api = Api::new();
    // NOW, BALANCE FIRST, MYADDR.
    let address = api.chain(|chain| {
        let address = deploy(chain, "f823f8276f10f828", Cell::empty_cell(), TON);
        chain.advance(50).unwrap();
        address
    });
    let seen = async || run(&api, &address.to_string(), json!([])).await["stack"].clone();
    let expected = |time: u32| {
        let balance = api.chain(|chain| balance(chain, &address));
        let slice = Boc::encode_base64(tycho_types::cell::CellBuilder::build_from(&address).unwrap());
        json!([
            ["num", format!("0x{:x}", 0)],
            ["num", format!("0x{time:x}")],
            ["num", format!("0x{balance:x}")],
            ["slice", {"bytes": slice}],
        ])
    };
    let got = seen().await;
    assert_eq!(got.as_array().unwrap()[1..], expected(START).as_array().unwrap()[1..]);
    api.chain(|chain| chain.produce()).unwrap();
    let got = seen().await;
    assert_eq!(got.as_array().unwrap()[1..], expected(START + 50).as_array().unwrap()[1..]);
}

#[tokio::test]
async fn a_getter_that_asks_for_prices_gets_those_of_the_chain() {
    // GETGASFEE (basechain) of 1000 gas, GETSTORAGEFEE of 1 cell, 0 bits and 2^20 s.
    for (fees, gas, rent) in [(Fees::Old, 400_000, 8_000), (Fees::Current, 66_668, 2_160)] {
        let network = Network::new(fees, -3).unwrap();
        let chain = Chain::in_memory(network, Clock::Standing { at: START });
        let api = Api::of(Arc::new(std::sync::Mutex::new(chain)));
        // DROP; 1000; 0; GETGASFEE; 1; 0; 2^20; 0; GETSTORAGEFEE (cells bits seconds is_mc).
        let code = "30 8103e8 70 f836 71 70 8313 70 f837".replace(' ', "");
        let address = api.chain(|chain| deploy(chain, &guarded(&code), Cell::empty_cell(), TON));
        let stack = run(&api, &address.to_string(), json!([])).await["stack"].clone();
        let hexadecimal = |number: u64| json!(["num", format!("0x{number:x}")]);
        assert_eq!(stack, json!([hexadecimal(gas), hexadecimal(rent)]), "{fees:?}");
    }
}

/// Runs only as a get method: messages, whose number is 0, end at once.
fn guarded(code: &str) -> String {
    // DUP; IFNOTRET.
    format!("20dd{code}")
}

#[tokio::test]
async fn an_answer_that_has_no_end_is_refused_and_ends_nothing() {
    let api = Api::new();
    let too_large = "an answer with more values, or deeper tuples, is not offered by this chain";
    for code in [
        // 0, then 100 times DUP PAIR: 2^100 elements.
        "3070 8064 93206f02 e4",
        // 0, then 10 000 times SINGLE: as deep as that.
        "3070 812710 926f01 e4",
        // A list of 12 000 elements: null, then SWAP of 0 and PAIR.
        "306d 812ee0 9470016f02 e4",
        // 0, then 12 000 pairs that never end with null.
        "3070 812ee0 9470016f02 e4",
    ] {
        let address =
            api.chain(|chain| deploy(chain, &guarded(&code.replace(' ', "")), Cell::empty_cell(), TON));
        let params = json!({"address": address.to_string(), "method": "any", "stack": []});
        let (status, answer) = api.rpc("runGetMethod", &params).await;
        assert_eq!((status, &answer["error"]), (501, &json!(too_large)), "{code}");
    }
    // One that fits: a list of 5000 elements.
    let code = guarded(&"306d 811388 9470016f02 e4".replace(' ', ""));
    let address = api.chain(|chain| deploy(chain, &code, Cell::empty_cell(), TON));
    let answer = run(&api, &address.to_string(), json!([])).await;
    assert_eq!(answer["stack"][0][1]["elements"].as_array().unwrap().len(), 5_000);
}

#[tokio::test]
async fn arguments_that_are_none_are_refused_with_what_is_wrong_with_them() {
    let api = Api::new();
    let echo = api.chain(|chain| deploy(chain, ECHO, Cell::empty_cell(), TON)).to_string();
    let deep = (0..17).fold(json!(["num", "1"]), |inner, _| json!(["tuple", {"elements": [inner]}]));
    let wide = json!(["tuple", {"elements": vec![json!(["num", "1"]); 256]}]);
    let pair = "stack: not a type and a value";
    for (stack, error) in [
        (json!("x"), "stack: not a list"),
        (json!(["num"]), pair),
        (json!([["num"]]), pair),
        (json!([["num", "1", "2"]]), pair),
        (json!([[1, "2"]]), pair),
        (json!([{"@type": "tvm.stackEntryNumber", "number": {"number": "1"}}]), pair),
        (json!([["float", "1"]]), "stack: a value of type \"float\""),
        (json!([["num", ""]]), "stack: not a number"),
        (json!([["num", "--1"]]), "stack: not a number"),
        (json!([["num", "+1"]]), "stack: not a number"),
        (json!([["num", "1_0"]]), "stack: not a number"),
        (json!([["num", "0x"]]), "stack: not a number"),
        (json!([["num", "1g"]]), "stack: not a number"),
        (json!([["num", 1.5]]), "stack: not a number"),
        (json!([["num", null]]), "stack: not a number"),
        (json!([["num", "1".repeat(81)]]), "stack: not a number"),
        (json!([["num", format!("0x1{}", "0".repeat(64))]]), "stack: a number of more than 257 bits"),
        (json!([["num", format!("-0x1{}1", "0".repeat(63))]]), "stack: a number of more than 257 bits"),
        (json!([["cell", "AQID"]]), "stack: not a bag of cells"),
        (json!([["slice", {}]]), "stack: not a bag of cells"),
        (json!([["tuple", []]]), "stack: a tuple without elements"),
        (
            json!([["tuple", {"elements": [{"@type": "tvm.stackEntryUnsupported"}]}]]),
            "stack: an element of unknown type",
        ),
        (json!([["tuple", {"elements": [7]}]]), pair),
        (json!([deep]), "stack: a tuple that is too large"),
        (json!([wide]), "stack: a tuple that is too large"),
        (json!(vec![json!(["num", "1"]); 256]), "stack: too many values"),
    ] {
        let params = json!({"address": echo, "method": "any", "stack": stack});
        let (status, answer) = api.rpc("runGetMethod", &params).await;
        let expected = json!(format!("Validation error: {error}"));
        assert_eq!((status, &answer["error"]), (422, &expected), "{stack}");
    }
    for (params, error) in [
        (json!({"address": echo, "stack": []}), "method is missing"),
        (json!({"address": echo, "method": "x"}), "stack is missing"),
        (json!({"address": echo, "method": [], "stack": []}), "method is not a name or a number"),
        (json!({"address": echo, "method": -1, "stack": []}), "method is not a number in range"),
        (json!({"method": "x", "stack": []}), "address is missing"),
    ] {
        let (status, answer) = api.rpc("runGetMethod", &params).await;
        assert_eq!((status, &answer["error"]), (422, &json!(format!("Validation error: {error}"))));
    }
    // The largest that are taken.
    let full = json!(["tuple", {"elements": vec![json!(["num", "1"]); 255]}]);
    let deep = (0..16).fold(json!(["num", "1"]), |inner, _| json!(["tuple", {"elements": [inner]}]));
    for stack in [json!([full]), json!([deep]), json!(vec![json!(["num", "1"]); 255])] {
        assert_eq!(run(&api, &echo, stack).await["exit_code"], json!(0));
    }
}
