//! Values of the TVM as toncenter v2 reads and writes them.

use num_bigint::{BigInt, Sign};
use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_vm::{OwnedCellSlice, RcStackValue, Stack};

use super::error::ApiError;
use super::parameters::cell;
use crate::network::to_cell;

/// Most arguments of a get method, and elements of a tuple.
const MOST_ARGUMENTS: usize = 255;

/// Deepest tuple in a tuple.
const MOST_NESTED: usize = 16;

/// Most values in an answer, those in tuples included.
const MOST_WRITTEN: usize = 10_000;

const TOO_LARGE: ApiError = ApiError::NotOffered("an answer with more values, or deeper tuples,");

/// Longest number in text: 257 bits are 78 decimal digits and a sign.
const MOST_DIGITS: usize = 80;

fn wrong(what: &str) -> ApiError {
    ApiError::Parameter(format!("stack: {what}"))
}

/// The arguments of a get method, the first at the bottom.
pub(crate) fn read(stack: &Value) -> Result<Vec<RcStackValue>, ApiError> {
    let entries = stack.as_array().ok_or_else(|| wrong("not a list"))?;
    if entries.len() > MOST_ARGUMENTS {
        return Err(wrong("too many values"));
    }
    entries.iter().map(|entry| argument(entry, 0)).collect()
}

/// A type and a value; within a tuple also an object that says its type, as answers have it.
fn argument(entry: &Value, nested: usize) -> Result<RcStackValue, ApiError> {
    let (kind, value) = match entry {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(kind), value] => (kind.as_str(), value),
            _ => return Err(wrong("not a type and a value")),
        },
        Value::Object(object) if nested > 0 => match object.get("@type").and_then(Value::as_str) {
            Some("tvm.stackEntryNumber") => ("num", &entry["number"]["number"]),
            Some("tvm.stackEntryCell") => ("cell", &entry["cell"]),
            Some("tvm.stackEntrySlice") => ("slice", &entry["slice"]),
            Some("tvm.stackEntryTuple") => ("tuple", &entry["tuple"]),
            Some("tvm.stackEntryList") => ("list", &entry["list"]),
            _ => return Err(wrong("an element of unknown type")),
        },
        _ => return Err(wrong("not a type and a value")),
    };
    let bytes = || {
        let text = value.as_str().or_else(|| value["bytes"].as_str());
        text.and_then(cell).ok_or_else(|| wrong("not a bag of cells"))
    };
    match kind {
        "num" | "number" | "int" => Ok(RcStackValue::new_dyn_value(number(value)?)),
        "cell" | "tvm.Cell" => Ok(RcStackValue::new_dyn_value(bytes()?)),
        "slice" | "tvm.Slice" => Ok(RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(bytes()?))),
        "builder" | "tvm.Builder" => {
            let mut builder = CellBuilder::new();
            builder.store_slice(bytes()?.as_slice().map_err(|_| wrong("a builder"))?)?;
            Ok(RcStackValue::new_dyn_value(builder))
        }
        "tuple" => Ok(RcStackValue::new_dyn_value(elements(value, nested)?)),
        // Pairs that end with null.
        "list" => {
            let pair = |rest, first| RcStackValue::new_dyn_value(vec![first, rest]);
            Ok(elements(value, nested)?.into_iter().rev().fold(Stack::make_null(), pair))
        }
        "null" => Ok(Stack::make_null()),
        other => Err(wrong(&format!("a value of type {other:?}"))),
    }
}

fn elements(value: &Value, nested: usize) -> Result<Vec<RcStackValue>, ApiError> {
    let elements = value["elements"].as_array().ok_or_else(|| wrong("a tuple without elements"))?;
    if nested >= MOST_NESTED || elements.len() > MOST_ARGUMENTS {
        return Err(wrong("a tuple that is too large"));
    }
    elements.iter().map(|element| argument(element, nested + 1)).collect()
}

/// Decimal, or hexadecimal with 0x; either may be negative.
fn number(value: &Value) -> Result<BigInt, ApiError> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(wrong("not a number")),
    };
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    let known =
        (1..=MOST_DIGITS).contains(&digits.len()) && digits.chars().all(|digit| digit.is_digit(radix));
    let magnitude = known.then(|| BigInt::parse_bytes(digits.as_bytes(), radix)).flatten();
    let magnitude = magnitude.ok_or_else(|| wrong("not a number"))?;
    let number = if negative { -magnitude } else { magnitude };
    // 257 bits in two's complement.
    let ends = BigInt::from(1) << 256;
    if -&ends <= number && number < ends { Ok(number) } else { Err(wrong("a number of more than 257 bits")) }
}

/// What a get method left.
///
/// # Errors
/// Where it is more than an answer has room for: a tuple that has itself twice, again and again, has no end.
pub(crate) fn write(stack: &[RcStackValue]) -> Result<Value, ApiError> {
    let mut room = MOST_WRITTEN;
    stack.iter().map(|value| outer(value, &mut room)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn bytes(cell: &Cell) -> Value {
    json!({"bytes": Boc::encode_base64(cell)})
}

fn count(room: &mut usize) -> Result<(), ApiError> {
    *room = room.checked_sub(1).ok_or(TOO_LARGE)?;
    Ok(())
}

/// On the stack itself: a pair of type and value.
fn outer(value: &RcStackValue, room: &mut usize) -> Result<Value, ApiError> {
    count(room)?;
    if let Some(number) = value.as_int() {
        let sign = if number.sign() == Sign::Minus { "-" } else { "" };
        return Ok(json!(["num", format!("{sign}0x{:x}", number.magnitude())]));
    }
    if let Some(cell) = value.as_cell() {
        return Ok(json!(["cell", bytes(cell)]));
    }
    if let Some(slice) = value.as_cell_slice() {
        return Ok(json!(["slice", bytes(&to_cell(slice.apply())?)]));
    }
    if let Some(builder) = value.as_cell_builder() {
        return Ok(json!(["builder", bytes(&builder.clone().build()?)]));
    }
    match listed(value) {
        Some(elements) => {
            Ok(json!(["list", {"@type": "tvm.list", "elements": inner_all(&elements, 0, room)?}]))
        }
        None => match value.as_tuple() {
            Some(elements) => {
                Ok(json!(["tuple", {"@type": "tvm.tuple", "elements": inner_all(elements, 0, room)?}]))
            }
            None => Ok(json!(["unknown", {"@type": "tvm.stackEntryUnsupported"}])),
        },
    }
}

/// Of a list as the TVM has it, pairs that end with null: its elements, as many as gas could pay for; null is the
/// empty list.
fn listed(value: &RcStackValue) -> Option<Vec<RcStackValue>> {
    let mut elements = Vec::new();
    let mut rest = value.clone();
    loop {
        if rest.is_null() {
            return Some(elements);
        }
        let [first, next] = rest.as_tuple()? else { return None };
        elements.push(first.clone());
        let next = next.clone();
        rest = next;
    }
}

fn inner_all(values: &[RcStackValue], nested: usize, room: &mut usize) -> Result<Vec<Value>, ApiError> {
    if nested >= MOST_NESTED {
        return Err(TOO_LARGE);
    }
    values.iter().map(|value| inner(value, nested, room)).collect()
}

/// Within a tuple: an object that says its type.
fn inner(value: &RcStackValue, nested: usize, room: &mut usize) -> Result<Value, ApiError> {
    count(room)?;
    if let Some(number) = value.as_int() {
        let number = json!({"@type": "tvm.numberDecimal", "number": number.to_string()});
        return Ok(json!({"@type": "tvm.stackEntryNumber", "number": number}));
    }
    if let Some(cell) = value.as_cell() {
        let cell = json!({"@type": "tvm.cell", "bytes": Boc::encode_base64(cell)});
        return Ok(json!({"@type": "tvm.stackEntryCell", "cell": cell}));
    }
    if let Some(slice) = value.as_cell_slice() {
        let slice = json!({"@type": "tvm.slice", "bytes": Boc::encode_base64(&to_cell(slice.apply())?)});
        return Ok(json!({"@type": "tvm.stackEntrySlice", "slice": slice}));
    }
    if let Some(elements) = listed(value) {
        let list = json!({"@type": "tvm.list", "elements": inner_all(&elements, nested + 1, room)?});
        return Ok(json!({"@type": "tvm.stackEntryList", "list": list}));
    }
    match value.as_tuple() {
        Some(elements) => {
            let tuple = json!({"@type": "tvm.tuple", "elements": inner_all(elements, nested + 1, room)?});
            Ok(json!({"@type": "tvm.stackEntryTuple", "tuple": tuple}))
        }
        None => Ok(json!({"@type": "tvm.stackEntryUnsupported"})),
    }
}
