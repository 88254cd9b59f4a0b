//! Time to first byte: what the gateway adds to the backend's own. A measurement, run by `cargo xtask bench`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::harness::{Sealed, Settings, Stack, Store, chat};

const WARM_UP: usize = 100;
const PAIRS: usize = 1000;

pub(crate) async fn through_the_gateway_and_from_the_backend() -> anyhow::Result<()> {
    measure("SQLite", Settings::default()).await?;
    // Without a disk to wait for: what is left is our own.
    let memory = tempfile::tempdir_in("/dev/shm")?;
    let ledger = format!("ledger.url = \"sqlite:{}\"", memory.path().join("ledger.db").display());
    measure("SQLite in memory", Settings { gateway: ledger, ..Settings::default() }).await?;
    measure("Redis", Settings { store: Store::Redis, ..Settings::default() }).await
}

/// Asks gateway and backend for the same streamed answer, in turn, which of them first by chance. Both keep their
/// connections; a request for the backend is sealed before its time begins.
async fn measure(ledger: &str, settings: Settings) -> anyhow::Result<()> {
    let stack = Stack::start(settings).await?;
    let mut body = chat(&json!({ "tokens": 8 }).to_string(), json!({}));
    body["stream"] = true.into();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http = Client::builder(TokioExecutor::new()).build(connector);
    let mut gateway = Vec::with_capacity(PAIRS);
    let mut backend = Vec::with_capacity(PAIRS);
    let mut disk = Vec::with_capacity(PAIRS);
    let mut synced = std::fs::File::create(stack.path("synced"))?;
    for pair in 0..WARM_UP + PAIRS {
        let whole = Request::post(format!("{}/chat/completions", stack.base_url()))
            .header("authorization", format!("Bearer {}", stack.key))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))?;
        let sealed = Sealed::honest(&stack, &body).await?;
        let mut direct = Request::post(format!("{}{}", stack.backend_url(), sealed.path));
        for (name, value) in &sealed.headers {
            direct = direct.header(name, value);
        }
        let direct = direct.body(Full::new(Bytes::from(sealed.body)))?;
        let (through, own) = if fastrand::bool() {
            let through = first_byte(&http, whole).await?;
            (through, first_byte(&http, direct).await?)
        } else {
            let own = first_byte(&http, direct).await?;
            (first_byte(&http, whole).await?, own)
        };
        if pair >= WARM_UP {
            gateway.push(through);
            backend.push(own);
            disk.push(sync(&mut synced)?);
        }
    }
    gateway.sort();
    backend.sort();
    disk.sort();
    println!(
        "\n{:56} {:>9} {:>8}",
        format!("milliseconds to the first byte, {ledger}, {PAIRS} each"),
        "median",
        "p99"
    );
    let row = |name: &str, median: f64, p99: f64| println!("  {name:54} {median:9.3} {p99:8.3}");
    for (name, times) in [("through the gateway", &gateway), ("from the backend", &backend)] {
        row(name, at(times, 50)?, at(times, 99)?);
    }
    row("difference", at(&gateway, 50)? - at(&backend, 50)?, at(&gateway, 99)? - at(&backend, 99)?);
    row("one sync of this disk, which a hold waits for", at(&disk, 50)?, at(&disk, 99)?);
    Ok(())
}

/// A hold is on disk before its request leaves the gateway.
fn sync(file: &mut std::fs::File) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    Ok(begun.elapsed())
}

/// Until the first byte of the body is there. The rest is taken too, so that the connection is kept.
async fn first_byte(
    http: &Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let response = http.request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let first = body.frame().await.context("an empty body")??;
    let time = begun.elapsed();
    ensure!(status == 200 && first.is_data(), "{status} {first:?}");
    body.collect().await?;
    Ok(time)
}

/// The milliseconds that `percent` of all are within.
fn at(sorted: &[Duration], percent: usize) -> anyhow::Result<f64> {
    let time = sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1)).context("no times")?;
    Ok(time.as_secs_f64() * 1000.0)
}
