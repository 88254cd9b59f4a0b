//! HPKE, X-Wing and the response's frames by code that shares nothing with ours: each end of an exchange is once
//! ours and once the other's.

use anyhow::{Context, ensure};
use bytes::Bytes;
use cocoon_sealing::{FrameLimits, FrameReader, Kem, PrivateKey, RequestOpener, RequestSealer, SealingError};
use serde_json::{Value, json};

use crate::harness::{Runtime, run_script};

const REQUEST: [&str; 3] = [r#"{"model":"m","#, r#""prompt":"na\u00efve"}"#, " "];
const RESPONSE: [&str; 4] = ["data: 1\n\n", ": padding\n\n", "data: [DONE]\n\n", "\n"];

/// Guards against: a label, a salt, a nonce or a byte order that only agrees with itself; an X-Wing of an older draft.
pub(crate) async fn each_opens_what_the_other_sealed() -> anyhow::Result<()> {
    for kem in Kem::ALL {
        theirs_answers_ours(kem).await.with_context(|| format!("{kem:?}: sealed by us"))?;
        ours_answers_theirs(kem).await.with_context(|| format!("{kem:?}: sealed by them"))?;
    }
    Ok(())
}

async fn theirs_answers_ours(kem: Kem) -> anyhow::Result<()> {
    let (seed, key) = key(kem)?;
    let mut sealer = RequestSealer::new(key.public_key())?;
    let mut body = Vec::new();
    for piece in REQUEST {
        body.extend(sealer.seal(piece.as_bytes())?);
    }
    let theirs = ask_them(
        kem,
        "answer",
        json!({
            "private_key": hex::encode(seed),
            "encapsulated_key": hex::encode(sealer.encapsulated_key()),
            "body": hex::encode(body),
            "response": RESPONSE,
        }),
    )
    .await?;
    ensure!(theirs["opened"] == json!(REQUEST), "{theirs:#}");
    let nonce = bytes(&theirs["nonce"])?.try_into().map_err(|_| anyhow::anyhow!("{theirs:#}"))?;
    let mut opener = sealer.response_opener(&nonce)?;
    ensure!(open(&theirs["body"], |frame| opener.open(frame))? == RESPONSE, "{theirs:#}");
    Ok(())
}

async fn ours_answers_theirs(kem: Kem) -> anyhow::Result<()> {
    let (_, key) = key(kem)?;
    let public_key = hex::encode(key.public_key().as_bytes());
    let theirs = ask_them(kem, "ask", json!({ "public_key": public_key, "request": REQUEST })).await?;
    let mut opener = RequestOpener::new(&key, &bytes(&theirs["encapsulated_key"])?)?;
    ensure!(open(&theirs["body"], |frame| opener.open(frame))? == REQUEST, "{theirs:#}");

    let mut sealer = opener.response_sealer()?;
    let mut body = Vec::new();
    for piece in RESPONSE {
        body.extend(sealer.seal(piece.as_bytes())?);
    }
    let read = ask_them(
        kem,
        "read",
        json!({
            "secret": theirs["secret"],
            "encapsulated_key": theirs["encapsulated_key"],
            "nonce": hex::encode(sealer.nonce()),
            "body": hex::encode(body),
        }),
    )
    .await?;
    ensure!(read["opened"] == json!(RESPONSE), "{read:#}");
    Ok(())
}

/// A private key and its bytes, which ours never gives away again.
fn key(kem: Kem) -> anyhow::Result<([u8; 32], PrivateKey)> {
    let seed = std::array::from_fn(|_| fastrand::u8(..));
    Ok((seed, PrivateKey::from_bytes(kem, &seed)?))
}

async fn ask_them(kem: Kem, step: &str, mut what: Value) -> anyhow::Result<Value> {
    what["kem"] = format!("{kem:?}").into();
    what["step"] = step.into();
    let variables = [("COCOON_INTEROP", &*what.to_string())];
    run_script(Runtime::Node, "hpke_interop.mjs", &variables).await
}

/// The pieces of a sealed body, in hex.
fn open(
    body: &Value,
    mut open: impl FnMut(&[u8]) -> Result<Vec<u8>, SealingError>,
) -> anyhow::Result<Vec<String>> {
    let mut reader = FrameReader::new(FrameLimits { max_frame: 1 << 16, max_total: 1 << 20, max_empty: 1 });
    reader.push(Bytes::from(bytes(body)?));
    let mut pieces = Vec::new();
    while let Some(frame) = reader.next()? {
        pieces.push(String::from_utf8(open(&frame)?)?);
    }
    reader.finish()?;
    Ok(pieces)
}

fn bytes(value: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(hex::decode(value.as_str().context("no hex")?)?)
}
