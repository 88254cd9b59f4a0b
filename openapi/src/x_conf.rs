//! `x_conf`: what a sealed body says of the request it belongs to, so that its ciphertext cannot be moved to another
//! path, model or account.
//!
//! It is put in right after the opening brace and taken out as exactly that span: what remains is the client's bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_receipts::{Digest, NanoTon, Price};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::scan::{self, ScanError};

const NAME: &str = "x_conf";

/// How far `ts` may be from the backend's clock, milliseconds.
pub const MAX_SKEW_MS: u64 = 5 * 60 * 1000;

/// The sealed context of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XConf {
    /// 1.
    pub v: u32,
    pub nonce: ClientNonce,
    /// Milliseconds since 1970.
    pub ts: u64,
    pub path: String,
    pub model: String,
    /// Keyset the body is sealed to.
    pub keyset: Digest,
    /// The client's own ceilings, beside the ticket's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_max: Option<Price>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<NanoTon>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// [`AccountTagKey::tag`](cocoon_receipts::AccountTagKey::tag): the ticket must be of the same API key.
    pub acct: Option<Digest>,
    /// 0 turns padding of the answer off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<u8>,
}

/// 32 bytes, the same over all attempts at a request. Base64url in JSON, hexadecimal in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNonce(pub [u8; 32]);

impl Serialize for ClientNonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for ClientNonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a nonce is 32 bytes in base64url"))
    }
}

/// A body that cannot carry, or does not carry rightly, a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XConfError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("x_conf is not the first member, or not what it must be")]
    Malformed,
}

/// `body` with `x_conf` in it. The body must be one JSON object without an `x_conf` of its own (the caller has
/// scanned it).
///
/// # Errors
/// [`XConfError`] where it is not.
pub fn insert(body: &[u8], x_conf: &XConf) -> Result<Vec<u8>, XConfError> {
    let brace = opening_brace(body).ok_or(ScanError::NotAnObject)?;
    let member = serde_json::to_vec(x_conf).map_err(|_| XConfError::Malformed)?;
    let (head, tail) = body.split_at(brace + 1);
    let empty = tail.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let separator: &[u8] = if empty { b"" } else { b"," };
    Ok([head, b"\"x_conf\":", &member, separator, tail].concat())
}

/// Takes `x_conf` out of `body`: the context, if there was one, and the client's own bytes.
///
/// # Errors
/// [`XConfError`] where the body is not a JSON object, or its `x_conf` does not stand where [`insert`] puts it.
pub fn remove(mut body: Vec<u8>) -> Result<(Option<XConf>, Vec<u8>), XConfError> {
    // The client's own body may have as many members as any, and this is one more.
    let object = scan::up_to(scan::MAX_MEMBERS + 1, &body)?;
    if object.get(NAME).is_none() {
        return if object.len() > scan::MAX_MEMBERS {
            Err(ScanError::TooManyMembers.into())
        } else {
            Ok((None, body))
        };
    }
    let (name, span) = object.first().ok_or(XConfError::Malformed)?;
    let start = opening_brace(&body).ok_or(XConfError::Malformed)? + 1;
    if name != NAME || body.get(start..span.start) != Some(b"\"x_conf\":".as_slice()) {
        return Err(XConfError::Malformed);
    }
    let x_conf = serde_json::from_slice(&body[span.clone()]).map_err(|_| XConfError::Malformed)?;
    let end = if object.len() > 1 {
        if body.get(span.end) != Some(&b',') {
            return Err(XConfError::Malformed);
        }
        span.end + 1
    } else {
        span.end
    };
    body.drain(start..end);
    Ok((Some(x_conf), body))
}

fn opening_brace(body: &[u8]) -> Option<usize> {
    let at = body.iter().position(|byte| !byte.is_ascii_whitespace())?;
    (body[at] == b'{').then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn x_conf() -> XConf {
        XConf {
            v: 1,
            nonce: ClientNonce([7; 32]),
            ts: 1,
            path: "/v1/chat/completions".into(),
            model: "m".into(),
            keyset: Digest([1; 32]),
            price_max: None,
            max_cost: Some(NanoTon(5)),
            acct: None,
            pad: None,
        }
    }

    #[test]
    fn what_goes_in_comes_out_and_the_rest_is_the_clients_bytes() {
        for body in
            ["{}", " {\n} ", "{\"a\":1}", "\t{ \"a\" : {\"x_conf\":2} , \"b\":[] }\n", "{\"a\":1,\"a\":2}"]
        {
            let with = insert(body.as_bytes(), &x_conf()).unwrap();
            let (found, rest) = remove(with).unwrap();
            assert_eq!(found, Some(x_conf()));
            assert_eq!(rest, body.as_bytes());
        }
    }

    #[test]
    fn a_body_with_as_many_members_as_it_may_have_can_carry_one() {
        let members: Vec<String> = (0..scan::MAX_MEMBERS).map(|n| format!("\"m{n}\":1")).collect();
        let body = format!("{{{}}}", members.join(","));
        let (found, rest) = remove(insert(body.as_bytes(), &x_conf()).unwrap()).unwrap();
        assert_eq!((found, rest), (Some(x_conf()), body.into_bytes()));
        let one_more = format!("{{{},\"m\":1}}", members.join(","));
        assert_eq!(remove(one_more.into_bytes()), Err(ScanError::TooManyMembers.into()));
    }

    #[test]
    fn a_context_in_another_place_or_spelling_is_refused() {
        let json = serde_json::to_string(&x_conf()).unwrap();
        for body in [
            format!(r#"{{"a":1,"x_conf":{json}}}"#),
            format!(r#"{{ "x_conf":{json}}}"#),
            format!(r#"{{"x_conf": {json}}}"#),
            format!(r#"{{"x_conf":{json} ,"a":1}}"#),
            format!(r#"{{"\u0078_conf":{json}}}"#),
            r#"{"x_conf":null}"#.to_owned(),
            r#"{"x_conf":{"v":1}}"#.to_owned(),
        ] {
            assert_eq!(remove(body.clone().into_bytes()), Err(XConfError::Malformed), "{body}");
        }
    }

    fn member() -> impl Strategy<Value = String> {
        let name = prop_oneof!["x_conf", "model", "[ab]", "\\\\u006dodel", "\\\\u0078_conf"];
        let x_conf = serde_json::to_string(&x_conf()).unwrap();
        let value = prop_oneof![Just(x_conf), Just(r#"{"v":1}"#.to_owned()), "[0-9]{1,2}", "\"[a-z]?\""];
        ("[ \n]?", name, "[ \n]?", value)
            .prop_map(|(before, name, after, value)| format!("{before}\"{name}\":{after}{value}{after}"))
    }

    proptest! {
        #[test]
        fn any_object_survives(keys in proptest::collection::vec("\\PC{0,12}", 0..6), space in "[ \n\t\r]{0,3}") {
            let members: Vec<String> = keys
                .iter()
                .filter(|key| !scan::UNIQUE.contains(&key.as_str()))
                .map(|key| format!("{space}{}{space}:{space}[1]{space}", serde_json::to_string(key).unwrap()))
                .collect();
            let body = format!("{space}{{{}{space}}}{space}", members.join(","));
            let (found, rest) = remove(insert(body.as_bytes(), &x_conf()).unwrap()).unwrap();
            prop_assert_eq!(found, Some(x_conf()));
            prop_assert_eq!(rest, body.into_bytes());
        }

        #[test]
        fn any_bytes_are_read_alike(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            crate::fuzzing::scanned(&body);
            crate::fuzzing::without_x_conf(&body);
        }

        /// Mostly objects, with names that matter, names that stand twice and contexts that are nearly right.
        #[test]
        fn any_members_are_read_alike(members in proptest::collection::vec(member(), 0..5), end in "\\}?[ ,\\}]?") {
            let body = format!("{{{}{end}", members.join(","));
            crate::fuzzing::scanned(body.as_bytes());
            crate::fuzzing::without_x_conf(body.as_bytes());
        }
    }
}
