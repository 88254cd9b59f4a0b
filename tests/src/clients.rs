//! Clients that know nothing of us get from a real model what OpenAI would give them, and every answer they get is
//! judged by OpenAI's own OpenAPI document.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::bill::claims;
use crate::harness::{Engine, Exchange, GRANT, MODEL, Recorder, Runtime, Settings, Stack, full, run_script};
use crate::judge::judge;
use crate::seen;

/// What each client does in the default run, where it can. COCOON_CLIENT_MODES chooses others, COCOON_CLIENT one client.
const BRIEF: &str = "chat,stream,usage,tools,structured,models,errors";
/// And with `--full`.
const ALL: &str = "chat,stream,usage,tools,structured,completions,responses,models,errors";
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

/// What all clients saw, and all that was wrong with it.
#[derive(Default)]
struct Findings {
    exchanges: Vec<Exchange>,
    /// Answers to the one question that all of them ask, by client.
    texts: BTreeMap<&'static str, Value>,
    failures: Vec<String>,
}

/// Guards against: typed parsing that a client trips over, answers that differ between clients or between streamed and
/// not, a field that OpenAI's document wants or does not know in this form, an answer without a receipt.
pub(crate) async fn each_is_served_and_every_answer_fits_the_document() -> anyhow::Result<()> {
    let modes = chosen("COCOON_CLIENT_MODES", BRIEF, ALL);
    let mut findings = Findings::default();
    findings.run(Engine::Real, &modes).await?;
    let mut different: Vec<_> = findings.texts.values().collect();
    different.dedup();
    if different.len() > 1 {
        let texts = &findings.texts;
        findings.failures.push(format!("one question at temperature 0, and different answers: {texts:?}"));
    }
    findings.judge().await
}

/// The same of embeddings, which need a model of their own.
pub(crate) async fn each_gets_embeddings_that_fit_the_document() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    findings.run(Engine::Embedding, "embeddings").await?;
    findings.judge().await
}

/// The variable, or what is done without it.
fn chosen(variable: &str, brief: &str, all: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| if full() { all } else { brief }.to_owned())
}

impl Findings {
    /// Runs every client, one after the other: at temperature 0 the model then says the same to each.
    async fn run(&mut self, engine: Engine, modes: &str) -> anyhow::Result<()> {
        // Every receipt stays in the outbox, to be added up.
        let backend = "receipt_confirm_ms = 3600000".to_owned();
        let stack = Stack::start(Settings { engine, backend, ..Settings::default() }).await?;
        let poor = stack.make_key(&["--account", "poor", "--grant", "1"])?;
        let mut variables = vec![
            ("OPENAI_API_KEY", stack.key.clone()),
            ("COCOON_POOR_KEY", poor),
            ("COCOON_MODEL", MODEL.to_owned()),
            ("COCOON_CLIENT_MODES", modes.to_owned()),
            ("COCOON_CLIENT_TIMES", chosen("COCOON_CLIENT_TIMES", "1", TIMES)),
        ];
        if engine == Engine::Embedding {
            variables.push(("COCOON_EMBEDDING_MODEL", MODEL.to_owned()));
        }
        let only = std::env::var("COCOON_CLIENT").unwrap_or_default();
        for client in CLIENTS.iter().filter(|client| client.name.contains(&only)) {
            self.client(client, &stack, &variables).await?;
        }
        the_bill_is_the_sum(&stack).await
    }

    async fn client(
        &mut self,
        client: &Client,
        stack: &Stack,
        variables: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let recorder = Recorder::start(&stack.origin()).await?;
        let base_url = recorder.base_url();
        let mut named: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        named.push(("OPENAI_BASE_URL", &base_url));
        let limit = Duration::from_secs(if full() { 1800 } else { 300 });
        let begun = Instant::now();
        match run_script(client.runtime, client.script, &named, limit).await {
            Ok(Value::Object(modes)) if modes.is_empty() => {}
            Ok(Value::Object(modes)) => {
                let done: Vec<&str> = modes.keys().map(String::as_str).collect();
                println!("{:17} {:5.1?}: {}", client.name, begun.elapsed(), done.join(", "));
                for (mode, seen) in &modes {
                    if let Err(error) = seen::check(mode, seen) {
                        self.failures.push(format!("{}, {mode}: {error:#}\n{seen:#}", client.name));
                    }
                }
                self.texts.extend(modes.get("chat").map(|chat| (client.name, chat["text"].clone())));
            }
            Ok(other) => self.failures.push(format!("{} printed {other}", client.name)),
            Err(error) => self.failures.push(format!("{}: {error:#}", client.name)),
        }
        self.exchanges.extend(recorder.exchanges());
        Ok(())
    }

    /// Judges what was recorded. All that is wrong is said at once.
    async fn judge(mut self) -> anyhow::Result<()> {
        let verdict = judge(&self.exchanges).await?;
        for (operation, answers) in &verdict.judged {
            println!("{answers:4} of {operation}");
        }
        let violations = verdict.violations.iter();
        self.failures.extend(violations.map(|violation| format!("against the document: {violation:#}")));
        ensure!(!self.exchanges.is_empty() && self.failures.is_empty(), "{}", self.failures.join("\n\n"));
        Ok(())
    }
}

/// Every request left a receipt, and the account was charged their sum.
async fn the_bill_is_the_sum(stack: &Stack) -> anyhow::Result<()> {
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
