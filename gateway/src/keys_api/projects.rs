//! An account's projects: those that its keys or limits name, and the one where keys without a project are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_ledger::{KeyOrder, KeyQuery, KeySet};
use cocoon_openapi::ApiError;
use cocoon_openapi::keys::{Project, Projects};
use cocoon_receipts::ProjectId;
use http::{HeaderMap, Uri};

use super::asked::Page;
use crate::accept::Gateway;
use crate::error::Failure;
use crate::make_key::DEFAULT_PROJECT;

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Projects>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let page = Page::of(&uri)?;
    let mut projects: Vec<Project> = gateway
        .ledger
        .projects(&by.account)
        .await
        .map_err(Failure::of_ledger)?
        .into_iter()
        .map(|project| view(project.id.to_string(), project.created))
        .collect();
    // It is as old as the first key in it.
    let first = KeyQuery {
        account: by.account,
        set: KeySet::OfProject(None),
        order: KeyOrder::OldestFirst,
        after: None,
        limit: 1,
    };
    if let Some(first) = gateway.ledger.keys(&first).await.map_err(Failure::of_ledger)?.first() {
        projects.push(view(DEFAULT_PROJECT.to_owned(), first.created));
    }
    projects.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    projects.retain(|project| page.after.as_ref().is_none_or(|after| project.id > *after));
    let has_more = projects.len() > page.limit;
    projects.truncate(page.limit);
    Ok(Json(Projects::of(projects, has_more)))
}

fn view(id: String, created_at: u64) -> Project {
    Project {
        object: "organization.project",
        name: id.clone(),
        id,
        created_at,
        archived_at: None,
        status: "active",
    }
}

/// The project of a path; none for the one where keys without a project are.
///
/// # Errors
/// 400.
pub(super) fn project_of(text: &str) -> Result<Option<ProjectId>, Failure> {
    let project: ProjectId =
        text.parse().map_err(|_| ApiError::invalid("Not the name of a project.").with_param("project"))?;
    Ok((project.as_str() != DEFAULT_PROJECT).then_some(project))
}

/// As [`project_of`] reads it.
pub(super) fn shown(project: Option<&ProjectId>) -> String {
    project.map_or_else(|| DEFAULT_PROJECT.to_owned(), ProjectId::to_string)
}
