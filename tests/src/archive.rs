//! A journal that goes into an archive: the ledger goes on without it, and the archive proves itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{Settings, Stack, Store, chat, eventually};

pub(crate) async fn it_is_whole_and_the_ledger_goes_on_on_sqlite() -> anyhow::Result<()> {
    it_is_whole_and_the_ledger_goes_on(Store::Sqlite).await
}

pub(crate) async fn it_is_whole_and_the_ledger_goes_on_on_redis() -> anyhow::Result<()> {
    it_is_whole_and_the_ledger_goes_on(Store::Redis).await
}

/// Guards against: entries that leave the store and are nowhere, a replay that takes what is archived for lost or for drift,
/// an archive that is believed whatever is in it.
async fn it_is_whole_and_the_ledger_goes_on(store: Store) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let gateway = format!("ledger = {{ archive = {:?} }}", folder.path());
    let mut stack = Stack::start(Settings { store, gateway, ..Settings::default() }).await?;
    answered(&stack, 3).await?;
    let (ended_well, printed) = stack.ledger_command("archive", &["--keep-days", "0"])?;
    // The test credit and three charges; the newest entry stays.
    ensure!(ended_well && printed.contains("4 entries more are archived, 3 left the store"), "{printed}");
    let (ended_well, printed) = stack.ledger_command("verify", &[])?;
    let whole = "the archive is whole: 1 checkpoints over 4 entries, 3 receipts beside them, 0 not kept";
    ensure!(ended_well && printed.contains(whole), "{printed}");

    let segment = only_segment(folder.path())?;
    let sent: Vec<String> = stack.outbox()?.into_iter().map(|(receipt, _)| receipt).collect();
    let mut archived = receipts(&segment)?;
    ensure!(archived.len() == 3 && archived.iter().all(|receipt| sent.contains(receipt)), "{archived:?}");
    archived.dedup();
    ensure!(archived.len() == 3, "each once");

    answered(&stack, 1).await?;
    stack.kill_gateway()?;
    stack.start_gateway()?;
    stack.wait_ready().await?;
    eventually("the journal is replayed from the archive on", Duration::from_secs(20), || async {
        Ok((stack.metric("cocoon_ledger_checked_seconds").await? > 0).then_some(()))
    })
    .await?;
    ensure!(stack.metric("cocoon_ledger_drift").await? == 0);
    ensure!(stack.metric("cocoon_ledger_behind").await? == 0, "what was archived is not lost");
    let (ended_well, printed) = stack.ledger_command("check", &[])?;
    ensure!(ended_well && printed.contains("5 entries, 1 accounts, 64 shards: nothing differs"), "{printed}");

    let honest = std::fs::read_to_string(&segment)?;
    std::fs::write(&segment, honest.replacen("\"amount\":\"-", "\"amount\":\"-1", 1))?;
    let (ended_well, printed) = stack.ledger_command("verify", &[])?;
    let name = segment.file_name().and_then(|name| name.to_str()).context("no name")?;
    ensure!(!ended_well && printed.contains(name), "{printed}");
    std::fs::write(&segment, honest)?;
    ensure!(stack.ledger_command("verify", &[])?.0);

    std::fs::rename(folder.path(), folder.path().with_extension("away"))?;
    let (ended_well, printed) = stack.ledger_command("check", &[])?;
    ensure!(!ended_well && printed.contains("ledger.archive"), "{printed}");
    std::fs::rename(folder.path().with_extension("away"), folder.path())?;
    Ok(())
}

async fn answered(stack: &Stack, number: usize) -> anyhow::Result<()> {
    for _ in 0..number {
        let body = chat("Say hello.", json!({ "max_tokens": 8 }));
        let (status, _, answer) = stack.client().complete(&body).await?;
        ensure!(status == 200, "{answer}");
    }
    stack.settled_account().await.map(drop)
}

fn only_segment(archive: &Path) -> anyhow::Result<PathBuf> {
    let mut segments = Vec::new();
    for shard in std::fs::read_dir(archive)? {
        for file in std::fs::read_dir(shard?.path())? {
            segments.push(file?.path());
        }
    }
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    ensure!(segments.len() == 1, "{segments:?}");
    segments.pop().context("none")
}

/// As any script reads them: a line of JSON each, of which the first is the header.
fn receipts(segment: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(segment)?;
    let lines = text.lines().skip(1).map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.iter().filter_map(|line| line["receipt"].as_str().map(str::to_owned)).collect())
}
