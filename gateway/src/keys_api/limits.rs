//! What an account and its projects may use.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use cocoon_ledger::LedgerError;
use cocoon_openapi::ApiError;
use cocoon_openapi::limits::{LimitSet, LimitsOf};
use cocoon_receipts::ProjectId;
use http::HeaderMap;

use super::asked;
use super::projects::project_of;
use crate::accept::Gateway;
use crate::caller::Caller;
use crate::clock::now_ms;
use crate::error::Failure;
use crate::limits;
use crate::make_key::DEFAULT_PROJECT;

pub(super) async fn of_account(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<LimitsOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    read(&gateway, &by, None).await
}

pub(super) async fn set_of_account(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LimitsOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let limits: LimitSet = asked::json(&headers, body).await?;
    set(&gateway, &by, None, limits).await
}

pub(super) async fn of_project(
    State(gateway): State<Arc<Gateway>>,
    Path(project): Path<String>,
    headers: HeaderMap,
) -> Result<Json<LimitsOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    read(&gateway, &by, Some(&limited(&project)?)).await
}

pub(super) async fn set_of_project(
    State(gateway): State<Arc<Gateway>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LimitsOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let project = limited(&project)?;
    let limits: LimitSet = asked::json(&headers, body).await?;
    set(&gateway, &by, Some(&project), limits).await
}

/// A project that can have limits: requests of keys without a project are counted for key and account alone.
fn limited(project: &str) -> Result<ProjectId, Failure> {
    project_of(project)?.ok_or_else(|| {
        let message = format!(
            "'{DEFAULT_PROJECT}' is where keys without a project are and has no limits of its own: set those of the account."
        );
        ApiError::invalid(message).with_param("project").into()
    })
}

async fn read(
    gateway: &Gateway,
    by: &Caller,
    project: Option<&ProjectId>,
) -> Result<Json<LimitsOf>, Failure> {
    let in_use = gateway.limits_in_use(&by.account, project).await;
    let (limits, standing) = in_use.map_err(Failure::of_ledger)?;
    let object = if project.is_some() { "organization.project.limits" } else { "organization.limits" };
    Ok(Json(LimitsOf {
        object,
        project_id: project.map(ProjectId::to_string),
        limits: limits::shown(&limits),
        used: limits::used(&limits, &standing, now_ms()),
    }))
}

async fn set(
    gateway: &Gateway,
    by: &Caller,
    project: Option<&ProjectId>,
    asked: LimitSet,
) -> Result<Json<LimitsOf>, Failure> {
    let limits = limits::taken(asked);
    match gateway.ledger.set_limits(&by.account, project, &limits).await {
        Ok(true) => {
            tracing::info!(by = %by.key.jti, account = %by.account, ?project, ?limits, "limits set");
            read(gateway, by, project).await
        }
        Ok(false) => {
            let message = format!("The account has {} projects already.", cocoon_ledger::MAX_PROJECTS);
            Err(ApiError::invalid(message).with_param("project").with_code("too_many_projects").into())
        }
        Err(LedgerError::Overflow) => {
            Err(ApiError::invalid("A budget is below 2^53 nanoTON.").with_param("budget").into())
        }
        Err(error) => Err(Failure::of_ledger(error)),
    }
}
