//! The report for people: what failed first, and all of it on one screen.

use std::fmt::{self, Write as _};

use cocoon_attestation::{Findings, Outcome};
use cocoon_sealing::Kem;

use super::{Backend, Evidence, PolicyInForce, Report, Verdict};
use crate::clock::{shown, span};

/// Columns of a terminal that are filled.
const WIDTH: usize = 120;
/// Longest text of somebody else's, characters.
const MAX_QUOTED: usize = 300;
/// Before what belongs to one backend.
const MARGIN: &str = "            ";

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "gateway  {}", self.gateway)?;
        match &self.policy {
            Some(policy) => policy.write(text, self.at)?,
            None => writeln!(text, "policy   none is in force")?,
        }
        if self.models.is_empty() {
            writeln!(text, "\nNothing is verified yet: nothing was asked for.")?;
        }
        for model in &self.models {
            writeln!(text, "\nmodel {}", quoted(&model.model))?;
            for backend in &model.backends {
                backend.write(text, self.at)?;
            }
            for warning in &model.warnings {
                writeln!(text, "  WARNING   {warning}")?;
            }
        }
        Ok(())
    }
}

impl PolicyInForce {
    fn write(&self, text: &mut String, now: u64) -> fmt::Result {
        let name = self.name.as_deref().map_or("without a name".into(), quoted);
        write!(text, "policy   {name}")?;
        if let Some(version) = self.version {
            write!(text, ", version {version}")?;
        }
        match &self.signer {
            Some(signer) => writeln!(text, ", signed by {signer}")?,
            None => writeln!(text, ", a local file that nobody signed")?,
        }
        match self.not_after {
            None => writeln!(text, "         has no end")?,
            Some(end) => writeln!(text, "         ends {}", when(end, now))?,
        }
        for (release, oldest) in &self.min_release {
            writeln!(text, "         believes release {} from {oldest} on", quoted(release))?;
        }
        writeln!(text, "         sha256 {}", self.sha256)
    }
}

impl Backend {
    fn write(&self, text: &mut String, now: u64) -> fmt::Result {
        match &self.verdict {
            Verdict::Verified(evidence) => {
                writeln!(text, "  VERIFIED  keyset {}", self.keyset)?;
                evidence.write(text, now)?;
            }
            Verdict::Refused { reason } => {
                writeln!(text, "  REFUSED   keyset {}", self.keyset)?;
                // What failed says it all.
                if self.checks.failures().next().is_none() {
                    writeln!(text, "{MARGIN}{}", quoted(reason))?;
                }
            }
        }
        write_checks(&self.checks, text)
    }
}

impl Evidence {
    fn write(&self, text: &mut String, now: u64) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(text, "{MARGIN}{warning}")?;
        }
        let kems: Vec<&str> = self.kems.iter().map(|kem| kem_name(*kem)).collect();
        writeln!(
            text,
            "{MARGIN}tee {}, sealed with {} (of {}), release {} {} (oldest believed: {})",
            self.tee,
            kem_name(self.kem),
            kems.join(", "),
            quoted(&self.release),
            self.sequence,
            self.floor
        )?;
        writeln!(text, "{MARGIN}verified     {}", when(self.verified_at, now))?;
        writeln!(text, "{MARGIN}valid until  {}", when(self.valid_until, now))?;
        writeln!(text, "{MARGIN}keys end     {}", when(self.not_after, now))
    }
}

/// Failures and what was not asked, each with its detail; what passed, and what was not reached, by name.
fn write_checks(checks: &Findings, text: &mut String) -> fmt::Result {
    for finding in checks.failures() {
        writeln!(text, "{MARGIN}FAILED       {}: {}", finding.check, quoted(&finding.detail))?;
    }
    let of = |outcome: Outcome| checks.as_slice().iter().filter(move |finding| finding.outcome == outcome);
    for (label, outcome) in [("not reached  ", Outcome::Unreached), ("passed       ", Outcome::Passed)] {
        let mut line = String::new();
        let mut begin = label;
        for finding in of(outcome) {
            let name = finding.check.as_str();
            if !line.is_empty() && MARGIN.len() + label.len() + line.len() + name.len() + 2 > WIDTH {
                writeln!(text, "{MARGIN}{begin}{line},")?;
                (begin, line) = ("             ", String::new());
            }
            line.push_str(if line.is_empty() { "" } else { ", " });
            line.push_str(name);
        }
        if !line.is_empty() {
            writeln!(text, "{MARGIN}{begin}{line}")?;
        }
    }
    for finding in of(Outcome::Waived) {
        writeln!(text, "{MARGIN}not asked    {}: {}", finding.check, quoted(&finding.detail))?;
    }
    Ok(())
}

/// A time, and how far it is from now.
fn when(at: u64, now: u64) -> String {
    match at.checked_sub(now) {
        _ if shown(at) == shown(u64::MAX) => shown(at),
        Some(left) => format!("{} (in {})", shown(at), span(left)),
        None => format!("{} ({} ago)", shown(at), span(now - at)),
    }
}

/// Text of the gateway's or a backend's, without what a terminal obeys.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED).map(|char| if is_obeyed(char) { '\u{fffd}' } else { char }).collect()
}

/// What a terminal would obey: control characters, and those that turn the direction of what follows.
pub(crate) fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn kem_name(kem: u16) -> &'static str {
    match Kem::from_id(kem) {
        Some(Kem::XWing) => "X-Wing",
        Some(Kem::X25519) => "X25519",
        None => "an unknown KEM",
    }
}
