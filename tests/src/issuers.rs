//! Tokens of an identity provider: real ones, by another library, over a real server for its keys.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Client, MODEL, Settings, Stack, chat, eventually, run_python};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "cocoon-of-example";

/// What the provider answers: nothing while it is down.
type Keys = Arc<Mutex<Option<Value>>>;

async fn serve_keys(tasks: &mut JoinSet<()>) -> anyhow::Result<(String, Keys)> {
    async fn answer(State(keys): State<Keys>) -> (StatusCode, String) {
        match keys.lock().ok().and_then(|keys| keys.clone()) {
            Some(keys) => (StatusCode::OK, keys.to_string()),
            None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        }
    }
    let keys = Keys::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/jwks.json", listener.local_addr()?);
    let app = Router::new().route("/jwks.json", get(answer)).with_state(Arc::clone(&keys));
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            eprintln!("the server of keys ended: {error}");
        }
    });
    Ok((url, keys))
}

fn say(keys: &Keys, answer: &Value) -> anyhow::Result<()> {
    *keys.lock().map_err(|_| anyhow::anyhow!("poisoned"))? = Some(answer.clone());
    Ok(())
}

/// Guards against: a forged token that pays with another's money, a provider that is down and takes our own keys with it, a
/// rotation that needs a restart, an account of the provider's that is one of ours.
pub(crate) async fn tokens_of_a_provider_run_models_and_nothing_else() -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let (url, keys) = serve_keys(&mut tasks).await?;
    let tokens = run_python("issuer_tokens.py", &[("ISSUER", ISSUER), ("AUDIENCE", AUDIENCE)]).await?;
    let gateway = format!(
        r#"
        [[issuers]]
        name = "example"
        url = "{url}"
        issuer = "{ISSUER}"
        audience = "{AUDIENCE}"
        algorithms = ["RS256", "PS256", "ES256", "EdDSA"]
        project_claim = "team"
        models = ["{MODEL}"]
        refresh_s = 1
        "#
    );
    let stack = Stack::start(Settings { gateway, ..Settings::default() }).await?;
    let answered = async |token: &str| -> anyhow::Result<(u16, Value)> {
        let client = Client::new(stack.base_url(), token.to_owned());
        let (status, _, answer) = client.complete(&chat("hi", json!({}))).await?;
        Ok((status, answer))
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no token");
    let first = text(&tokens["good"]["RS256"])?;

    // The provider is down: its tokens may be good, ours are.
    let (status, answer) = answered(&first).await?;
    ensure!(status == 503 && answer["error"]["code"] == "issuer_unavailable", "{status} {answer}");
    let (status, answer) = answered(&stack.key).await?;
    ensure!(status == 200, "our own key: {status} {answer}");

    say(&keys, &tokens["first"])?;
    eventually("its keys are fetched", Duration::from_secs(30), || async {
        Ok((answered(&first).await?.0 != 503).then_some(()))
    })
    .await?;
    let (status, answer) = answered(&first).await?;
    ensure!(status == 402, "an account without credit: {status} {answer}");
    stack.keys_command("grant", &["--account", "iss:example:alice", "--amount", "1000000000"])?;
    for (what, token) in tokens["good"].as_object().context("no tokens")? {
        let (status, answer) = answered(&text(token)?).await?;
        ensure!(status == 200, "{what}: {status} {answer}");
    }
    for (what, token) in tokens["bad"].as_object().context("no tokens")? {
        let (status, answer) = answered(&text(token)?).await?;
        ensure!(status == 401 && answer["error"]["code"] == "invalid_api_key", "{what}: {status} {answer}");
        ensure!(!answer.to_string().contains("eyJ"), "{what}: the token is quoted: {answer}");
    }
    // Another of its users has an account of his own.
    let (status, answer) = answered(&text(&tokens["bob"])?).await?;
    ensure!(status == 402, "{status} {answer}");

    let ask = async |path: &str| -> anyhow::Result<u16> {
        let url = format!("{}{path}", stack.base_url());
        Ok(reqwest::Client::new().get(url).bearer_auth(&first).send().await?.status().as_u16())
    };
    ensure!(ask("/models").await? == 200, "models");
    for path in ["/organization/admin_api_keys", "/organization/projects", "/organization/limits"] {
        ensure!(ask(path).await? == 401, "{path}: a token administers nothing");
    }

    // The provider changes its keys; nobody restarts anything.
    say(&keys, &tokens["second"])?;
    let next = text(&tokens["next"])?;
    eventually("the new key is taken up", Duration::from_secs(30), || async {
        Ok((answered(&next).await?.0 == 200).then_some(()))
    })
    .await?;
    let (status, _) = answered(&first).await?;
    ensure!(status == 401, "the key that was taken out: {status}");
    tasks.shutdown().await;
    Ok(())
}
