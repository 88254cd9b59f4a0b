//! What a gateway does on the hop, done by hand, so that a test can do it wrongly.

use bytes::Bytes;
use cocoon_attestation::Keyset;
use cocoon_openapi::x_conf::{self, ClientNonce, XConf};
use cocoon_openapi::{CHAT_COMPLETIONS_PATH, TICKET_HEADER};
use cocoon_receipts::{
    AccountTagKey, DeploymentKey, Digest, NanoTon, Payer, Price, RequestId, SigningKey, Ticket,
};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, FrameLimits, FrameReader, Kem, RESPONSE_NONCE_HEADER, RequestSealer, encode_hex,
    parse_response_nonce,
};
use serde_json::Value;

use super::stack::{ACCOUNT, MODEL};
use super::{Client, Recipient, Stack};

/// The prices of the test's gateway.
pub(crate) const PRICE: Price = Price {
    table: 1,
    prompt: NanoTon(20_000_000),
    cached: NanoTon(20_000_000),
    completion: NanoTon(60_000_000),
    reasoning: NanoTon(60_000_000),
};

/// A request ready to be sent to a backend; every part may be changed before.
pub(crate) struct Sealed {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    sealer: RequestSealer,
}

/// What a backend answered.
#[derive(Debug)]
pub(crate) struct SealedReply {
    pub(crate) status: u16,
    /// The opened frames, or the plain body where the answer is not sealed.
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) sealed: bool,
    pub(crate) body: Bytes,
}

/// What a test may do differently.
pub(crate) struct Twist<'a> {
    /// Signs the ticket.
    pub(crate) signer: &'a SigningKey,
    pub(crate) ticket: &'a dyn Fn(&mut Ticket),
    pub(crate) x_conf: &'a dyn Fn(&mut XConf),
}

impl Sealed {
    /// The deployment's own ticket key.
    pub(crate) fn ticket_key(stack: &Stack) -> anyhow::Result<SigningKey> {
        Ok(SigningKey::from_pem(&std::fs::read_to_string(stack.path("keys/tickets.pem"))?)?)
    }

    /// The deployment's own key for payers.
    pub(crate) fn deployment_key(stack: &Stack) -> anyhow::Result<DeploymentKey> {
        Ok(DeploymentKey::from_hex(&std::fs::read_to_string(stack.path("keys/deployment.key"))?)?)
    }

    /// The payer part of a ticket for the test account.
    pub(crate) fn payer(stack: &Stack, request: RequestId) -> anyhow::Result<cocoon_receipts::SealedPayer> {
        let account: cocoon_receipts::AccountId = ACCOUNT.parse()?;
        let shard = cocoon_ledger::ShardCount::DEFAULT.of(&account).0;
        let payer = Payer { account, key: "test".parse()?, project: None, shard };
        Ok(Self::deployment_key(stack)?.seal(&payer, request)?)
    }

    /// The keyset the backend publishes, and its digest.
    pub(crate) async fn keyset(stack: &Stack) -> anyhow::Result<(Keyset, Digest)> {
        super::ehbp::keyset(&stack.backend_url()).await
    }

    /// Seals `body` as the gateway would, but for `twist`.
    pub(crate) async fn new(stack: &Stack, body: &Value, twist: Twist<'_>) -> anyhow::Result<Self> {
        let to = Recipient::of_backend(&stack.backend_url(), Kem::XWing).await?;
        let digest = to.keyset;
        let mut sealer = RequestSealer::new(&to.key)?;
        let request = RequestId::generate();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let mut ticket = Ticket {
            req: request,
            attempt: 1,
            keyset: digest,
            enc: Digest::of(&[sealer.encapsulated_key()]),
            acct: AccountTagKey::of_api_key(&stack.key).tag(sealer.encapsulated_key()),
            path: CHAT_COMPLETIONS_PATH.into(),
            model: MODEL.into(),
            price: PRICE,
            max_cost: NanoTon(1_000_000),
            exp: now + 60,
            payer: Self::payer(stack, request)?,
        };
        (twist.ticket)(&mut ticket);
        let mut context = XConf {
            v: 1,
            nonce: ClientNonce([3; 32]),
            ts: now * 1000,
            path: CHAT_COMPLETIONS_PATH.into(),
            model: MODEL.into(),
            keyset: digest,
            price_max: None,
            max_cost: None,
            acct: None,
            pad: None,
        };
        (twist.x_conf)(&mut context);
        let plain = x_conf::insert(&serde_json::to_vec(body)?, &context)?;
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            (ENCAPSULATED_KEY_HEADER.to_owned(), encode_hex(sealer.encapsulated_key())),
            (TICKET_HEADER.to_owned(), ticket.sign(twist.signer)?),
        ];
        let body = sealer.seal(&plain)?.to_vec();
        Ok(Self { path: CHAT_COMPLETIONS_PATH.into(), headers, body, sealer })
    }

    /// The request as the deployment's gateway would send it.
    pub(crate) async fn honest(stack: &Stack, body: &Value) -> anyhow::Result<Self> {
        let signer = Self::ticket_key(stack)?;
        Self::new(stack, body, Twist { signer: &signer, ticket: &|_| (), x_conf: &|_| () }).await
    }

    /// Sets a header, or takes it out.
    pub(crate) fn header(&mut self, name: &str, value: Option<&str>) {
        self.headers.retain(|(header, _)| header != name);
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Sends it to the backend itself; what is answered is still sealed.
    pub(crate) async fn begin(&self, stack: &Stack) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let client = Client::new(stack.backend_url(), String::new());
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client.post_raw(&self.path, &headers, self.body.clone()).await
    }

    /// As [`Sealed::begin`], and opens the answer.
    pub(crate) async fn send(&self, stack: &Stack) -> anyhow::Result<SealedReply> {
        let response = self.begin(stack).await?;
        let status = response.status().as_u16();
        let nonce = response.headers().get(RESPONSE_NONCE_HEADER).cloned();
        let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
        let Some(nonce) = nonce else {
            return Ok(SealedReply { status, frames: Vec::new(), sealed: false, body });
        };
        let mut opener = self.sealer.response_opener(&parse_response_nonce(nonce.to_str()?)?)?;
        let mut reader =
            FrameReader::new(FrameLimits { max_frame: 1 << 20, max_total: 1 << 24, max_empty: 10 });
        reader.push(body.clone());
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(opener.open(&frame)?);
        }
        Ok(SealedReply { status, frames, sealed: true, body })
    }
}
