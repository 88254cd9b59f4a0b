//! A verdict is given again, by a fresh nonce, before it runs out; and is worth nothing once it has.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_openapi::ops::BackendView;
use serde_json::json;

use crate::harness::{Direction, Proxy, Settings, Stack, chat, eventually};

async fn backend(stack: &Stack) -> anyhow::Result<BackendView> {
    stack.backends().await?.backends.into_iter().next().context("no backend")
}

fn now_ms() -> anyhow::Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}

/// Nonces that the backend was asked with.
fn nonces(proxy: &Proxy) -> BTreeSet<Vec<u8>> {
    const QUERY: &[u8] = b"nonce=";
    let recorded = proxy.recorded(Direction::ToBackend);
    let starts = recorded.windows(QUERY.len()).enumerate().filter(|(_, window)| *window == QUERY);
    starts
        .filter_map(|(at, _)| recorded.get(at + QUERY.len()..at + QUERY.len() + 64))
        .map(<[u8]>::to_vec)
        .collect()
}

/// Guards against: a verdict that is used because the one who should renew it is late, a nonce that is used twice.
pub(crate) async fn fresh_nonces_come_before_a_verdict_runs_out() -> anyhow::Result<()> {
    let settings =
        Settings { proxy: true, policy: "max_verdict_age_s = 4".to_owned(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let proxy = stack.proxy.as_ref().context("no proxy")?;
    let first = backend(&stack).await?.last_verified.context("no verdict")?;
    ensure!(first.valid_until == first.verified_at + 4000, "{first:#?}");
    let before = nonces(proxy).len();
    eventually("it is verified three times more", Duration::from_secs(60), || async {
        let now = backend(&stack).await?;
        let last = now.last_verified.context("no verdict")?;
        ensure!(last.keyset == first.keyset && (!now.in_use || last.valid_until + 1000 > now_ms()?));
        let enough = nonces(proxy).len() >= before + 3 && last.verified_at > first.valid_until;
        Ok(enough.then_some(()))
    })
    .await?;
    let verified =
        format!("cocoon_backend_verifications_total{{backend=\"{}\",", backend(&stack).await?.backend);
    let metrics = stack.metrics().await?;
    let counted: Vec<&str> = metrics.lines().filter(|line| line.starts_with(&verified)).collect();
    ensure!(counted.iter().any(|line| line.contains("outcome=\"verified\"")), "{counted:?}");
    let asked = |text: &[u8]| {
        proxy.recorded(Direction::ToBackend).windows(text.len()).filter(|window| *window == text).count()
    };
    ensure!(asked(b"nonce=") == nonces(proxy).len(), "every nonce was used once");
    Ok(())
}

/// Its evidence is answered with 503 from now on: that proves nothing against it, so its verdict is used to its end, and
/// no longer.
pub(crate) async fn a_backend_too_busy_for_its_evidence_is_used_until_its_verdict_runs_out()
-> anyhow::Result<()> {
    let settings =
        Settings { proxy: true, policy: "max_verdict_age_s = 12".to_owned(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    stack.proxy.as_ref().context("no proxy")?.change(|direction, bytes| {
        let sealed = bytes.windows(4).any(|window| window.eq_ignore_ascii_case(b"ehbp"));
        if direction == Direction::ToGateway && bytes.starts_with(b"HTTP/1.1 200") && !sealed {
            bytes[9..12].copy_from_slice(b"503");
        }
    });
    let busy = eventually("its evidence is not to be had", Duration::from_secs(30), || async {
        let now = backend(&stack).await?;
        Ok((now.verdict == "unreachable").then_some(now))
    })
    .await?;
    ensure!(busy.in_use && busy.check.is_none(), "{busy:#?}");
    ensure!(busy.reason.as_ref().is_some_and(|reason| reason.contains("503")), "{busy:#?}");
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    let ended = eventually("its verdict runs out", Duration::from_secs(30), || async {
        let now = backend(&stack).await?;
        Ok((!now.in_use).then_some(now))
    })
    .await?;
    let verdict = ended.last_verified.context("no verdict")?;
    ensure!(now_ms()? >= verdict.valid_until && verdict.keyset == busy.last_verified.context("none")?.keyset);
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 503 && answer["error"]["code"] == "backend_unavailable", "{status} {answer}");
    Ok(())
}
