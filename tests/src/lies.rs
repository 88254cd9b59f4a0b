//! A backend whose receipt does not speak of the answer it came with: the answer is not handed on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use cocoon_receipts::{Digest, NanoTon, Receipt, SigningKey};
use serde_json::json;

use crate::harness::{Liar, Settings, Stack, chat, eventually};

const MODEL: &str = "liar-model";

type Change = fn(&mut Receipt, &mut Option<String>);

/// Guards against: a gateway that hands on, or books as this answer's, a receipt it did not hold against the frames it
/// saw. The unchanged receipt is accepted, so it is the lie that is refused.
pub(crate) async fn a_receipt_that_does_not_fit_its_answer_is_refused() -> anyhow::Result<()> {
    let lies: [(&str, Change); 12] = [
        ("other request frames", |receipt, _| receipt.req_hash = Digest([9; 32])),
        ("other response frames", |receipt, _| receipt.resp_hash = Digest([9; 32])),
        ("more frames", |receipt, _| receipt.resp_frames = 2),
        ("another client's nonce", |receipt, _| receipt.cn = Digest([9; 32])),
        ("another body", |receipt, _| receipt.body = Some(Digest([9; 32]))),
        ("no body", |receipt, _| receipt.body = None),
        ("another status", |receipt, _| receipt.status = 500),
        ("another type", |receipt, _| receipt.ctype = "text/html".into()),
        ("another ticket", |receipt, _| receipt.ticket = Digest([9; 32])),
        ("a higher cost", |receipt, _| receipt.cost = NanoTon(receipt.cost.0 + 1)),
        ("no receipt at all", |_, instead| *instead = Some(String::new())),
        ("a receipt that is none", |_, instead| *instead = Some(",\"x_receipt\":\"a.b.c\"}".into())),
    ];
    let current: Arc<Mutex<Option<Change>>> = Arc::default();
    let mut liar = Liar::new(MODEL).await?;
    let chosen = Arc::clone(&current);
    liar.lie = Some(Arc::new(move |receipt, instead| {
        if let Some(change) = *chosen.lock().unwrap_or_else(PoisonError::into_inner) {
            change(receipt, instead);
        }
    }));
    let settings =
        Settings { second_backend: Some(liar.url()), gateway: liar.prices(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.serve(SigningKey::from_pem(&std::fs::read_to_string(stack.path("keys/dev-root.pem"))?)?);

    let mut body = chat("hello", json!({ "max_tokens": 20 }));
    body["model"] = MODEL.into();
    let answer = eventually("the liar is accepted and tells the truth", Duration::from_secs(30), || async {
        let (status, _, answer) = stack.client().complete(&body).await?;
        Ok((status == 200).then_some(answer))
    })
    .await?;
    ensure!(answer == json!({ "whole": true }), "{answer}");
    let honest = stack.account().await?;
    ensure!(honest.charged == NanoTon(500), "{honest:?}");

    for (what, change) in lies {
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
        let (status, _, answer) = stack.client().complete(&body).await?;
        ensure!(status == 502 && answer["error"]["code"] == "backend_failed", "{what}: {status} {answer}");
        ensure!(answer.get("whole").is_none(), "{what}: {answer}");
        ensure!(stack.account().await?.charged == honest.charged, "{what} was charged");
    }
    Ok(())
}
