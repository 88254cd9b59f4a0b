//! An attested backend whose keys a test holds: what a broken or dishonest operator could sign. It serves its evidence
//! and nothing else.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use cocoon_attestation::{
    DevRoot, Document, EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Nonce, Operator, PrefixCache,
    Release,
};
use cocoon_openapi::ATTESTATION_PATH;
use cocoon_receipts::{Digest, SigningKey};
use cocoon_sealing::{Kem, PrivateKey};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Ends when dropped.
pub(crate) struct Liar {
    pub(crate) receipt_key: SigningKey,
    pub(crate) keyset: Keyset,
    pub(crate) digest: Digest,
    port: u16,
    listener: Option<TcpListener>,
    tasks: JoinSet<()>,
}

struct Evidence {
    root: DevRoot,
    keyset: Vec<u8>,
    always: Option<Nonce>,
}

#[derive(serde::Deserialize)]
struct Asked {
    nonce: String,
}

impl Liar {
    /// Takes a port; evidence is served once [`Liar::serve`] was given a root.
    pub(crate) async fn new(model: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let receipt_key = SigningKey::generate()?;
        let keyset = Keyset {
            version: KEYSET_VERSION,
            operator: Operator { address: "0:11".parse()?, workchain: 0 },
            not_before: 0,
            not_after: u64::MAX,
            hpke: vec![HpkeKey::new(
                0,
                Kem::X25519.id(),
                PrivateKey::generate(Kem::X25519)?.public_key().as_bytes(),
            )],
            receipt_key: receipt_key.public().to_jwk(),
            model: ModelInfo {
                id: model.to_owned(),
                sha256: Digest([0; 32]),
                quantization: "none".into(),
                context_length: 1000,
            },
            engine: EngineInfo { name: "none".into(), version: "0".into() },
            prefix_cache: PrefixCache::Off,
            release: Release { name: "liar".into(), sequence: 0 },
        };
        let digest = Digest::of(&[&keyset.to_bytes()]);
        let port = listener.local_addr()?.port();
        Ok(Self { receipt_key, keyset, digest, port, listener: Some(listener), tasks: JoinSet::new() })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves evidence signed by `root`, for the nonce that is asked for.
    pub(crate) fn serve(&mut self, root: SigningKey) {
        self.serve_for(root, None);
    }

    /// Serves evidence that was made for `nonce`, whatever is asked for: a recording, played again.
    pub(crate) fn replay(&mut self, root: SigningKey, nonce: Nonce) {
        self.serve_for(root, Some(nonce));
    }

    fn serve_for(&mut self, root: SigningKey, always: Option<Nonce>) {
        let state = Arc::new(Evidence { root: DevRoot::new(root), keyset: self.keyset.to_bytes(), always });
        let app = Router::new().route(ATTESTATION_PATH, get(document)).with_state(state);
        if let Some(listener) = self.listener.take() {
            self.tasks.spawn(async move {
                // Ends with the test.
                let _ = axum::serve(listener, app).await;
            });
        }
    }
}

async fn document(
    State(evidence): State<Arc<Evidence>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Document>, http::StatusCode> {
    let nonce: Nonce = asked.nonce.parse().map_err(|_| http::StatusCode::BAD_REQUEST)?;
    Ok(Json(evidence.root.document(&evidence.keyset, evidence.always.unwrap_or(nonce))))
}
