//! What is known of API keys besides their claims: which ones an account has, which are revoked, and what the account and
//! its projects may use.
//!
//! A key proves itself; the registry is for those who list keys, end them and set limits. The text of a key is not in
//! it. When a key is refused from, and the limits of projects and account, are the caps that `reserve` reads: they are
//! kept once, and a record's [`revoked_at_ms`](KeyRecord::revoked_at_ms) is read from there.

use std::time::Duration;

use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId};
use serde::{Deserialize, Serialize};

use crate::rules::check_amount;
use crate::{LedgerError, Limits};

/// Keys of one account, the ended ones included.
pub const MAX_KEYS: u32 = 10_000;

/// Projects of one account.
pub const MAX_PROJECTS: u32 = 1_000;

/// How long the record of a key that has expired or was revoked is kept at least; then it makes room in an account that has
/// [`MAX_KEYS`].
pub const ENDED_KEY_KEPT: Duration = Duration::from_millis(ENDED_KEY_KEPT_MS);
pub(crate) const ENDED_KEY_KEPT_MS: u64 = 90 * 86_400_000;

/// Characters of a key's name.
pub const MAX_KEY_NAME: usize = 100;

/// Models that one key may name: all of them travel with every request, in its key.
pub const MAX_KEY_MODELS: usize = 32;

/// Bytes of one of those names.
pub const MAX_MODEL_NAME: usize = 128;

/// Records that one call reads at most.
pub const MAX_KEY_PAGE: u32 = 500;

/// What a key is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// Runs inference, and reads what it is charged.
    #[default]
    Inference,
    /// Reads its account's usage and makes and revokes its keys; runs no inference.
    Admin,
    /// The deployment's own: reads and changes every account, runs no inference.
    Operator,
}

impl KeyScope {
    const ALL: [Self; 3] = [Self::Inference, Self::Admin, Self::Operator];

    /// As claims and records have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

impl std::fmt::Display for KeyScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is inference, admin or operator")]
pub struct NotAScope;

impl std::str::FromStr for KeyScope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(NotAScope)
    }
}

/// One key, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The `jti` of its claims.
    pub id: KeyId,
    pub account: AccountId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// What people call it.
    pub name: String,
    /// Its prefix and its last four characters.
    pub hint: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    pub scope: KeyScope,
    /// All where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub sealed_only: bool,
    /// From when on it is refused, milliseconds since 1970; it may lie ahead. Not taken by
    /// [`KeyRegistry::put_key`].
    #[serde(skip)]
    pub revoked_at_ms: Option<u64>,
}

impl KeyRecord {
    /// # Errors
    /// [`LedgerError::Overflow`] beyond [`MAX_KEY_NAME`], [`MAX_KEY_MODELS`], [`MAX_MODEL_NAME`] or an amount that no
    /// balance reaches.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        let models = self.models.as_deref().unwrap_or_default();
        let fits = self.name.chars().count() <= MAX_KEY_NAME
            && self.hint.chars().count() <= MAX_KEY_NAME
            && models.len() <= MAX_KEY_MODELS
            && models.iter().all(|model| model.len() <= MAX_MODEL_NAME);
        if fits { check_limits(&self.limits) } else { Err(LedgerError::Overflow) }
    }

    /// Whether the key itself was good until `at_ms` at the latest.
    pub(crate) fn has_expired(&self, at_ms: u64) -> bool {
        self.expires.is_some_and(|end| end.saturating_mul(1000) <= at_ms)
    }

    /// Whether it had expired, or was refused, by `at_ms`.
    pub(crate) fn has_ended(&self, at_ms: u64) -> bool {
        self.has_expired(at_ms) || self.revoked_at_ms.is_some_and(|revoked_ms| revoked_ms <= at_ms)
    }

    /// # Errors
    /// [`LedgerError::Corrupt`].
    pub(crate) fn from_json(text: &str, revoked_at_ms: Option<u64>) -> Result<Self, LedgerError> {
        let record: Self = serde_json::from_str(text)
            .map_err(|error| LedgerError::Corrupt(format!("a key's record: {error}")))?;
        Ok(Self { revoked_at_ms, ..record })
    }

    /// As both stores keep it.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`]; names, numbers and lists of them always serialise.
    pub(crate) fn to_json(&self) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| LedgerError::Corrupt(format!("a key's record: {error}")))
    }
}

/// # Errors
/// [`LedgerError::Overflow`] for a budget that no balance reaches.
pub(crate) fn check_limits(limits: &Limits) -> Result<(), LedgerError> {
    limits.budget.map_or(Ok(()), |budget| check_amount(budget.amount))
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Recorded,
    /// There is one of this id already; it stays as it is.
    Already,
    /// The account has [`MAX_KEYS`].
    TooManyKeys,
    /// The account has [`MAX_PROJECTS`] and this would be another.
    TooManyProjects,
}

/// Which of an account's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySet {
    All,
    OfScope(KeyScope),
    /// Inference keys of one project, or of none.
    OfProject(Option<ProjectId>),
}

/// In which order: by their ids, which are made in the order of their creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyOrder {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// One page of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyQuery {
    pub account: AccountId,
    pub set: KeySet,
    pub order: KeyOrder,
    /// Begins behind this id, which need not be there.
    pub after: Option<KeyId>,
    /// At most [`MAX_KEY_PAGE`]; more is cut.
    pub limit: u32,
}

/// A revocation as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// From when on the key is refused, milliseconds since 1970.
    pub at_ms: u64,
    /// It was refused from then on, or earlier, before this call.
    pub already: bool,
}

/// A project that keys or limits name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    /// When it was first named, seconds since 1970.
    pub created: u64,
}

/// The operations. Every write is idempotent, and durable before it is answered.
#[async_trait]
pub trait KeyRegistry {
    /// Records a key, in place of such that ended long ago where the account has [`MAX_KEYS`]. [`LedgerError::Overflow`] for
    /// a record that is larger than what is kept.
    async fn put_key(&self, record: &KeyRecord) -> Result<Recorded, LedgerError>;

    /// One key of the account.
    async fn key(&self, account: &AccountId, id: &KeyId) -> Result<Option<KeyRecord>, LedgerError>;

    /// A page of them.
    async fn keys(&self, query: &KeyQuery) -> Result<Vec<KeyRecord>, LedgerError>;

    /// Refuses a key from `after` now on. An earlier revocation stays; none where the account has no such key.
    async fn revoke_key(
        &self,
        account: &AccountId,
        id: &KeyId,
        after: Duration,
    ) -> Result<Option<Revoked>, LedgerError>;

    /// Forgets the records of those of `ids` that ended more than [`ENDED_KEY_KEPT`] ago by the ledger's time, and says how
    /// many. The revocation of a key stays unless the key has expired too: it is what refuses it.
    async fn forget_keys(&self, account: &AccountId, ids: &[KeyId]) -> Result<u64, LedgerError>;

    /// Whether a key, recorded or not, is refused now, by the ledger's time.
    async fn is_revoked(&self, account: &AccountId, id: &KeyId) -> Result<bool, LedgerError>;

    /// Replaces the limits of the account, or of one of its projects. Answers whether there was room for the project.
    /// [`LedgerError::Overflow`] for a budget that no balance reaches.
    async fn set_limits(
        &self,
        account: &AccountId,
        project: Option<&ProjectId>,
        limits: &Limits,
    ) -> Result<bool, LedgerError>;

    /// Those limits; unlimited where never set.
    async fn limits(&self, account: &AccountId, project: Option<&ProjectId>) -> Result<Limits, LedgerError>;

    /// The account's projects by their ids.
    async fn projects(&self, account: &AccountId) -> Result<Vec<Project>, LedgerError>;
}

/// Forgets keys that ended long ago, the oldest first, until there is room for one; whether there is.
pub(crate) async fn make_room(
    registry: &(impl KeyRegistry + Sync),
    account: &AccountId,
) -> Result<bool, LedgerError> {
    let (set, order) = (KeySet::All, KeyOrder::OldestFirst);
    let mut query = KeyQuery { account: account.clone(), set, order, after: None, limit: MAX_KEY_PAGE };
    loop {
        let page = registry.keys(&query).await?;
        let Some(last) = page.last().map(|record| record.id.clone()) else { return Ok(false) };
        // Whether it was long ago is for the ledger's clock to say.
        let ended = page.into_iter().filter(|record| record.has_ended(u64::MAX));
        let ended: Vec<KeyId> = ended.map(|record| record.id).collect();
        if !ended.is_empty() && registry.forget_keys(account, &ended).await? > 0 {
            return Ok(true);
        }
        query.after = Some(last);
    }
}

/// Names in an account's caps.
pub(crate) mod cap {
    use cocoon_receipts::{KeyId, ProjectId};

    /// Limits of the account, or of a project.
    pub(crate) fn limits(project: Option<&ProjectId>) -> String {
        project.map_or_else(|| "account".to_owned(), |project| format!("project:{project}"))
    }

    /// From when on a key is refused, milliseconds since 1970.
    pub(crate) fn revoked(key: &KeyId) -> String {
        format!("revoked:{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Period};
    use cocoon_receipts::NanoTon;

    fn record() -> KeyRecord {
        KeyRecord {
            id: "k1".parse().unwrap(),
            account: "alice".parse().unwrap(),
            project: None,
            name: "n".repeat(MAX_KEY_NAME),
            hint: "sk-…abcd".into(),
            created: 1,
            expires: None,
            scope: KeyScope::Admin,
            models: Some(vec!["m".repeat(MAX_MODEL_NAME); MAX_KEY_MODELS]),
            limits: Limits::default(),
            sealed_only: false,
            revoked_at_ms: Some(5),
        }
    }

    #[test]
    fn a_record_has_bounds() {
        record().check().unwrap();
        let budget = Budget { amount: NanoTon(1 << 53), period: Period::Day };
        let larger = [
            KeyRecord { name: "ü".repeat(MAX_KEY_NAME + 1), ..record() },
            KeyRecord { models: Some(vec![String::new(); MAX_KEY_MODELS + 1]), ..record() },
            KeyRecord { models: Some(vec!["m".repeat(MAX_MODEL_NAME + 1)]), ..record() },
            KeyRecord { limits: Limits { budget: Some(budget), ..Limits::default() }, ..record() },
        ];
        for record in larger {
            assert!(matches!(record.check(), Err(LedgerError::Overflow)), "{record:?}");
        }
    }

    #[test]
    fn when_a_key_is_revoked_is_no_part_of_its_record() {
        let text = record().to_json().unwrap();
        assert!(!text.contains("revoked"), "{text}");
        assert_eq!(KeyRecord::from_json(&text, Some(5)).unwrap(), record());
        assert!(matches!(KeyRecord::from_json("{}", None), Err(LedgerError::Corrupt(_))));
    }
}
