//! Quotes that both verifiers can read.

use cocoon_attestation::Nonce;
use cocoon_synthetic_tee::samples::{Sample, h200, sample};
use cocoon_synthetic_tee::{Form, SyntheticTdx};
use serde_json::Value;

use crate::harness::path;

/// A quote to judge at a time.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) quote: Vec<u8>,
    pub(super) collateral: Value,
    /// Seconds since 1970.
    pub(super) now: u64,
    /// In place of Intel's.
    pub(super) root: Option<Vec<u8>>,
}

impl Case {
    fn of(name: &str, sample: &Sample, now: u64) -> anyhow::Result<Self> {
        let collateral = serde_json::from_slice(&sample.collateral)?;
        Ok(Self { name: name.to_owned(), quote: sample.quote.clone(), collateral, now, root: None })
    }

    fn is_version_5(&self) -> bool {
        self.quote.first() == Some(&5)
    }

    /// Where the report begins: version 5 says its type and length first.
    fn report_at(&self) -> usize {
        if self.is_version_5() { 54 } else { 48 }
    }

    pub(super) fn report(&self) -> Option<&[u8]> {
        self.quote.get(self.report_at()..)
    }

    /// Where the type of the certification data stands: after report, length, signature and key.
    pub(super) fn certification_type_at(&self) -> usize {
        self.report_at() + if self.is_version_5() { 648 } else { 584 } + 4 + 64 + 64
    }
}

/// Three quotes that Intel signed, one of which is refused, and two that the tests signed.
pub(super) fn all() -> anyhow::Result<Vec<Case>> {
    let (of_h200, _) = h200(&path("COCOON_TEST_VOLTAGE_VERIFY")?);
    let mut cases = vec![
        Case::of("tdx_quote", &sample("tdx_quote"), 1_751_000_000)?,
        Case::of("tdx_quote_outdated", &sample("tdx_quote_outdated"), 1_771_500_000)?,
        Case::of("quote of a VM with an H200", &of_h200, 1_791_600_000)?,
    ];
    let now = 1_791_600_000;
    let intel = SyntheticTdx::new();
    for form in [Form::V4, Form::V5] {
        let mut evidence = intel.evidence(now * 1000);
        evidence.form = form;
        let root = cocoon_receipts::Digest(Nonce([5; 32]).0);
        let document = intel.document_with(&evidence, b"keyset", b"", root, Vec::new());
        let sample = Sample { quote: document.quote.0, collateral: document.collateral.0 };
        let case = Case::of(&format!("synthetic, {form:?}"), &sample, now)?;
        cases.push(Case { root: intel.roots().intel, ..case });
    }
    Ok(cases)
}

/// A quote with the extended report of TDX 1.5.
pub(super) fn extended() -> anyhow::Result<Case> {
    Case::of("tdx_quote_td15ex", &sample("tdx_quote_td15ex"), 1_791_504_000)
}
