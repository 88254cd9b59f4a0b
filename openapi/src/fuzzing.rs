//! What must hold whatever body is read. The property tests call it for a while, the targets in `/fuzz` for as long as
//! one likes. It panics where something does not hold.

use cocoon_receipts::{Digest, NanoTon};
use serde_json::{Map, Value};

use crate::Endpoint;
use crate::read::{Tokens, read};
use crate::scan::{MAX_MEMBERS, ScanError, UNIQUE, scan};
use crate::x_conf::{self, ClientNonce, XConf};

/// What the scanner says of a body is what a full reading of it says.
pub fn scanned(body: &[u8]) {
    let full = serde_json::from_slice::<Map<String, Value>>(body);
    let object = match scan(body) {
        Ok(object) => object,
        Err(refused) => {
            let says_no_object = matches!(refused, ScanError::Json | ScanError::NotAnObject);
            assert!(full.is_err() || !says_no_object, "{refused}, and it is one");
            return;
        }
    };
    assert!(std::str::from_utf8(body).is_ok());
    assert!(object.len() <= MAX_MEMBERS);
    assert_eq!(object.is_empty(), object.first().is_none());
    if let Some((name, span)) = object.first() {
        assert_eq!(object.get(name).map(|value| value.get().as_bytes()), body.get(span));
    }
    // It does not look into values: a number or a nesting that the full reading refuses is none of its business.
    let Ok(full) = full else { return };
    assert!(full.len() <= object.len());
    for (name, value) in &full {
        let scanned = object.get(name).and_then(|text| serde_json::from_str::<Value>(text.get()).ok());
        // Of a name that stands twice, one reading takes the first and the other the last.
        if full.len() == object.len() || UNIQUE.contains(&name.as_str()) {
            assert_eq!(scanned.as_ref(), Some(value));
        } else {
            assert!(scanned.is_some());
        }
    }
    read_alike(body, &full);
}

/// What routing and admission take from a body is what the full reading has there.
fn read_alike(body: &[u8], full: &Map<String, Value>) {
    for endpoint in Endpoint::ALL {
        let Ok(wanted) = read(endpoint, body) else { continue };
        assert!(!full.contains_key("x_conf"));
        assert_eq!(full.get("model").and_then(Value::as_str), Some(wanted.model.as_str()));
        let Tokens::Generated { choices, ceiling, .. } = wanted.tokens else { continue };
        let number = |name| full.get(name).and_then(Value::as_u64);
        if endpoint == Endpoint::ChatCompletions {
            assert_eq!(ceiling, number("max_completion_tokens").or(number("max_tokens")));
            assert_eq!(choices, number("n").unwrap_or(1));
        }
    }
}

/// Taking a context out leaves the client's bytes, and putting one in is undone by taking it out.
pub fn without_x_conf(body: &[u8]) {
    let Ok((found, rest)) = x_conf::remove(body.to_vec()) else { return };
    let Ok(object) = scan(&rest) else { panic!("what is left is no object") };
    assert!(object.get("x_conf").is_none());
    match &found {
        None => assert_eq!(rest, body),
        Some(_) => {
            // One span is gone, right after the brace.
            let brace = rest.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
            assert!(body.starts_with(&rest[..brace]) && body.ends_with(&rest[brace..]));
            assert!(body[brace..].starts_with(br#""x_conf":"#));
        }
    }
    let context = found.unwrap_or_else(|| XConf {
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
    });
    if object.len() <= MAX_MEMBERS {
        let Ok(with) = x_conf::insert(&rest, &context) else { panic!("an object takes no context") };
        assert_eq!(x_conf::remove(with), Ok((Some(context), rest)));
    }
}
