//! TDX quotes judged by us and by npm's @phala/dcap-qvl, which shares no code with ours: the same are accepted, and the same
//! is read from them.

mod cases;
mod changes;

use anyhow::{Context, bail, ensure};
use cocoon_attestation::{Check, Document, Nonce, Outcome, Policy, PolicyError, Roots, Section, Tee};
use serde_json::{Value, json};

use crate::harness::{Runtime, full, run_script};
use cases::Case;
use changes::Exception;

const ALL_STATUSES: &str = "['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded', \
    'OutOfDate', 'OutOfDateConfigurationNeeded', 'TDRelaunchAdvised', 'TDRelaunchAdvisedConfigurationNeeded']";
/// Where report data stands in a report.
const REPORT_DATA: usize = 520;

/// Guards against: a mistake that is only in our own reading of what Intel signed.
pub(crate) async fn another_verifier_says_the_same_of_every_sample() -> anyhow::Result<()> {
    let mut cases = cases::all()?;
    // It knows no report of TDX 1.5 with its extension, which Intel came to sign after its release.
    let extended = cases::extended()?;
    cases.push(extended);
    let answers = theirs(&cases).await?;
    let (last, answers) = answers.split_last().context("no answers")?;
    ensure!(last["refused"] == "Failed to decode quote: Unsupported body type", "{last}");
    let mut accepted = 0;
    for (case, answer) in cases.iter().zip(answers) {
        let ours = ours(case)?;
        ensure!(ours.is_some() == accepts(answer), "{}: ours {ours:?}, theirs {answer}", case.name);
        if let Some(status) = ours {
            ensure!(answer["status"] == *status, "{}: ours {status}, theirs {answer}", case.name);
            let report = case.report().context("no report")?;
            let at = |at: usize, length: usize| report.get(at..at + length).map(hex::encode);
            let measurements = [136, 328, 376, 424, 472].map(|from| at(from, 48));
            ensure!(answer["measurements"] == json!(measurements), "{}: {answer}", case.name);
            ensure!(answer["report_data"] == json!(at(REPORT_DATA, 64)), "{}: {answer}", case.name);
            accepted += 1;
        }
    }
    ensure!(accepted == 4 && answers.len() == 5, "{accepted} accepted of {}", answers.len());
    Ok(())
}

/// Guards against: a check that a quote or collateral changed by a bit, cut, mixed or out of date gets around.
pub(crate) async fn another_verifier_says_the_same_of_changed_ones() -> anyhow::Result<()> {
    let count = if full() { 1000 } else { 100 };
    let first = fastrand::u64(..u64::from(u32::MAX));
    let bases = cases::all()?;
    let by_seed = (first..first + count).map(|seed| changes::change(&bases, seed));
    let changed: Vec<_> = by_seed.chain(bases.iter().filter_map(changes::with_unused_bit)).collect();
    let cases: Vec<&Case> = changed.iter().map(|changed| &changed.case).collect();
    let answers = theirs(&cases).await?;
    let (mut disagreements, mut accepted, mut excepted) = (Vec::new(), 0, 0);
    for (changed, answer) in changed.iter().zip(&answers) {
        let ours = ours(&changed.case)?;
        accepted += u32::from(ours.is_some());
        let exception = match (ours.is_some(), accepts(answer)) {
            (true, true) | (false, false) => continue,
            (false, true) => Exception::OursIsStricter,
            (true, false) => Exception::TheirsIsStricter,
        };
        if changed.exceptions.contains(&exception) {
            excepted += 1;
        } else {
            disagreements.push(format!("{}: ours {ours:?}, theirs {answer}", changed.case.name));
        }
    }
    println!("{count} changed quotes: {accepted} accepted, {excepted} judged otherwise for a known reason");
    if !disagreements.is_empty() {
        bail!("{} disagreements:\n{}", disagreements.len(), disagreements.join("\n"));
    }
    Ok(())
}

fn accepts(answer: &Value) -> bool {
    answer["status"].is_string()
}

/// The platform's status where the quote is authentic; none where it is not.
fn ours(case: &Case) -> anyhow::Result<Option<String>> {
    let document = Document {
        tee: Tee::Tdx,
        keyset: Section::default(),
        devices: Section::default(),
        quote: Section(case.quote.clone()),
        nonce_path: Section::default(),
        collateral: Section(case.collateral.to_string().into_bytes()),
        event_log: Section::default(),
        release_bundle: Section::default(),
    };
    let policy = believing(case.root.clone())?;
    let Err(refusal) = policy.verify(&document, Nonce([0; 32]), case.now.saturating_mul(1000), false) else {
        bail!("{}: there is no keyset, and the document is believed", case.name);
    };
    let passed = |check: Check| {
        let mut of = refusal.findings.as_slice().iter().filter(|finding| finding.check == check);
        of.next().filter(|finding| finding.outcome == Outcome::Passed)
    };
    let status = passed(Check::TdxTcbStatus).filter(|_| {
        [Check::Kind, Check::Quote, Check::Collateral, Check::TdxDebug, Check::TdxAttributes]
            .into_iter()
            .all(|check| passed(check).is_some())
    });
    Ok(status.map(|finding| finding.detail.clone()))
}

#[expect(clippy::disallowed_methods, reason = "some of the evidence is of this test's own making")]
fn believing(root: Option<Vec<u8>>) -> Result<Policy, PolicyError> {
    let zeros = "00".repeat(48);
    let image =
        ["mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"].map(|key| format!("{key} = '{zeros}'\n")).concat();
    let text = format!("[tdx]\ntcb_statuses = {ALL_STATUSES}\n[[tdx.images]]\nname = 'none'\n{image}");
    Ok(Policy::from_toml(&text)?.with_roots(Roots { intel: root, ..Roots::default() }))
}

/// What the other says of each case.
async fn theirs(cases: &[impl std::borrow::Borrow<Case>]) -> anyhow::Result<Vec<Value>> {
    let line = |case: &Case| {
        let (quote, root) = (hex::encode(&case.quote), case.root.as_ref().map(hex::encode));
        json!({ "quote": quote, "collateral": case.collateral, "now": case.now, "root": root }).to_string()
    };
    let lines: Vec<String> = cases.iter().map(|case| line(case.borrow())).collect();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, lines.join("\n"))?;
    let path = file.path().to_str().context("a path that is no text")?;
    let answers = run_script(Runtime::Node, "dcap_qvl.mjs", &[("COCOON_QUOTES", path)]).await?;
    let answers: Vec<Value> = serde_json::from_value(answers)?;
    ensure!(answers.len() == cases.len(), "{} answers", answers.len());
    Ok(answers)
}
