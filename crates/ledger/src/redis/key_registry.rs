//! The registry of keys: records in a hash, their order in a sorted set, and the caps of their account.

use std::collections::HashMap;
use std::time::Duration;

use ::redis::cmd;
use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId};

use super::functions::Function;
use super::reply::{Reply, parse};
use super::{RedisLedger, lease_ms, project_text};
use crate::key_registry::{ENDED_KEY_KEPT_MS, cap, check_limits, make_room};
use crate::{
    KeyOrder, KeyQuery, KeyRecord, KeyRegistry, KeyScope, KeySet, LedgerError, Limits, MAX_KEY_PAGE,
    MAX_KEYS, MAX_PROJECTS, Project, Recorded, Revoked,
};

#[async_trait]
impl KeyRegistry for RedisLedger {
    async fn put_key(&self, record: &KeyRecord) -> Result<Recorded, LedgerError> {
        record.check()?;
        loop {
            let recorded = self.put(record).await?;
            if recorded != Recorded::TooManyKeys || !make_room(self, &record.account).await? {
                return Ok(recorded);
            }
        }
    }

    async fn key(&self, account: &AccountId, id: &KeyId) -> Result<Option<KeyRecord>, LedgerError> {
        Ok(self.records(account, std::slice::from_ref(id)).await?.pop())
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Vec<KeyRecord>, LedgerError> {
        let prefix = prefix(&query.set);
        // The character before and the one after the separator: nothing but the set is between them.
        let (first, last) = (format!("({prefix}/"), format!("({prefix}0"));
        let after = query.after.as_ref().map(|after| format!("({prefix}/{after}"));
        let mut range = cmd("ZRANGE");
        range.arg(self.keys_of(&query.account).key_ids(&query.account));
        match query.order {
            KeyOrder::OldestFirst => range.arg(after.unwrap_or(first)).arg(last).arg("BYLEX"),
            KeyOrder::NewestFirst => range.arg(after.unwrap_or(last)).arg(first).arg("BYLEX").arg("REV"),
        };
        range.arg("LIMIT").arg(0).arg(query.limit.min(MAX_KEY_PAGE));
        let members: Vec<String> = self.functions.link().command(&range).await?;
        let id = |member: &String| match member.rsplit_once('/') {
            Some((_, id)) => parse(id),
            None => Err(LedgerError::Corrupt(format!("{member:?} is no key of a set"))),
        };
        let ids: Vec<KeyId> = members.iter().map(id).collect::<Result<_, _>>()?;
        self.records(&query.account, &ids).await
    }

    async fn revoke_key(
        &self,
        account: &AccountId,
        id: &KeyId,
        after: Duration,
    ) -> Result<Option<Revoked>, LedgerError> {
        let k = self.keys_of(account);
        let keys = [k.clock(), k.key_records(account), k.caps(account)];
        let args = [id.to_string(), cap::revoked(id), lease_ms(after).to_string()];
        let reply = Reply(self.functions.call_durably(Function::RevokeKey, &keys, &args).await?);
        let already = match reply.word() {
            "unknown" => return Ok(None),
            "already" => true,
            "revoked" => false,
            _ => return Err(reply.unexpected()),
        };
        Ok(Some(Revoked { at_ms: reply.amount(1)?.0, already }))
    }

    async fn forget_keys(&self, account: &AccountId, ids: &[KeyId]) -> Result<u64, LedgerError> {
        let k = self.keys_of(account);
        let keys = [k.clock(), k.key_records(account), k.key_ids(account), k.caps(account)];
        let mut args = vec![ENDED_KEY_KEPT_MS.to_string()];
        for record in self.records(account, ids).await? {
            args.extend([record.id.to_string(), cap::revoked(&record.id)]);
            // Of each key as many as an inference key has; a member that is not there is removed without harm.
            let members = members_of(&record);
            args.extend((0..3).map(|n| members.get(n).cloned().unwrap_or_default()));
        }
        let reply = Reply(self.functions.call_durably(Function::ForgetKeys, &keys, &args).await?);
        match reply.word() {
            "forgotten" => Ok(reply.amount(1)?.0),
            _ => Err(reply.unexpected()),
        }
    }

    async fn is_revoked(&self, account: &AccountId, id: &KeyId) -> Result<bool, LedgerError> {
        let k = self.keys_of(account);
        let keys = [k.clock(), k.caps(account)];
        let reply = self.call(Function::IsRevoked, &keys, &[cap::revoked(id)]).await?;
        match reply.word() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn set_limits(
        &self,
        account: &AccountId,
        project: Option<&ProjectId>,
        limits: &Limits,
    ) -> Result<bool, LedgerError> {
        check_limits(limits)?;
        let k = self.keys_of(account);
        let keys = [k.clock(), k.caps(account), k.projects(account)];
        let text = if *limits == Limits::default() { String::new() } else { limits.to_text() };
        let args = [cap::limits(project), text, project_text(project), MAX_PROJECTS.to_string()];
        let reply = Reply(self.functions.call_durably(Function::SetLimits, &keys, &args).await?);
        match reply.word() {
            "set" => Ok(true),
            "too_many_projects" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn limits(&self, account: &AccountId, project: Option<&ProjectId>) -> Result<Limits, LedgerError> {
        let mut get = cmd("HGET");
        get.arg(self.keys_of(account).caps(account)).arg(cap::limits(project));
        let text: Option<String> = self.functions.link().command(&get).await?;
        text.map_or(Ok(Limits::default()), |text| Limits::from_text(&text))
    }

    async fn projects(&self, account: &AccountId) -> Result<Vec<Project>, LedgerError> {
        let mut get = cmd("HGETALL");
        get.arg(self.keys_of(account).projects(account));
        let named: HashMap<String, String> = self.functions.link().command(&get).await?;
        let project =
            |(id, created): (&String, &String)| Ok(Project { id: parse(id)?, created: parse(created)? });
        let mut projects: Vec<Project> = named.iter().map(project).collect::<Result<_, LedgerError>>()?;
        projects.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Ok(projects)
    }
}

impl RedisLedger {
    async fn put(&self, record: &KeyRecord) -> Result<Recorded, LedgerError> {
        let (k, account) = (self.keys_of(&record.account), &record.account);
        let keys = [k.clock(), k.key_records(account), k.key_ids(account), k.projects(account)];
        let mut args = vec![
            record.id.to_string(),
            record.to_json()?,
            project_text(record.project.as_ref()),
            record.created.to_string(),
            MAX_KEYS.to_string(),
            MAX_PROJECTS.to_string(),
        ];
        args.extend(members_of(record));
        let reply = Reply(self.functions.call_durably(Function::PutKey, &keys, &args).await?);
        match reply.word() {
            "recorded" => Ok(Recorded::Recorded),
            "already" => Ok(Recorded::Already),
            "too_many_keys" => Ok(Recorded::TooManyKeys),
            "too_many_projects" => Ok(Recorded::TooManyProjects),
            _ => Err(reply.unexpected()),
        }
    }

    /// Those of `ids` that there are, in the same order.
    async fn records(&self, account: &AccountId, ids: &[KeyId]) -> Result<Vec<KeyRecord>, LedgerError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let k = self.keys_of(account);
        let fields: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
        let caps: Vec<String> = ids.iter().map(cap::revoked).collect();
        let mut both = ::redis::pipe();
        both.atomic().cmd("HMGET").arg(k.key_records(account)).arg(&fields);
        both.cmd("HMGET").arg(k.caps(account)).arg(&caps);
        let (records, revoked): (Vec<Option<String>>, Vec<Option<String>>) =
            self.functions.link().pipeline(&both).await?;
        records
            .iter()
            .zip(&revoked)
            .filter_map(|(record, revoked)| record.as_ref().map(|record| (record, revoked)))
            .map(|(record, revoked)| KeyRecord::from_json(record, revoked.as_deref().map(parse).transpose()?))
            .collect()
    }
}

/// What a key is among the ids: once for every set that it is in.
pub(super) fn members_of(record: &KeyRecord) -> Vec<String> {
    let mut sets = vec![KeySet::All, KeySet::OfScope(record.scope)];
    if record.scope == KeyScope::Inference {
        sets.push(KeySet::OfProject(record.project.clone()));
    }
    sets.iter().map(|set| format!("{}/{}", prefix(set), record.id)).collect()
}

/// What stands before the ids of a set. No name has a slash.
fn prefix(set: &KeySet) -> String {
    match set {
        KeySet::All => "all".to_owned(),
        KeySet::OfScope(scope) => format!("scope/{scope}"),
        KeySet::OfProject(project) => format!("project/{}", project_text(project.as_ref())),
    }
}
