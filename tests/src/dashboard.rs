//! `/dashboard`, in a browser.

use anyhow::{Context, ensure};
use http::{HeaderMap, Method};

use serde_json::json;

use crate::harness::{ACCOUNT, Client, Ehbp, MODEL, Runtime, Settings, Stack, chat, path, run_script};

/// What the page may do (`docs/OPERATIONS.md`, "The page for people").
const POLICY: [&str; 11] = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
];

/// Guards against: a file under a looser policy, one that a browser would guess the type of, a page of one release with the
/// scripts of another.
pub(crate) async fn its_files_are_strict_and_asked_for_anew() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let origin = stack.origin();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let ask = async |method: Method, path: &str, tag: Option<&str>| {
        let mut request = http.request(method, format!("{origin}{path}"));
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        anyhow::Ok((status, headers, response.bytes().await?))
    };
    for (path, kind) in [
        ("/dashboard", "text/html; charset=utf-8"),
        ("/dashboard/js/main.js", "text/javascript; charset=utf-8"),
        ("/dashboard/css/base.css", "text/css; charset=utf-8"),
        ("/dashboard/icon.svg", "image/svg+xml"),
        ("/dashboard/vendor/uplot/LICENSE", "text/plain; charset=utf-8"),
    ] {
        let (status, headers, body) = ask(Method::GET, path, None).await?;
        ensure!(status == 200 && headers["content-type"] == kind && !body.is_empty(), "{path}: {headers:?}");
        is_strict(path, &headers)?;
        let tag = headers["etag"].to_str()?;
        for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
            let (status, headers, body) = ask(Method::GET, path, Some(&known)).await?;
            ensure!(
                status == 304 && body.is_empty() && headers["etag"] == tag,
                "{path}: {status} {headers:?}"
            );
            is_strict(path, &headers)?;
        }
        ensure!(ask(Method::GET, path, Some("\"other\"")).await?.0 == 200, "{path}: another one's tag");
        let (status, head, nothing) = ask(Method::HEAD, path, None).await?;
        ensure!(status == 200 && nothing.is_empty() && head["etag"] == tag, "{path}: {head:?}");
        ensure!(head["content-length"].to_str()?.parse::<usize>()? == body.len(), "{path}: {head:?}");
    }
    let (status, headers, _) = ask(Method::GET, "/dashboard/", None).await?;
    ensure!(status == 308 && headers["location"] == "../dashboard", "{status} {headers:?}");
    for path in
        ["/dashboard/js/none.js", "/dashboard/vendor/package.json", "/dashboard/%2e%2e/%2e%2e/etc/passwd"]
    {
        let (status, _, body) = ask(Method::GET, path, None).await?;
        ensure!(status == 404 && body.starts_with(b"{\"error\""), "{path}: {status}");
    }
    let (status, headers, _) = ask(Method::POST, "/dashboard", None).await?;
    ensure!(status == 405 && headers["content-type"] == "application/json", "{status} {headers:?}");
    Ok(())
}

fn is_strict(path: &str, headers: &HeaderMap) -> anyhow::Result<()> {
    let policy = headers["content-security-policy"].to_str()?;
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    ensure!(directives == POLICY, "{path}: {policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ] {
        ensure!(headers.get(name).is_some_and(|sent| sent == value), "{path}: {name}: {headers:?}");
    }
    ensure!(!headers.contains_key("access-control-allow-origin"), "{path}: other pages may read it");
    Ok(())
}

/// Guards against: a library that somebody changed here, or that is not the one its version says.
pub(crate) async fn its_library_is_what_its_package_has() -> anyhow::Result<()> {
    let package = path("COCOON_TEST_DASHBOARD_MODULES")?;
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/dashboard/vendor");
    for file in [
        "uplot/LICENSE",
        "uplot/dist/uPlot.esm.js",
        "uplot/dist/uPlot.min.css",
        "qrcode-generator/dist/qrcode.mjs",
    ] {
        let theirs = std::fs::read(package.join(file)).context("the package")?;
        let ours = std::fs::read(here.join(file.replace("dist/", "")))?;
        ensure!(ours == theirs, "{file} is not the package's: `cargo xtask vendor` writes it anew");
    }
    Ok(())
}

/// Guards against: names that become markup, amounts that a float rounds, a forged receipt that looks good, a key that
/// stays, one panel that takes the page with it, what cannot be reached by keyboard or read by a screen reader.
pub(crate) async fn every_state_is_shown() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let seen = in_browser(&stack, "dashboard_states.mjs", &[]).await?;
    let passed = seen["passed"].as_array().map_or(0, Vec::len);
    ensure!(passed == 19, "{passed} of 19 states: {seen:#}");
    Ok(())
}

/// Guards against: amounts that are not the ledger's, a chart of something else than OpenAI's usage, a real receipt that is
/// refused or a forged one that is believed, keys and limits that the page says are changed and are not.
pub(crate) async fn it_shows_and_does_what_the_api_does() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let laptop =
        stack.make_key(&["--account", ACCOUNT, "--project", "research", "--name", "Laptop of Ada"])?;
    let of_laptop = Client::new(stack.base_url(), laptop);
    for tokens in [3, 8] {
        for client in [stack.client(), of_laptop.clone()] {
            let (status, _, answer) =
                client.complete(&chat("one two three", json!({ "max_tokens": tokens }))).await?;
            ensure!(status == 200, "{answer}");
        }
    }
    stack.client().stream(&chat("a streamed one", json!({}))).await?.rest().await?;
    let sealed = Ehbp::plain(&stack.origin(), &chat("sealed", json!({ "max_tokens": 5 }))).await?;
    ensure!(sealed.send(&stack).await?.status == 200, "a sealed request");
    let account = stack.settled_account().await?;
    let ledger = json!({
        "balance": account.balance, "charged": account.charged, "requests": stack.outbox()?.len(),
    });
    let admin = stack.make_key(&["--account", ACCOUNT, "--scope", "admin", "--name", "Administrator"])?;
    let ledger = ledger.to_string();
    let variables = [
        ("COCOON_API_KEY", stack.key.as_str()),
        ("COCOON_ADMIN_KEY", admin.as_str()),
        ("COCOON_LEDGER", ledger.as_str()),
        ("COCOON_MODEL", MODEL),
    ];
    let seen = in_browser(&stack, "dashboard.mjs", &variables).await?;
    let passed = seen["passed"].as_array().map_or(0, Vec::len);
    ensure!(passed == 8, "{passed} of 8 steps: {seen:#}");
    Ok(())
}

/// Runs a script of `tests/clients` with a browser and the gateway's address.
async fn in_browser(stack: &Stack, script: &str, more: &[(&str, &str)]) -> anyhow::Result<serde_json::Value> {
    let chromium = path("COCOON_TEST_CHROMIUM")?;
    let chromium = chromium.to_str().context("the browser's path is not text")?.to_owned();
    let origin = stack.origin();
    let mut variables = vec![("COCOON_ORIGIN", origin.as_str()), ("COCOON_TEST_CHROMIUM", &chromium)];
    variables.extend_from_slice(more);
    run_script(Runtime::Node, script, &variables).await
}
