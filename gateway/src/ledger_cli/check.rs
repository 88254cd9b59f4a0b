//! `ledger check`: the journal against the books.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use cocoon_ledger::{CheckError, Finding, Pace, Shard, ShardReport, check_shard, replayed};
use serde::Serialize;

use super::print;
use crate::config::Config;
use crate::open_ledger::{open_archive, open_ledger};

/// A shard's report as JSON. Amounts in nanoTON, as decimal strings.
#[derive(Serialize)]
struct ReportView<'a> {
    shard: Shard,
    clean: bool,
    /// The journal's last entry that was replayed.
    at: Option<&'a str>,
    entries: u64,
    accounts: u64,
    open_holds: u64,
    overdue_holds: u64,
    holds_compared: bool,
    shortfall: String,
    drift: String,
    found: u64,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
struct FindingView {
    subject: String,
    what: &'static str,
    expected: String,
    found: String,
}

pub(super) async fn check(config: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let config = Config::load(config)?;
    let (ledger, archive) = (open_ledger(&config).await?, open_archive(&config)?);
    let mut reports = Vec::new();
    for shard in ledger.shards().all() {
        let begin = replayed(ledger.as_ref(), archive.as_ref(), shard).await?;
        let report = check_shard(ledger.as_ref(), shard, begin, Pace::FULL).await;
        if let (Err(CheckError::Trimmed(_)), None) = (&report, &archive) {
            bail!("old entries are in the archive only: set ledger.archive");
        }
        reports.push(report?);
    }
    if json {
        print(&serde_json::to_string(&reports.iter().map(view).collect::<Vec<_>>())?)?;
    } else {
        print(&table(&reports))?;
    }
    Ok(outcome(&reports))
}

/// Ends well only where nothing differs.
pub(super) fn outcome(reports: &[ShardReport]) -> ExitCode {
    if reports.iter().all(ShardReport::is_clean) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn view(report: &ShardReport) -> ReportView<'_> {
    ReportView {
        shard: report.shard,
        clean: report.is_clean(),
        at: report.at.as_ref().map(|id| id.0.as_str()),
        entries: report.entries,
        accounts: report.accounts,
        open_holds: report.open_holds,
        overdue_holds: report.overdue_holds,
        holds_compared: report.holds_compared,
        shortfall: report.shortfall.to_string(),
        drift: report.drift.to_string(),
        found: report.found,
        findings: report.findings.iter().map(finding_view).collect(),
    }
}

fn finding_view(finding: &Finding) -> FindingView {
    FindingView {
        subject: finding.subject.to_string(),
        what: finding.what,
        expected: finding.expected.to_string(),
        found: finding.found.to_string(),
    }
}

/// One line for each shard that was used, every difference under its shard, and the sums.
pub(super) fn table(reports: &[ShardReport]) -> String {
    let mut text = format!(
        "{:<6} {:>10} {:>9} {:>7} {:>8} {:>14} {:>14}  {}",
        "shard", "entries", "accounts", "holds", "overdue", "shortfall", "drift", "books"
    );
    let (mut entries, mut accounts, mut found) = (0_u64, 0_u64, 0_u64);
    for report in reports {
        entries = entries.saturating_add(report.entries);
        accounts = accounts.saturating_add(report.accounts);
        found = found.saturating_add(report.found);
        if report.entries == 0 && report.accounts == 0 && report.open_holds == 0 && report.is_clean() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{:<6} {:>10} {:>9} {:>7} {:>8} {:>14} {:>14}  {}",
            report.shard.to_string(),
            report.entries,
            report.accounts,
            if report.holds_compared { report.open_holds.to_string() } else { "busy".to_owned() },
            report.overdue_holds,
            report.shortfall.to_string(),
            report.drift,
            if report.is_clean() { "right" } else { "WRONG" }
        );
        for Finding { subject, what, expected, found, .. } in &report.findings {
            let _ = write!(text, "\n       {subject}: {what}: must be {expected}, is {found}");
        }
        let listed = report.findings.len() as u64;
        if report.found > listed {
            let _ = write!(text, "\n       and {} more", report.found - listed);
        }
    }
    let verdict = if found == 0 { "nothing differs".to_owned() } else { format!("{found} differences") };
    let _ = write!(text, "\n{entries} entries, {accounts} accounts, {} shards: {verdict}", reports.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cocoon_ledger::{Grant, Options, Replay};
    use cocoon_receipts::{NanoTon, RequestId};

    #[tokio::test]
    async fn a_table_shows_used_shards_and_every_difference() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let url = format!("sqlite:{}", path.display());
        let ledger = cocoon_ledger::open(&url, Options::default()).await.unwrap();
        let account: cocoon_receipts::AccountId = "alice".parse().unwrap();
        let shard = ledger.shards().of(&account);
        let grant = Grant { id: RequestId::generate(), account, amount: NanoTon(500) };
        ledger.grant(&grant).await.unwrap();
        let mut report = check_shard(ledger.as_ref(), shard, Replay::default(), Pace::FULL).await.unwrap();
        let unused = Shard((shard.0 + 1) % 64);
        let empty = check_shard(ledger.as_ref(), unused, Replay::default(), Pace::FULL).await.unwrap();
        let text = table(&[report.clone(), empty]);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("1 entries, 1 accounts, 2 shards: nothing differs"), "{text}");

        report.findings.push(Finding {
            subject: cocoon_ledger::Subject::Totals,
            what: "balance",
            expected: 500,
            found: 507,
            is_amount: true,
        });
        report.found = 3;
        let text = table(&[report.clone()]);
        for part in ["WRONG", "totals: balance: must be 500, is 507", "and 2 more", "3 differences"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = serde_json::to_value(view(&report)).unwrap();
        assert_eq!((&json["clean"], &json["findings"][0]["found"]), (&false.into(), &"507".into()));
    }
}
