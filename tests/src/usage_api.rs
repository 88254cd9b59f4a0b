//! Bills as others read them: the official clients take usage and costs, and what they add up to is the journal's,
//! to the nano, over months of simulated traffic.

mod simulated;

use anyhow::{Context, ensure};
use cocoon_ledger::Tally;
use cocoon_receipts::Receipt;
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, MODEL, Runtime, Settings, Stack, Store, chat, run_script};
use simulated::{BEGIN_MS, DAY_MS, DAYS, SPENDER, simulate};

pub(crate) async fn months_add_up_to_the_journal_on_sqlite() -> anyhow::Result<()> {
    months_add_up(Store::Sqlite).await
}

pub(crate) async fn months_add_up_to_the_journal_on_redis() -> anyhow::Result<()> {
    months_add_up(Store::Redis).await
}

/// Guards against: a page that the official client cannot parse, a bucket at the edge of an hour, a day or a month that
/// counts twice or not at all, a correction that is lost, an amount that was rounded.
async fn months_add_up(store: Store) -> anyhow::Result<()> {
    // Old minutes are not to be swept away before they are read.
    let gateway = "sweep_ms = 3600000".to_owned();
    let mut stack = Stack::start(Settings { store, gateway, ..Settings::default() }).await?;
    stack.kill_gateway()?;
    let simulated = simulate(&stack).await?;
    stack.start_gateway()?;
    stack.wait_ready().await?;
    let admin = stack.make_key(&["--account", SPENDER, "--scope", "admin"])?;
    let (base, start) = (stack.base_url(), (BEGIN_MS / 1000).to_string());
    let end = ((BEGIN_MS + (DAYS + 1) * DAY_MS) / 1000).to_string();
    let variables = [
        ("OPENAI_BASE_URL", base.as_str()),
        ("OPENAI_ADMIN_KEY", admin.as_str()),
        ("COCOON_START", start.as_str()),
        ("COCOON_END", end.as_str()),
    ];
    let seen = run_script(Runtime::Python, "openai_usage.py", &variables).await?;
    let by_node = run_script(Runtime::Node, "openai_usage.mjs", &variables).await?;
    ensure!(by_node == seen, "Node.js: {by_node:#}\nPython: {seen:#}");
    let shown = |tally: &Tally, generates: bool| {
        json!({
            "requests": tally.requests,
            "input": tally.prompt + tally.cached,
            "cached": if generates { tally.cached } else { 0 },
            "output": if generates { tally.completion + tally.reasoning } else { 0 },
            "cost": tally.cost,
        })
    };
    for width in ["1m", "1h", "1d"] {
        let of = &seen[width];
        ensure!(of["completions"] == shown(&simulated.completions, true), "{width}: {of:#} {simulated:?}");
        ensure!(of["embeddings"] == shown(&simulated.embeddings, false), "{width}: {of:#} {simulated:?}");
    }
    ensure!(seen["1m"]["pages"] == DAYS + 1 && seen["1d"]["pages"] == 2, "{seen:#}");
    ensure!(seen["groups"] == serde_json::to_value(&simulated.groups)?, "{seen:#} {simulated:?}");
    let of_key = |key: &str| -> i64 {
        let groups = simulated.groups.iter();
        groups.filter(|(name, _)| name.split('|').nth(1) == Some(key)).map(|(_, cost)| cost).sum()
    };
    ensure!(seen["key-1"]["cost"] == of_key("key-1") && of_key("key-1") != 0, "{seen:#} {simulated:?}");
    ensure!(seen["nobody"]["requests"] == 0, "{seen:#}");
    let all = simulated.completions.checked_add(simulated.embeddings).context("sums fit")?;
    ensure!(seen["costs"] == all.cost, "{seen:#} {simulated:?}");
    let tokens = all.prompt + all.cached + all.completion + all.reasoning;
    ensure!(seen["tokens"] == tokens, "{seen:#} {simulated:?}");
    println!("{store:?}: {} requests, {} nanoTON over {DAYS} days", all.requests, all.cost);
    Ok(())
}

/// Guards against: a bill that shows another's requests, a receipt that is not the one that was charged.
pub(crate) async fn an_account_sees_its_own_and_a_key_its_own() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let (status, headers, answer) =
        stack.client().complete(&chat("one two three", json!({ "max_tokens": 8 }))).await?;
    ensure!(status == 200, "{answer}");
    let (receipt, request) = (headers["cocoon-receipt"].to_str()?, headers["x-request-id"].to_str()?);
    let claims = Receipt::booked(receipt)?;
    let charged = stack.settled_account().await?.charged;
    let other_key = stack.make_key(&["--account", ACCOUNT])?;
    let admin = stack.make_key(&["--account", ACCOUNT, "--scope", "admin"])?;
    let stranger = stack.make_key(&["--account", "stranger"])?;
    let get = async |key: &str, path: &str, organization: Option<&str>| -> anyhow::Result<(u16, Value)> {
        let mut ask = reqwest::Client::new().get(format!("{}{path}", stack.base_url())).bearer_auth(key);
        if let Some(organization) = organization {
            ask = ask.header("OpenAI-Organization", organization);
        }
        let response = ask.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    };
    let (own, operator) = (stack.key.as_str(), stack.admin_key.as_str());
    for id in [request, &claims.jti.to_string()] {
        let path = format!("/receipts/{id}");
        for (key, organization, expected) in [
            (own, None, 200),
            (&other_key, None, 404),
            (&stranger, None, 404),
            (&admin, None, 200),
            (operator, Some(ACCOUNT), 200),
            (operator, Some("stranger"), 404),
            (operator, None, 400),
            (&admin, Some("stranger"), 401),
        ] {
            let (status, answer) = get(key, &path, organization).await?;
            ensure!(status == expected, "{path}, {organization:?}: {status} {answer}");
            if status == 200 {
                ensure!(answer["jws"] == receipt && answer["request_id"] == request, "{answer}");
                ensure!(
                    answer["charged"] == charged.to_string() && answer["privacy"] == "gateway",
                    "{answer}"
                );
                ensure!(answer["model"] == MODEL && answer["finish"] == claims.finish.as_str(), "{answer}");
            }
        }
        let (_, generation) = get(own, &format!("/generation?id={id}"), None).await?;
        let data = &generation["data"];
        ensure!(data["id"] == request && data["total_cost_nano"] == charged.to_string(), "{generation}");
        ensure!(data["tokens_completion"] == claims.usage.completion, "{generation}");
    }
    for (key, count) in [(own, 1), (other_key.as_str(), 0), (admin.as_str(), 1), (stranger.as_str(), 0)] {
        let (status, list) = get(key, "/requests", None).await?;
        ensure!(status == 200 && list["data"].as_array().is_some_and(|data| data.len() == count), "{list}");
        if count == 1 {
            let first = &list["data"][0];
            ensure!(first["id"] == request && first["receipt"] == receipt, "{list}");
            ensure!(first["cost"] == charged.to_string() && list["has_more"] == false, "{list}");
        }
        let (_, about) = get(key, "/key", None).await?;
        let spent = if count == 1 { charged.to_string() } else { "0".to_owned() };
        let start = claims.iat - claims.iat % 86_400;
        let (_, costs) = get(key, &format!("/organization/costs?start_time={start}"), None).await?;
        let buckets = costs["data"].as_array().context("no buckets")?;
        let results: Vec<&Value> =
            buckets.iter().filter_map(|bucket| bucket["results"].as_array()).flatten().collect();
        ensure!(results.len() == count, "what another key paid: {costs}");
        ensure!(results.iter().all(|result| result["amount"]["nano"] == spent.as_str()), "{costs}");
        ensure!(about["data"]["usage_nano"]["daily"] == spent.as_str(), "{about}");
    }
    // A second request, on a second page.
    ensure!(stack.client().complete(&chat("one", json!({ "max_tokens": 8 }))).await?.0 == 200);
    stack.settled_account().await?;
    let (_, newest) = get(own, "/requests?limit=1", None).await?;
    ensure!(
        newest["has_more"] == true && newest["data"].as_array().is_some_and(|data| data.len() == 1),
        "{newest}"
    );
    let after = newest["last_id"].as_str().context("no cursor")?;
    let (_, older) = get(own, &format!("/requests?limit=1&after={after}"), None).await?;
    ensure!(older["data"][0]["id"] == request && older["has_more"] == false, "{older}");

    let (_, credits) = get(own, "/credits", None).await?;
    ensure!(credits["data"].get("topup").is_none(), "nobody said how to pay in: {credits}");
    let account = stack.account().await?;
    ensure!(credits["data"]["balance"] == account.balance.to_string(), "{credits}");
    ensure!(credits["data"]["charged"] == account.charged.to_string(), "{credits}");
    ensure!(credits["data"]["withdrawing"] == "0" && credits["data"]["withdrawn"] == "0", "{credits}");
    let (_, old) = get(own, "/dashboard/billing/subscription", None).await?;
    ensure!(old["hard_limit_usd"].as_f64() == Some(10.0), "{old}");
    let (status, old) =
        get(&admin, "/dashboard/billing/usage?start_date=2026-01-01&end_date=2026-01-31", None).await?;
    ensure!(status == 200 && old["total_usage"] == 0.0, "{old}");
    let (status, refused) = get(own, "/organization/costs?start_time=0&bucket_width=1h", None).await?;
    ensure!(status == 400 && refused["error"]["param"] == "bucket_width", "{status} {refused}");
    Ok(())
}
