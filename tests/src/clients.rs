//! Clients that know nothing of us get from a real model what OpenAI would give them, and every answer they get is
//! judged by OpenAI's own OpenAPI document.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::bill::claims;
use crate::harness::{
    Engine, Exchange, GRANT, MODEL, Recorder, Runtime, Settings, Sidecar, Stack, full, run_script,
};
use crate::judge::judge;
use crate::seen;

/// What each client does, where it can. COCOON_CLIENT_MODES names others.
const MODES: &str = "chat,stream,usage,tools,structured,completions,responses,models,errors";
/// What they do with a model that makes embeddings.
const EMBEDDING_MODES: &str = "embeddings";
/// Structured answers that each client asks for with `--full`.
const TIMES: &str = "20";

struct Client {
    name: &'static str,
    runtime: Runtime,
    script: &'static str,
}

const CLIENTS: [Client; 8] = [
    Client { name: "openai (Python)", runtime: Runtime::Python, script: "openai_python.py" },
    Client { name: "openai (Node.js)", runtime: Runtime::Node, script: "openai_node.mjs" },
    Client { name: "langchain-openai", runtime: Runtime::Python, script: "langchain_python.py" },
    Client { name: "llm", runtime: Runtime::Python, script: "llm_cli.py" },
    Client { name: "instructor", runtime: Runtime::PythonForInstructor, script: "instructor_python.py" },
    Client { name: "pydantic-ai", runtime: Runtime::Python, script: "pydantic_ai_python.py" },
    Client { name: "ai", runtime: Runtime::Node, script: "ai_sdk_node.mjs" },
    Client { name: "curl", runtime: Runtime::Python, script: "curl.py" },
];

/// Guards against: typed parsing that a client trips over, answers that differ between clients or between streamed and
/// not, a field that OpenAI's document wants or does not know in this form, an answer without a receipt.
pub(crate) async fn each_is_served_and_every_answer_fits_the_document() -> anyhow::Result<()> {
    judged(Way::Gateway).await
}

/// The same clients, unchanged, through `cocoon-connect`: the gateway sees no word of it. Guards against: a sidecar that
/// holds streams back, changes an answer, or lets something pass that is not OpenAI's.
pub(crate) async fn each_is_served_through_the_sidecar() -> anyhow::Result<()> {
    judged(Way::Sidecar).await
}

/// Whom the clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Gateway,
    Sidecar,
}

async fn judged(way: Way) -> anyhow::Result<()> {
    let modes = std::env::var("COCOON_CLIENT_MODES").unwrap_or_else(|_| MODES.to_owned());
    let mut round = Round::default();
    for (engine, modes) in [(Engine::Real, modes.as_str()), (Engine::Embedding, EMBEDDING_MODES)] {
        // Every receipt stays in the outbox, to be added up.
        let backend = "receipt_confirm_ms = 3600000".to_owned();
        let stack = Stack::start(Settings { engine, backend, ..Settings::default() }).await?;
        let sidecar = match way {
            Way::Gateway => None,
            Way::Sidecar => Some(Sidecar::start(&stack, &stack.origin(), &[]).await?),
        };
        let origin = sidecar.as_ref().map_or_else(|| stack.origin(), Sidecar::origin);
        round.go(&stack, &origin, modes).await?;
        the_bill_is_the_sum(&stack).await?;
    }

    let Round { mut failures, exchanges, texts } = round;
    let mut different: Vec<_> = texts.values().collect();
    different.dedup();
    if different.len() > 1 {
        failures.push(format!("one question at temperature 0, and different answers: {texts:?}"));
    }

    let verdict = judge(&exchanges).await?;
    for (operation, answers) in &verdict.judged {
        println!("{answers:4} of {operation}");
    }
    failures
        .extend(verdict.violations.iter().map(|violation| format!("against the document: {violation:#}")));
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

/// What the clients saw, and what went over the wire.
#[derive(Default)]
struct Round {
    failures: Vec<String>,
    exchanges: Vec<Exchange>,
    texts: BTreeMap<&'static str, Value>,
}

impl Round {
    /// Runs every client in `modes`.
    async fn go(&mut self, stack: &Stack, origin: &str, modes: &str) -> anyhow::Result<()> {
        let poor = stack.make_key(&["--account", "poor", "--grant", "1"])?;
        let times = std::env::var("COCOON_CLIENT_TIMES")
            .unwrap_or_else(|_| if full() { TIMES.to_owned() } else { "1".to_owned() });
        let only = std::env::var("COCOON_CLIENT").ok();
        let wanted = |client: &&Client| only.as_deref().is_none_or(|only| client.name.contains(only));
        for client in CLIENTS.iter().filter(wanted) {
            let recorder = Recorder::start(origin).await?;
            let variables = [
                ("OPENAI_BASE_URL", recorder.base_url()),
                ("OPENAI_API_KEY", stack.key.clone()),
                ("COCOON_POOR_KEY", poor.clone()),
                ("COCOON_MODEL", MODEL.to_owned()),
                ("COCOON_EMBEDDING_MODEL", MODEL.to_owned()),
                ("COCOON_CLIENT_MODES", modes.to_owned()),
                ("COCOON_CLIENT_TIMES", times.clone()),
            ];
            let variables: Vec<(&str, &str)> =
                variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let begun = Instant::now();
            match run_script(client.runtime, client.script, &variables).await {
                // Nothing of what was asked for is something that this client does.
                Ok(Value::Object(modes)) if modes.is_empty() => {}
                Ok(Value::Object(modes)) => {
                    let done: Vec<&str> = modes.keys().map(String::as_str).collect();
                    println!("{:17} {:5.1?}: {}", client.name, begun.elapsed(), done.join(", "));
                    for (mode, what) in &modes {
                        if let Err(error) = seen::check(mode, what) {
                            self.failures.push(format!("{}, {mode}: {error:#}\n{what:#}", client.name));
                        }
                    }
                    if let Some(chat) = modes.get("chat") {
                        self.texts.insert(client.name, chat["text"].clone());
                    }
                }
                Ok(other) => self.failures.push(format!("{} printed {other}", client.name)),
                Err(error) => self.failures.push(format!("{}: {error:#}", client.name)),
            }
            self.exchanges.extend(recorder.exchanges());
        }
        Ok(())
    }
}

/// Every request left a receipt, and the account was charged their sum.
pub(crate) async fn the_bill_is_the_sum(stack: &Stack) -> anyhow::Result<()> {
    let account = stack.settled_account().await?;
    let mut sum = 0;
    for (receipt, _) in stack.outbox()? {
        sum += claims(&receipt)?["cost"].as_str().context("no cost")?.parse::<u64>()?;
    }
    if account.charged.0 != sum || account.balance.0 != GRANT - sum {
        bail!("{account:?}, and the receipts say {sum}");
    }
    Ok(())
}
