//! What was verified, for people and for programs: `GET /verification` and `cocoon-connect verify`.

use std::fmt::Write as _;

use cocoon_attestation::Tee;
use cocoon_receipts::Digest;
use cocoon_sealing::Kem;
use serde::Serialize;

use crate::clock::shown;
use crate::fleet::{Fleet, Overview, Standing};

const DEVELOPMENT: &str = "DEVELOPMENT evidence: no hardware protects what is sent to it";
const RUN_OUT: &str = "this verdict has run out; the next request verifies the backend again";
const SHRUNK: &str = "only one verified backend is left, and there were more: a gateway can show one user one backend \
                      to know whose requests it gets";

/// All of it, as the JSON says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub gateway: String,
    /// SHA-256 of the policy's text.
    pub policy: String,
    pub models: Vec<Model>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    pub model: String,
    pub backends: Vec<Backend>,
    pub warnings: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Digest of its keyset.
    pub keyset: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    Verified(Evidence),
    /// It is never sealed to.
    Refused {
        reason: String,
    },
}

/// What is known of a verified backend. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    pub tee: &'static str,
    /// IANA numbers of the keys it offers.
    pub kems: Vec<u16>,
    /// The one that is used.
    pub kem: u16,
    pub release: String,
    pub sequence: u64,
    /// The oldest sequence of this release name that is believed.
    pub floor: u64,
    pub verified_at: u64,
    pub valid_until: u64,
    pub not_after: u64,
    pub warnings: Vec<&'static str>,
}

impl Report {
    /// Of everything that is known.
    #[must_use]
    pub fn new(fleet: &Fleet, overview: Vec<Overview>) -> Self {
        let verifier = &fleet.verifier;
        let model = |overview: Overview| Model {
            model: overview.model,
            backends: overview
                .backends
                .iter()
                .map(|(keyset, standing)| backend(fleet, *keyset, standing))
                .collect(),
            warnings: if overview.shrunk_to_one { vec![SHRUNK] } else { Vec::new() },
        };
        Self {
            gateway: verifier.gateway.url().to_string(),
            policy: verifier.policy.digest().to_string(),
            models: overview.into_iter().map(model).collect(),
        }
    }

    /// Whether there is a backend that may be sealed to, and none that was refused.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let mut verdicts =
            self.models.iter().flat_map(|model| &model.backends).map(|backend| &backend.verdict).peekable();
        verdicts.peek().is_some() && verdicts.all(|verdict| matches!(verdict, Verdict::Verified(_)))
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "gateway  {}\npolicy   sha256 {}", self.gateway, self.policy)?;
        if self.models.is_empty() {
            writeln!(text, "\nNothing is verified yet: nothing was asked for.")?;
        }
        for model in &self.models {
            writeln!(text, "\nmodel {}", quoted(&model.model))?;
            for backend in &model.backends {
                match &backend.verdict {
                    Verdict::Verified(evidence) => {
                        writeln!(text, "  VERIFIED  keyset {}", backend.keyset)?;
                        evidence.write(text)?;
                    }
                    Verdict::Refused { reason } => {
                        writeln!(
                            text,
                            "  REFUSED   keyset {}\n            {}",
                            backend.keyset,
                            quoted(reason)
                        )?;
                    }
                }
            }
            for warning in &model.warnings {
                writeln!(text, "  WARNING   {warning}")?;
            }
        }
        Ok(())
    }
}

impl Evidence {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        for warning in &self.warnings {
            writeln!(text, "            {warning}")?;
        }
        let kems: Vec<&str> = self.kems.iter().map(|kem| kem_name(*kem)).collect();
        writeln!(
            text,
            "            tee {}, sealed with {} (of {}), release {} {} (oldest believed: {})",
            self.tee,
            kem_name(self.kem),
            kems.join(", "),
            quoted(&self.release),
            self.sequence,
            self.floor
        )?;
        writeln!(
            text,
            "            verified {}, valid until {}",
            shown(self.verified_at),
            shown(self.valid_until)
        )
    }
}

/// Text of the gateway's or a backend's, which a terminal must not obey.
fn quoted(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

fn kem_name(kem: u16) -> &'static str {
    match Kem::from_id(kem) {
        Some(Kem::XWing) => "X-Wing",
        Some(Kem::X25519) => "X25519",
        None => "an unknown KEM",
    }
}

fn backend(fleet: &Fleet, keyset: Digest, standing: &Standing) -> Backend {
    let verdict = match standing {
        Standing::Refused(reason) => Verdict::Refused { reason: reason.to_string() },
        Standing::Verified(verified) => Verdict::Verified(Evidence {
            tee: verified.tee.as_str(),
            kems: verified.kems.clone(),
            kem: verified.key.kem().id(),
            release: verified.release.name.clone(),
            sequence: verified.release.sequence,
            floor: fleet.verifier.floor_of(&verified.release.name),
            verified_at: verified.verified_at,
            valid_until: verified.valid_until,
            not_after: verified.not_after,
            warnings: [
                (verified.tee == Tee::Dev, DEVELOPMENT),
                (verified.valid_until <= fleet.verifier.clock.now_ms(), RUN_OUT),
            ]
            .into_iter()
            .filter_map(|(applies, warning)| applies.then_some(warning))
            .collect(),
        }),
    };
    Backend { keyset: keyset.to_string(), verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        Evidence {
            tee: "dev",
            kems: vec![0x20, 0x647a],
            kem: 0x647a,
            release: "cocoon\u{1b}[2J".into(),
            sequence: 7,
            floor: 5,
            verified_at: 0,
            valid_until: 3_600_000,
            not_after: u64::MAX,
            warnings: vec![DEVELOPMENT],
        }
    }

    fn report(verdicts: Vec<Verdict>) -> Report {
        let backends = verdicts
            .into_iter()
            .map(|verdict| Backend { keyset: Digest([1; 32]).to_string(), verdict })
            .collect();
        Report {
            gateway: "https://gateway.example".into(),
            policy: Digest([2; 32]).to_string(),
            models: vec![Model { model: "m".into(), backends, warnings: vec![SHRUNK] }],
        }
    }

    #[test]
    fn one_refused_backend_spoils_the_verdict_and_none_is_none() {
        let verified = || Verdict::Verified(evidence());
        let refused = || Verdict::Refused { reason: "r".into() };
        assert!(report(vec![verified(), verified()]).is_good());
        assert!(!report(vec![verified(), refused()]).is_good());
        assert!(!report(vec![refused()]).is_good());
        assert!(!report(vec![]).is_good());
    }

    #[test]
    fn people_read_what_programs_read() {
        let report =
            report(vec![Verdict::Verified(evidence()), Verdict::Refused { reason: "too old".into() }]);
        let text = report.text();
        for part in [
            "https://gateway.example",
            "VERIFIED",
            "X-Wing (of X25519, X-Wing)",
            "oldest believed: 5",
            "REFUSED",
            "too old",
            DEVELOPMENT,
            SHRUNK,
            "Thu, 01 Jan 1970 01:00:00 GMT",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "a name cannot move the cursor");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["models"][0]["backends"][0]["verdict"], "verified");
        assert_eq!(json["models"][0]["backends"][0]["floor"], 5);
        assert_eq!(json["models"][0]["backends"][1]["reason"], "too old");
    }
}
