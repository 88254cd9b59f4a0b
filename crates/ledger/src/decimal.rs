//! Signed amounts in JSON: decimal strings, so that no reader rounds them.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<T: Display, S: Serializer>(amount: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

pub(crate) fn deserialize<'de, T: Display + FromStr, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let amount: T = text.parse().map_err(|_| D::Error::custom(format_args!("{text:?} is no amount")))?;
    // One text for each amount, so that what is hashed can be written again.
    if amount.to_string() == text {
        Ok(amount)
    } else {
        Err(D::Error::custom(format_args!("{text:?} is no amount")))
    }
}
