//! `cocoon-gateway keys`: the deployment's secrets and the API keys made with them, over the ledger itself. No gateway need
//! run.

mod arguments;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cocoon_gateway::clock::now_s;
use cocoon_gateway::config::Config;
use cocoon_gateway::keys::Keys;
use cocoon_gateway::make_key::{KeyMaker, MadeKey, NewKey, is_ended};
use cocoon_gateway::open_ledger::open_ledger;
use cocoon_ledger::{Booked, Grant, KeyOrder, KeyQuery, KeyRecord, KeySet, Ledger, Limits, MAX_KEY_PAGE};
use cocoon_receipts::{AccountId, KeyId, NanoTon, ProjectId, RequestId};
use serde_json::{Value, json};

pub(crate) use arguments::KeysCommand;
use arguments::{CreateKey, Of};

use crate::print;

/// Runs one of them.
pub(crate) async fn execute(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Init { dir } => Keys::init(&dir).map(drop).context("keys"),
        KeysCommand::Create(create) => self::create(create).await,
        KeysCommand::List { of, project, json } => list(&of, project, json).await,
        KeysCommand::Show { of, key } => {
            let record = Desk::open(&of.config).await?.record(&of.account, &key).await?;
            print(&described(&record).to_string())
        }
        KeysCommand::Revoke { of, key, after_seconds } => {
            let desk = Desk::open(&of.config).await?;
            let after = Duration::from_secs(after_seconds);
            let revoked = desk.maker().revoke(&of.account, &key, after).await?;
            print(
                &json!({ "id": key, "revoked_at_ms": revoked.at_ms, "already": revoked.already }).to_string(),
            )
        }
        KeysCommand::Rotate { of, key, overlap_seconds, json } => {
            let desk = Desk::open(&of.config).await?;
            let old = desk.record(&of.account, &key).await?;
            let made = desk.maker().rotate(old, Duration::from_secs(overlap_seconds)).await?;
            show_made(&made, json)
        }
        KeysCommand::Limits { of, project, limits, clear } => {
            self::limits(&of, project.as_ref(), limits.limits(), clear).await
        }
        KeysCommand::Grant { of, amount } => {
            grant(Desk::open(&of.config).await?.ledger.as_ref(), of.account, amount).await
        }
    }
}

/// What a command works with.
struct Desk {
    config: Config,
    keys: Keys,
    ledger: Arc<dyn Ledger>,
}

impl Desk {
    async fn open(config: &Path) -> anyhow::Result<Self> {
        let config = Config::load(config)?;
        let keys = Keys::load(&config.keys_dir).context("keys_dir")?;
        let ledger = open_ledger(&config).await?;
        Ok(Self { config, keys, ledger })
    }

    fn maker(&self) -> KeyMaker<'_> {
        let (ledger, signer) = (self.ledger.as_ref(), &self.keys.api_keys);
        KeyMaker { ledger, signer, issuer: &self.config.issuer }
    }

    async fn record(&self, account: &AccountId, key: &KeyId) -> anyhow::Result<KeyRecord> {
        let found = self.ledger.key(account, key).await?;
        found.with_context(|| format!("{account} has no key {key}"))
    }
}

async fn create(create: CreateKey) -> anyhow::Result<()> {
    let desk = Desk::open(&create.of.config).await?;
    let new = NewKey {
        account: create.of.account.clone(),
        project: create.project,
        name: create.name,
        scope: create.scope,
        models: if create.models.is_empty() { None } else { Some(create.models) },
        limits: create.limits.limits(),
        sealed_only: create.sealed_only,
        expires: create.expires_days.map(|days| now_s().saturating_add(days.saturating_mul(86_400))),
    };
    if let Some(amount) = create.grant {
        grant(desk.ledger.as_ref(), create.of.account, amount).await?;
    }
    show_made(&desk.maker().make(new).await?, create.json)
}

async fn grant(ledger: &dyn Ledger, account: AccountId, amount: NanoTon) -> anyhow::Result<()> {
    let grant = Grant { id: RequestId::generate(), account, amount };
    match ledger.grant(&grant).await? {
        Booked::Booked { balance } => tracing::info!(account = %grant.account, %amount, %balance, "granted"),
        Booked::Already => tracing::info!(account = %grant.account, "granted before"),
    }
    Ok(())
}

async fn list(of: &Of, project: Option<ProjectId>, json: bool) -> anyhow::Result<()> {
    let desk = Desk::open(&of.config).await?;
    let set = match project {
        None => KeySet::All,
        Some(project) => {
            let is_default = project.as_str() == cocoon_gateway::make_key::DEFAULT_PROJECT;
            KeySet::OfProject((!is_default).then_some(project))
        }
    };
    let order = KeyOrder::OldestFirst;
    let mut query = KeyQuery { account: of.account.clone(), set, order, after: None, limit: MAX_KEY_PAGE };
    loop {
        let page = desk.ledger.keys(&query).await?;
        for record in &page {
            if json { print(&described(record).to_string())? } else { print(&line(record))? }
        }
        match page.last() {
            Some(last) if page.len() == MAX_KEY_PAGE as usize => query.after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

async fn limits(of: &Of, project: Option<&ProjectId>, new: Limits, clear: bool) -> anyhow::Result<()> {
    let desk = Desk::open(&of.config).await?;
    if (clear || new != Limits::default()) && !desk.ledger.set_limits(&of.account, project, &new).await? {
        bail!("{} has {} projects already", of.account, cocoon_ledger::MAX_PROJECTS);
    }
    let limits = desk.ledger.limits(&of.account, project).await?;
    print(&serde_json::to_string(&limits)?)
}

fn show_made(made: &MadeKey, json: bool) -> anyhow::Result<()> {
    if !json {
        return print(&made.text);
    }
    let mut all = described(&made.record);
    all["key"] = json!(made.text);
    print(&all.to_string())
}

/// A record with when it is refused from.
fn described(record: &KeyRecord) -> Value {
    let mut all = json!(record);
    all["revoked_at_ms"] = json!(record.revoked_at_ms);
    all
}

fn line(record: &KeyRecord) -> String {
    let state = match record.revoked_at_ms {
        _ if is_ended(record) => "revoked",
        _ if record.expires.is_some_and(|end| end <= now_s()) => "expired",
        Some(_) => "ending",
        None => "good",
    };
    let project = record.project.as_ref().map_or("-", ProjectId::as_str);
    format!(
        "{}  {:<9}  {:<7}  {project:<16}  {}  {}",
        record.id, record.scope, state, record.hint, record.name
    )
}
