//! What an administrator has: keys, projects and limits of an account, in the shapes of OpenAI's administration API, and
//! its withdrawals.

mod admin_keys;
pub(crate) mod asked;
mod limits;
mod payout;
mod project_keys;
mod projects;
mod withdrawal;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use cocoon_ledger::{KeyOrder, KeyQuery, KeyRecord, KeySet, MAX_KEY_PAGE};
use cocoon_openapi::keys::{KeyFacts, Rotation};
use cocoon_openapi::{
    ADMIN_API_KEYS_PATH, ApiError, LIMITS_PATH, ORGANIZATION_HEADER, PAYOUT_PATH, PROJECTS_PATH,
    WITHDRAWALS_PATH,
};
use cocoon_receipts::{AccountId, KeyId};

use crate::accept::Gateway;
use crate::error::Failure;
use crate::make_key::{KeyMaker, MakeKeyError, is_ended};
use asked::Page;

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    let key = format!("{ADMIN_API_KEYS_PATH}/{{id}}");
    let project = format!("{PROJECTS_PATH}/{{project}}");
    let project_keys = format!("{project}/api_keys");
    let project_key = format!("{project_keys}/{{id}}");
    Router::new()
        .route(ADMIN_API_KEYS_PATH, get(admin_keys::list).post(admin_keys::create))
        .route(&key, get(admin_keys::retrieve).delete(admin_keys::delete))
        .route(&format!("{key}/rotate"), post(admin_keys::rotate))
        .route(PROJECTS_PATH, get(projects::list))
        .route(&project_keys, get(project_keys::list).post(project_keys::create))
        .route(&project_key, get(project_keys::retrieve).delete(project_keys::delete))
        .route(&format!("{project_key}/rotate"), post(project_keys::rotate))
        .route(LIMITS_PATH, get(limits::of_account).post(limits::set_of_account))
        .route(&format!("{project}/limits"), get(limits::of_project).post(limits::set_of_project))
        .route(PAYOUT_PATH, get(payout::read).post(payout::set))
        .route(WITHDRAWALS_PATH, post(withdrawal::begin))
}

impl Gateway {
    fn key_maker(&self) -> KeyMaker<'_> {
        KeyMaker { ledger: self.ledger.as_ref(), signer: &self.keys.api_keys, issuer: &self.config.issuer }
    }
}

/// A page of keys, and whether there are more behind it. The ledger's own pages are larger, and those that are refused by
/// now are left out of them unless they are asked for.
async fn page(
    gateway: &Gateway,
    account: &AccountId,
    set: KeySet,
    page: &Page,
) -> Result<(Vec<KeyRecord>, bool), Failure> {
    let order = if page.newest_first { KeyOrder::NewestFirst } else { KeyOrder::OldestFirst };
    let after = page.after.as_deref().map(key_id).transpose()?;
    let mut query = KeyQuery { account: account.clone(), set, order, after, limit: MAX_KEY_PAGE };
    let mut found = Vec::new();
    loop {
        let keys = gateway.ledger.keys(&query).await.map_err(Failure::of_ledger)?;
        let last = keys.last().map(|key| key.id.clone());
        let is_end = keys.len() < MAX_KEY_PAGE as usize;
        found.extend(keys.into_iter().filter(|key| page.include_revoked || !is_ended(key)));
        if is_end || found.len() > page.limit {
            break;
        }
        query.after = last;
    }
    let has_more = found.len() > page.limit;
    found.truncate(page.limit);
    Ok((found, has_more))
}

/// A key of the account that is not refused by now, and that `belongs`.
async fn find(
    gateway: &Gateway,
    account: &AccountId,
    id: &str,
    belongs: impl FnOnce(&KeyRecord) -> bool,
) -> Result<KeyRecord, Failure> {
    let Ok(id) = id.parse() else { return Err(no_such_key()) };
    let found = gateway.ledger.key(account, &id).await.map_err(Failure::of_ledger)?;
    found.filter(|record| belongs(record) && !is_ended(record)).ok_or_else(no_such_key)
}

fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|_| ApiError::invalid("'after' must be the id of a key.").with_param("after").into())
}

fn no_such_key() -> Failure {
    ApiError::new(404, "invalid_request_error", Some("not_found"), "There is no such API key.").into()
}

fn not_made(error: MakeKeyError) -> Failure {
    let text = error.to_string();
    let invalid = |param: &str| {
        // A sentence of its own.
        let mut letters = text.chars();
        let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
        ApiError::invalid(format!("{first}{}.", letters.as_str())).with_param(param)
    };
    match error {
        MakeKeyError::Name => invalid("name").into(),
        MakeKeyError::Models => invalid("models").into(),
        MakeKeyError::Budget => invalid("budget").into(),
        MakeKeyError::Overlap => invalid("overlap_seconds").into(),
        MakeKeyError::ReservedAccount => invalid(ORGANIZATION_HEADER).into(),
        MakeKeyError::Revoked | MakeKeyError::Expired => invalid("id").into(),
        MakeKeyError::TooManyKeys => invalid("name").with_code("too_many_keys").into(),
        MakeKeyError::TooManyProjects => invalid("project").with_code("too_many_projects").into(),
        MakeKeyError::Unknown => no_such_key(),
        MakeKeyError::Ledger(error) => Failure::of_ledger(error),
        MakeKeyError::Id(_) | MakeKeyError::Sign(_) => {
            tracing::error!(%error, "an API key cannot be made");
            Failure::internal()
        }
    }
}

/// What every key has, as clients see it; `value` is the key itself.
fn facts(record: KeyRecord, value: Option<String>) -> KeyFacts {
    KeyFacts {
        id: record.id.to_string(),
        name: record.name,
        redacted_value: record.hint,
        created_at: record.created,
        expires_at: record.expires,
        last_used_at: None,
        revoked_at: record.revoked_at_ms.map(|at_ms| at_ms / 1000),
        value,
    }
}

fn overlap(rotation: &Rotation) -> Duration {
    Duration::from_secs(rotation.overlap_seconds)
}
