//! Keys that run models, by project.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use cocoon_ledger::{KeyRecord, KeySet};
use cocoon_openapi::ApiError;
use cocoon_openapi::keys::{
    Deleted, NewProjectApiKey, ProjectApiKey, ProjectApiKeys, ProjectOwner, Rotation, ServiceAccount,
};
use cocoon_openapi::limits::LimitSet;
use cocoon_receipts::ProjectId;
use http::{HeaderMap, Uri};

use super::asked::{self, Page};
use super::projects::{project_of, shown};
use super::{facts, find, not_made, overlap, page};
use crate::accept::Gateway;
use crate::authenticate::Scope;
use crate::clock::now_s;
use crate::error::Failure;
use crate::limits;
use crate::make_key::NewKey;

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<ProjectApiKeys>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let set = KeySet::OfProject(project_of(&project)?);
    let (keys, has_more) = page(&gateway, &by.account, set, &Page::of(&uri)?).await?;
    Ok(Json(ProjectApiKeys::of(keys.into_iter().map(|key| view(key, None)).collect(), has_more)))
}

pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ProjectApiKey>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let project = project_of(&project)?;
    let asked: NewProjectApiKey = asked::json(&headers, body).await?;
    if asked.expires_at.is_some_and(|end| end <= now_s()) {
        return Err(ApiError::invalid("'expires_at' must lie ahead.").with_param("expires_at").into());
    }
    let NewProjectApiKey { budget, rpm, tpm, concurrency, .. } = asked;
    let new = NewKey {
        account: by.account,
        project,
        name: asked.name,
        scope: Scope::Inference,
        models: asked.models,
        limits: limits::taken(LimitSet { rpm, tpm, concurrency, budget }),
        sealed_only: asked.sealed_only,
        expires: asked.expires_at,
    };
    let made = gateway.key_maker().make(new).await.map_err(not_made)?;
    tracing::info!(by = %by.key.jti, key = %made.record.id, account = %made.record.account, "key made");
    Ok(Json(view(made.record, Some(made.text))))
}

pub(super) async fn retrieve(
    State(gateway): State<Arc<Gateway>>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ProjectApiKey>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let project = project_of(&project)?;
    let record = find(&gateway, &by.account, &id, |record| is_of(record, project.as_ref())).await?;
    Ok(Json(view(record, None)))
}

pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Deleted>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let project = project_of(&project)?;
    let record = find(&gateway, &by.account, &id, |record| is_of(record, project.as_ref())).await?;
    let maker = gateway.key_maker();
    maker.revoke(&record.account, &record.id, std::time::Duration::ZERO).await.map_err(not_made)?;
    tracing::info!(by = %by.key.jti, key = %record.id, account = %record.account, "key revoked");
    let object = "organization.project.api_key.deleted";
    Ok(Json(Deleted { object, id: record.id.to_string(), deleted: true }))
}

pub(super) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ProjectApiKey>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let project = project_of(&project)?;
    let rotation: Rotation = asked::json(&headers, body).await?;
    let old = find(&gateway, &by.account, &id, |record| is_of(record, project.as_ref())).await?;
    let made = gateway.key_maker().rotate(old, overlap(&rotation)).await.map_err(not_made)?;
    tracing::info!(by = %by.key.jti, old = id, key = %made.record.id, "key replaced");
    Ok(Json(view(made.record, Some(made.text))))
}

fn is_of(record: &KeyRecord, project: Option<&ProjectId>) -> bool {
    record.scope == Scope::Inference && record.project.as_ref() == project
}

fn view(mut record: KeyRecord, value: Option<String>) -> ProjectApiKey {
    ProjectApiKey {
        object: "organization.project.api_key",
        owner: ProjectOwner {
            kind: "service_account",
            service_account: ServiceAccount {
                id: record.account.to_string(),
                name: record.account.to_string(),
                created_at: record.created,
                role: "member",
            },
        },
        owner_project_access: "active",
        project_id: shown(record.project.as_ref()),
        models: record.models.take(),
        sealed_only: record.sealed_only,
        limits: limits::shown(&record.limits),
        facts: facts(record, value),
    }
}
