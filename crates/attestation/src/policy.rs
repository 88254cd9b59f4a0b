//! What a verifier believes, and its verdict on a document.

use std::collections::BTreeMap;

use cocoon_receipts::{Digest, VerifyingKey};
use serde::Deserialize;

use crate::dev;
use crate::document::{Document, Nonce, Tee, report_data};
use crate::keyset::{KEYSET_VERSION, Keyset};

/// IANA HPKE KEM id of X-Wing.
const X_WING: u16 = 0x647a;

/// A policy file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy is not valid: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("dev_roots[{0}] is not an Ed25519 public key in base64url")]
    DevRoot(usize),
}

/// Which evidence is believed. Nothing is, unless the policy says so.
#[derive(Debug, Clone)]
pub struct Policy {
    dev_roots: Vec<VerifyingKey>,
    min_release: BTreeMap<String, u64>,
    require_kem: Option<RequiredKem>,
    digest: Digest,
}

/// What a policy may ask of a keyset's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequiredKem {
    /// ML-KEM-768 with X25519: what is recorded today stays closed to a later quantum computer.
    XWing,
}

impl RequiredKem {
    /// IANA HPKE KEM id.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::XWing => X_WING,
        }
    }

    /// As the policy file writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XWing => "x-wing",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// Development roots, base64url.
    #[serde(default)]
    dev_roots: Vec<String>,
    /// Oldest release that is believed, by the release's name.
    #[serde(default)]
    min_release: BTreeMap<String, u64>,
    /// A keyset without a key of this kind is refused, and no other kind is sealed to.
    #[serde(default)]
    require_kem: Option<RequiredKem>,
}

/// Why a document is not believed. For the log: it names what failed, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the policy trusts no evidence of kind '{}'", .0.as_str())]
    UntrustedKind(Tee),
    #[error("development evidence is accepted on loopback only")]
    DevNotOnLoopback,
    #[error("the quote is not signed by a trusted root")]
    Quote,
    #[error("the quote is for another nonce, keyset or devices")]
    ReportData,
    #[error("the inclusion proof of the nonce is not valid")]
    NoncePath,
    #[error("the document has a '{0}' section, which evidence of this kind must not have")]
    UnexpectedSection(&'static str),
    #[error("the keyset is not valid: {0}")]
    Keyset(&'static str),
    #[error("the keyset has no '{}' key, which the policy requires", .0.as_str())]
    Kem(RequiredKem),
    #[error("release {sequence} is older than {floor}, the oldest that is believed")]
    OldRelease { sequence: u64, floor: u64 },
}

/// A document that was believed.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub tee: Tee,
    pub keyset: Keyset,
    /// The exact bytes that were attested.
    pub keyset_bytes: Vec<u8>,
    /// Their SHA-256.
    pub digest: Digest,
}

impl Policy {
    /// # Errors
    /// [`PolicyError`]; a member that is not known is an error.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = toml::from_str(text)?;
        let dev_roots = file
            .dev_roots
            .iter()
            .enumerate()
            .map(|(at, root)| VerifyingKey::from_base64url(root).map_err(|_| PolicyError::DevRoot(at)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            dev_roots,
            min_release: file.min_release,
            require_kem: file.require_kem,
            digest: Digest::of(&[text.as_bytes()]),
        })
    }

    /// The oldest release of this name that the policy believes; 0 where it does not say.
    #[must_use]
    pub fn min_release(&self, name: &str) -> u64 {
        self.min_release.get(name).copied().unwrap_or(0)
    }

    /// The only kind of key that may be sealed to, if the policy says so.
    #[must_use]
    pub fn require_kem(&self) -> Option<RequiredKem> {
        self.require_kem
    }

    /// SHA-256 of the policy's text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Judges a document that was asked for with `nonce`. `loopback`: both the verifier's listener and the backend
    /// are on this machine. `now_ms`: milliseconds since 1970.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn verify(
        &self,
        document: &Document,
        nonce: Nonce,
        now_ms: u64,
        loopback: bool,
    ) -> Result<Verdict, Refusal> {
        let reported = match document.tee {
            Tee::Dev => self.dev_report_data(document, loopback)?,
            kind @ (Tee::Tdx | Tee::SevSnp) => return Err(Refusal::UntrustedKind(kind)),
        };
        // Nonces are not gathered under one quote yet, so the tree has one leaf and its proof is empty.
        if !document.nonce_path.0.is_empty() {
            return Err(Refusal::NoncePath);
        }
        let keyset_bytes = &document.keyset.0;
        if reported != report_data(nonce.root(), keyset_bytes, &document.devices.0) {
            return Err(Refusal::ReportData);
        }
        let keyset =
            Keyset::from_bytes(keyset_bytes).map_err(|_| Refusal::Keyset("not of this version's form"))?;
        check_keyset(&keyset, now_ms)?;
        self.check_keys_and_release(&keyset)?;
        Ok(Verdict {
            tee: document.tee,
            keyset,
            keyset_bytes: keyset_bytes.clone(),
            digest: Digest::of(&[keyset_bytes]),
        })
    }

    fn check_keys_and_release(&self, keyset: &Keyset) -> Result<(), Refusal> {
        if let Some(required) = self.require_kem
            && !keyset.hpke.iter().any(|key| key.kem == required.id())
        {
            return Err(Refusal::Kem(required));
        }
        let (sequence, floor) = (keyset.release.sequence, self.min_release(&keyset.release.name));
        if sequence < floor { Err(Refusal::OldRelease { sequence, floor }) } else { Ok(()) }
    }

    fn dev_report_data(&self, document: &Document, loopback: bool) -> Result<[u8; 64], Refusal> {
        if self.dev_roots.is_empty() {
            return Err(Refusal::UntrustedKind(Tee::Dev));
        }
        if !loopback {
            return Err(Refusal::DevNotOnLoopback);
        }
        for (name, section) in [
            ("devices", &document.devices),
            ("collateral", &document.collateral),
            ("event_log", &document.event_log),
            ("release_bundle", &document.release_bundle),
        ] {
            if !section.0.is_empty() {
                return Err(Refusal::UnexpectedSection(name));
            }
        }
        dev::open_quote(&document.quote.0, &self.dev_roots).ok_or(Refusal::Quote)
    }
}

fn check_keyset(keyset: &Keyset, now_ms: u64) -> Result<(), Refusal> {
    if keyset.version != KEYSET_VERSION {
        return Err(Refusal::Keyset("another version"));
    }
    if now_ms < keyset.not_before || now_ms >= keyset.not_after {
        return Err(Refusal::Keyset("not valid at this time"));
    }
    if keyset.hpke.is_empty() {
        return Err(Refusal::Keyset("no HPKE key"));
    }
    if keyset.receipt_key().is_err() {
        return Err(Refusal::Keyset("the receipt key is not Ed25519"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cocoon_receipts::SigningKey;

    use super::*;
    use crate::dev::DevRoot;
    use crate::document::Section;
    use crate::keyset::{EngineInfo, HpkeKey, ModelInfo, Operator, PrefixCache, Release};

    const NOW: u64 = 1_000_000;

    fn keyset() -> Keyset {
        Keyset {
            version: KEYSET_VERSION,
            operator: Operator { address: "0:00".parse().unwrap(), workchain: 0 },
            not_before: NOW - 1,
            not_after: NOW + 1,
            hpke: vec![HpkeKey::new(0, 0x20, &[9; 32])],
            receipt_key: SigningKey::generate().unwrap().public().to_jwk(),
            model: ModelInfo {
                id: "m".into(),
                sha256: Digest([3; 32]),
                quantization: "q8_0".into(),
                context_length: 8192,
            },
            engine: EngineInfo { name: "mistral.rs".into(), version: "0.8.1".into() },
            prefix_cache: PrefixCache::Off,
            release: Release { name: "dev".into(), sequence: 0 },
        }
    }

    fn root() -> (DevRoot, Policy) {
        let key = SigningKey::generate().unwrap();
        let policy =
            Policy::from_toml(&format!("dev_roots = [\"{}\"]", key.public().to_base64url())).unwrap();
        (DevRoot::new(key), policy)
    }

    const NONCE: Nonce = Nonce([5; 32]);

    #[test]
    fn a_document_of_a_trusted_root_is_believed() {
        let (root, policy) = root();
        let bytes = keyset().to_bytes();
        let verdict = policy.verify(&root.document(&bytes, NONCE), NONCE, NOW, true).unwrap();
        assert_eq!(verdict.digest, Digest::of(&[&bytes]));
        assert_eq!(verdict.tee, Tee::Dev);
    }

    #[test]
    fn everything_else_is_refused() {
        let (root, policy) = root();
        let (stranger, _) = self::root();
        let bytes = keyset().to_bytes();
        let good = root.document(&bytes, NONCE);
        let refusal = |document: &Document, nonce| policy.verify(document, nonce, NOW, true).unwrap_err();

        assert_eq!(refusal(&stranger.document(&bytes, NONCE), NONCE), Refusal::Quote);
        assert_eq!(refusal(&good, Nonce([6; 32])), Refusal::ReportData);
        assert_eq!(
            refusal(&Document { tee: Tee::Tdx, ..good.clone() }, NONCE),
            Refusal::UntrustedKind(Tee::Tdx)
        );
        let mut other = keyset();
        other.operator.workchain = -1;
        let swapped = Document { keyset: Section(other.to_bytes()), ..good.clone() };
        assert_eq!(refusal(&swapped, NONCE), Refusal::ReportData);
        let extra = Document { collateral: Section(vec![1]), ..good.clone() };
        assert_eq!(refusal(&extra, NONCE), Refusal::UnexpectedSection("collateral"));
        let path = Document { nonce_path: Section(vec![0; 32]), ..good.clone() };
        assert_eq!(refusal(&path, NONCE), Refusal::NoncePath);
        assert_eq!(policy.verify(&good, NONCE, NOW, false).unwrap_err(), Refusal::DevNotOnLoopback);
        assert_eq!(
            policy.verify(&good, NONCE, NOW + 1, true).unwrap_err(),
            Refusal::Keyset("not valid at this time")
        );
        for at in 0..good.quote.0.len() {
            let mut changed = good.clone();
            changed.quote.0[at] ^= 1;
            assert_eq!(refusal(&changed, NONCE), Refusal::Quote, "byte {at}");
        }
    }

    #[test]
    fn an_empty_policy_believes_nothing() {
        let (root, _) = root();
        let policy = Policy::from_toml("").unwrap();
        let document = root.document(&keyset().to_bytes(), NONCE);
        assert_eq!(policy.verify(&document, NONCE, NOW, true).unwrap_err(), Refusal::UntrustedKind(Tee::Dev));
    }

    fn verdict_under(more: &str, keyset: &Keyset) -> Result<Verdict, Refusal> {
        let key = SigningKey::generate().unwrap();
        let text = format!("dev_roots = [\"{}\"]\n{more}", key.public().to_base64url());
        let policy = Policy::from_toml(&text).unwrap();
        policy.verify(&DevRoot::new(key).document(&keyset.to_bytes(), NONCE), NONCE, NOW, true)
    }

    #[test]
    fn a_keyset_without_the_required_kem_is_refused() {
        let mut keyset = keyset();
        let required = "require_kem = \"x-wing\"";
        assert_eq!(verdict_under(required, &keyset).unwrap_err(), Refusal::Kem(RequiredKem::XWing));
        assert!(verdict_under("", &keyset).is_ok());
        keyset.hpke.push(HpkeKey::new(1, X_WING, &[9; 1216]));
        assert!(verdict_under(required, &keyset).is_ok());
        assert!(Policy::from_toml("require_kem = \"x25519\"").is_err());
    }

    #[test]
    fn a_release_below_the_policys_is_refused_and_other_names_are_not() {
        let mut keyset = keyset();
        keyset.release = Release { name: "cocoon".into(), sequence: 6 };
        let policy = "[min_release]\ncocoon = 7\nother = 9";
        assert_eq!(
            verdict_under(policy, &keyset).unwrap_err(),
            Refusal::OldRelease { sequence: 6, floor: 7 }
        );
        keyset.release.sequence = 7;
        assert!(verdict_under(policy, &keyset).is_ok());
        keyset.release = Release { name: "unnamed".into(), sequence: 0 };
        assert!(verdict_under(policy, &keyset).is_ok());
    }

    #[test]
    fn unknown_members_are_errors() {
        assert!(Policy::from_toml("accept_everything = true").is_err());
        assert!(matches!(Policy::from_toml("dev_roots = [\"x\"]"), Err(PolicyError::DevRoot(0))));
        let (root, _) = root();
        let document = serde_json::to_value(root.document(&keyset().to_bytes(), NONCE)).unwrap();
        let mut more = document.clone();
        more["extra"] = "".into();
        assert!(serde_json::from_value::<Document>(document).is_ok());
        assert!(serde_json::from_value::<Document>(more).is_err());
    }
}
