//! EHBP clients that know nothing of us get a real model's answers, which the gateway hands on without being able to
//! read them, and pay what the receipts say.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::bill::claims;
use crate::clients::the_bill_is_the_sum;
use crate::harness::{Engine, MODEL, Runtime, Settings, Stack, run_script};

const CLIENTS: [(Runtime, &str); 2] = [(Runtime::Python, "ehbp_python.py"), (Runtime::Node, "ehbp_node.mjs")];

/// Each whole and streamed, under OpenAI's official client and with the client's own calls.
const MODES: [&str; 4] = ["chat", "stream", "own_chat", "own_stream"];

/// Guards against: a body that the gateway opened after all, frames that it changed or held back, an answer that no
/// other EHBP client can open, a request that is charged twice or not at all because the gateway cannot see its end.
pub(crate) async fn each_is_served_and_charged_by_its_receipts() -> anyhow::Result<()> {
    let settings = Settings {
        engine: Engine::Real,
        // The Node.js client cannot say which model it wants a key for.
        gateway: format!("default_model = \"{MODEL}\""),
        // Every receipt stays in the outbox, to be added up.
        backend: "receipt_confirm_ms = 3600000".to_owned(),
        ..Settings::default()
    };
    let stack = Stack::start(settings).await?;
    let base_url = stack.base_url();
    let variables = [
        ("OPENAI_BASE_URL", base_url.as_str()),
        ("OPENAI_API_KEY", stack.key.as_str()),
        ("COCOON_MODEL", MODEL),
        ("COCOON_CLIENT_MODES", &MODES.join(",")),
    ];
    let mut answers = Vec::new();
    for (runtime, script) in CLIENTS {
        let seen = run_script(runtime, script, &variables).await?;
        for mode in MODES {
            let answer = seen.get(mode).with_context(|| format!("{script} has no {mode}"))?;
            check(answer).with_context(|| format!("{script}, {mode}: {answer:#}"))?;
            answers.push(answer.clone());
        }
    }
    let [first, rest @ ..] = answers.as_slice() else { anyhow::bail!("no answers") };
    for answer in rest {
        ensure!(answer["text"] == first["text"], "one question at temperature 0: {answers:#?}");
        ensure!(answer["usage"] == first["usage"], "the same tokens: {answers:#?}");
    }

    the_bill_is_the_sum(&stack).await?;
    let receipts: Vec<Value> =
        stack.outbox()?.iter().map(|(receipt, _)| claims(receipt)).collect::<anyhow::Result<_>>()?;
    ensure!(receipts.len() == answers.len(), "one receipt each: {receipts:#?}");
    for receipt in &receipts {
        ensure!(receipt["final"] == true && receipt["complete"] == true, "{receipt:#}");
        ensure!(receipt["usage"]["prompt"] == first["usage"]["prompt"], "{receipt:#} {first:#}");
        ensure!(receipt["usage"]["completion"] == first["usage"]["completion"], "{receipt:#} {first:#}");
        ensure!(receipt.get("body").is_none(), "nobody but the client has the body: {receipt:#}");
    }
    Ok(())
}

fn check(answer: &Value) -> anyhow::Result<()> {
    ensure!(answer["text"].as_str().is_some_and(|text| text.contains('4')), "the model can add");
    ensure!(answer["finish"].is_string(), "it says why it ended");
    let usage = |name: &str| answer["usage"][name].as_u64().unwrap_or_default();
    ensure!(usage("prompt") > 10 && usage("completion") > 1, "tokens are counted");
    ensure!(usage("total") == usage("prompt") + usage("completion"), "and added up");
    ensure!(answer["sealed"] == true && answer["privacy"] == "sealed", "the answer was sealed");
    Ok(())
}
