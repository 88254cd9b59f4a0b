//! One shallow reading of a request body, shared by everything that must agree on what a body says.
//!
//! Two parsers that differ on a duplicate or an escaped name are a hole: one would bill what the other does not
//! generate. So names are compared unescaped, and a second `model`, `stream`, `prompt` or ceiling is an error.

use std::borrow::Cow;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ApiError;

/// Members that may stand at most once at the top of a body.
pub const UNIQUE: [&str; 10] = [
    "x_conf",
    "model",
    "stream",
    "stream_options",
    "n",
    "best_of",
    "prompt",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
];

/// Most members at the top of a body. OpenAI's largest request type has about forty.
pub const MAX_MEMBERS: usize = 256;

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("the body is not valid JSON")]
    Json,
    #[error("the body is not a JSON object")]
    NotAnObject,
    #[error("the body has more than {MAX_MEMBERS} members")]
    TooManyMembers,
    #[error("the body has more than one '{0}'")]
    Duplicate(&'static str),
    #[error("'{0}' must be {1}")]
    Type(&'static str, &'static str),
}

impl From<ScanError> for ApiError {
    /// 400 in OpenAI's words.
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Json => Self::invalid(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your \
                 HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
            ),
            ScanError::Type(name, expected) => {
                Self::invalid(format!("Invalid type for '{name}': it must be {expected}."))
                    .with_param(name)
                    .with_code("invalid_type")
            }
            ScanError::Duplicate(name) => {
                Self::invalid(format!("We could not use your request: {error}.")).with_param(name)
            }
            ScanError::NotAnObject | ScanError::TooManyMembers => {
                Self::invalid(format!("We could not use your request: {error}."))
            }
        }
    }
}

/// The top level of a JSON object, borrowed from the body.
#[derive(Debug)]
pub struct Object<'a> {
    body: &'a [u8],
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Reads the top level of `body`. The whole text is checked to be JSON; values are not looked into.
///
/// # Errors
/// See [`ScanError`].
pub fn scan(body: &[u8]) -> Result<Object<'_>, ScanError> {
    up_to(MAX_MEMBERS, body)
}

/// The same of a body that may have `most` members.
pub(crate) fn up_to(most: usize, body: &[u8]) -> Result<Object<'_>, ScanError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let members = deserializer.deserialize_any(Members { most }).map_err(|error| match error.classify() {
        serde_json::error::Category::Data if error.to_string().starts_with(TOO_MANY) => {
            ScanError::TooManyMembers
        }
        serde_json::error::Category::Data => ScanError::NotAnObject,
        _ => ScanError::Json,
    })?;
    deserializer.end().map_err(|_| ScanError::Json)?;
    for name in UNIQUE {
        if members.iter().filter(|(member, _)| member == name).count() > 1 {
            return Err(ScanError::Duplicate(name));
        }
    }
    Ok(Object { body, members })
}

const TOO_MANY: &str = "too many members";

struct Members {
    most: usize,
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if members.len() == self.most {
                return Err(serde::de::Error::custom(TOO_MANY));
            }
            members.push((name, map.next_value::<&'de RawValue>()?));
        }
        Ok(members)
    }
}

/// A member name, unescaped; borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(Name)
    }
}

impl<'a> Object<'a> {
    /// The JSON text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// The member as `T`; none where it is absent or null.
    ///
    /// # Errors
    /// [`ScanError::Type`] where it is something else; `expected` is what the message says it must be.
    pub fn parse<T: serde::de::Deserialize<'a>>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ScanError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => serde_json::from_str(value.get()).map_err(|_| ScanError::Type(name, expected)),
        }
    }

    /// Name of the first member, and where in the body its value lies.
    #[must_use]
    pub fn first(&self) -> Option<(&str, std::ops::Range<usize>)> {
        let (name, value) = self.members.first()?;
        // The value is borrowed from the body, so the distance between the two is its offset.
        let start = value.get().as_ptr() as usize - self.body.as_ptr() as usize;
        Some((name, start..start + value.get().len()))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_the_names_they_spell() {
        let body = br#"{"\u006dodel":"a"}"#;
        assert_eq!(scan(body).unwrap().get("model").unwrap().get(), r#""a""#);
    }

    #[test]
    fn a_second_name_is_refused_however_it_is_written() {
        for name in UNIQUE {
            let first = name.chars().next().unwrap() as u32;
            let escaped = format!("\\u{first:04x}{}", &name[1..]);
            let body = format!(r#"{{"{name}":1,"other":2,"{escaped}":1}}"#);
            assert_eq!(scan(body.as_bytes()).unwrap_err(), ScanError::Duplicate(name));
        }
    }

    #[test]
    fn names_inside_values_do_not_count() {
        let body = br#"{"model":"a","metadata":{"model":"b","x_conf":1}}"#;
        let object = scan(body).unwrap();
        assert_eq!(object.parse::<&str>("model", "a string").unwrap(), Some("a"));
        assert!(object.get("x_conf").is_none());
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for (body, error) in [
            ("", ScanError::Json),
            ("{", ScanError::Json),
            ("{\"a\":}", ScanError::Json),
            ("{\"a\":1,}", ScanError::Json),
            ("{}{}", ScanError::Json),
            ("{\"a\":\u{1}}", ScanError::Json),
            ("[]", ScanError::NotAnObject),
            ("1", ScanError::NotAnObject),
            ("null", ScanError::NotAnObject),
            ("\"a\"", ScanError::NotAnObject),
        ] {
            assert_eq!(scan(body.as_bytes()).unwrap_err(), error, "{body}");
        }
        assert_eq!(scan(b"{\"a\xff\":1}").unwrap_err(), ScanError::Json);
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let body = format!(r#"{{"a":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(scan(body.as_bytes()).is_ok());
    }

    #[test]
    fn the_number_of_members_is_bounded() {
        let members: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"m{n}\":1")).collect();
        assert_eq!(
            scan(format!("{{{}}}", members.join(",")).as_bytes()).unwrap_err(),
            ScanError::TooManyMembers
        );
        assert_eq!(scan(format!("{{{}}}", members[1..].join(",")).as_bytes()).unwrap().len(), MAX_MEMBERS);
    }

    #[test]
    fn wrong_types_name_the_member() {
        let object = scan(br#"{"stream":"yes","model":null}"#).unwrap();
        assert_eq!(object.parse::<bool>("stream", "a boolean"), Err(ScanError::Type("stream", "a boolean")));
        assert_eq!(object.parse::<&str>("model", "a string"), Ok(None));
    }
}
