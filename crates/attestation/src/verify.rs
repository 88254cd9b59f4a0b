//! Judges a document: a pure function of document, nonce, policy and time.

use cocoon_receipts::Digest;

use crate::document::{Document, Nonce, Tee, report_data};
use crate::findings::{Check, Findings};
use crate::keyset::{KEYSET_VERSION, Keyset, PrefixCache};
use crate::policy::Policy;
use crate::verdict::{Refusal, Verdict};
use crate::{dev, gpu, snp, tdx, tree};

/// What a quote that is authentic says, and until when its vendor's word stands.
pub(crate) struct Quoted {
    pub(crate) report_data: [u8; 64],
    /// Milliseconds since 1970.
    pub(crate) valid_until: u64,
}

/// What is looked at in a keyset.
const KEYSET_CHECKS: [Check; 6] =
    [Check::KeysetValidity, Check::KeysetAge, Check::Kem, Check::PrefixCache, Check::Model, Check::Release];

impl Policy {
    /// Judges a document that was asked for with `nonce`. `loopback`: both the verifier's listener and the backend
    /// are on this machine. `now_ms`: milliseconds since 1970. It looks at all it can, whatever fails.
    ///
    /// # Errors
    /// [`Refusal`], with every finding.
    pub fn verify(
        &self,
        document: &Document,
        nonce: Nonce,
        now_ms: u64,
        loopback: bool,
    ) -> Result<Verdict, Refusal> {
        let mut findings = Findings::default();
        let ends = self.not_after();
        findings.check(Check::Policy, ends.is_none_or(|end| now_ms < end), self.title(now_ms));
        let quoted = self.quoted(document, now_ms, loopback, &mut findings);

        let root = tree::root_of(&nonce, &document.nonce_path.0);
        findings.check(
            Check::Nonce,
            root.is_some(),
            if root.is_some() { "fresh" } else { "no proof of inclusion" },
        );
        match (&quoted, root) {
            (Some(quoted), Some(root)) => {
                let expected = report_data(root, &document.keyset.0, &document.devices.0);
                let same =
                    aws_lc_rs::constant_time::verify_slices_are_equal(&quoted.report_data, &expected).is_ok();
                let detail = if same {
                    "covers nonce, keyset and devices"
                } else {
                    "the quote is for another nonce, keyset or devices"
                };
                findings.check(Check::ReportData, same, detail);
            }
            (Some(_), None) => findings.unreached(&[Check::ReportData], Check::Nonce),
            (None, _) => findings.unreached(&[Check::ReportData], Check::Quote),
        }
        let keyset = self.keyset(&document.keyset.0, now_ms, &mut findings);
        let devices_until = match root {
            Some(root) => {
                gpu::judge(self.gpu(), &document.devices.0, root, self.roots(), now_ms, &mut findings)
            }
            None => {
                findings.unreached(&[Check::GpuEvidence], Check::Nonce);
                None
            }
        };
        match (keyset, quoted, devices_until) {
            (Some(keyset), Some(quoted), Some(devices_until)) if findings.are_good() => {
                let ends = [
                    keyset.not_after,
                    now_ms.saturating_add(self.max_verdict_age_ms()),
                    quoted.valid_until,
                    devices_until,
                    ends.unwrap_or(u64::MAX),
                ];
                Ok(Verdict {
                    tee: document.tee,
                    digest: Digest::of(&[&document.keyset.0]),
                    keyset_bytes: document.keyset.0.clone(),
                    keyset,
                    verified_at: now_ms,
                    valid_until: ends.into_iter().min().unwrap_or(now_ms),
                    findings,
                })
            }
            _ => Err(Refusal { findings }),
        }
    }

    fn title(&self, now_ms: u64) -> String {
        let name = self.name().unwrap_or("without a name");
        let version = self.version().map_or_else(String::new, |version| format!(", version {version}"));
        let ended = self.not_after().is_some_and(|end| now_ms >= end);
        format!("{name}{version}{}", if ended { ": it has ended" } else { "" })
    }

    fn quoted(
        &self,
        document: &Document,
        now_ms: u64,
        loopback: bool,
        findings: &mut Findings,
    ) -> Option<Quoted> {
        let tee = document.tee;
        if !self.trusts(tee) {
            findings.failed(Check::Kind, format!("the policy trusts no evidence of kind '{}'", tee.as_str()));
            findings.unreached(&[Check::Quote], Check::Kind);
            return None;
        }
        let other = match tee {
            Tee::Tdx if tdx::is_sgx(&document.quote.0) => Some("of kind 'sgx'"),
            Tee::SevSnp if !snp::is_report(&document.quote.0) => Some("of another kind"),
            _ => None,
        };
        if let Some(other) = other {
            let said = tee.as_str();
            findings.failed(Check::Kind, format!("the document says '{said}', and the quote is {other}"));
            findings.unreached(&[Check::Quote], Check::Kind);
            return None;
        }
        findings.passed(Check::Kind, tee.as_str());
        match tee {
            Tee::Dev => dev::judge(self.dev_roots(), document, loopback, findings),
            Tee::Tdx => tdx::judge(self.tdx()?, document, self.roots(), now_ms, findings),
            Tee::SevSnp => snp::judge(self.snp()?, document, self.roots(), now_ms, findings),
        }
    }

    fn keyset(&self, bytes: &[u8], now_ms: u64, findings: &mut Findings) -> Option<Keyset> {
        let keyset = match read_keyset(bytes) {
            Ok(keyset) => keyset,
            Err(problem) => {
                findings.failed(Check::Keyset, problem);
                findings.unreached(&KEYSET_CHECKS, Check::Keyset);
                return None;
            }
        };
        findings.passed(Check::Keyset, format!("version {}", keyset.version));
        let (from, until) = (keyset.not_before, keyset.not_after);
        let valid = (from..until).contains(&now_ms);
        findings.check(
            Check::KeysetValidity,
            valid,
            format!("valid from {} to {}", shown(from), shown(until)),
        );
        match self.max_keyset_age_ms() {
            None => findings.waived(Check::KeysetAge, "the policy does not limit it"),
            Some(most) => {
                let age = now_ms.saturating_sub(from);
                findings.check(Check::KeysetAge, age <= most, format!("{age} ms old, {most} at most"));
            }
        }
        match self.require_kem() {
            None => findings.waived(Check::Kem, "the policy asks for none"),
            Some(kem) => {
                let has = keyset.hpke.iter().any(|key| key.kem == kem.id());
                let detail =
                    format!("the keyset has {} '{}' key", if has { "a" } else { "no" }, kem.as_str());
                findings.check(Check::Kem, has, detail);
            }
        }
        match keyset.prefix_cache {
            PrefixCache::Off => findings.passed(Check::PrefixCache, "off"),
            PrefixCache::Shared if self.allows_shared_prefix_cache() => {
                findings.waived(Check::PrefixCache, "shared")
            }
            PrefixCache::Shared => {
                findings.failed(Check::PrefixCache, "shared: callers can time each other's prompts")
            }
        }
        let (model, weights) = (&keyset.model.id, keyset.model.sha256);
        match self.weights(model) {
            None => findings
                .waived(Check::Model, format!("{model}, weights {weights}; the policy names no models")),
            Some(good) => {
                findings.check(Check::Model, good.contains(&weights), format!("{model}, weights {weights}"));
            }
        }
        let (name, sequence) = (&keyset.release.name, keyset.release.sequence);
        findings.release(name, sequence, self.min_release(name));
        Some(keyset)
    }
}

/// A time for people, from milliseconds since 1970.
pub(crate) fn shown(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "the end of time".to_owned(), |time| time.to_string())
}

fn read_keyset(bytes: &[u8]) -> Result<Keyset, &'static str> {
    let keyset = Keyset::from_bytes(bytes).map_err(|_| "not of this version's form")?;
    if keyset.version != KEYSET_VERSION {
        return Err("of another version");
    }
    if keyset.hpke.is_empty() {
        return Err("it has no HPKE key");
    }
    if keyset.receipt_key().is_err() {
        return Err("its receipt key is not Ed25519");
    }
    Ok(keyset)
}

#[cfg(test)]
mod tests;
