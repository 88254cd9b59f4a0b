//! Values on the stack of a get method, as toncenter v2 writes them.

use cocoon_receipts::NanoTon;
use num_bigint::BigInt;
use serde_json::{Value, json};

use crate::reader::Reader;
use crate::{Address, ArcCell, CellHash, boc};

/// Most values in an answer, on all levels together.
const MAX_VALUES: usize = 1024;

/// Deepest tuple in a tuple.
const MAX_NESTING: usize = 8;

/// Longest number in text: 257 bits are 78 decimal digits and a sign.
const MAX_DIGITS: usize = 80;

#[derive(Debug, Clone)]
pub enum StackValue {
    /// 257 bits, signed.
    Number(BigInt),
    /// A cell, or a slice: what is left of it, as a cell.
    Cell(ArcCell),
    Tuple(Vec<StackValue>),
    Null,
}

/// An answer that is not what its get method says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    #[error("not a value that the TVM has: {0}")]
    Form(&'static str),
    #[error("more values than any get method here answers")]
    TooMany,
    #[error("there are fewer values than expected")]
    Missing,
    #[error("there are more values than expected")]
    Left,
    #[error("a value of another type than expected, or out of its range: {0}")]
    Value(&'static str),
}

impl StackValue {
    /// As an argument: `["num", "-0x1"]`, `["tvm.Cell", BoC]`.
    ///
    /// # Errors
    /// [`StackError::Value`] for what no get method here takes.
    pub fn to_json(&self) -> Result<Value, StackError> {
        match self {
            Self::Number(number) => Ok(json!(["num", hexadecimal(number)])),
            Self::Cell(cell) => {
                let bytes = boc::encode_base64(cell).map_err(|_| StackError::Value("cell"))?;
                Ok(json!(["tvm.Cell", bytes]))
            }
            Self::Tuple(_) | Self::Null => Err(StackError::Value("argument")),
        }
    }

    /// Of an answer's `stack`: `["num", "0x…"]`, `["cell", {"bytes": …}]`, `["tuple", {"elements": […]}]` and
    /// the like.
    ///
    /// # Errors
    /// [`StackError`].
    pub fn list_from_json(stack: &Value) -> Result<Vec<Self>, StackError> {
        let mut room = MAX_VALUES;
        let entries = stack.as_array().ok_or(StackError::Form("stack"))?;
        entries.iter().map(|entry| pair(entry, &mut room)).collect()
    }
}

fn hexadecimal(number: &BigInt) -> String {
    let sign = if number.sign() == num_bigint::Sign::Minus { "-" } else { "" };
    format!("{sign}0x{:x}", number.magnitude())
}

fn count(room: &mut usize) -> Result<(), StackError> {
    *room = room.checked_sub(1).ok_or(StackError::TooMany)?;
    Ok(())
}

/// A value of the outermost level: its type and itself.
fn pair(entry: &Value, room: &mut usize) -> Result<StackValue, StackError> {
    count(room)?;
    let [kind, value] = entry.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err(StackError::Form("pair"));
    };
    match kind.as_str().unwrap_or_default() {
        "num" => number(value),
        "cell" | "slice" | "builder" => cell(value),
        "tuple" | "list" => elements(value, room, 1),
        "null" => Ok(StackValue::Null),
        _ => Err(StackError::Form("type")),
    }
}

/// A value within a tuple: `{"@type": "tvm.stackEntryNumber", "number": {"number": "1"}}`.
fn element(entry: &Value, room: &mut usize, nesting: usize) -> Result<StackValue, StackError> {
    count(room)?;
    match entry["@type"].as_str().unwrap_or_default() {
        "tvm.stackEntryNumber" => number(&entry["number"]["number"]),
        "tvm.stackEntryCell" => cell(&entry["cell"]),
        "tvm.stackEntrySlice" => cell(&entry["slice"]),
        "tvm.stackEntryTuple" => elements(&entry["tuple"], room, nesting + 1),
        "tvm.stackEntryList" => elements(&entry["list"], room, nesting + 1),
        "tvm.stackEntryUnsupported" => Ok(StackValue::Null),
        _ => Err(StackError::Form("type of element")),
    }
}

fn elements(value: &Value, room: &mut usize, nesting: usize) -> Result<StackValue, StackError> {
    if nesting > MAX_NESTING {
        return Err(StackError::TooMany);
    }
    let entries = value["elements"].as_array().ok_or(StackError::Form("elements"))?;
    let values = entries.iter().map(|entry| element(entry, room, nesting)).collect::<Result<_, _>>()?;
    Ok(StackValue::Tuple(values))
}

/// Hexadecimal with 0x, or decimal; either may be negative.
fn number(value: &Value) -> Result<StackValue, StackError> {
    let text = value.as_str().ok_or(StackError::Form("number"))?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    let known =
        !digits.is_empty() && digits.len() <= MAX_DIGITS && digits.chars().all(|digit| digit.is_digit(radix));
    let magnitude = known.then(|| BigInt::parse_bytes(digits.as_bytes(), radix)).flatten();
    let number = magnitude.ok_or(StackError::Form("number"))?;
    if number.bits() > 256 {
        return Err(StackError::Form("number"));
    }
    Ok(StackValue::Number(if negative { -number } else { number }))
}

fn cell(value: &Value) -> Result<StackValue, StackError> {
    let bytes = value.as_str().or_else(|| value["bytes"].as_str()).ok_or(StackError::Form("cell"))?;
    boc::decode_base64(bytes).map(StackValue::Cell).map_err(|_| StackError::Form("cell"))
}

/// Reads an answer's values from the first on, with nothing left over.
pub(crate) struct Stack<'a>(std::slice::Iter<'a, StackValue>);

impl<'a> Stack<'a> {
    pub(crate) fn new(values: &'a [StackValue]) -> Self {
        Self(values.iter())
    }

    fn next(&mut self) -> Result<&'a StackValue, StackError> {
        self.0.next().ok_or(StackError::Missing)
    }

    /// At most 64 bits, unsigned.
    pub(crate) fn uint(&mut self, bits: u64) -> Result<u64, StackError> {
        match self.next()? {
            StackValue::Number(number) if number.bits() <= bits => {
                number.try_into().map_err(|_| StackError::Value("negative"))
            }
            _ => Err(StackError::Value("uint")),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StackError> {
        self.uint(32)?.try_into().map_err(|_| StackError::Value("uint32"))
    }

    pub(crate) fn coins(&mut self) -> Result<NanoTon, StackError> {
        self.uint(64).map(NanoTon)
    }

    pub(crate) fn bits256(&mut self) -> Result<[u8; 32], StackError> {
        let StackValue::Number(number) = self.next()? else { return Err(StackError::Value("uint256")) };
        let (sign, digits) = number.to_bytes_be();
        if sign == num_bigint::Sign::Minus || digits.len() > 32 {
            return Err(StackError::Value("uint256"));
        }
        let mut bytes = [0; 32];
        bytes[32 - digits.len()..].copy_from_slice(&digits);
        Ok(bytes)
    }

    pub(crate) fn hash(&mut self) -> Result<CellHash, StackError> {
        self.bits256().map(CellHash)
    }

    pub(crate) fn address(&mut self) -> Result<Address, StackError> {
        let StackValue::Cell(cell) = self.next()? else { return Err(StackError::Value("slice")) };
        let malformed = |_| StackError::Value("address");
        let mut reader = Reader::new(cell).map_err(malformed)?;
        let address = reader.address().map_err(malformed)?;
        reader.end().map_err(malformed)?;
        Ok(address)
    }

    pub(crate) fn tuple(&mut self) -> Result<Stack<'a>, StackError> {
        match self.next()? {
            StackValue::Tuple(values) => Ok(Stack::new(values)),
            // An empty tuple, as some endpoints write it.
            StackValue::Null => Ok(Stack::new(&[])),
            StackValue::Number(_) | StackValue::Cell(_) => Err(StackError::Value("tuple")),
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// # Errors
    /// [`StackError::Left`] where anything is left.
    pub(crate) fn end(self) -> Result<(), StackError> {
        if self.left() == 0 { Ok(()) } else { Err(StackError::Left) }
    }
}

/// The one amount that a get method such as `required_value` or `rent_reserve` answers, nanoTON.
///
/// # Errors
/// [`StackError`].
pub fn amount_from_stack(values: &[StackValue]) -> Result<NanoTon, StackError> {
    let mut stack = Stack::new(values);
    let amount = stack.coins()?;
    stack.end()?;
    Ok(amount)
}

#[cfg(test)]
mod tests;
