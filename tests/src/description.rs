//! `/openapi.json`: valid, and true of the gateway that serves it.

use anyhow::{Context, ensure};
use http::Method;
use serde_json::Value;

use crate::harness::{Sealed, Settings, Stack, run_python};

pub(crate) async fn it_is_a_valid_openapi_document() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let url = format!("{}/openapi.json", stack.base_url().trim_end_matches("/v1"));
    let found = run_python("openapi_document.py", &[("DOCUMENT_URL", url.as_str())]).await?;
    ensure!(found["openapi"] == "3.1.0" && found["errors"] == serde_json::json!([]), "{found:#}");
    Ok(())
}

/// So that nothing is left out of what is served. The chain is never asked.
const CHANNELS: &str = r#"
    billing.treasury = "EQCdHhhDYkxNF1ppWowt6KWmHwO5MzboyqThZL9su6sgXsq8"
    channels.network = { name = "test", global_id = -3 }
    channels.endpoints = [{ url = "http://127.0.0.1:9", operator = "nobody" }]
"#;

/// Guards against: a path that is described and not served, or served to whom it says it is not.
pub(crate) async fn what_it_describes_is_served() -> anyhow::Result<()> {
    let gateway = CHANNELS.to_owned();
    let stack = Stack::start(Settings { gateway, ..Settings::default() }).await?;
    let root = stack.base_url().trim_end_matches("/v1").to_owned();
    let response = reqwest::get(format!("{root}/openapi.json")).await?;
    ensure!(response.headers()["content-type"] == "application/json", "{:?}", response.headers());
    let document: Value = response.json().await?;
    let keyset = Sealed::keyset(&stack).await?.1.to_string();
    let paths = document["paths"].as_object().context("no paths")?;
    ensure!(paths.len() >= 11, "{:?}", paths.keys());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().context("no methods")? {
            let ops = operation.get("servers").is_some();
            let path = path.replace("{id}", crate::harness::MODEL).replace("{account}", "tester");
            let path = path.replace("{digest}", &keyset);
            let url = format!("{}{path}", if ops { stack.ops_url() } else { root.clone() });
            let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
            let response = reqwest::Client::new().request(method, &url).body("{}").send().await?;
            let status = response.status().as_u16();
            let needs_key = operation.get("security").is_none();
            ensure!((status == 401) == needs_key, "{url}: {status}");
            ensure!(status != 404 && status != 405, "{url}: {status}");
            let described = operation["responses"].as_object().context("no responses")?;
            ensure!(described.contains_key(&status.to_string()), "{url}: {status} is not described");
        }
    }
    Ok(())
}
