use proptest::prelude::*;

use super::*;
use crate::writer::Writer;

fn numbers(value: Value) -> Result<Vec<BigInt>, StackError> {
    let values = StackValue::list_from_json(&value)?;
    values
        .into_iter()
        .map(|value| match value {
            StackValue::Number(number) => Ok(number),
            _ => Err(StackError::Value("number")),
        })
        .collect()
}

#[test]
fn numbers_are_hexadecimal_or_decimal_and_may_be_negative() {
    let stack = json!([["num", "0x1f"], ["num", "-0x1"], ["num", "12"], ["num", "-5"], ["num", "0x0"]]);
    assert_eq!(numbers(stack).unwrap(), [31, -1, 12, -5, 0].map(BigInt::from));
    let largest = format!("0x{}", "f".repeat(64));
    assert!(numbers(json!([["num", largest]])).is_ok());
    for text in
        ["", "-", "0x", "x1", "0xg", "1.5", "--1", "+1", " 1", "1_0", &format!("{largest}0"), &"0".repeat(81)]
    {
        assert_eq!(numbers(json!([["num", text]])), Err(StackError::Form("number")), "{text}");
    }
    assert_eq!(numbers(json!([["num", 1]])), Err(StackError::Form("number")));
}

#[test]
fn an_argument_is_written_as_it_is_read() {
    for number in [0, 1, -1, 0x5043_0102, i64::MIN] {
        let value = StackValue::Number(number.into());
        assert_eq!(numbers(json!([value.to_json().unwrap()])).unwrap(), [BigInt::from(number)]);
    }
    assert_eq!(StackValue::Number((-239).into()).to_json().unwrap(), json!(["num", "-0xef"]));
}

#[test]
fn amounts_are_unsigned_and_fit_64_bits() {
    let amount =
        |text: &str| amount_from_stack(&StackValue::list_from_json(&json!([["num", text]])).unwrap());
    assert_eq!(amount("0xffffffffffffffff"), Ok(NanoTon(u64::MAX)));
    assert_eq!(amount("0x10000000000000000"), Err(StackError::Value("uint")));
    assert_eq!(amount("-0x1"), Err(StackError::Value("negative")));
    assert_eq!(amount_from_stack(&[]), Err(StackError::Missing));
    let two = [StackValue::Number(1.into()), StackValue::Number(2.into())];
    assert_eq!(amount_from_stack(&two), Err(StackError::Left));
}

#[test]
fn cells_slices_and_tuples_are_read() {
    let cell = Writer::new().uint(8, 7).cell().unwrap();
    let bytes = boc::encode_base64(&cell).unwrap();
    let number =
        json!({"@type": "tvm.stackEntryNumber", "number": {"@type": "tvm.numberDecimal", "number": "5"}});
    let stack = json!([
        ["cell", {"bytes": bytes, "object": {}}],
        ["slice", {"bytes": bytes}],
        ["tuple", {"@type": "tvm.tuple", "elements": [number]}],
        ["list", {"@type": "tvm.list", "elements": []}],
    ]);
    let values = StackValue::list_from_json(&stack).unwrap();
    assert!(matches!(&values[0], StackValue::Cell(read) if CellHash::of(read) == CellHash::of(&cell)));
    assert!(matches!(&values[1], StackValue::Cell(read) if CellHash::of(read) == CellHash::of(&cell)));
    assert!(matches!(&values[2], StackValue::Tuple(elements) if elements.len() == 1));
    assert!(matches!(&values[3], StackValue::Tuple(elements) if elements.is_empty()));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested = |depth| {
        let mut value = json!({"elements": []});
        for _ in 1..depth {
            value = json!({"elements": [{"@type": "tvm.stackEntryTuple", "tuple": value}]});
        }
        StackValue::list_from_json(&json!([["tuple", value]])).map(drop)
    };
    assert_eq!(nested(MAX_NESTING), Ok(()));
    assert_eq!(nested(MAX_NESTING + 1), Err(StackError::TooMany));
    let many = |count| StackValue::list_from_json(&json!(vec![["num", "1"]; count])).map(drop);
    assert_eq!(many(MAX_VALUES), Ok(()));
    assert_eq!(many(MAX_VALUES + 1), Err(StackError::TooMany));
}

proptest! {
    #[test]
    fn no_json_panics(kind in "num|cell|slice|tuple|list|null|.{0,5}", text in "[-0-9a-fx]{0,90}|.{0,20}") {
        let _ = StackValue::list_from_json(&json!([[kind, text]]));
        let _ = StackValue::list_from_json(&json!([[kind, {"bytes": text, "elements": [{"@type": text}]}]]));
    }

    #[test]
    fn every_number_reads_back(number: i128) {
        let json = json!([StackValue::Number(number.into()).to_json().unwrap()]);
        prop_assert_eq!(numbers(json).unwrap(), [BigInt::from(number)]);
    }
}
