//! A plain HTTP client that hides nothing: raw bodies, raw events, and trailers.

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::stack::MODEL;

/// Asks one gateway, with one key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base_url: String,
    key: String,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A chat request for the test model.
pub(crate) fn chat(prompt: &str, more: Value) -> Value {
    let mut body = serde_json::json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": prompt }],
        "temperature": 0,
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    body
}

impl Client {
    pub(crate) fn new(base_url: String, key: String) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // A connection of its own per request: dropping an answer then is a hang-up.
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self { base_url, key, http }
    }

    /// Posts raw bytes with these headers and no others.
    pub(crate) async fn post_raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Response<hyper::body::Incoming>> {
        self.send(Method::POST, path, headers, body).await
    }

    /// As [`Client::post_raw`], with any method.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Response<hyper::body::Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base_url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(self.http.request(request.body(Full::new(body.into()))?).await?)
    }

    /// The value of the `authorization` header.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.key)
    }

    async fn post_to(&self, path: &str, body: &Value) -> anyhow::Result<Response<hyper::body::Incoming>> {
        let authorization = self.authorization();
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("te", "trailers"),
        ];
        self.post_raw(path, &headers, serde_json::to_vec(body)?).await
    }

    /// An unstreamed answer to a chat: status, headers and JSON.
    pub(crate) async fn complete(&self, body: &Value) -> anyhow::Result<(u16, HeaderMap, Value)> {
        self.post_json("/chat/completions", body).await
    }

    /// An unstreamed answer of any endpoint: status, headers and JSON.
    pub(crate) async fn post_json(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, HeaderMap, Value)> {
        let (parts, body) = self.post_to(path, body).await?.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let json = serde_json::from_slice(&bytes).context("the answer is not JSON")?;
        Ok((parts.status.as_u16(), parts.headers, json))
    }

    /// Begins a streamed answer to a chat.
    pub(crate) async fn stream(&self, body: &Value) -> anyhow::Result<EventStream> {
        self.stream_from("/chat/completions", body).await
    }

    /// Begins a streamed answer of any endpoint.
    pub(crate) async fn stream_from(&self, path: &str, body: &Value) -> anyhow::Result<EventStream> {
        self.try_stream_from(path, body).await?.map_err(|(status, text)| anyhow!("status {status}: {text}"))
    }

    /// As [`Client::stream_from`]; a refusal is its status and body.
    pub(crate) async fn try_stream_from(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Result<EventStream, (StatusCode, String)>> {
        let mut body = body.clone();
        body["stream"] = true.into();
        let response = self.post_to(path, &body).await?;
        let status = response.status();
        if !status.is_success() {
            let text = response.into_body().collect().await?.to_bytes();
            return Ok(Err((status, String::from_utf8_lossy(&text).into_owned())));
        }
        Ok(Ok(EventStream {
            headers: response.headers().clone(),
            body: response.into_body(),
            buffer: Vec::new(),
            trailers: None,
        }))
    }
}

/// A streamed answer. Dropped early, it is a client that hangs up.
#[derive(Debug)]
pub(crate) struct EventStream {
    pub(crate) headers: HeaderMap,
    body: hyper::body::Incoming,
    buffer: Vec<u8>,
    /// There once the stream has ended with some.
    pub(crate) trailers: Option<HeaderMap>,
}

impl EventStream {
    /// The next `data:` event; none at the end. Comments are passed over.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = String::from_utf8(event)?;
                // An event may have a name, which its data repeats.
                let data = match text.strip_prefix("event: ").and_then(|named| named.split_once('\n')) {
                    Some((_, data)) => data,
                    None => &text,
                };
                match data.trim_end().strip_prefix("data: ") {
                    Some(data) => return Ok(Some(data.to_owned())),
                    None if text.starts_with(':') => continue,
                    None => bail!("not an event: {text:?}"),
                }
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => bail!("the stream ends inside an event"),
                Some(frame) => match frame?.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// The next event's JSON; an error for `[DONE]` and the end.
    pub(crate) async fn next_json(&mut self) -> anyhow::Result<Value> {
        let text = self.next().await?.context("the stream has ended")?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// All that is left: the events before the end.
    pub(crate) async fn rest(&mut self) -> anyhow::Result<Vec<String>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Reads on until `pieces` events carried content; the text so far.
    pub(crate) async fn content(&mut self, pieces: usize) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut seen = 0;
        while seen < pieces {
            let event = self.next_json().await?;
            if let Some(piece) =
                event["choices"][0]["delta"]["content"].as_str().filter(|piece| !piece.is_empty())
            {
                text.push_str(piece);
                seen += 1;
            }
        }
        Ok(text)
    }
}
