//! The sidecar on the user's machine: what it seals, what it verifies, whom it serves.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{Direction, MODEL, Proxy, Settings, Sidecar, Stack, chat};
use crate::transport::write_pair;

/// A text that the scripted engine says again, and that nothing else says.
const MARKER: &str = "zanzibar-7f3a9c51";

/// Guards against: a body that goes out in the clear, an answer that is not the model's, a receipt that gets lost, a
/// gateway that charges a sealed request otherwise than a plain one.
pub(crate) async fn a_chat_completes_and_streams_sealed() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let proxy = Proxy::start(port(&stack.origin())?).await?;
    let sidecar = Sidecar::start(&stack, &proxy.url(), &[]).await?;
    let body = chat(MARKER, json!({ "max_tokens": 30 }));

    let (status, headers, answer) = sidecar.client(&stack).complete(&body).await?;
    ensure!(status == 200, "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().context("no content")?;
    ensure!(text.contains(MARKER), "{text}");
    ensure!(answer.get("x_receipt").is_none(), "{answer}");
    ensure!(headers["cocoon-privacy"] == "sealed" && headers.contains_key("cocoon-receipt"), "{headers:?}");
    ensure!(headers["cocoon-verified-keyset"].len() == 64, "{headers:?}");
    let cost: u64 = headers["cocoon-cost"].to_str()?.parse()?;
    ensure!(stack.settled_account().await?.charged.0 == cost && cost > 0, "charged what the receipt says");

    let mut stream = sidecar.client(&stack).stream(&body).await?;
    let events = stream.rest().await?;
    ensure!(events.last().is_some_and(|last| last == "[DONE]"), "{events:?}");
    let streamed: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned())
        .collect();
    ensure!(streamed == text, "{streamed:?} and {text:?}");
    let trailers = stream.trailers.context("no trailers")?;
    ensure!(trailers.contains_key("cocoon-receipt"), "{trailers:?}");
    ensure!(stack.settled_account().await?.charged.0 == 2 * cost, "both are charged once");

    for direction in [Direction::ToBackend, Direction::ToGateway] {
        let recorded = proxy.recorded(direction);
        ensure!(recorded.len() > 1000, "{direction:?} was recorded");
        for word in [MARKER, "\"messages\"", "\"choices\""] {
            let found = recorded.windows(word.len()).any(|window| window == word.as_bytes());
            ensure!(!found, "'{word}' is on the wire, {direction:?}");
        }
    }
    Ok(())
}

/// Guards against: a sidecar that does not ask who the gateway is, or that takes development evidence from an address
/// that need not be this machine's.
pub(crate) async fn a_gateway_is_reached_over_tls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write_pair(folder.path())?;
    let tls =
        format!("tls = {{ certificate = \"{0}/cert.pem\", key = \"{0}/key.pem\" }}", folder.path().display());
    let stack = Stack::start(Settings { gateway: tls, ..Settings::default() }).await?;
    let (port, body) = (stack.gateway_port(), chat(MARKER, json!({ "max_tokens": 30 })));
    let certificate = folder.path().join("cert.pem");

    let sidecar = Sidecar::start_trusting(&stack, &format!("https://127.0.0.1:{port}"), &certificate).await?;
    let (status, headers, answer) = sidecar.client(&stack).complete(&body).await?;
    ensure!(status == 200 && headers["cocoon-privacy"] == "sealed", "{answer}");
    let events = sidecar.client(&stack).stream(&body).await?.rest().await?;
    ensure!(events.last().is_some_and(|last| last == "[DONE]"), "{events:?}");
    drop(sidecar);

    // A name could be another machine's tomorrow.
    let sidecar = Sidecar::start_trusting(&stack, &format!("https://localhost:{port}"), &certificate).await?;
    let (status, _, answer) = sidecar.client(&stack).complete(&body).await?;
    ensure!(status == 502 && answer["error"]["code"] == "backend_not_verified", "{answer}");
    drop(sidecar);

    let stranger = tempfile::tempdir()?;
    write_pair(stranger.path())?;
    let sidecar = Sidecar::start_trusting(
        &stack,
        &format!("https://127.0.0.1:{port}"),
        &stranger.path().join("cert.pem"),
    )
    .await?;
    let (status, _, answer) = sidecar.client(&stack).complete(&body).await?;
    ensure!(status == 503 && answer["error"]["code"] == "gateway_unreachable", "{answer}");
    Ok(())
}

/// Guards against: a sidecar that hands on what did not open, or calls a broken stream done.
pub(crate) async fn an_answer_that_was_tampered_with_is_an_error() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let proxy = Proxy::start(port(&stack.origin())?).await?;
    let sidecar = Sidecar::start(&stack, &proxy.url(), &[]).await?;
    let body = chat(MARKER, json!({ "max_tokens": 30 }));
    let (status, _, answer) = sidecar.client(&stack).complete(&body).await?;
    ensure!(status == 200, "untouched it is handed on: {answer}");

    let sealed_follows = AtomicBool::new(false);
    proxy.change(move |direction, bytes| {
        if direction == Direction::ToGateway {
            flip_a_bit_of_a_frame(&sealed_follows, bytes);
        }
    });
    let (status, headers, answer) = sidecar.client(&stack).complete(&body).await?;
    ensure!(status == 502 && answer["error"]["code"] == "answer_not_verified", "{status} {answer}");
    ensure!(headers["x-should-retry"] == "false", "it may have been billed: {headers:?}");
    ensure!(!answer.to_string().contains(MARKER), "{answer}");

    let mut stream = sidecar.client(&stack).stream(&body).await?;
    let mut last = None;
    // It ends abnormally, after an event that says why.
    let outcome = loop {
        match stream.next().await {
            Ok(Some(event)) => last = Some(event),
            other => break other,
        }
    };
    ensure!(outcome.is_err(), "the stream must not end as if it were whole");
    let last = last.context("no event says why")?;
    ensure!(last.contains("answer_not_verified"), "{last}");
    Ok(())
}

/// In the first piece of a sealed body; heads, and answers in the clear, stay as they are.
fn flip_a_bit_of_a_frame(sealed_follows: &AtomicBool, bytes: &mut [u8]) {
    /// Beyond a chunk's length, a frame's length, and not yet at the end of the shortest frame.
    const INSIDE: usize = 30;
    let head_end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").filter(|_| bytes.starts_with(b"HTTP/"));
    let body_at = match head_end {
        Some(end) => {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            sealed_follows.store(head.contains("ehbp-response-nonce"), Ordering::Relaxed);
            end + 4
        }
        None => 0,
    };
    if sealed_follows.load(Ordering::Relaxed)
        && let Some(byte) = bytes.get_mut(body_at + INSIDE)
    {
        *byte ^= 1;
        sealed_follows.store(false, Ordering::Relaxed);
    }
}

/// Guards against: a web page that spends its visitor's key, or reads answers by a name it lets point here.
pub(crate) async fn requests_of_web_pages_are_403() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let sidecar = Sidecar::start(&stack, &stack.origin(), &[]).await?;
    let authorization = format!("Bearer {}", stack.key);
    let body = chat("hello", json!({})).to_string();
    for header in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        let headers = [("authorization", authorization.as_str()), header];
        let client = sidecar.client(&stack);
        let response = client.send(Method::POST, "/chat/completions", &headers, body.clone()).await?;
        let status = response.status().as_u16();
        let answer = response.into_body().collect().await?.to_bytes();
        let answer: Value = serde_json::from_slice(&answer)?;
        ensure!(status == 403 && answer["error"]["code"] == "forbidden", "{header:?}: {status} {answer}");
    }
    let account = stack.account().await?;
    ensure!(account.charged.0 == 0 && account.open_holds == 0, "{account:?}");
    Ok(())
}

/// Guards against: a command whose exit status says more than its checks, evidence for development that passes
/// silently.
pub(crate) async fn verify_prints_what_it_checked() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let output = Sidecar::verify(&stack, &[])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in ["VERIFIED", "DEVELOPMENT evidence", MODEL, "X25519"] {
        ensure!(text.contains(part), "no {part}: {text}");
    }
    let output = Sidecar::verify(&stack, &["--model", MODEL, "--json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let backend = &report["models"][0]["backends"][0];
    ensure!(output.status.success() && backend["verdict"] == "verified", "{report:#}");
    fits_its_schema(&report)?;

    // Under a policy that trusts another root nothing is good.
    std::fs::write(stack.path("policy.toml"), format!("dev_roots = [\"{}\"]\n", "A".repeat(43)))?;
    let output = Sidecar::verify(&stack, &["--json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(!output.status.success(), "{report:#}");
    ensure!(report["models"][0]["backends"][0]["verdict"] == "refused", "{report:#}");
    fits_its_schema(&report)?;
    let checks = report["models"][0]["backends"][0]["checks"].as_array().context("no checks")?;
    let failed = checks.iter().filter(|check| check["outcome"] == "failed");
    ensure!(failed.map(|check| &check["check"]).collect::<Vec<_>>() == ["quote"], "{report:#}");

    let sidecar = Sidecar::start(&stack, &stack.origin(), &[]).await?;
    let (status, _, answer) = sidecar.client(&stack).complete(&chat("hello", json!({}))).await?;
    ensure!(status == 502 && answer["error"]["code"] == "backend_not_verified", "{status} {answer}");
    let page = reqwest::get(format!("{}/verification", sidecar.origin())).await?.text().await?;
    ensure!(page.contains("REFUSED"), "{page}");
    Ok(())
}

fn fits_its_schema(report: &Value) -> anyhow::Result<()> {
    let schema = serde_json::from_str(include_str!("../../docs/schema/verification.json"))?;
    let validator =
        jsonschema::draft202012::new(&schema).map_err(|error| anyhow::anyhow!("the schema: {error}"))?;
    let errors: Vec<String> =
        validator.iter_errors(report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    ensure!(errors.is_empty(), "{errors:#?}\n{report:#}");
    Ok(())
}

fn port(origin: &str) -> anyhow::Result<u16> {
    Ok(origin.rsplit(':').next().context("no port")?.parse()?)
}
