//! `GET /v1/key` and the limits of accounts and projects: what is left, as the next request will find it.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, Client, Settings, Stack, chat};

async fn get(stack: &Stack, key: &str, path: &str) -> anyhow::Result<Value> {
    let response = reqwest::Client::new().get(format!("{}{path}", stack.origin())).bearer_auth(key).send();
    let response = response.await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    ensure!(status == 200, "{path}: {status} {answer}");
    Ok(answer)
}

async fn post(stack: &Stack, key: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let request = reqwest::Client::new().post(format!("{}{path}", stack.origin())).bearer_auth(key);
    let response = request.json(body).send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

/// Guards against: what is left of another's limit, a budget that forgets what is held, sums that are not the bill's.
pub(crate) async fn a_key_reads_all_that_limits_it() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let key = stack.make_key(&[
        "--account",
        ACCOUNT,
        "--project",
        "p",
        "--rpm",
        "9",
        "--concurrency",
        "3",
        "--budget",
        "900000/week",
    ])?;
    let admin = stack.make_key(&["--account", ACCOUNT, "--scope", "admin"])?;
    let project = "/v1/organization/projects/p/limits";
    let budget = json!({ "amount": "800000", "period": "total" });
    ensure!(post(&stack, &admin, project, &json!({ "tpm": 50_000, "budget": budget })).await?.0 == 200);
    ensure!(post(&stack, &admin, "/v1/organization/limits", &json!({ "rpm": 100 })).await?.0 == 200);
    let before = get(&stack, &key, "/v1/key").await?["data"].clone();
    ensure!(
        before["limits"][0]["used"]["requests"] == json!({ "limit": 9, "remaining": 9, "reset_ms": 0 }),
        "{before}"
    );

    // One request of another key, two of this one, and one that runs.
    let client = Client::new(stack.base_url(), key.clone());
    let body = chat("one two three", json!({ "max_tokens": 5 }));
    for asker in [&stack.client(), &client, &client] {
        ensure!(asker.complete(&body).await?.0 == 200);
    }
    let charged = stack.settled_account().await?.charged.0;
    let slow = chat(&json!({ "tokens": 10_000, "delay_ms": 10 }).to_string(), json!({ "max_tokens": 2000 }));
    let mut running = client.stream(&slow).await?;
    running.content(1).await?;

    let costs = get(&stack, &key, "/v1/requests").await?;
    let cost = |request: &Value| request["cost"].as_str().and_then(|cost| cost.parse::<u64>().ok());
    let spent: u64 = costs["data"].as_array().context("no requests")?.iter().filter_map(cost).sum();
    ensure!(spent > 0 && spent < charged, "{costs}");
    let held = stack.account().await?.held.0;
    ensure!(held > 0, "a request runs");
    let data = get(&stack, &key, "/v1/key").await?["data"].clone();
    let [own, of_project, of_account] = data["limits"].as_array().context("no limits")?.as_slice() else {
        anyhow::bail!("{data}");
    };
    ensure!(own["of"] == "key" && own["id"] == data["id"] && own["rpm"] == 9, "{own}");
    ensure!(
        of_project["of"] == "project" && of_project["id"] == "p" && of_project["tpm"] == 50_000,
        "{of_project}"
    );
    ensure!(
        of_account["of"] == "account" && of_account["id"] == ACCOUNT && of_account["budget"].is_null(),
        "{of_account}"
    );
    for limited in [own, of_project, of_account] {
        ensure!(limited["used"]["running"] == 1, "{limited}");
    }
    let left = |limited: &Value, amount: u64| {
        let budget = &limited["used"]["budget"];
        let expected = [("spent", spent), ("held", held), ("remaining", amount - spent - held)];
        expected.iter().all(|(name, nano)| budget[name] == nano.to_string().as_str())
    };
    ensure!(left(own, 900_000) && own["used"]["budget"]["resets_at"].is_u64(), "{own}");
    ensure!(left(of_project, 800_000) && of_project["used"]["budget"]["resets_at"].is_null(), "{of_project}");
    ensure!(own["used"]["requests"]["remaining"] == 6, "three of nine: {own}");
    ensure!(
        of_account["used"]["requests"]["remaining"].as_u64().is_some_and(|left| left >= 96),
        "{of_account}"
    );
    let tokens = of_project["used"]["tokens"]["remaining"].as_u64().context("no tokens")?;
    ensure!(tokens < 50_000, "{of_project}");
    ensure!(of_account["used"]["spent"]["monthly"] == charged.to_string().as_str(), "{of_account}");

    // OpenRouter's members are those of the key's own budget.
    #[expect(clippy::cast_precision_loss, reason = "amounts of a test are small")]
    let ton = |nano: u64| json!(nano as f64 / 1e9);
    ensure!(data["limit"] == ton(900_000) && data["limit_reset"] == "weekly", "{data}");
    ensure!(data["limit_remaining"] == ton(900_000 - spent - held), "{data}");
    ensure!(data["usage"] == ton(spent) && data["usage_monthly"] == ton(spent), "{data}");
    ensure!(data["usage_nano"]["total"] == spent.to_string().as_str(), "{data}");
    drop(running);

    // An administrator reads the account's, and each place where limits are set says what is left of them.
    let charged = stack.settled_account().await?.charged.0;
    let data = get(&stack, &admin, "/v1/key").await?["data"].clone();
    ensure!(
        data["limits"].as_array().is_some_and(|all| all.len() == 1 && all[0]["of"] == "account"),
        "{data}"
    );
    ensure!(data["usage_nano"]["total"] == charged.to_string().as_str() && data["limit"].is_null(), "{data}");
    let limits = get(&stack, &admin, project).await?;
    ensure!(limits["tpm"] == 50_000 && limits["used"]["budget"]["held"] == "0", "{limits}");
    let (_, set) = post(&stack, &admin, project, &json!({ "rpm": 1 })).await?;
    ensure!(
        set["rpm"] == 1 && set["used"]["requests"]["limit"] == 1 && set["used"]["budget"].is_null(),
        "{set}"
    );
    Ok(())
}

/// Guards against: an address that is used at once, one with a typing error in it, a key of a client that sets it.
pub(crate) async fn a_payout_address_waits_a_day() -> anyhow::Result<()> {
    const PATH: &str = "/v1/organization/payout";
    // The all-zero address, as explorers show it.
    const ADDRESS: &str = "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c";
    let stack = Stack::start(Settings::default()).await?;
    let admin = stack.make_key(&["--account", ACCOUNT, "--scope", "admin"])?;
    ensure!(post(&stack, &stack.key, PATH, &json!({ "address": ADDRESS })).await?.0 == 403);
    let none = get(&stack, &admin, PATH).await?;
    ensure!(none["address"].is_null() && none["pending"].is_null(), "{none}");
    ensure!(none["withdrawable"] == "0" && none["withdrawing"] == "0" && none["withdrawn"] == "0", "{none}");
    for bad in [json!({ "address": ADDRESS.replace("M9c", "M9d") }), json!({ "address": "" })] {
        let (status, answer) = post(&stack, &admin, PATH, &bad).await?;
        ensure!(status == 400 && answer["error"]["param"] == "address", "{status} {answer}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let (status, set) = post(&stack, &admin, PATH, &json!({ "address": ADDRESS })).await?;
    ensure!(
        status == 200 && set["address"].is_null() && set["pending"]["address"] == ADDRESS,
        "{status} {set}"
    );
    let usable = set["pending"]["usable_at"].as_u64().context("no time")?;
    ensure!((now + 86_400..now + 86_460).contains(&usable), "{set}");
    let (_, again) = post(&stack, &admin, PATH, &json!({ "address": ADDRESS })).await?;
    ensure!(again == set && get(&stack, &admin, PATH).await? == set, "{again} {set}");
    Ok(())
}

/// Guards against: a withdrawal that begins twice, one without an address, one where nobody would pay it out.
pub(crate) async fn a_withdrawal_begins_once_and_only_to_an_address_that_is_old_enough() -> anyhow::Result<()>
{
    const PATH: &str = "/v1/organization/withdrawals";
    const ADDRESS: &str = "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c";
    let body = |amount: &str| json!({ "amount": amount, "id": "01a2299c-834a-7238-b74d-af451c4d7e48" });
    let without = Stack::start(Settings::default()).await?;
    let admin = without.make_key(&["--account", ACCOUNT, "--scope", "admin"])?;
    let (status, answer) = post(&without, &admin, PATH, &body("10000000")).await?;
    ensure!(status == 404, "there is no treasury: {status} {answer}");

    let gateway = format!("billing.treasury = \"{ADDRESS}\"");
    let stack = Stack::start(Settings { gateway, ..Settings::default() }).await?;
    let admin = stack.make_key(&["--account", ACCOUNT, "--scope", "admin"])?;
    ensure!(post(&stack, &stack.key, PATH, &body("10000000")).await?.0 == 403, "not by a client's key");
    for bad in ["0", "9999999", "-1", "1.5", ""] {
        let (status, answer) = post(&stack, &admin, PATH, &body(bad)).await?;
        ensure!(status == 400, "{bad}: {status} {answer}");
    }
    let (status, answer) = post(&stack, &admin, PATH, &body("10000000")).await?;
    ensure!(status == 400 && answer["error"]["code"] == "no_payout_address", "{status} {answer}");
    let payout = "/v1/organization/payout";
    post(&stack, &admin, payout, &json!({ "address": ADDRESS })).await?;
    let (status, answer) = post(&stack, &admin, PATH, &body("10000000")).await?;
    let message = answer["error"]["message"].as_str().context("no message")?;
    ensure!(status == 400 && message.contains("can be used from"), "{status} {answer}");
    let read = get(&stack, &admin, payout).await?;
    ensure!(read["withdrawing"] == "0", "nothing has moved: {read}");
    Ok(())
}
