//! `GET /v1/models` and `/v1/prices`: what attested backends serve, what it costs, and on what evidence.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cocoon_openapi::models::{Model, ModelEvidence, Models, RefusedEvidence};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::accept::Gateway;
use crate::error::Failure;
use crate::route::Fleet;

/// Models that can be asked for now, by name; a model without a price cannot.
#[must_use]
pub fn available(gateway: &Gateway) -> BTreeMap<String, Model> {
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let prices = Arc::clone(&gateway.prices.borrow());
    for attested in gateway.fleet.attested() {
        let keyset = &attested.verdict.keyset;
        let Some(price) = prices.0.get(&keyset.model.id) else { continue };
        let evidence = ModelEvidence {
            verdict: "verified",
            tee: attested.verdict.tee.as_str(),
            keyset: attested.verdict.digest.to_string(),
            not_after: keyset.not_after,
            verified_at: attested.verdict.verified_at,
            valid_until: attested.verdict.valid_until,
        };
        let model = models.entry(keyset.model.id.clone()).or_insert_with(|| Model {
            id: keyset.model.id.clone(),
            object: "model",
            created: keyset.not_before / 1000,
            owned_by: "cocoon",
            context_length: keyset.model.context_length,
            pricing: *price,
            attestation: Vec::new(),
            refused: Vec::new(),
        });
        // A request must fit wherever it lands.
        model.context_length = model.context_length.min(keyset.model.context_length);
        model.created = model.created.min(keyset.not_before / 1000);
        model.attestation.push(evidence);
    }
    for (name, evidence) in refused(&gateway.fleet) {
        if let Some(model) = models.get_mut(&name) {
            model.refused.push(evidence);
        }
    }
    models
}

/// Backends that are refused now, with the model that each served when it was verified last. Of the reason only the
/// check's name: what it found may be anything.
fn refused(fleet: &Fleet) -> Vec<(String, RefusedEvidence)> {
    let refused = fleet.backends().iter().filter_map(|backend| {
        let known = backend.known();
        let (standing, last) = (known.standing?, known.last_verified?);
        let evidence = RefusedEvidence {
            verdict: "refused",
            keyset: last.digest().to_string(),
            check: standing.refused_by()?,
            since: standing.since,
        };
        Some((last.model().to_owned(), evidence))
    });
    refused.collect()
}

/// `GET /v1/models`.
pub async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Json<Models>, Failure> {
    let key = gateway.authenticate_any(&headers).await?;
    gateway.refuse_revoked(&key).await?;
    Ok(Json(Models { object: "list", data: available(&gateway).into_values().collect() }))
}

/// `GET /v1/models/{id}`; an id may contain slashes.
pub async fn retrieve(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Model>, Failure> {
    let key = gateway.authenticate_any(&headers).await?;
    gateway.refuse_revoked(&key).await?;
    let name = gateway.config.aliases.get(&id).unwrap_or(&id);
    available(&gateway).remove(name).map(Json).ok_or_else(|| Failure::model_not_found(&id))
}

/// `GET /v1/prices`: the table in force, in the bytes whose SHA-256 a registry has. For everybody.
pub async fn prices(State(gateway): State<Arc<Gateway>>) -> Result<Response, Failure> {
    let prices = Arc::clone(&gateway.prices.borrow());
    let bytes = prices.to_bytes().map_err(|_| Failure::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], bytes).into_response())
}
