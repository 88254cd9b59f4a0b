//! Values in JSON that have no form of their own.

/// Bytes in base64.
pub(super) mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::transfer) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::transfer) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// As both stores keep it.
pub(super) mod took {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::used::Took;

    pub(in crate::transfer) fn serialize<S: Serializer>(
        took: &Took,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&took.to_text())
    }

    pub(in crate::transfer) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Took, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The numbers of a record of what was used: an object of decimal strings under their names.
pub(super) mod numbers {
    use std::collections::BTreeMap;

    use serde::ser::SerializeMap;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::used::{NAMES, NUMBERS};

    pub(in crate::transfer) fn serialize<S: Serializer>(
        numbers: &[i64; NUMBERS],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(NUMBERS))?;
        for (name, number) in NAMES.iter().zip(numbers) {
            object.serialize_entry(name, &number.to_string())?;
        }
        object.end()
    }

    pub(in crate::transfer) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[i64; NUMBERS], D::Error> {
        let mut object = BTreeMap::<String, String>::deserialize(deserializer)?;
        let mut numbers = [0; NUMBERS];
        for (name, number) in NAMES.iter().zip(&mut numbers) {
            let text =
                object.remove(*name).ok_or_else(|| D::Error::custom(format_args!("{name} is missing")))?;
            *number =
                text.parse().map_err(|_| D::Error::custom(format_args!("{name} is no number: {text:?}")))?;
        }
        match object.keys().next() {
            None => Ok(numbers),
            Some(other) => Err(D::Error::custom(format_args!("there is no number {other:?}"))),
        }
    }
}
