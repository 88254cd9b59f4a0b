//! What sealing costs: processor time per request at gateway and backend, and the part of it that is sealing. A
//! measurement, run by `cargo xtask bench`.
//!
//! The relay is the baseline: the same bytes pass through the same gateway, which seals and opens nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cocoon_sealing::{Kem, PrivateKey, RequestOpener, RequestSealer};
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::harness::{Ehbp, Process, Recipient, Settings, Stack, chat};

const WARM_UP: u32 = 50;
const REQUESTS: u32 = 500;
const TOKENS: u64 = 64;

pub(crate) async fn of_a_request_and_of_a_token() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let script = json!({ "tokens": TOKENS, "text": "word ", "delay_ms": 1 }).to_string();
    let body = chat(&script, json!({ "stream": true }));
    let mut rows = Vec::new();
    for (name, way) in [
        ("relay, sealed by the client with X-Wing", Way::Relay(Kem::XWing)),
        ("relay, sealed by the client with X25519", Way::Relay(Kem::X25519)),
        ("gateway mode, sealed by the gateway with X-Wing", Way::Gateway),
    ] {
        ask(&stack, &body, way, WARM_UP).await?;
        let before = Spent::now(&stack)?;
        let frames = ask(&stack, &body, way, REQUESTS).await?;
        rows.push((name, Spent::now(&stack)?.since(&before), frames / REQUESTS as usize));
    }
    println!("\nmicroseconds of processor time per request of {TOKENS} tokens, {REQUESTS} each");
    println!("{:52} {:>10} {:>10}", "", "gateway", "backend");
    for (name, spent, _) in &rows {
        println!("  {name:50} {:10.0} {:10.0}", per_request(spent.gateway), per_request(spent.backend));
    }
    let (_, spent, frames) = rows.first().context("no row")?;
    let (backend, frames) = (spent.backend, *frames);
    let request_len = body.to_string().len() + 400;
    println!("\nmicroseconds of sealing in such a request, {frames} pieces of answer, one after the other");
    for kem in [Kem::XWing, Kem::X25519] {
        let [seal, open, answer] = sealing(kem, request_len, frames)?;
        println!(
            "  {:50} seal {seal:.0}, open {open:.0}, answer {answer:.0} ({:.2} a frame): {:.1} % of the backend's",
            format!("{kem:?}"),
            answer / frames as f64,
            100.0 * (open + answer) / per_request(backend)
        );
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Relay(Kem),
    Gateway,
}

/// Asks so many times, one after the other; the pieces in which the answers came.
async fn ask(stack: &Stack, body: &serde_json::Value, way: Way, times: u32) -> anyhow::Result<usize> {
    let mut pieces = 0;
    let bytes = serde_json::to_vec(body)?;
    let to = match way {
        Way::Relay(kem) => Some(Recipient::of_backend(&stack.backend_url(), kem).await?),
        Way::Gateway => None,
    };
    for _ in 0..times {
        match &to {
            None => pieces += stack.client().stream(body).await?.rest().await?.len(),
            Some(to) => {
                let request = Ehbp::bound(to, &stack.key, &bytes, |_| ())?;
                let response = request.begin(&stack.origin(), &stack.key).await?;
                ensure!(response.status() == 200, "{}", response.status());
                let mut answer = response.into_body();
                while let Some(frame) = answer.frame().await {
                    pieces += usize::from(frame?.is_data());
                }
            }
        }
    }
    Ok(pieces)
}

/// Processor time since their start.
struct Spent {
    gateway: Duration,
    backend: Duration,
}

impl Spent {
    fn now(stack: &Stack) -> anyhow::Result<Self> {
        let of = |process: &Option<Process>| process.as_ref().context("not running")?.processor_time();
        Ok(Self { gateway: of(&stack.gateway)?, backend: of(&stack.backend)? })
    }

    fn since(&self, before: &Self) -> Self {
        Self { gateway: self.gateway - before.gateway, backend: self.backend - before.backend }
    }
}

fn per_request(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(REQUESTS)
}

/// Microseconds to seal a request, to open it, and to seal its answer.
fn sealing(kem: Kem, request_len: usize, frames: usize) -> anyhow::Result<[f64; 3]> {
    const ROUNDS: u32 = 300;
    let key = PrivateKey::generate(kem)?;
    let (request, event) = (vec![b'r'; request_len], vec![b'e'; 330]);
    let mut spent = [Duration::ZERO; 3];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut sealer = RequestSealer::new(key.public_key())?;
        let frame = sealer.seal(&request)?;
        spent[0] += begun.elapsed();
        let begun = Instant::now();
        let mut opener = RequestOpener::new(&key, sealer.encapsulated_key())?;
        opener.open(&frame[4..])?;
        spent[1] += begun.elapsed();
        let begun = Instant::now();
        let mut answer = opener.response_sealer()?;
        for _ in 0..frames {
            std::hint::black_box(answer.seal(&event)?);
        }
        spent[2] += begun.elapsed();
    }
    Ok(spent.map(|time| time.as_secs_f64() * 1e6 / f64::from(ROUNDS)))
}
