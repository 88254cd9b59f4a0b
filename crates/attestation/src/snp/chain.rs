//! Whether a report is authentic: AMD's root signed an authority, it signed the certificate of a key, the certificate is of
//! this chip at this TCB, and the key signed the report.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use sev::certs::snp::builtin;
use sev::firmware::host::TcbVersion;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};

use super::collateral::Collateral;
use super::report::{self, Report};
use crate::policy::SnpProduct;
use crate::roots::Roots;
use crate::verify::shown;
use crate::x509::{self, CertificateError, Scheme};

/// How AMD signs certificates and revocation lists (57230).
const SCHEMES: [Scheme; 1] = [Scheme::RsaPssSha384];
/// SIGNATURE_ALGO: ECDSA on P-384 with SHA-384.
const ECDSA_P384: u32 = 1;
/// KEY_INFO.SIGNING_KEY.
const SIGNED_BY_VCEK: u32 = 0;
const SIGNED_BY_VLEK: u32 = 1;
/// Bits of KEY_INFO that have a meaning.
const KEY_INFO: u32 = 0b1_1111;

/// Extensions of a chip's certificate (57230, "VCEK certificate extensions").
const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const BOOTLOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const PROVIDER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");

/// Why a report is not authentic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("the {0} certificate {1}")]
    Certificate(&'static str, CertificateError),
    #[error("the certificate is of no processor that is known here")]
    Product,
    #[error("the report is of a {0}, and the certificate of a {1}")]
    OtherProduct(&'static str, &'static str),
    #[error("the certificate's key is not on P-384")]
    Curve,
    #[error("the certificate is of another chip than the report")]
    Chip,
    #[error("the certificate names no provider")]
    Provider,
    #[error("the certificate's {0} is {1}, and the report's {2}")]
    Tcb(&'static str, String, u8),
    #[error("the report is signed by another kind of key than the certificate's")]
    SigningKey,
    #[error("the platform does not sign its reports")]
    Unsigned,
    #[error("the report's signature is of an algorithm that is not known here")]
    Algorithm,
    #[error("the report is not signed by the certificate's key")]
    Signature,
}

/// Why a chain does not stand now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValidityError {
    #[error("the {name} certificate is valid from {from} to {until}", from = shown(*from), until = shown(*until))]
    Dates { name: &'static str, from: u64, until: u64 },
    #[error("the revocation list is not of the root of this product")]
    ListIssuer,
    #[error("the revocation list has an extension that is not known here")]
    ListExtension,
    #[error("the revocation list is valid from {from} to {until}", from = shown(*from), until = shown(*until))]
    ListDates { from: u64, until: u64 },
    #[error("the {0} certificate is revoked")]
    Revoked(&'static str),
}

/// A chain that leads from AMD's root to the key that signed the report.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    product: SnpProduct,
    ark: Certificate,
    authority: (&'static str, Certificate),
    key: (&'static str, &'a Certificate),
    crl: Option<&'a CertificateList>,
}

/// The chain of an authentic report.
pub(crate) fn verify<'a>(
    report: &Report,
    collateral: &'a Collateral,
    roots: &Roots,
) -> Result<Chain<'a>, ChainError> {
    let (name, key) = (collateral.key_name(), &collateral.key);
    let product = product(key).ok_or(ChainError::Product)?;
    if let Some(own) = report.product.filter(|own| *own != product) {
        return Err(ChainError::OtherProduct(report::name(own), report::name(product)));
    }
    let (ark, ask) = authorities(product, roots)?;
    let authority = match &collateral.asvk {
        None => ("ASK", ask),
        Some(asvk) => ("ASVK", asvk.clone()),
    };
    let named = |name| move |problem| ChainError::Certificate(name, problem);
    x509::issued(&authority.1, &ark, &SCHEMES).map_err(named(authority.0))?;
    x509::is_authority(&authority.1).map_err(named(authority.0))?;
    x509::issued(key, &authority.1, &SCHEMES).map_err(named(name))?;

    if collateral.asvk.is_none() {
        is_of_chip(key, product, &report.fields.chip_id)?;
    } else {
        x509::extension(key, PROVIDER_ID).ok_or(ChainError::Provider)?;
    }
    is_at_tcb(key, product, &report.fields.reported_tcb)?;
    is_signed(report, collateral)?;
    Ok(Chain { product, ark, authority, key: (name, key), crl: collateral.crl.as_ref() })
}

impl Chain<'_> {
    pub(crate) fn product(&self) -> SnpProduct {
        self.product
    }

    /// Until when the chain stands, milliseconds since 1970, and in words.
    pub(crate) fn validity(&self, now_ms: u64) -> Result<(u64, String), ValidityError> {
        let mut ends = u64::MAX;
        for (name, certificate) in [("ARK", &self.ark), (self.authority.0, &self.authority.1), self.key] {
            let (from, until) = x509::validity(certificate);
            if !(from..=until).contains(&now_ms) {
                return Err(ValidityError::Dates { name, from, until });
            }
            ends = ends.min(until);
        }
        let list = match self.crl {
            None => ", no revocation list is given",
            Some(list) => {
                ends = ends.min(self.revocations(list, now_ms)?);
                ", and nothing is revoked"
            }
        };
        Ok((ends, format!("in date until {}{list}", shown(ends))))
    }

    /// Until when the list stands, which must be AMD's and have none of the chain.
    fn revocations(&self, list: &CertificateList, now_ms: u64) -> Result<u64, ValidityError> {
        let (body, root) = (&list.tbs_cert_list, &self.ark.tbs_certificate);
        let signed = body.to_der().map_err(|_| ValidityError::ListIssuer)?;
        let key = &root.subject_public_key_info;
        let good = body.issuer == root.subject
            && body.signature == list.signature_algorithm
            && x509::is_signed(&signed, &list.signature_algorithm, &list.signature, key, &SCHEMES);
        if !good {
            return Err(ValidityError::ListIssuer);
        }
        let revoked = body.revoked_certificates.as_deref().unwrap_or_default();
        // Such as one that makes the list say nothing of these certificates (RFC 5280 section 5.2).
        let mut extensions = revoked
            .iter()
            .filter_map(|entry| entry.crl_entry_extensions.as_ref())
            .chain(&body.crl_extensions);
        if extensions.any(|extensions| extensions.iter().any(|extension| extension.critical)) {
            return Err(ValidityError::ListExtension);
        }
        let (from, until) = (x509::millis(body.this_update), body.next_update.map_or(0, x509::millis));
        if !(from..=until).contains(&now_ms) {
            return Err(ValidityError::ListDates { from, until });
        }
        for (name, certificate) in [(self.authority.0, &self.authority.1), self.key] {
            let serial = &certificate.tbs_certificate.serial_number;
            if revoked.iter().any(|entry| entry.serial_number == *serial) {
                return Err(ValidityError::Revoked(name));
            }
        }
        Ok(until)
    }
}

/// AMD's root and authority for chips' keys.
fn authorities(product: SnpProduct, roots: &Roots) -> Result<(Certificate, Certificate), ChainError> {
    let unreadable = |name| move |_| ChainError::Certificate(name, CertificateError::Malformed);
    if let Some(own) = roots.amd.get(&product) {
        let read =
            |name, der: &[u8]| x509::read(der).map_err(|problem| ChainError::Certificate(name, problem));
        return Ok((read("ARK", &own.ark)?, read("ASK", &own.ask)?));
    }
    let (ark, ask) = match product {
        SnpProduct::Milan => (builtin::milan::ark(), builtin::milan::ask()),
        SnpProduct::Genoa => (builtin::genoa::ark(), builtin::genoa::ask()),
        SnpProduct::Turin => (builtin::turin::ark(), builtin::turin::ask()),
    };
    Ok((ark.map_err(unreadable("ARK"))?.into(), ask.map_err(unreadable("ASK"))?.into()))
}

/// The product that a certificate names, such as `Milan-B0`.
fn product(key: &Certificate) -> Option<SnpProduct> {
    let name = Ia5StringRef::from_der(x509::extension(key, PRODUCT_NAME)?).ok()?;
    let (product, _stepping) = name.as_str().split_once('-').unwrap_or((name.as_str(), ""));
    [SnpProduct::Milan, SnpProduct::Genoa, SnpProduct::Turin]
        .into_iter()
        .find(|known| report::name(*known) == product)
}

/// The extension has the chip's id bare: 64 bytes, or 8 on Turin, where the report's other bytes are zero.
fn is_of_chip(key: &Certificate, product: SnpProduct, chip: &[u8; 64]) -> Result<(), ChainError> {
    let length = if product == SnpProduct::Turin { 8 } else { 64 };
    let (id, rest) = chip.split_at_checked(length).ok_or(ChainError::Chip)?;
    let hardware = x509::extension(key, HARDWARE_ID).ok_or(ChainError::Chip)?;
    let same = hardware == id && rest.iter().all(|byte| *byte == 0);
    // A platform that hides its id reports zeros.
    if same && id.iter().any(|byte| *byte != 0) { Ok(()) } else { Err(ChainError::Chip) }
}

/// The key is derived from the TCB that the report claims, and the certificate says from which.
fn is_at_tcb(key: &Certificate, product: SnpProduct, tcb: &TcbVersion) -> Result<(), ChainError> {
    // Where the numbers lie in a report depends on the product, which a report of version 2 does not name.
    if tcb.fmc.is_some() != (product == SnpProduct::Turin) {
        return Err(ChainError::Product);
    }
    let parts = [
        ("bootloader", BOOTLOADER, Some(tcb.bootloader)),
        ("tee", TEE, Some(tcb.tee)),
        ("snp", SNP, Some(tcb.snp)),
        ("microcode", MICROCODE, Some(tcb.microcode)),
        ("fmc", FMC, tcb.fmc),
    ];
    for (name, id, wanted) in parts {
        let Some(wanted) = wanted else { continue };
        let has = x509::extension(key, id).and_then(|der| u8::from_der(der).ok());
        if has != Some(wanted) {
            let has = has.map_or_else(|| "missing".to_owned(), |has| has.to_string());
            return Err(ChainError::Tcb(name, has, wanted));
        }
    }
    Ok(())
}

fn is_signed(report: &Report, collateral: &Collateral) -> Result<(), ChainError> {
    let info = report.fields.key_info;
    let expected = if collateral.asvk.is_none() { SIGNED_BY_VCEK } else { SIGNED_BY_VLEK };
    if info.mask_chip_key() {
        return Err(ChainError::Unsigned);
    }
    if info.signing_key() != expected || u32::from(info) & !KEY_INFO != 0 {
        return Err(ChainError::SigningKey);
    }
    if report.fields.sig_algo != ECDSA_P384 {
        return Err(ChainError::Algorithm);
    }
    let point =
        x509::p384_point(&collateral.key.tbs_certificate.subject_public_key_info).ok_or(ChainError::Curve)?;
    let signature = report.signature().ok_or(ChainError::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
        .verify(report.signed(), &signature)
        .map_err(|_| ChainError::Signature)
}
