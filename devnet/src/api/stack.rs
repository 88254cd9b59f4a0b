//! Values of the TVM as toncenter v2 reads and writes them.

use num_bigint::{BigInt, Sign};
use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_vm::{OwnedCellSlice, RcStackValue};

use super::error::ApiError;
use super::parameters::cell;
use crate::network::to_cell;

/// Most arguments of a get method.
const MOST_ARGUMENTS: usize = 255;

/// Deepest tuple in a tuple that is read.
const MOST_NESTED: usize = 16;

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

fn argument(entry: &Value, nested: usize) -> Result<RcStackValue, ApiError> {
    let [kind, value] = entry.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err(wrong("not a type and a value"));
    };
    let bytes = || {
        let text = value.as_str().or_else(|| value["bytes"].as_str());
        text.and_then(cell).ok_or_else(|| wrong("not a bag of cells"))
    };
    match kind.as_str().unwrap_or_default() {
        "num" | "number" | "int" => Ok(RcStackValue::new_dyn_value(number(value)?)),
        "cell" | "tvm.Cell" => Ok(RcStackValue::new_dyn_value(bytes()?)),
        "slice" | "tvm.Slice" => {
            Ok(RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(bytes()?)))
        }
        "builder" | "tvm.Builder" => {
            let mut builder = CellBuilder::new();
            builder.store_slice(bytes()?.as_slice().map_err(|_| wrong("a builder"))?)?;
            Ok(RcStackValue::new_dyn_value(builder))
        }
        "tuple" => {
            let elements = value["elements"].as_array().ok_or_else(|| wrong("a tuple without elements"))?;
            if nested >= MOST_NESTED || elements.len() > MOST_ARGUMENTS {
                return Err(wrong("a tuple that is too large"));
            }
            let elements = elements.iter().map(|element| argument(element, nested + 1)).collect::<Result<Vec<_>, _>>()?;
            Ok(RcStackValue::new_dyn_value(elements))
        }
        "null" => Ok(tycho_vm::Stack::make_null()),
        other => Err(wrong(&format!("a value of type {other:?}"))),
    }
}

/// Decimal, or hexadecimal with 0x; either may be negative.
fn number(value: &Value) -> Result<BigInt, ApiError> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(wrong("not a number")),
    };
    let (sign, digits) = text.strip_prefix('-').map_or((Sign::Plus, text.as_str()), |digits| (Sign::Minus, digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return Err(wrong("not a number"));
    }
    let magnitude = BigInt::parse_bytes(digits.as_bytes(), radix).filter(|number| number.bits() <= 256);
    let magnitude = magnitude.ok_or_else(|| wrong("not a number"))?;
    Ok(if sign == Sign::Minus { -magnitude } else { magnitude })
}

/// What a get method left.
pub(crate) fn write(stack: &[RcStackValue]) -> Result<Value, ApiError> {
    stack.iter().map(outer).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn bytes(cell: &Cell) -> Value {
    json!({"bytes": Boc::encode_base64(cell)})
}

/// On the stack itself: a pair of type and value.
fn outer(value: &RcStackValue) -> Result<Value, ApiError> {
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
        Some(elements) => Ok(json!(["list", {"@type": "tvm.list", "elements": inner_all(&elements)?}])),
        None => {
            let elements = value.as_tuple().ok_or_else(|| wrong("a value that has no JSON"))?;
            Ok(json!(["tuple", {"@type": "tvm.tuple", "elements": inner_all(elements)?}]))
        }
    }
}

/// Of a list as the TVM has it, pairs that end with null: its elements; null is the empty list.
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

fn inner_all(values: &[RcStackValue]) -> Result<Vec<Value>, ApiError> {
    values.iter().map(inner).collect()
}

/// Within a tuple: an object that says its type.
fn inner(value: &RcStackValue) -> Result<Value, ApiError> {
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
        let list = json!({"@type": "tvm.list", "elements": inner_all(&elements)?});
        return Ok(json!({"@type": "tvm.stackEntryList", "list": list}));
    }
    match value.as_tuple() {
        Some(elements) => {
            let tuple = json!({"@type": "tvm.tuple", "elements": inner_all(elements)?});
            Ok(json!({"@type": "tvm.stackEntryTuple", "tuple": tuple}))
        }
        None => Ok(json!({"@type": "tvm.stackEntryUnsupported"})),
    }
}
