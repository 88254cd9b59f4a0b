//! `ledger archive`: the journal into the archive.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cocoon_ledger::{Archiving, Pace, archive_shard};

use super::{check, open, print};

const DAY_S: u64 = 24 * 60 * 60;

/// As long as receipts are kept.
pub(super) const KEEP_DAYS: u16 = (Archiving::KEEP.as_secs() / DAY_S) as u16;

pub(super) async fn archive(config: &Path, keep_days: u16) -> anyhow::Result<ExitCode> {
    let (ledger, archive) = open(config).await?;
    let keep = Duration::from_secs(u64::from(keep_days) * DAY_S);
    let how = Archiving { keep, segment: Archiving::SEGMENT, pace: Pace::GENTLE };
    let (mut reports, mut entries, mut trimmed, mut missed) = (Vec::new(), 0, 0, 0);
    for shard in ledger.shards().all() {
        let archived = archive_shard(ledger.as_ref(), &archive, shard, how).await?;
        entries += archived.entries;
        trimmed += archived.trimmed;
        missed += archived.without_receipt;
        reports.push(archived.report);
    }
    print(&check::table(&reports))?;
    print(&format!("{entries} entries more are archived, {trimmed} left the store"))?;
    if missed > 0 {
        print(&format!(
            "{missed} receipts were kept no longer and are not in the archive: archive more often"
        ))?;
    }
    Ok(check::outcome(&reports))
}
