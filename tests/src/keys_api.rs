//! Keys, projects and limits over OpenAI's administration API and by `cocoon-gateway keys`: who may, and what comes of it.

use std::time::Duration;

use anyhow::{Context, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, Client, MODEL, Settings, Stack, Store, chat, eventually, run_python};

const ADMIN_KEYS: &str = "/v1/organization/admin_api_keys";

/// Someone with a key, and perhaps the name of an account.
struct Caller<'a> {
    stack: &'a Stack,
    key: &'a str,
    account: Option<&'a str>,
}

impl Caller<'_> {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}{path}", self.stack.origin());
        let mut request = reqwest::Client::new().request(method, url).bearer_auth(self.key);
        if let Some(account) = self.account {
            request = request.header("OpenAI-Organization", account);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        self.ask(Method::POST, path, Some(body)).await
    }
}

fn admin_of(stack: &Stack, account: &str) -> anyhow::Result<String> {
    stack.make_key(&["--account", account, "--scope", "admin"])
}

/// Guards against: an answer that the SDK's types do not parse, a page that never ends or leaves a key out, a key that is
/// shown twice, a revoked key that still administers.
async fn administered(store: Store) -> anyhow::Result<()> {
    let stack = Stack::start(Settings { store, ..Settings::default() }).await?;
    let key = admin_of(&stack, ACCOUNT)?;
    let base = stack.base_url();
    let variables = [("OPENAI_BASE_URL", base.as_str()), ("COCOON_ADMIN_KEY", key.as_str())];
    let made = run_python("keys_api.py", &variables).await?;

    let plain = made["plain"].as_str().context("no key")?;
    let client = Client::new(stack.base_url(), plain.to_owned());
    let (status, _, answer) = client.complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200 && answer["model"] == MODEL, "a key made over the API: {status} {answer}");

    let owner = Caller { stack: &stack, key: &key, account: None };
    let path =
        format!("/v1/organization/projects/default/api_keys/{}", made["plain_id"].as_str().context("no id")?);
    let (status, deleted) = owner.ask(Method::DELETE, &path, None).await?;
    ensure!(status == 200 && deleted["deleted"] == true, "{status} {deleted}");
    let (status, _, answer) = client.complete(&chat("hi", json!({}))).await?;
    ensure!(status == 401 && answer["error"]["code"] == "invalid_api_key", "once deleted: {status} {answer}");

    // The command line sees the same keys.
    let listed = stack.keys_command("list", &["--account", ACCOUNT, "--json"])?;
    let listed: Vec<Value> = listed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let admin = listed.iter().find(|key| key["id"] == made["admin"]).context("not listed")?;
    ensure!(admin["scope"] == "admin" && admin["name"] == "third", "{admin}");
    ensure!(listed.iter().all(|key| key.get("key").is_none()), "no list shows a key: {listed:?}");
    let red = stack.keys_command("list", &["--account", ACCOUNT, "--project", "red", "--json"])?;
    ensure!(red.lines().count() == 4, "{red}");
    Ok(())
}

pub(crate) async fn the_official_client_administers_keys_on_sqlite() -> anyhow::Result<()> {
    administered(Store::Sqlite).await
}

pub(crate) async fn the_official_client_administers_keys_on_redis() -> anyhow::Result<()> {
    administered(Store::Redis).await
}

/// Guards against: a client's key that makes keys, an admin key that reaches another account or an operator's key.
pub(crate) async fn only_those_who_may_administer_do() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let (admin, rival) = (admin_of(&stack, ACCOUNT)?, admin_of(&stack, "rival")?);
    let paths = ["/v1/organization/projects", "/v1/organization/limits", ADMIN_KEYS];
    let ask = async |key: &str, account: Option<&str>, path: &str| {
        Caller { stack: &stack, key, account }.get(path).await
    };
    for path in paths {
        let (status, body) = ask(&stack.key, None, path).await?;
        ensure!(status == 403 && body["error"]["code"] == "forbidden", "{path}: {status} {body}");
        ensure!(ask(&admin, None, path).await?.0 == 200, "{path}");
        ensure!(ask(&admin, Some(ACCOUNT), path).await?.0 == 200, "{path}");
        let (status, body) = ask(&rival, Some(ACCOUNT), path).await?;
        let mismatch = body["error"]["code"] == "mismatched_organization";
        ensure!(status == 401 && mismatch, "{path}: another's account: {status} {body}");
        let (status, body) = ask(&stack.admin_key, None, path).await?;
        ensure!(status == 400 && body["error"]["param"] == "openai-organization", "{path}: {status} {body}");
        ensure!(ask(&stack.admin_key, Some(ACCOUNT), path).await?.0 == 200, "{path}: an operator's key");
        ensure!(ask(&stack.admin_key, Some("a b"), path).await?.0 == 400, "{path}");
    }

    // An account's admin key of the operator's account: it neither sees nor replaces the operator's own.
    let shown = stack.keys_command("list", &["--account", "operator", "--json"])?;
    let operators: Value = serde_json::from_str(shown.lines().next().context("no key")?)?;
    ensure!(operators["scope"] == "operator", "{operators}");
    let beside = admin_of(&stack, "operator")?;
    let beside = Caller { stack: &stack, key: &beside, account: None };
    let (_, keys) = beside.get(ADMIN_KEYS).await?;
    ensure!(keys["data"].as_array().is_some_and(|keys| keys.len() == 1), "{keys}");
    let path = format!("{ADMIN_KEYS}/{}", operators["id"].as_str().context("no id")?);
    ensure!(beside.get(&path).await?.0 == 404, "it is not shown");
    ensure!(beside.post(&format!("{path}/rotate"), json!({})).await?.0 == 404, "it is not replaced");
    ensure!(beside.ask(Method::DELETE, &path, None).await?.0 == 404, "it is not revoked");
    let (status, _) = beside.post(ADMIN_KEYS, json!({ "name": "x", "scope": "operator" })).await?;
    ensure!(status == 400, "nor is another made: {status}");

    // A key of one account is no key of another.
    let owner = Caller { stack: &stack, key: &admin, account: None };
    let (_, mine) = owner.post("/v1/organization/projects/p/api_keys", json!({ "name": "mine" })).await?;
    let path = format!("/v1/organization/projects/p/api_keys/{}", mine["id"].as_str().context("no id")?);
    ensure!(owner.get(&path).await?.0 == 200);
    let other = Caller { stack: &stack, key: &rival, account: None };
    ensure!(other.get(&path).await?.0 == 404 && other.ask(Method::DELETE, &path, None).await?.0 == 404);

    let expired = stack.make_key(&["--account", ACCOUNT, "--scope", "admin", "--expires-days", "0"])?;
    ensure!(ask(&expired, None, ADMIN_KEYS).await?.0 == 401, "it has expired");
    Ok(())
}

/// Guards against: a member that is passed over in silence, a bound that is none, an error that does not name its cause.
pub(crate) async fn what_is_not_right_is_refused_by_name() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let admin = admin_of(&stack, ACCOUNT)?;
    let caller = Caller { stack: &stack, key: &admin, account: None };
    let keys = "/v1/organization/projects/p/api_keys";
    let limits = "/v1/organization/limits";
    let budget = json!({ "amount": "9007199254740992", "period": "day" });
    for (path, body, param) in [
        (keys, json!({}), None),
        (keys, json!({ "name": "" }), Some("name")),
        (keys, json!({ "name": "n".repeat(101) }), Some("name")),
        (keys, json!({ "name": "a\u{0}b" }), Some("name")),
        (keys, json!({ "name": "n", "models": [] }), Some("models")),
        (keys, json!({ "name": "n", "models": vec!["m"; 33] }), Some("models")),
        (keys, json!({ "name": "n", "expires_at": 1 }), Some("expires_at")),
        (keys, json!({ "name": "n", "budget": budget }), Some("budget")),
        (keys, json!({ "name": "n", "budget": { "amount": 5, "period": "day" } }), None),
        (keys, json!({ "name": "n", "budget": { "amount": "5", "period": "year" } }), None),
        (keys, json!({ "name": "n", "rpm": -1 }), None),
        (keys, json!({ "name": "n", "tpn": 1 }), None),
        (ADMIN_KEYS, json!({ "name": "n", "expires_in_seconds": 0 }), Some("expires_in_seconds")),
        ("/v1/organization/projects/a%20b/api_keys", json!({ "name": "n" }), Some("project")),
        ("/v1/organization/projects/default/limits", json!({ "rpm": 1 }), Some("project")),
        (limits, json!({ "budget": budget }), Some("budget")),
        (limits, json!({ "rpm": 4_294_967_296_u64 }), None),
    ] {
        let (status, answer) = caller.post(path, body.clone()).await?;
        ensure!(status == 400, "{path} {body}: {status} {answer}");
        ensure!(answer["error"]["param"] == json!(param), "{path} {body}: {answer}");
    }
    let (_, key) = caller.post(keys, json!({ "name": "n" })).await?;
    let rotate = format!("{keys}/{}/rotate", key["id"].as_str().context("no id")?);
    let (status, answer) = caller.post(&rotate, json!({ "overlap_seconds": 2_592_001 })).await?;
    ensure!(status == 400 && answer["error"]["param"] == "overlap_seconds", "{status} {answer}");
    let (status, answer) = caller.post(keys, json!({ "name": "n".repeat(40_000) })).await?;
    ensure!(status == 413, "{status} {answer}");
    for (query, param) in [("limit=0", "limit"), ("order=up", "order"), ("after=a%20b", "after")] {
        let (status, answer) = caller.get(&format!("{keys}?{query}")).await?;
        ensure!(status == 400 && answer["error"]["param"] == param, "{query}: {status} {answer}");
    }
    Ok(())
}

/// Guards against: an administrator who is told that his good key is none, or served without the ledger's word on it.
pub(crate) async fn a_store_that_is_down_is_503_to_administrators() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings { store: Store::Redis, ..Settings::default() }).await?;
    let admin = admin_of(&stack, ACCOUNT)?;
    ensure!(Caller { stack: &stack, key: &admin, account: None }.get(ADMIN_KEYS).await?.0 == 200);
    stack.redis.as_mut().context("no redis")?.kill()?;
    let caller = Caller { stack: &stack, key: &admin, account: None };
    let (status, answer) = caller.get(ADMIN_KEYS).await?;
    ensure!(status == 503 && answer["error"]["code"] == "store_unavailable", "{status} {answer}");
    let (status, _) = caller.post(ADMIN_KEYS, json!({ "name": "n" })).await?;
    ensure!(status == 503, "{status}");
    stack.redis.as_mut().context("no redis")?.restart().await?;
    eventually("administrators are served again", Duration::from_secs(30), || async {
        let caller = Caller { stack: &stack, key: &admin, account: None };
        Ok((caller.get(ADMIN_KEYS).await?.0 == 200).then_some(()))
    })
    .await
}

/// Guards against: a command that says one thing and does another.
pub(crate) async fn the_command_line_does_what_the_api_does() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let admin = admin_of(&stack, ACCOUNT)?;
    let caller = Caller { stack: &stack, key: &admin, account: None };
    let of = |more: &[&'static str]| [&["--account", ACCOUNT], more].concat();
    let made = stack.keys_command(
        "create",
        &of(&[
            "--project",
            "p",
            "--name",
            "n",
            "--model",
            "m",
            "--rpm",
            "3",
            "--tpm",
            "9",
            "--concurrency",
            "2",
            "--budget",
            "70/week",
            "--sealed-only",
            "--expires-days",
            "1",
            "--json",
        ]),
    )?;
    let made: Value = serde_json::from_str(&made)?;
    let id = made["id"].as_str().context("no id")?;
    ensure!(made["key"].as_str().is_some_and(|key| key.starts_with("sk-cocoon-")), "{made}");
    let path = format!("/v1/organization/projects/p/api_keys/{id}");
    let (status, seen) = caller.get(&path).await?;
    ensure!(status == 200, "{status} {seen}");
    for (member, value) in [
        ("name", json!("n")),
        ("models", json!(["m"])),
        ("rpm", json!(3)),
        ("tpm", json!(9)),
        ("concurrency", json!(2)),
        ("budget", json!({ "amount": "70", "period": "week" })),
        ("sealed_only", json!(true)),
        ("revoked_at", Value::Null),
    ] {
        ensure!(seen[member] == value, "{member}: {seen}");
    }
    let shown: Value =
        serde_json::from_str(&stack.keys_command("show", &[&of(&["--key"])[..], &[id]].concat())?)?;
    ensure!(shown["hint"] == seen["redacted_value"] && shown.get("key").is_none(), "{shown}");

    let rotated = stack.keys_command("rotate", &[&of(&["--json", "--key"])[..], &[id]].concat())?;
    let rotated: Value = serde_json::from_str(&rotated)?;
    ensure!(rotated["limits"] == made["limits"] && rotated["id"] != made["id"], "{rotated}");
    ensure!(caller.get(&path).await?.0 == 404, "it was replaced at once");
    let id = rotated["id"].as_str().context("no id")?;
    let revoked = stack.keys_command("revoke", &[&of(&["--key"])[..], &[id]].concat())?;
    ensure!(serde_json::from_str::<Value>(&revoked)?["already"] == false, "{revoked}");
    let again = stack.keys_command("revoke", &[&of(&["--key"])[..], &[id]].concat())?;
    ensure!(serde_json::from_str::<Value>(&again)?["already"] == true, "{again}");
    let listed = stack.keys_command("list", &of(&["--project", "p"]))?;
    ensure!(listed.lines().count() == 2 && listed.lines().all(|line| line.contains("revoked")), "{listed}");

    let limits = stack.keys_command("limits", &of(&["--rpm", "8", "--budget", "5/total"]))?;
    let read = stack.keys_command("limits", &of(&[]))?;
    ensure!(limits == read, "{limits} {read}");
    let (_, seen) = caller.get("/v1/organization/limits").await?;
    ensure!(seen["rpm"] == 8 && seen["budget"]["amount"] == "5", "{seen}");
    ensure!(stack.keys_command("limits", &of(&["--clear"]))? == "{}", "they are taken away");
    for bad in [&["--budget", "5"][..], &["--budget", "5/year"], &["--rpm", "-1"]] {
        ensure!(stack.keys_command("limits", &of(bad)).is_err(), "{bad:?}");
    }
    ensure!(stack.keys_command("create", &["--account", "iss:corp:alice"]).is_err(), "an issuer's account");
    Ok(())
}
