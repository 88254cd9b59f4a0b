//! Ciphertext that was recorded, moved or changed between client and attested machine is worth nothing: the gateway and
//! its operator cannot use it, and nobody learns which check it failed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use cocoon_openapi::{COMPLETIONS_PATH, KEY_DIGEST_HEADER, MODEL_HEADER, PRIVACY_HEADER};
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, Kem, encode_hex};
use serde_json::{Value, json};

use crate::harness::{Connection, Ehbp, EhbpReply, Protocol, Recipient, Settings, Stack, chat, full};

const KEMS: [Kem; 2] = [Kem::X25519, Kem::XWing];
/// As in the sealed part of a request that the sidecar makes.
const BODY: &[u8] =
    br#"{"model":"smollm2-135m-instruct","messages":[{"role":"user","content":"hello there"}],"max_tokens":5}"#;

/// The one answer for all that is refused.
fn refused(what: &str, reply: &EhbpReply) -> anyhow::Result<()> {
    ensure!(reply.frames.is_none(), "{what} was opened and answered: {reply:?}");
    ensure!(reply.status == 400, "{what}: {reply:?}");
    let answer: Value = serde_json::from_slice(&reply.body)?;
    ensure!(answer["error"]["code"] == "sealed_request_refused", "{what}: {answer}");
    Ok(())
}

/// The answer where the key does not open it: the client may fetch the keys again.
fn not_opened(what: &str, reply: &EhbpReply) -> anyhow::Result<()> {
    ensure!(reply.frames.is_none() && reply.status == 422, "{what}: {reply:?}");
    let problem: Value = serde_json::from_slice(&reply.body)?;
    ensure!(problem["type"] == cocoon_sealing::KEY_CONFIG_PROBLEM, "{what}: {problem}");
    Ok(())
}

fn served(what: &str, reply: &EhbpReply) -> anyhow::Result<()> {
    ensure!(reply.status == 200 && reply.frames.is_some(), "{what}: {reply:?}");
    ensure!(reply.headers.get(PRIVACY_HEADER).is_some_and(|mode| mode == "sealed"), "{what}: {reply:?}");
    Ok(())
}

async fn bound(stack: &Stack, kem: Kem) -> anyhow::Result<Ehbp> {
    let to = Recipient::of_backend(&stack.backend_url(), kem).await?;
    Ehbp::bound(&to, &stack.key, BODY, |_| ())
}

/// The same bytes again: on the same connection, through another gateway, by another account, spelled otherwise.
pub(crate) async fn the_same_ciphertext_again() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let other = stack.second_gateway().await?;
    let thief = stack.make_key(&["--account", "thief", "--grant", "1000000000"])?;
    for kem in KEMS {
        let request = bound(&stack, kem).await?;
        served("the first", &request.send(&stack).await?)?;
        let receipts = stack.outbox()?.len();
        refused("the second", &request.send(&stack).await?)?;
        refused("through another gateway", &request.send_to(&other.origin, &stack.key).await?)?;
        refused("by another account", &request.send_to(&stack.origin(), &thief).await?)?;
        let mut upper = request;
        let shouted = upper.get(ENCAPSULATED_KEY_HEADER)?.to_uppercase();
        upper.header(ENCAPSULATED_KEY_HEADER, Some(&shouted));
        let reply = upper.send(&stack).await?;
        ensure!(reply.status == 400 && reply.frames.is_none(), "in upper case: {reply:?}");
        ensure!(stack.outbox()?.len() == receipts, "{kem:?}: a replay was worked on");
    }
    // On one connection, without a context and with one.
    let plain = Ehbp::plain(&stack.origin(), &serde_json::from_slice(BODY)?).await?;
    for request in [plain, bound(&stack, Kem::XWing).await?] {
        let address = SocketAddr::from(([127, 0, 0, 1], stack.gateway_port()));
        let mut connection = Connection::plain(address, Protocol::Http1).await?;
        let first = request.send_on(&mut connection, &stack.key).await?;
        served("the first on a connection", &first)?;
        refused("the second on it", &request.send_on(&mut connection, &stack.key).await?)?;
    }
    Ok(())
}

/// A key is replaced while its predecessor is still accepted, as clients do not fetch keys by themselves.
pub(crate) async fn the_same_ciphertext_after_a_rotation_and_within_the_overlap() -> anyhow::Result<()> {
    let backend = "key_lifetime_ms = 4000\nxwing_overlap_ms = 120000\nx25519_overlap_ms = 120000";
    let stack = Stack::start(Settings { backend: backend.to_owned(), ..Settings::default() }).await?;
    let mut requests = Vec::new();
    let mut waiting = Vec::new();
    for kem in KEMS {
        let request = bound(&stack, kem).await?;
        served("before the rotation", &request.send(&stack).await?)?;
        requests.push(request);
        waiting.push(bound(&stack, kem).await?);
    }
    let plain = Ehbp::plain(&stack.origin(), &serde_json::from_slice(BODY)?).await?;
    let before = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
    crate::harness::eventually("the keys are new", Duration::from_secs(30), || async {
        let now = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
        Ok((now.keyset != before.keyset).then_some(()))
    })
    .await?;
    for request in &requests {
        refused("after the rotation", &request.send(&stack).await?)?;
    }
    for request in &waiting {
        served("sealed before the rotation, sent after it", &request.send(&stack).await?)?;
        refused("and again", &request.send(&stack).await?)?;
    }
    served("a plain client's, sealed before the rotation", &plain.send(&stack).await?)?;
    refused("and again", &plain.send(&stack).await?)?;
    Ok(())
}

/// A key whose overlap is over opens nothing any more, and says so.
pub(crate) async fn a_key_whose_time_is_over() -> anyhow::Result<()> {
    // The keys end sooner than a second caller would get their evidence: the gateway must not wait behind the test.
    let backend = "key_lifetime_ms = 2000\nxwing_overlap_ms = 500\nx25519_overlap_ms = 1000\n\
                   evidence.quote_interval_ms = 0";
    let stack = Stack::start(Settings { backend: backend.to_owned(), ..Settings::default() }).await?;
    for kem in KEMS {
        let to = Recipient::of_backend(&stack.backend_url(), kem).await?;
        crate::harness::eventually("the key has ended", Duration::from_secs(30), || async {
            let reply = Ehbp::bound(&to, &stack.key, BODY, |_| ())?.send(&stack).await?;
            Ok((reply.status == 422).then_some(()))
        })
        .await?;
        not_opened(
            "to a key that is gone",
            &Ehbp::bound(&to, &stack.key, BODY, |_| ())?.send(&stack).await?,
        )?;
        served("to the new one", &bound(&stack, kem).await?.send(&stack).await?)?;
    }
    Ok(())
}

/// Fresh ciphertext that the gateway sends where it does not belong.
pub(crate) async fn ciphertext_that_was_moved() -> anyhow::Result<()> {
    let other = Stack::start(Settings::default()).await?;
    let second_backend = Some(other.backend_url());
    let stack = Stack::start(Settings { second_backend, ..Settings::default() }).await?;
    let thief = stack.make_key(&["--account", "thief", "--grant", "1000000000"])?;
    for kem in KEMS {
        let mut request = bound(&stack, kem).await?;
        request.path = COMPLETIONS_PATH.into();
        refused("to another path", &request.send(&stack).await?)?;

        let to = Recipient::of_backend(&stack.backend_url(), kem).await?;
        let inside = Ehbp::bound(&to, &stack.key, BODY, |context| context.model = "another".into())?;
        refused("for another model", &inside.send(&stack).await?)?;
        let mut outside = bound(&stack, kem).await?;
        outside.header(MODEL_HEADER, Some("another"));
        let reply = outside.send(&stack).await?;
        ensure!(reply.frames.is_none() && reply.status == 404, "another model outside: {reply:?}");

        let request = bound(&stack, kem).await?;
        refused("under another account's ticket", &request.send_to(&stack.origin(), &thief).await?)?;

        // The digest says another backend than the ciphertext is for.
        let stranger = Recipient::of_backend(&other.backend_url(), kem).await?;
        let mut request = bound(&stack, kem).await?;
        request.header(KEY_DIGEST_HEADER, Some(&stranger.keyset.to_string()));
        let reply = request.send(&stack).await?;
        ensure!(reply.frames.is_none() && reply.status >= 400, "to another backend: {reply:?}");
        // And to the right key, but with the context of another backend.
        let moved = Ehbp::bound(&to, &stack.key, BODY, |context| context.keyset = stranger.keyset)?;
        refused("with another backend's context", &moved.send(&stack).await?)?;
    }
    // Without a context: what is inside decides.
    let mut body: Value = serde_json::from_slice(BODY)?;
    let mut request = Ehbp::plain(&stack.origin(), &body).await?;
    request.path = COMPLETIONS_PATH.into();
    refused("a plain client's to another path", &request.send(&stack).await?)?;
    body["model"] = "another".into();
    refused(
        "a plain client's for another model",
        &Ehbp::plain(&stack.origin(), &body).await?.send(&stack).await?,
    )
}

/// Every place of it, with either KEM; some of the places without `--full`.
pub(crate) async fn a_bit_that_was_flipped() -> anyhow::Result<()> {
    // Each is sealed to keys that are asked for anew, without waiting for others who ask.
    let backend = "evidence.quote_interval_ms = 0".to_owned();
    let stack = Stack::start(Settings { backend, ..Settings::default() }).await?;
    let mut tried = 0;
    for kem in KEMS {
        let key_len = kem.encapsulated_key_len();
        let body_len = bound(&stack, kem).await?.frames.concat().len();
        let step = if full() { 1 } else { 23 };
        for at in (0..key_len).step_by(if kem == Kem::XWing { 7 * step } else { step }) {
            let mut request = bound(&stack, kem).await?;
            let mut key = hex::decode(request.get(ENCAPSULATED_KEY_HEADER)?)?;
            // The top bit of an X25519 key does not change the point it stands for.
            key[at] ^= if at == key_len - 1 { 0x80 } else { 1 << (at % 8) };
            request.header(ENCAPSULATED_KEY_HEADER, Some(&encode_hex(&key)));
            not_opened(&format!("{kem:?} key byte {at}"), &request.send(&stack).await?)?;
            tried += 1;
        }
        let mut request = bound(&stack, Kem::X25519).await?;
        let mut key = hex::decode(request.get(ENCAPSULATED_KEY_HEADER)?)?;
        key[31] ^= 0x80;
        request.header(ENCAPSULATED_KEY_HEADER, Some(&encode_hex(&key)));
        not_opened("the top bit of an X25519 key", &request.send(&stack).await?)?;
        // Past the length prefix, whose bits are judged below.
        for at in (4..body_len).step_by(step) {
            let mut request = bound(&stack, kem).await?;
            let mut body = request.frames.concat();
            body[at] ^= 1 << (at % 8);
            request.frames = vec![body.into()];
            not_opened(&format!("{kem:?} body byte {at}"), &request.send(&stack).await?)?;
            tried += 1;
        }
        for bit in 0..32 {
            let mut request = bound(&stack, kem).await?;
            let mut body = request.frames.concat();
            body[bit / 8] ^= 1 << (bit % 8);
            request.frames = vec![body.into()];
            let reply = request.send(&stack).await?;
            ensure!(reply.frames.is_none() && reply.status >= 400, "length bit {bit}: {reply:?}");
            tried += 1;
        }
    }
    println!("{tried} flipped bits, none of them served");
    ensure!(stack.outbox()?.is_empty(), "none of them was worked on");
    Ok(())
}

/// A request in four frames, out of order in every way.
pub(crate) async fn frames_that_were_moved() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let to = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
    let in_four = || {
        let mut pieces = BODY.chunks(BODY.len().div_ceil(4));
        let first = pieces.next().context("no piece")?;
        let mut request = Ehbp::sealed(&to.key, &[first])?;
        for piece in pieces {
            request.push(piece)?;
        }
        anyhow::Ok(request)
    };
    served("in order", &in_four()?.send(&stack).await?)?;
    type Change = fn(&mut Vec<Bytes>);
    let later: [(&str, Change); 5] = [
        ("the second and third swapped", |frames| frames.swap(1, 2)),
        ("the last two swapped", |frames| frames.swap(2, 3)),
        ("one in the middle dropped", |frames| drop(frames.remove(1))),
        ("one in the middle twice", |frames| frames.insert(2, frames[1].clone())),
        ("the last one twice", |frames| frames.push(frames[3].clone())),
    ];
    for (what, change) in later {
        let mut request = in_four()?;
        change(&mut request.frames);
        refused(what, &request.send(&stack).await?)?;
    }
    let first: [(&str, Change); 3] = [
        ("the first and second swapped", |frames| frames.swap(0, 1)),
        ("the first dropped", |frames| drop(frames.remove(0))),
        ("the last before all", |frames| frames.rotate_right(1)),
    ];
    for (what, change) in first {
        let mut request = in_four()?;
        change(&mut request.frames);
        not_opened(what, &request.send(&stack).await?)?;
    }
    // Without its last frame a body is no JSON: that is found inside, and told sealed.
    let mut request = in_four()?;
    drop(request.frames.pop());
    let reply = request.send(&stack).await?;
    ensure!(reply.status == 400 && reply.json()?["error"]["type"] == "invalid_request_error", "{reply:?}");
    Ok(())
}

/// Bodies that are not even frames, or far too many of them.
pub(crate) async fn frames_that_are_none() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let bodies: [(&str, Vec<u8>, u16); 5] = [
        ("a frame of 2^32-1 bytes", u32::MAX.to_be_bytes().to_vec(), 413),
        ("a million empty frames", vec![0; 4_000_000], 400),
        ("an empty frame alone", vec![0; 4], 400),
        ("a cut length", vec![0, 0], 400),
        ("a frame shorter than its tag", [&[0, 0, 0, 3][..], b"abc"].concat(), 422),
    ];
    for (what, body, status) in bodies {
        let mut request = bound(&stack, Kem::XWing).await?;
        request.frames = vec![body.into()];
        let reply = request.send(&stack).await?;
        ensure!(reply.frames.is_none() && reply.status == status, "{what}: {reply:?}");
    }
    // A cut frame after one that opened.
    let to = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
    let mut request = Ehbp::sealed(&to.key, &[BODY])?;
    request.frames.push(Bytes::from_static(&[0, 0, 1, 0, 7]));
    refused("a frame that is cut", &request.send(&stack).await?)?;
    ensure!(stack.outbox()?.is_empty(), "none of them was worked on");
    served("a good one, after all that", &bound(&stack, Kem::XWing).await?.send(&stack).await?)
}

/// JSON that two readers could read differently is told to its client, sealed.
pub(crate) async fn members_that_are_there_twice() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let to = Recipient::of_backend(&stack.backend_url(), Kem::XWing).await?;
    let message = r#""messages":[{"role":"user","content":"hi"}]"#;
    for twice in [
        r#""model":"smollm2-135m-instruct""#,
        r#""stream":false"#,
        r#""n":1"#,
        r#""max_tokens":3"#,
        r#""stream_options":null"#,
    ] {
        let (name, _) = twice.split_once(':').context("no member")?;
        let escaped = twice.replacen(&name[1..2], &format!("\\u{:04x}", u32::from(name.as_bytes()[1])), 1);
        for second in [twice, &escaped] {
            let model = if name == "\"model\"" { "" } else { r#""model":"smollm2-135m-instruct","# };
            let body = format!("{{{model}{twice},{message},{second}}}");
            let reply = Ehbp::bound(&to, &stack.key, body.as_bytes(), |_| ())?.send(&stack).await?;
            let answer = reply.json()?;
            ensure!(reply.status == 400, "{body}: {answer}");
            ensure!(answer["error"]["param"] == name.trim_matches('"'), "{body}: {answer}");
        }
    }
    // A second context would be one that was not checked.
    let context = json!({ "v": 1 });
    let body = chat("hi", json!({})).to_string();
    let doubled = format!("{{\"x_conf\":{context},\"x_conf\":{context},{}", &body[1..]);
    let reply = Ehbp::sealed(&to.key, &[doubled.as_bytes()])?.send(&stack).await?;
    ensure!(reply.status == 400, "{reply:?}");
    Ok(())
}
