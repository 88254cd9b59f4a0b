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

/// The certificate of the key that signed the report. None of it is proven yet.
#[derive(Debug)]
pub(crate) enum Key {
    /// The chip's own, under AMD's authority for them (ASK), which is known here.
    Vcek(Certificate),
    /// One that AMD gave to a provider, and the authority above it.
    Vlek { vlek: Certificate, asvk: Certificate },
}

#[derive(Debug)]
pub(crate) struct Collateral {
    pub(crate) key: Key,
    /// AMD's list of keys that are not good any more.
    pub(crate) crl: Option<CertificateList>,
}

impl Collateral {
    pub(crate) fn read(section: &[u8]) -> Result<Self, CollateralError> {
        if section.len() > MAX_COLLATERAL {
            return Err(CollateralError::TooLong);
        }
        let written: Written = serde_json::from_slice(section)?;
        let key = match (&written.vcek, &written.vlek, &written.asvk) {
            (Some(vcek), None, None) => Key::Vcek(certificate("vcek", vcek)?),
            (None, Some(vlek), Some(asvk)) => {
                Key::Vlek { vlek: certificate("vlek", vlek)?, asvk: certificate("asvk", asvk)? }
            }
            _ => return Err(CollateralError::Keys),
        };
        let crl = written.crl.as_deref().map(revocations).transpose()?;
        Ok(Self { key, crl })
    }

    /// What AMD calls the key.
    pub(crate) fn key_name(&self) -> &'static str {
        match self.key {
            Key::Vcek(_) => "VCEK",
            Key::Vlek { .. } => "VLEK",
        }
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
