//! Makes API keys: claims, record and text come from one place, and a key is recorded before anyone has seen it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use cocoon_ledger::{
    KeyRecord, Ledger, LedgerError, Limits, MAX_KEY_MODELS, MAX_KEY_NAME, MAX_KEYS, MAX_MODEL_NAME,
    MAX_PROJECTS, Recorded, Revoked,
};
use cocoon_receipts::{API_KEY_PREFIX, AccountId, IdError, KeyId, ProjectId, RequestId, SigningKey, jws};

use crate::authenticate::{ApiKey, Scope};
use crate::clock::{now_ms, now_s};
use crate::issuers;

/// Where keys without a project are, for those who administer.
pub const DEFAULT_PROJECT: &str = "default";

/// Longest time that a key which was replaced stays good.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 86_400);

/// A key that was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeKeyError {
    #[error("a key's name is 1 to {MAX_KEY_NAME} characters, none of them a control character")]
    Name,
    #[error("a key names 1 to {MAX_KEY_MODELS} models of at most {MAX_MODEL_NAME} bytes, or none at all")]
    Models,
    #[error("a budget is below 2^53 nanoTON")]
    Budget,
    #[error("accounts that begin with '{}' are those of token issuers", issuers::ACCOUNT_PREFIX)]
    ReservedAccount,
    #[error("the account has {MAX_KEYS} keys already")]
    TooManyKeys,
    #[error("the account has {MAX_PROJECTS} projects already")]
    TooManyProjects,
    #[error("there is no such key")]
    Unknown,
    #[error("the key is revoked, or about to be")]
    Revoked,
    #[error("the key has expired")]
    Expired,
    #[error("an overlap is at most {} seconds", MAX_OVERLAP.as_secs())]
    Overlap,
    #[error(transparent)]
    Id(#[from] IdError),
    #[error(transparent)]
    Sign(#[from] jws::JwsError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a key shall be.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub account: AccountId,
    /// [`DEFAULT_PROJECT`] is none.
    pub project: Option<ProjectId>,
    pub name: String,
    pub scope: Scope,
    /// All where none.
    pub models: Option<Vec<String>>,
    pub limits: Limits,
    pub sealed_only: bool,
    /// Seconds since 1970.
    pub expires: Option<u64>,
}

/// A key that was made.
#[derive(Debug)]
pub struct MadeKey {
    pub record: KeyRecord,
    /// The key itself: whoever shows it does so once.
    pub text: String,
}

/// What keys are made with.
#[derive(Debug, Clone, Copy)]
pub struct KeyMaker<'a> {
    pub ledger: &'a dyn Ledger,
    pub signer: &'a SigningKey,
    /// The deployment's name.
    pub issuer: &'a str,
}

impl KeyMaker<'_> {
    /// Makes a key.
    ///
    /// # Errors
    /// [`MakeKeyError`]; no key is good then that anyone has seen.
    pub async fn make(&self, new: NewKey) -> Result<MadeKey, MakeKeyError> {
        check(&new)?;
        let claims = ApiKey {
            iss: self.issuer.to_owned(),
            sub: new.account,
            jti: RequestId::generate().to_string().parse()?,
            iat: now_s(),
            exp: new.expires,
            project: new.project.filter(|project| project.as_str() != DEFAULT_PROJECT),
            models: new.models,
            sealed_only: new.sealed_only,
            scope: new.scope,
            limits: new.limits,
        };
        let text = claims.issue(self.signer)?;
        let record = KeyRecord {
            id: claims.jti,
            account: claims.sub,
            project: claims.project,
            name: new.name,
            hint: hint(&text),
            created: claims.iat,
            expires: claims.exp,
            scope: claims.scope,
            models: claims.models,
            limits: claims.limits,
            sealed_only: claims.sealed_only,
            revoked_at_ms: None,
        };
        match self.ledger.put_key(&record).await? {
            // An id is made anew for every key: the store was asked twice.
            Recorded::Recorded | Recorded::Already => Ok(MadeKey { record, text }),
            Recorded::TooManyKeys => Err(MakeKeyError::TooManyKeys),
            Recorded::TooManyProjects => Err(MakeKeyError::TooManyProjects),
        }
    }

    /// Makes a key like `old`, which is refused once `overlap` is over. The successor lives as long as `old` was given.
    ///
    /// # Errors
    /// [`MakeKeyError`]. Where the store fails half-way both keys may be good, and the call may be made again.
    pub async fn rotate(&self, old: KeyRecord, overlap: Duration) -> Result<MadeKey, MakeKeyError> {
        if overlap > MAX_OVERLAP {
            return Err(MakeKeyError::Overlap);
        }
        if old.revoked_at_ms.is_some() {
            return Err(MakeKeyError::Revoked);
        }
        if old.expires.is_some_and(|end| end <= now_s()) {
            return Err(MakeKeyError::Expired);
        }
        let life = old.expires.map(|end| end.saturating_sub(old.created));
        let made = self
            .make(NewKey {
                account: old.account.clone(),
                project: old.project,
                name: old.name,
                scope: old.scope,
                models: old.models,
                limits: old.limits,
                sealed_only: old.sealed_only,
                expires: life.map(|life| now_s().saturating_add(life)),
            })
            .await?;
        self.revoke(&old.account, &old.id, overlap).await?;
        Ok(made)
    }

    /// Refuses a key once `after` is over.
    ///
    /// # Errors
    /// [`MakeKeyError::Unknown`], or the ledger's.
    pub async fn revoke(
        &self,
        account: &AccountId,
        id: &KeyId,
        after: Duration,
    ) -> Result<Revoked, MakeKeyError> {
        self.ledger.revoke_key(account, id, after).await?.ok_or(MakeKeyError::Unknown)
    }
}

/// Whether a key is refused by now.
#[must_use]
pub fn is_ended(record: &KeyRecord) -> bool {
    record.revoked_at_ms.is_some_and(|at_ms| at_ms <= now_ms())
}

fn check(new: &NewKey) -> Result<(), MakeKeyError> {
    let length = new.name.chars().count();
    if length == 0 || length > MAX_KEY_NAME || new.name.chars().any(char::is_control) {
        return Err(MakeKeyError::Name);
    }
    let is_name = |model: &String| !model.is_empty() && model.len() <= MAX_MODEL_NAME;
    if let Some(models) = &new.models
        && (models.is_empty() || models.len() > MAX_KEY_MODELS || !models.iter().all(is_name))
    {
        return Err(MakeKeyError::Models);
    }
    if new.limits.budget.is_some_and(|budget| budget.amount.0 >= 1 << 53) {
        return Err(MakeKeyError::Budget);
    }
    if new.account.as_str().starts_with(issuers::ACCOUNT_PREFIX) {
        return Err(MakeKeyError::ReservedAccount);
    }
    Ok(())
}

/// As much of a key as is shown later: its prefix and its last four characters, as OpenAI redacts.
fn hint(text: &str) -> String {
    let last = text.get(text.len().saturating_sub(4)..).unwrap_or_default();
    format!("{API_KEY_PREFIX}********{last}")
}
