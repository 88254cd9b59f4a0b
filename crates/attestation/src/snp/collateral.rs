//! The `collateral` section of a SEV-SNP document: AMD's certificates of the chip's key, below AMD's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};

use crate::x509::{self, CertificateError};

/// Longest section that is read, bytes.
const MAX_COLLATERAL: usize = 256 << 10;

/// Why the collateral cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollateralError {
    #[error("the collateral is longer than {MAX_COLLATERAL} bytes")]
    TooLong,
    #[error("the collateral is not valid: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("the collateral must have a 'vcek', or a 'vlek' with its 'asvk'")]
    Keys,
    #[error("'{0}' is not base64")]
    Base64(&'static str),
    #[error("the certificate '{0}' {1}")]
    Certificate(&'static str, CertificateError),
    #[error("'crl' is not a revocation list")]
    Crl,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    vcek: Option<String>,
    #[serde(default)]
    vlek: Option<String>,
    #[serde(default)]
    asvk: Option<String>,
    #[serde(default)]
    crl: Option<String>,
}

/// Nothing of it is proven yet.
#[derive(Debug)]
pub(crate) struct Collateral {
    /// Of the key that signed the report: the chip's own (VCEK), or one that AMD gave to a provider (VLEK).
    pub(crate) key: Certificate,
    /// The authority above a VLEK (ASVK). That above a VCEK (ASK) is known here.
    pub(crate) asvk: Option<Certificate>,
    /// AMD's list of keys that are not good any more.
    pub(crate) crl: Option<CertificateList>,
}

impl Collateral {
    pub(crate) fn read(section: &[u8]) -> Result<Self, CollateralError> {
        if section.len() > MAX_COLLATERAL {
            return Err(CollateralError::TooLong);
        }
        let written: Written = serde_json::from_slice(section)?;
        let (key, asvk) = match (&written.vcek, &written.vlek, &written.asvk) {
            (Some(vcek), None, None) => (certificate("vcek", vcek)?, None),
            (None, Some(vlek), Some(asvk)) => (certificate("vlek", vlek)?, Some(certificate("asvk", asvk)?)),
            _ => return Err(CollateralError::Keys),
        };
        let crl = written.crl.as_deref().map(revocations).transpose()?;
        Ok(Self { key, asvk, crl })
    }

    /// What AMD calls the key.
    pub(crate) fn key_name(&self) -> &'static str {
        if self.asvk.is_some() { "VLEK" } else { "VCEK" }
    }
}

fn certificate(name: &'static str, text: &str) -> Result<Certificate, CollateralError> {
    let der = STANDARD.decode(text).map_err(|_| CollateralError::Base64(name))?;
    x509::read(&der).map_err(|problem| CollateralError::Certificate(name, problem))
}

fn revocations(text: &str) -> Result<CertificateList, CollateralError> {
    let der = STANDARD.decode(text).map_err(|_| CollateralError::Base64("crl"))?;
    let list = CertificateList::from_der(&der).map_err(|_| CollateralError::Crl)?;
    // As with certificates: what was signed is what was read.
    if list.to_der().is_ok_and(|again| again == der) { Ok(list) } else { Err(CollateralError::Crl) }
}
