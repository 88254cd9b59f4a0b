//! What a call asks for. JSON-RPC sends numbers as numbers or text; a query string has only text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, HashBytes};
use tycho_types::models::{Base64StdAddrFlags, StdAddr, StdAddrFormat};

use super::error::ApiError;

pub(crate) struct Parameters(Map<String, Value>);

impl Parameters {
    pub(crate) fn new(values: Map<String, Value>) -> Self {
        Self(values)
    }

    /// What is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&Value, ApiError> {
        self.get(name).ok_or_else(|| ApiError::Parameter(format!("{name} is missing")))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, ApiError> {
        self.required(name)?.as_str().ok_or_else(|| wrong(name, "text"))
    }

    /// Text that may be missing or empty.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        if self.get(name).is_none() {
            return Ok(None);
        }
        self.text(name).map(|text| (!text.is_empty()).then_some(text))
    }

    pub(crate) fn optional_number<T: TryFrom<i128>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => {
                number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
            }
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| wrong(name, "a number in range"))
    }

    pub(crate) fn number<T: TryFrom<i128>>(&self, name: &str) -> Result<T, ApiError> {
        self.optional_number(name)?.ok_or_else(|| ApiError::Parameter(format!("{name} is missing")))
    }

    /// How many are asked for: 1 to `most`.
    pub(crate) fn count(&self, name: &str, default: usize, most: usize) -> Result<usize, ApiError> {
        let count = self.optional_number(name)?.unwrap_or(default);
        if (1..=most).contains(&count) { Ok(count) } else { Err(wrong(name, &format!("1 to {most}"))) }
    }

    /// A query string has it as text.
    pub(crate) fn optional_flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong(name, "true or false")),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    pub(crate) fn address(&self, name: &str) -> Result<StdAddr, ApiError> {
        address(self.text(name)?)
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, ApiError> {
        decode(self.text(name)?).ok_or_else(|| wrong(name, "base64"))
    }

    pub(crate) fn optional_cell(&self, name: &str) -> Result<Option<Cell>, ApiError> {
        self.optional_text(name)?
            .map(|text| cell(text).ok_or_else(|| wrong(name, "a bag of cells")))
            .transpose()
    }

    /// A hash in hexadecimal or any base64.
    pub(crate) fn optional_hash(&self, name: &str) -> Result<Option<HashBytes>, ApiError> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let bytes = if text.len() == 64 { hex::decode(text).ok() } else { decode(text) };
        let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hash.map(HashBytes).map(Some).ok_or_else(|| wrong(name, "a hash"))
    }
}

fn wrong(name: &str, what: &str) -> ApiError {
    ApiError::Parameter(format!("{name} is not {what}"))
}

/// An address in any form, of an account that can be on this chain.
pub(crate) fn address(text: &str) -> Result<StdAddr, ApiError> {
    let (address, _) = StdAddr::from_str_ext(text, StdAddrFormat::any()).map_err(|_| ApiError::Address)?;
    if matches!(address.workchain, -1 | 0) { Ok(address) } else { Err(ApiError::Address) }
}

/// What the form that wallets show says of an address (TEP-2); none for another form.
pub(crate) fn friendly_flags(text: &str) -> Option<Base64StdAddrFlags> {
    let format = StdAddrFormat { allow_raw: false, ..StdAddrFormat::any() };
    StdAddr::from_str_ext(text, format).ok().map(|(_, flags)| flags)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
}

/// A bag of cells in base64.
pub(crate) fn cell(text: &str) -> Option<Cell> {
    Boc::decode(decode(text)?).ok()
}
