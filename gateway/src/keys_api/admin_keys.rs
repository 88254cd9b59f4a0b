//! Keys that administer an account. They make no operator's key: those are made on the deployment's own machine alone.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use cocoon_ledger::{KeyRecord, KeySet, Limits};
use cocoon_openapi::ApiError;
use cocoon_openapi::keys::{AdminApiKey, AdminApiKeys, AdminOwner, Deleted, NewAdminApiKey, Rotation};
use http::{HeaderMap, Uri};

use super::asked::{self, Page};
use super::{facts, find, not_made, overlap, page};
use crate::accept::Gateway;
use crate::authenticate::Scope;
use crate::clock::now_s;
use crate::error::Failure;
use crate::make_key::NewKey;

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<AdminApiKeys>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let asked = Page::of(&uri)?;
    let (keys, has_more) = page(&gateway, &by.account, KeySet::OfScope(Scope::Admin), &asked).await?;
    Ok(Json(AdminApiKeys::of(keys.into_iter().map(|key| view(key, None)).collect(), has_more)))
}

pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AdminApiKey>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let asked: NewAdminApiKey = asked::json(&headers, body).await?;
    if asked.expires_in_seconds == Some(0) {
        let message = "'expires_in_seconds' must be above 0.";
        return Err(ApiError::invalid(message).with_param("expires_in_seconds").into());
    }
    let new = NewKey {
        account: by.account,
        project: None,
        name: asked.name,
        scope: Scope::Admin,
        models: None,
        limits: Limits::default(),
        sealed_only: false,
        expires: asked.expires_in_seconds.map(|life| now_s().saturating_add(life)),
    };
    let made = gateway.key_maker().make(new).await.map_err(not_made)?;
    tracing::info!(by = %by.key.jti, key = %made.record.id, account = %made.record.account, "admin key made");
    Ok(Json(view(made.record, Some(made.text))))
}

pub(super) async fn retrieve(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<AdminApiKey>, Failure> {
    let by = gateway.administrator(&headers).await?;
    Ok(Json(view(find(&gateway, &by.account, &id, administers).await?, None)))
}

pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Deleted>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let record = find(&gateway, &by.account, &id, administers).await?;
    let maker = gateway.key_maker();
    maker.revoke(&record.account, &record.id, std::time::Duration::ZERO).await.map_err(not_made)?;
    tracing::info!(by = %by.key.jti, key = %record.id, account = %record.account, "admin key revoked");
    Ok(Json(Deleted {
        object: "organization.admin_api_key.deleted",
        id: record.id.to_string(),
        deleted: true,
    }))
}

pub(super) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AdminApiKey>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let rotation: Rotation = asked::json(&headers, body).await?;
    let old = find(&gateway, &by.account, &id, administers).await?;
    let made = gateway.key_maker().rotate(old, overlap(&rotation)).await.map_err(not_made)?;
    tracing::info!(by = %by.key.jti, old = id, key = %made.record.id, "admin key replaced");
    Ok(Json(view(made.record, Some(made.text))))
}

fn administers(record: &KeyRecord) -> bool {
    record.scope == Scope::Admin
}

fn view(record: KeyRecord, value: Option<String>) -> AdminApiKey {
    AdminApiKey {
        object: "organization.admin_api_key",
        owner: AdminOwner {
            kind: "user",
            object: "organization.user",
            id: record.account.to_string(),
            name: record.account.to_string(),
            created_at: record.created,
            role: "owner",
        },
        facts: facts(record, value),
    }
}
