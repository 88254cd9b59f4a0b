//! How bytes come to the gateway and go: compressed bodies, HTTP/2, TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::harness::{Connection, Protocol, Settings, Stack, chat, eventually};

fn address(stack: &Stack) -> anyhow::Result<SocketAddr> {
    let url: http::Uri = stack.base_url().parse()?;
    Ok(url.authority().context("no authority")?.as_str().parse()?)
}

/// A streamed chat request for `host`, over any version of HTTP.
fn streamed(key: &str, host: &str, script: Value) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = chat(&script.to_string(), json!({ "stream": true, "max_tokens": 50 }));
    let request = Request::post(format!("http://{host}/v1/chat/completions"))
        .header("host", host)
        .header("authorization", format!("Bearer {key}"))
        .header("te", "trailers");
    Ok(request.body(Full::new(serde_json::to_vec(&body)?.into()))?)
}

async fn packed<E: AsyncWrite + Unpin>(
    mut encoder: E,
    plain: &[u8],
    into_inner: impl Fn(E) -> Vec<u8>,
) -> anyhow::Result<Vec<u8>> {
    encoder.write_all(plain).await?;
    encoder.shutdown().await?;
    Ok(into_inner(encoder))
}

/// Guards against: a body that is sealed as it was sent, a limit that a bomb passes, an encoding that is guessed.
pub(crate) async fn compressed_bodies_are_what_they_unpack_to() -> anyhow::Result<()> {
    let stack =
        Stack::start(Settings { gateway: "body_limit = 100000".into(), ..Settings::default() }).await?;
    let authorization = format!("Bearer {}", stack.key);
    let plain = serde_json::to_vec(&chat("one two three", json!({})))?;
    let bomb = serde_json::to_vec(&chat(&"a ".repeat(100_000), json!({})))?;
    let pack = async |encoding: &str, plain: &[u8]| match encoding {
        "gzip" => packed(GzipEncoder::new(Vec::new()), plain, GzipEncoder::into_inner).await,
        "br" => packed(BrotliEncoder::new(Vec::new()), plain, BrotliEncoder::into_inner).await,
        _ => packed(ZstdEncoder::new(Vec::new()), plain, ZstdEncoder::into_inner).await,
    };
    let post = async |encoding: &str, body: Vec<u8>| {
        let headers = [("authorization", authorization.as_str()), ("content-encoding", encoding)];
        let (parts, body) = stack.client().post_raw("/chat/completions", &headers, body).await?.into_parts();
        let answer: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
        anyhow::Ok((parts, answer))
    };
    for encoding in ["gzip", "br", "zstd"] {
        let (parts, answer) = post(encoding, pack(encoding, &plain).await?).await?;
        ensure!(parts.status == 200, "{encoding}: {answer}");
        ensure!(answer["choices"][0]["message"]["content"] == "echo: one two three", "{encoding}: {answer}");
        let (parts, answer) = post(encoding, pack(encoding, &bomb).await?).await?;
        ensure!(parts.status == 413, "{encoding}: {answer}");
        let (parts, answer) = post(encoding, plain.clone()).await?;
        ensure!(parts.status == 400, "{encoding} that is none: {answer}");
    }
    for encoding in ["deflate", "gzip, gzip"] {
        let (parts, answer) = post(encoding, pack("gzip", &plain).await?).await?;
        ensure!(parts.status == 415, "{encoding}: {answer}");
        ensure!(parts.headers["accept-encoding"] == "gzip, br, zstd", "{:?}", parts.headers);
        ensure!(answer["error"]["code"] == "unsupported_content_encoding", "{answer}");
    }
    Ok(())
}

async fn is_whole(connection: &mut Connection, request: Request<Full<Bytes>>) -> anyhow::Result<()> {
    let (parts, body) = connection.send(request).await?.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let text = String::from_utf8(collected.to_bytes().to_vec())?;
    ensure!(parts.status == 200 && text.ends_with("data: [DONE]\n\n"), "{} {text}", parts.status);
    ensure!(trailers.contains_key("cocoon-receipt") && trailers.contains_key("cocoon-cost"), "{trailers:?}");
    Ok(())
}

/// Guards against: trailers that only HTTP/1.1 has, requests of one connection that wait for each other.
pub(crate) async fn http2_without_tls_streams_with_trailers() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let address = address(&stack)?;
    let request = |tokens: u32| streamed(&stack.key, &address.to_string(), json!({ "tokens": tokens }));
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = Connection::plain(address, protocol).await?;
        for _ in 0..2 {
            is_whole(&mut connection, request(20)?).await.with_context(|| format!("{protocol:?}"))?;
        }
    }
    let mut connection = Connection::plain(address, Protocol::Http2).await?;
    let slow = streamed(&stack.key, &address.to_string(), json!({ "hang_after": 1 }))?;
    let hanging = connection.send(slow).await?;
    is_whole(&mut connection, request(20)?).await.context("beside one that hangs")?;
    drop(hanging);
    Ok(())
}

/// A certificate of this machine's own, and its key, as `cert.pem` and `key.pem`.
pub(crate) fn write_pair(folder: &Path) -> anyhow::Result<CertificateDer<'static>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    std::fs::write(folder.join("cert.pem"), made.cert.pem())?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(made.cert.der().clone())
}

/// Guards against: a listener that stops for one slow handshake, a certificate that needs a restart, connections that
/// end when it changes.
pub(crate) async fn tls_serves_both_versions_and_takes_up_a_new_certificate() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let first = write_pair(folder.path())?;
    let tls =
        format!("tls = {{ certificate = \"{0}/cert.pem\", key = \"{0}/key.pem\" }}", folder.path().display());
    let stack = Stack::start(Settings { gateway: tls, ..Settings::default() }).await?;
    let address = address(&stack)?;
    let request = || streamed(&stack.key, "localhost", json!({ "tokens": 20 }));

    // Says nothing for as long as the test runs.
    let silent = tokio::net::TcpStream::connect(address).await?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = Connection::tls(address, protocol, first.clone()).await?;
        is_whole(&mut connection, request()?).await.with_context(|| format!("{protocol:?}"))?;
    }
    ensure!(
        Connection::plain(address, Protocol::Http1).await?.send(request()?).await.is_err(),
        "no plain HTTP"
    );

    let mut before = Connection::tls(address, Protocol::Http2, first.clone()).await?;
    // What cannot be used is not: the first stays.
    std::fs::write(folder.path().join("cert.pem"), "not a certificate")?;
    let log = || stack.gateway.as_ref().map(crate::harness::Process::log).unwrap_or_default();
    eventually("the gateway says why it keeps the old one", Duration::from_secs(20), || async {
        Ok(log().contains("no certificate in PEM").then_some(()))
    })
    .await?;
    is_whole(&mut Connection::tls(address, Protocol::Http1, first.clone()).await?, request()?).await?;

    let second = write_pair(folder.path())?;
    let mut after = eventually("a new connection sees the new one", Duration::from_secs(20), || {
        let second = second.clone();
        async move { Ok(Some(Connection::tls(address, Protocol::Http2, second).await?)) }
    })
    .await?;
    ensure!(Connection::tls(address, Protocol::Http1, first).await.is_err(), "and no more the old one");
    is_whole(&mut after, request()?).await?;
    is_whole(&mut before, request()?).await.context("a connection from before goes on")?;
    drop(silent);
    Ok(())
}
