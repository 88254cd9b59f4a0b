//! What an account and its projects may use.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use cocoon_ledger::{Budget, LedgerError, Limits, Period};
use cocoon_openapi::ApiError;
use cocoon_openapi::keys::{BudgetOf, BudgetPeriod, LimitSet, LimitsOf};
use cocoon_receipts::ProjectId;
use http::HeaderMap;

use super::asked;
use super::projects::project_of;
use crate::accept::Gateway;
use crate::administer::{Administrator, administrator, ledger_failure};
use crate::error::Failure;
use crate::make_key::DEFAULT_PROJECT;

pub(super) async fn of_account(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<LimitsOf>, Failure> {
    let by = administrator(&gateway, &headers).await?;
    read(&gateway, &by, None).await
}

pub(super) async fn set_of_account(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LimitsOf>, Failure> {
    let by = administrator(&gateway, &headers).await?;
    let limits: LimitSet = asked::json(&headers, body).await?;
    set(&gateway, &by, None, limits).await
}

pub(super) async fn of_project(
    State(gateway): State<Arc<Gateway>>,
    Path(project): Path<String>,
    headers: HeaderMap,
) -> Result<Json<LimitsOf>, Failure> {
    let by = administrator(&gateway, &headers).await?;
    read(&gateway, &by, Some(&limited(&project)?)).await
}

pub(super) async fn set_of_project(
    State(gateway): State<Arc<Gateway>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LimitsOf>, Failure> {
    let by = administrator(&gateway, &headers).await?;
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
    by: &Administrator,
    project: Option<&ProjectId>,
) -> Result<Json<LimitsOf>, Failure> {
    let limits = gateway.ledger.limits(&by.account, project).await;
    let limits = limits.map_err(|error| ledger_failure(&error))?;
    Ok(Json(view(project, shown(&limits))))
}

async fn set(
    gateway: &Gateway,
    by: &Administrator,
    project: Option<&ProjectId>,
    asked: LimitSet,
) -> Result<Json<LimitsOf>, Failure> {
    let limits = taken(asked.clone());
    match gateway.ledger.set_limits(&by.account, project, &limits).await {
        Ok(true) => {
            tracing::info!(by = %by.key.jti, account = %by.account, ?project, ?limits, "limits set");
            Ok(Json(view(project, asked)))
        }
        Ok(false) => {
            let message = format!("The account has {} projects already.", cocoon_ledger::MAX_PROJECTS);
            Err(ApiError::invalid(message).with_param("project").with_code("too_many_projects").into())
        }
        Err(LedgerError::Overflow) => {
            Err(ApiError::invalid("A budget is below 2^53 nanoTON.").with_param("budget").into())
        }
        Err(error) => Err(ledger_failure(&error)),
    }
}

fn view(project: Option<&ProjectId>, limits: LimitSet) -> LimitsOf {
    let object = if project.is_some() { "organization.project.limits" } else { "organization.limits" };
    LimitsOf { object, project_id: project.map(ProjectId::to_string), limits }
}

/// As clients write limits.
pub(super) fn shown(limits: &Limits) -> LimitSet {
    let budget = limits.budget.map(|budget| BudgetOf {
        amount: budget.amount,
        period: match budget.period {
            Period::Day => BudgetPeriod::Day,
            Period::Week => BudgetPeriod::Week,
            Period::Month => BudgetPeriod::Month,
            Period::Total => BudgetPeriod::Total,
        },
    });
    LimitSet { rpm: limits.rpm, tpm: limits.tpm, concurrency: limits.concurrency, budget }
}

/// As the ledger takes them.
pub(super) fn taken(limits: LimitSet) -> Limits {
    let budget = limits.budget.map(|budget| Budget {
        amount: budget.amount,
        period: match budget.period {
            BudgetPeriod::Day => Period::Day,
            BudgetPeriod::Week => Period::Week,
            BudgetPeriod::Month => Period::Month,
            BudgetPeriod::Total => Period::Total,
        },
    });
    Limits { rpm: limits.rpm, tpm: limits.tpm, concurrency: limits.concurrency, budget }
}
