//! `ledger export`: the whole ledger in one file.

use std::path::Path;

use anyhow::Context;
use cocoon_ledger::transfer;

use super::{ANSWERS_STAY, place, print, tell};
use crate::config::Config;

pub(super) async fn export(config: &Path, to: &Path) -> anyhow::Result<()> {
    let place = place(&Config::load(config)?);
    let done = transfer::export(&place, to, &mut tell).await.context("the ledger is not exported")?;
    let (records, entries) = (done.records, done.entries);
    print(&format!("{}: {records} records, {entries} of them journal entries; {ANSWERS_STAY}", to.display()))
}
