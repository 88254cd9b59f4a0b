//! An answer that was cut, reordered or changed on its way to the sidecar is an error for the client, never a shorter or
//! another answer.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::harness::{Carried, Client, Meddler, Settings, Sidecar, Stack, chat};

const TOKENS: u64 = 6;

/// All that a test here needs: real gateway and backend, and somebody between gateway and sidecar.
struct Way {
    meddler: Meddler,
    client: Client,
    _sidecar: Sidecar,
    _stack: Stack,
}

impl Way {
    async fn start() -> anyhow::Result<Self> {
        let stack = Stack::start(Settings::default()).await?;
        let meddler = Meddler::start(&stack.origin()).await?;
        let sidecar = Sidecar::start(&stack, &meddler.origin(), &[]).await?;
        let client = Client::new(sidecar.base_url(), stack.key.clone());
        Ok(Self { meddler, client, _sidecar: sidecar, _stack: stack })
    }

    /// What a client sees: the status, all bytes that came, and whether they came to their end.
    async fn ask(&self, streamed: bool) -> anyhow::Result<(u16, Vec<u8>, bool)> {
        // Slow enough that every token has a frame of its own.
        let script = json!({ "tokens": TOKENS, "text": "word ", "delay_ms": 30 }).to_string();
        let body = chat(&script, json!({ "stream": streamed }));
        let key = self.client.authorization();
        let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
        let response = self.client.post_raw("/chat/completions", &headers, body.to_string()).await?;
        let status = response.status().as_u16();
        let (mut body, mut bytes, mut whole) = (response.into_body(), Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        Ok((status, bytes, whole))
    }

    /// It is an error, and looks like one to every client: whole answers are checked before they are begun.
    async fn is_an_error(&self, what: &str, streamed: bool) -> anyhow::Result<()> {
        let (status, bytes, whole) = self.ask(streamed).await?;
        let text = String::from_utf8_lossy(&bytes);
        // Where nothing was handed on yet, the status still says it.
        if status == 502 {
            let answer: Value = serde_json::from_slice(&bytes).with_context(|| format!("{what}: {text}"))?;
            ensure!(answer["error"]["message"].is_string(), "{what}: {answer}");
            return Ok(());
        }
        ensure!(streamed && status == 200, "{what}: {status} {text}");
        ensure!(!whole, "{what}: the stream ends as if it were whole: {text}");
        ensure!(!text.contains("[DONE]"), "{what}: {text}");
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        ensure!(last.starts_with("data: {\"error\":"), "{what}: the last event is no error: {text}");
        Ok(())
    }
}

/// At every boundary between frames, the cheapest cut there is.
pub(crate) async fn cut_at_every_frame_boundary() -> anyhow::Result<()> {
    let way = Way::start().await?;
    for streamed in [false, true] {
        way.meddler.change(|_| ());
        let (status, bytes, whole) = way.ask(streamed).await?;
        ensure!(status == 200 && whole, "the honest answer: {status}");
        ensure!(!streamed || bytes.ends_with(b"data: [DONE]\n\n"), "the honest stream has its end");
        let frames = way.meddler.frames();
        ensure!(frames >= if streamed { TOKENS as usize } else { 2 }, "{frames} frames");
        for kept in 0..frames {
            way.meddler.change(move |carried| carried.frames.truncate(kept));
            way.is_an_error(&format!("cut after {kept} of {frames} frames"), streamed).await?;
        }
        println!("{frames} cuts of an answer, streamed: {streamed}");
    }
    Ok(())
}

type Change = fn(&mut Carried);

/// Everything else that can be done to frames without their keys.
pub(crate) async fn changed_in_every_other_way() -> anyhow::Result<()> {
    let way = Way::start().await?;
    let anywhere: [(&str, Change); 8] = [
        ("the first frame dropped", |carried| drop(carried.frames.remove(0))),
        ("the first frame twice", |carried| carried.frames.insert(0, carried.frames[0].clone())),
        ("the first two swapped", |carried| carried.frames.swap(0, 1)),
        ("the last one twice", |carried| carried.frames.extend(carried.frames.last().cloned())),
        ("a bit of the first flipped", |carried| flip(carried, 0)),
        ("a bit of the last flipped", |carried| flip(carried, carried.frames.len() - 1)),
        ("half a frame behind it", |carried| carried.frames.push(Bytes::from_static(&[0, 0, 1, 0, 7]))),
        ("another status outside", |carried| carried.status = StatusCode::CREATED),
    ];
    for streamed in [false, true] {
        for (what, change) in anywhere {
            way.meddler.change(change);
            way.is_an_error(what, streamed).await?;
        }
        // A stream is said to be JSON, and the other way round.
        way.meddler.change(move |carried| {
            carried.content_type = if streamed { "application/json" } else { "text/event-stream" }.to_owned();
        });
        way.is_an_error("another type outside", streamed).await?;
    }
    let streams: [(&str, Change); 3] = [
        ("one in the middle dropped", |carried| drop(carried.frames.remove(2))),
        ("one in the middle twice", |carried| carried.frames.insert(2, carried.frames[2].clone())),
        ("two in the middle swapped", |carried| carried.frames.swap(2, 3)),
    ];
    for (what, change) in streams {
        way.meddler.change(change);
        way.is_an_error(what, true).await?;
    }
    way.meddler.change(|_| ());
    let (status, _, whole) = way.ask(true).await?;
    ensure!(status == 200 && whole, "an honest answer is still served");
    Ok(())
}

fn flip(carried: &mut Carried, at: usize) {
    let mut frame = carried.frames[at].to_vec();
    let middle = frame.len() / 2;
    frame[middle] ^= 0x10;
    carried.frames[at] = frame.into();
}
