//! `ledger verify`: the archive from zero, and what came after it.

use std::path::Path;
use std::process::ExitCode;

use cocoon_ledger::{Pace, verify_shard};

use super::{check, open, print};

pub(super) async fn verify(config: &Path) -> anyhow::Result<ExitCode> {
    let (ledger, archive) = open(config).await?;
    let (mut reports, mut checkpoints, mut entries, mut receipts, mut missed, mut unnamed) =
        (Vec::new(), 0, 0, 0, 0, 0);
    for shard in ledger.shards().all() {
        let (verified, report) = verify_shard(ledger.as_ref(), &archive, shard, Pace::FULL).await?;
        checkpoints += verified.checkpoints;
        entries += verified.entries;
        receipts += verified.receipts;
        missed += verified.without_receipt;
        unnamed += verified.unnamed;
        reports.push(report);
    }
    print(&check::table(&reports))?;
    print(&format!(
        "the archive is whole: {checkpoints} checkpoints over {entries} entries, {receipts} receipts beside them, {missed} \
         not kept"
    ))?;
    if unnamed > 0 {
        print(&format!(
            "{unnamed} files are of no chain: of a pass that ended early, or of a store that lost what was archived"
        ))?;
    }
    Ok(check::outcome(&reports))
}
