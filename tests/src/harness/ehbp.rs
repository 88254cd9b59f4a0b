//! A client of the gateway that seals by hand, so that a test can do it wrongly.

use anyhow::{Context, ensure};
use bytes::Bytes;
use cocoon_attestation::{Document, Keyset, Nonce};
use cocoon_openapi::x_conf::{self, ClientNonce, XConf};
use cocoon_openapi::{
    ATTESTATION_PATH, CHAT_COMPLETIONS_PATH, KEY_CONFIG_PATH, KEY_DIGEST_HEADER, MODEL_HEADER,
};
use cocoon_receipts::{AccountTagKey, Digest};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, FrameLimits, FrameReader, Kem, PublicKey, RESPONSE_NONCE_HEADER, RequestSealer,
    decode_key_configs, encode_hex, parse_response_nonce,
};
use futures_util::{Stream, TryStreamExt as _};
use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::stack::MODEL;
use super::{Client, Connection, Stack};

/// A sealed request; every part may be changed before it is sent.
pub(crate) struct Ehbp {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Whole frames, length prefixes included.
    pub(crate) frames: Vec<Bytes>,
    sealer: RequestSealer,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct EhbpReply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// As it came.
    pub(crate) body: Bytes,
    /// Opened, where it was sealed.
    pub(crate) frames: Option<Vec<Vec<u8>>>,
}

impl EhbpReply {
    /// The JSON of a whole answer, receipt and all.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let frames = self.frames.as_ref().with_context(|| format!("not sealed: {self:?}"))?;
        Ok(serde_json::from_slice(&frames.concat())?)
    }
}

/// Whom a request is sealed to: one key of one keyset of a backend.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    pub(crate) keyset: Digest,
    pub(crate) key: PublicKey,
}

impl Recipient {
    /// What the backend at `backend_url` itself says now.
    pub(crate) async fn of_backend(backend_url: &str, kem: Kem) -> anyhow::Result<Self> {
        let (keyset, digest) = keyset(backend_url).await?;
        let key = keyset.hpke.iter().find(|key| key.kem == kem.id()).context("no such key")?;
        let key = PublicKey::new(kem, &key.bytes().context("not base64url")?)?;
        Ok(Self { keyset: digest, key })
    }
}

/// The keyset that the backend at `backend_url` publishes, and its digest.
pub(super) async fn keyset(backend_url: &str) -> anyhow::Result<(Keyset, Digest)> {
    let url = format!("{backend_url}{ATTESTATION_PATH}?nonce={}", Nonce([7; 32]));
    let document: Document = reqwest::get(url).await?.error_for_status()?.json().await?;
    Ok((Keyset::from_bytes(&document.keyset.0)?, Digest::of(&[&document.keyset.0])))
}

impl Ehbp {
    /// As a plain EHBP client does it: the key that the gateway serves, nothing of ours inside.
    pub(crate) async fn plain(origin: &str, body: &Value) -> anyhow::Result<Self> {
        let url = format!("{origin}{KEY_CONFIG_PATH}?model={MODEL}");
        let keys = decode_key_configs(&reqwest::get(url).await?.error_for_status()?.bytes().await?)?;
        let key = &keys.first().context("no key")?.public_key;
        Self::sealed(key, &[&serde_json::to_vec(body)?])
    }

    /// As the sidecar does it, but for `change`: with a context, to exactly one keyset.
    pub(crate) fn bound(
        to: &Recipient,
        api_key: &str,
        body: &[u8],
        change: impl FnOnce(&mut XConf),
    ) -> anyhow::Result<Self> {
        let mut request = Self::sealed(&to.key, &[])?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let mut context = XConf {
            v: 1,
            nonce: ClientNonce([3; 32]),
            ts: u64::try_from(now.as_millis())?,
            path: CHAT_COMPLETIONS_PATH.into(),
            model: MODEL.into(),
            keyset: to.keyset,
            price_max: None,
            max_cost: None,
            acct: Some(AccountTagKey::of_api_key(api_key).tag(request.sealer.encapsulated_key())),
            pad: None,
        };
        change(&mut context);
        request.push(&x_conf::insert(body, &context)?)?;
        request.header(KEY_DIGEST_HEADER, Some(&to.keyset.to_string()));
        Ok(request)
    }

    /// A frame for each piece.
    pub(crate) fn sealed(key: &PublicKey, pieces: &[&[u8]]) -> anyhow::Result<Self> {
        let sealer = RequestSealer::new(key)?;
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("te".to_owned(), "trailers".to_owned()),
            (MODEL_HEADER.to_owned(), MODEL.to_owned()),
            (ENCAPSULATED_KEY_HEADER.to_owned(), encode_hex(sealer.encapsulated_key())),
        ];
        let mut request = Self { path: CHAT_COMPLETIONS_PATH.into(), headers, frames: Vec::new(), sealer };
        for piece in pieces {
            request.push(piece)?;
        }
        Ok(request)
    }

    /// Seals one more frame.
    pub(crate) fn push(&mut self, plain: &[u8]) -> anyhow::Result<()> {
        self.frames.push(self.sealer.seal(plain)?);
        Ok(())
    }

    /// Sets a header, or takes it out.
    pub(crate) fn header(&mut self, name: &str, value: Option<&str>) {
        self.headers.retain(|(header, _)| header != name);
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        Ok(&found.with_context(|| format!("no {name}"))?.1)
    }

    /// Sends it to a gateway; what is answered is still sealed.
    pub(crate) async fn begin(
        &self,
        origin: &str,
        api_key: &str,
    ) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let client = Client::new(origin.to_owned(), String::new());
        let authorization = format!("Bearer {api_key}");
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("authorization", &authorization));
        client.post_raw(&self.path, &headers, self.frames.concat()).await
    }

    /// Sends its headers, and these chunks for a body; an error breaks it off.
    pub(crate) async fn begin_in_chunks(
        &self,
        origin: &str,
        api_key: &str,
        chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let body = StreamBody::new(Box::pin(chunks.map_ok(Frame::data)));
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        let mut request = http::Request::post(format!("{origin}{}", self.path))
            .header("authorization", format!("Bearer {api_key}"));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(client.request(request.body(body)?).await?)
    }

    /// Sends it to the stack's gateway with the test account's key, and opens the answer.
    pub(crate) async fn send(&self, stack: &Stack) -> anyhow::Result<EhbpReply> {
        self.send_to(&stack.origin(), &stack.key).await
    }

    /// Sends it to a gateway, and opens the answer.
    pub(crate) async fn send_to(&self, origin: &str, api_key: &str) -> anyhow::Result<EhbpReply> {
        self.opened(self.begin(origin, api_key).await?).await
    }

    /// Sends it on a connection that is there already, and opens the answer.
    pub(crate) async fn send_on(
        &self,
        connection: &mut Connection,
        api_key: &str,
    ) -> anyhow::Result<EhbpReply> {
        let mut request = http::Request::post(&self.path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {api_key}"));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(http_body_util::Full::new(self.frames.concat().into()))?;
        self.opened(connection.send(request).await?).await
    }

    async fn opened(&self, response: http::Response<hyper::body::Incoming>) -> anyhow::Result<EhbpReply> {
        let (parts, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
        let frames = match parts.headers.get(RESPONSE_NONCE_HEADER) {
            None => None,
            Some(nonce) => Some(self.open(nonce.to_str()?, &body)?),
        };
        Ok(EhbpReply { status: parts.status.as_u16(), headers: parts.headers, body, frames })
    }

    /// The frames of an answer.
    pub(crate) fn open(&self, nonce: &str, body: &Bytes) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut opener = self.sealer.response_opener(&parse_response_nonce(nonce)?)?;
        let mut reader =
            FrameReader::new(FrameLimits { max_frame: 1 << 24, max_total: 1 << 28, max_empty: 10 });
        reader.push(body.clone());
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(opener.open(&frame)?);
        }
        reader.finish()?;
        ensure!(!frames.is_empty(), "an answer without a frame");
        Ok(frames)
    }
}
