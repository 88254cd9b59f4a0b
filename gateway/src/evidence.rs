//! What a client needs to seal and to verify, without an API key: the keys of the backend that a model's requests go to,
//! the keysets that serve it, and the evidence for one of them.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cocoon_attestation::Nonce;
use cocoon_openapi::attestations::{Attestation, Attestations};
use cocoon_openapi::{
    ATTESTATION_NONCE_HEADER, ATTESTATIONS_PATH, ApiError, KEY_CONFIG_PATH, KEY_DIGEST_HEADER,
    VERIFIED_AT_HEADER,
};
use cocoon_receipts::Digest;
use cocoon_sealing::{KEY_CONFIG_MEDIA_TYPE, PublicKey, encode_key_configs};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, Uri};
use serde::Deserialize;

use crate::accept::Gateway;
use crate::attest;
use crate::clock::now_ms;
use crate::error::Failure;
use crate::hop::PATIENCE;
use crate::relay;
use crate::route::Named;

/// Documents that are fetched at once for callers without a key; more get 503. Each costs a backend a quote, or the
/// store up to a mebibyte.
pub const MAX_FETCHES: usize = 8;

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(KEY_CONFIG_PATH, get(key_configs))
        .route(ATTESTATIONS_PATH, get(list))
        .route(&format!("{ATTESTATIONS_PATH}/{{digest}}"), get(document))
}

/// The keys of the model's designated backend.
async fn key_configs(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let model = relay::model(&parts, &gateway.config)?;
    let name = sold(&gateway, &model)?;
    let chosen = gateway.fleet.designated(name, &[], PATIENCE).await.ok_or_else(Failure::no_backend)?;
    let keys: Vec<(u8, &PublicKey)> = chosen.attested.keys.iter().map(|(id, key)| (*id, key)).collect();
    let headers = [
        (CONTENT_TYPE, KEY_CONFIG_MEDIA_TYPE.to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (HeaderName::from_static(KEY_DIGEST_HEADER), chosen.attested.digest().to_string()),
    ];
    Ok((headers, encode_key_configs(&keys)).into_response())
}

/// Keysets in force, of one model or of all.
async fn list(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Json<Attestations>, Failure> {
    let model = relay::queried(&uri)?;
    let name = model.as_deref().map(|model| sold(&gateway, model)).transpose()?;
    let serving =
        gateway.fleet.attested().filter(|attested| name.is_none_or(|name| name == attested.model()));
    let data = serving.map(|attested| Attestation {
        keyset: attested.digest().to_string(),
        not_after: attested.verdict.keyset.not_after,
        tee: attested.verdict.tee.as_str(),
        model: attested.model().to_owned(),
    });
    Ok(Json(Attestations { object: "list", data: data.collect() }))
}

#[derive(Deserialize)]
struct Asked {
    nonce: Option<String>,
}

/// A backend's document: for the caller's nonce as the backend writes it now, without one as it was kept.
async fn document(
    State(gateway): State<Arc<Gateway>>,
    Path(digest): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let bad =
        || ApiError::invalid("'nonce' must be 64 lower-case hexadecimal characters.").with_param("nonce");
    let Query(asked) = Query::<Asked>::try_from_uri(&uri).map_err(|_| bad())?;
    let nonce: Option<Nonce> = asked.nonce.map(|nonce| nonce.parse()).transpose().map_err(|_| bad())?;
    let digest: Digest = digest.parse().map_err(|_| Failure::unknown_keyset())?;
    let Ok(_permit) = gateway.fetches.try_acquire() else { return Err(Failure::overloaded()) };
    match nonce {
        Some(nonce) => fresh(&gateway, digest, nonce).await,
        None => kept(&gateway, digest).await,
    }
}

/// One that has changed its keys meanwhile sends that of its new keyset: whoever verifies it sees that.
async fn fresh(gateway: &Gateway, digest: Digest, nonce: Nonce) -> Result<Response, Failure> {
    let chosen = match gateway.fleet.with_keyset(digest, now_ms(), PATIENCE).await {
        Named::Found(chosen) => chosen,
        Named::Away => return Err(Failure::no_backend()),
        Named::Unknown => return Err(Failure::unknown_keyset()),
    };
    let backend = &chosen.backend;
    let document =
        attest::fetch(&gateway.sender.client, &backend.authority, nonce).await.map_err(|error| {
            tracing::warn!(backend = %backend.authority, %error, "attestation document not handed on");
            Failure::no_backend()
        })?;
    Ok(([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], document).into_response())
}

/// With all that it takes to verify it as of then. The first that was kept stays.
async fn kept(gateway: &Gateway, digest: Digest) -> Result<Response, Failure> {
    let kept = gateway.ledger.document(digest).await.map_err(|error| {
        tracing::error!(%error, "kept attestation document cannot be read");
        Failure::store_down()
    })?;
    let kept = kept.ok_or_else(Failure::unknown_keyset)?;
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (CACHE_CONTROL, "public, max-age=86400, immutable".to_owned()),
        (HeaderName::from_static(ATTESTATION_NONCE_HEADER), Nonce(kept.nonce).to_string()),
        (HeaderName::from_static(VERIFIED_AT_HEADER), kept.verified_at.to_string()),
    ];
    Ok((headers, kept.bytes).into_response())
}

/// The backends' name of a model that is sold.
fn sold<'a>(gateway: &'a Gateway, model: &'a str) -> Result<&'a str, Failure> {
    let name = gateway.config.aliases.get(model).map_or(model, String::as_str);
    match gateway.prices.borrow().0.contains_key(name) {
        true => Ok(name),
        false => Err(Failure::model_not_found(model)),
    }
}
