//! Keys, and the limits of projects and accounts.

use std::time::Duration;

use cocoon_ledger::{
    Budget, KeyOrder, KeyQuery, KeyRecord, KeyScope, KeySet, Limits, Project, Recorded, Revoked,
};
use cocoon_receipts::{AccountId, KeyId, ProjectId};

use super::{Model, Overflow, TOO_MUCH};

fn check(limits: &Limits) -> Result<(), Overflow> {
    let too_much = |budget: Budget| i128::from(budget.amount.0) >= TOO_MUCH;
    if limits.budget.is_some_and(too_much) { Err(Overflow) } else { Ok(()) }
}

impl Model {
    pub(crate) fn put_key(&mut self, record: &KeyRecord) -> Result<Recorded, Overflow> {
        check(&record.limits)?;
        let id = (record.account.clone(), record.id.clone());
        if self.keys.contains_key(&id) {
            return Ok(Recorded::Already);
        }
        if let Some(project) = &record.project {
            self.name_project(&record.account, project, record.created);
        }
        self.keys.insert(id, record.clone());
        Ok(Recorded::Recorded)
    }

    fn name_project(&mut self, account: &AccountId, project: &ProjectId, created: u64) {
        self.projects.entry((account.clone(), project.clone())).or_insert(created);
    }

    pub(crate) fn revoke(&mut self, account: &AccountId, key: &KeyId, after: Duration) -> Option<Revoked> {
        let at_ms = self.now_ms + u64::try_from(after.as_millis()).unwrap();
        let record = self.keys.get_mut(&(account.clone(), key.clone()))?;
        let already = record.revoked_at_ms.is_some_and(|earlier| earlier <= at_ms);
        if !already {
            record.revoked_at_ms = Some(at_ms);
        }
        record.revoked_at_ms.map(|at_ms| Revoked { at_ms, already })
    }

    pub(crate) fn is_revoked(&self, account: &AccountId, key: &KeyId) -> bool {
        let revoked_at_ms = self.key(account, key).and_then(|record| record.revoked_at_ms);
        revoked_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    pub(crate) fn key(&self, account: &AccountId, key: &KeyId) -> Option<&KeyRecord> {
        self.keys.get(&(account.clone(), key.clone()))
    }

    pub(crate) fn keys(&self, query: &KeyQuery) -> Vec<KeyRecord> {
        let is_in = |record: &&KeyRecord| match &query.set {
            KeySet::All => true,
            KeySet::OfScope(scope) => record.scope == *scope,
            KeySet::OfProject(project) => record.scope == KeyScope::Inference && record.project == *project,
        };
        let mut keys: Vec<&KeyRecord> =
            self.keys.values().filter(|record| record.account == query.account).filter(is_in).collect();
        let newest_first = query.order == KeyOrder::NewestFirst;
        if newest_first {
            keys.reverse();
        }
        let is_beyond = |id: &KeyId| match &query.after {
            Some(after) if newest_first => id < after,
            Some(after) => id > after,
            None => true,
        };
        let beyond = keys.into_iter().filter(|record| is_beyond(&record.id));
        beyond.take(query.limit as usize).cloned().collect()
    }

    pub(crate) fn set_limits(
        &mut self,
        account: &AccountId,
        project: Option<&ProjectId>,
        limits: Limits,
    ) -> Result<bool, Overflow> {
        check(&limits)?;
        if let Some(project) = project {
            self.name_project(account, project, self.now_ms / 1000);
        }
        self.limits.insert((account.clone(), project.cloned()), limits);
        Ok(true)
    }

    pub(crate) fn limits(&self, account: &AccountId, project: Option<&ProjectId>) -> Limits {
        self.limits.get(&(account.clone(), project.cloned())).copied().unwrap_or_default()
    }

    pub(crate) fn projects(&self, account: &AccountId) -> Vec<Project> {
        let of_account = self.projects.iter().filter(|((of, _), _)| of == account);
        of_account.map(|((_, id), created)| Project { id: id.clone(), created: *created }).collect()
    }
}
