//! Development evidence: a quote signed by a key on the developer's own machine. It proves nothing about hardware
//! and is believed only through a policy that names that very key.

use cocoon_receipts::{Digest, SigningKey, VerifyingKey};

use crate::document::{Document, Nonce, Section, Tee, report_data};
use crate::findings::{Check, Findings};
use crate::tree;
use crate::verify::Quoted;

const QUOTE_LABEL: &[u8] = b"cocoon-dev-quote/v1";

/// The private half of a development root.
#[derive(Debug)]
pub struct DevRoot(SigningKey);

impl DevRoot {
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// A document for `keyset` and one nonce.
    #[must_use]
    pub fn document(&self, keyset: &[u8], nonce: Nonce) -> Document {
        self.document_under(keyset, tree::leaf(&nonce), Vec::new())
    }

    /// A document for `keyset` and the nonce that `nonce_path` proves to be under `root`, loudly of kind `dev`.
    #[must_use]
    pub fn document_under(&self, keyset: &[u8], root: Digest, nonce_path: Vec<u8>) -> Document {
        let data = report_data(root, keyset, &[]);
        let signed = [QUOTE_LABEL, &data].concat();
        let signature = self.0.sign_bytes(&signed);
        Document {
            tee: Tee::Dev,
            keyset: Section(keyset.to_vec()),
            devices: Section::default(),
            quote: Section([signed.as_slice(), &signature].concat()),
            nonce_path: Section(nonce_path),
            collateral: Section::default(),
            event_log: Section::default(),
            release_bundle: Section::default(),
        }
    }
}

/// Judges development evidence: a quote that one of `roots` signed, on this machine, and nothing beside it.
pub(crate) fn judge(
    roots: &[VerifyingKey],
    document: &Document,
    loopback: bool,
    findings: &mut Findings,
) -> Option<Quoted> {
    findings.check(
        Check::Loopback,
        loopback,
        if loopback { "on this machine" } else { "development evidence is accepted on loopback only" },
    );
    let sections = [
        ("devices", &document.devices),
        ("collateral", &document.collateral),
        ("event_log", &document.event_log),
        ("release_bundle", &document.release_bundle),
    ];
    match sections.iter().find(|(_, section)| !section.0.is_empty()) {
        Some((name, _)) => {
            findings.failed(
                Check::Sections,
                format!("'{name}' is not empty, which evidence of this kind must not have"),
            );
        }
        None => findings.passed(Check::Sections, "none but what must be there"),
    }
    let report_data = open_quote(&document.quote.0, roots);
    let signed = if report_data.is_some() {
        "DEVELOPMENT: signed by a root of this machine"
    } else {
        "not signed by a trusted root"
    };
    findings.check(Check::Quote, report_data.is_some(), signed);
    Some(Quoted { report_data: report_data?, valid_until: u64::MAX })
}

/// The report data of a quote that one of `roots` signed.
fn open_quote(quote: &[u8], roots: &[VerifyingKey]) -> Option<[u8; 64]> {
    let (signed, signature) = quote.split_last_chunk::<64>()?;
    let data: [u8; 64] = signed.strip_prefix(QUOTE_LABEL)?.try_into().ok()?;
    roots.iter().any(|root| root.verify_bytes(signed, signature)).then_some(data)
}
