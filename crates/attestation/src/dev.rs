//! Development evidence: a quote signed by a key on the developer's own machine. It proves nothing about hardware
//! and is believed only through a policy that names that very key.

use cocoon_receipts::{SigningKey, VerifyingKey};

use crate::document::{Document, Nonce, Section, Tee, report_data};

const QUOTE_LABEL: &[u8] = b"cocoon-dev-quote/v1";

/// The private half of a development root.
#[derive(Debug)]
pub struct DevRoot(SigningKey);

impl DevRoot {
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// A document for `keyset` and `nonce`, loudly of kind `dev`.
    #[must_use]
    pub fn document(&self, keyset: &[u8], nonce: Nonce) -> Document {
        let data = report_data(nonce.root(), keyset, &[]);
        let signed = [QUOTE_LABEL, &data].concat();
        let signature = self.0.sign_bytes(&signed);
        Document {
            tee: Tee::Dev,
            keyset: Section(keyset.to_vec()),
            devices: Section::default(),
            quote: Section([signed.as_slice(), &signature].concat()),
            nonce_path: Section::default(),
            collateral: Section::default(),
            event_log: Section::default(),
            release_bundle: Section::default(),
        }
    }
}

/// The report data of a development quote that one of `roots` signed.
pub(crate) fn open_quote(quote: &[u8], roots: &[VerifyingKey]) -> Option<[u8; 64]> {
    let (signed, signature) = quote.split_last_chunk::<64>()?;
    let data: [u8; 64] = signed.strip_prefix(QUOTE_LABEL)?.try_into().ok()?;
    roots.iter().any(|root| root.verify_bytes(signed, signature)).then_some(data)
}
