//! AMD's certificates for SEV-SNP: from the table that the host hands to the guest, or from where the configuration
//! says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_process::{FetchError, Fetcher};
use serde::Serialize;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use super::source::Source;
use super::{CollateralError, LIMITS};
use crate::config::EvidenceConfig;
use crate::evidence::tsm::Report;

/// Fields of a report (AMD's SEV-SNP firmware ABI, table "ATTESTATION_REPORT").
const KEY_INFO: usize = 0x48;
const REPORT_DATA: usize = 0x50;
const REPORT_LEN: usize = 0x4a0;

/// Kinds of entries in the host's table, as the GHCB specification names them.
const VCEK: [u8; 16] = guid(0x63da758d_e664_4564_adc5_f4b93be8accd);
const VLEK: [u8; 16] = guid(0xa8074bc2_a25a_483e_aae6_39c045a0b8a1);
/// With a VLEK, this is the authority that issued it.
const ASK: [u8; 16] = guid(0x4ab7b379_bbac_4fe4_a02f_05aef327c782);
const CRL: [u8; 16] = guid(0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea);
const ENTRY_LEN: usize = 24;

const fn guid(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

/// The 64 bytes that a report is on; none where it is no report.
pub(in crate::evidence) fn report_data(report: &[u8]) -> Option<[u8; 64]> {
    (report.len() == REPORT_LEN).then(|| report.get(REPORT_DATA..)?.first_chunk().copied()).flatten()
}

/// Whose key signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    /// The chip's own.
    Vcek,
    /// One that AMD loaded for the cloud's owner.
    Vlek,
}

fn signer(report: &[u8]) -> Result<Signer, CollateralError> {
    let info = report.get(KEY_INFO..).and_then(|rest| rest.first_chunk().copied()).map(u32::from_le_bytes);
    // Bits 2 to 4.
    match info.map(|info| info >> 2 & 7) {
        Some(0) => Ok(Signer::Vcek),
        Some(1) => Ok(Signer::Vlek),
        _ => Err(CollateralError::Platform("it is signed by no key of AMD's")),
    }
}

/// The section: standard base64 of DER.
#[derive(Debug, Default, Serialize)]
struct Section {
    #[serde(skip_serializing_if = "Option::is_none")]
    vcek: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlek: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asvk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl: Option<String>,
}

/// Where certificates come from.
#[derive(Debug)]
pub(in crate::evidence) struct Certificates {
    fetcher: Fetcher,
    vcek: Option<Source>,
    crl: Option<Source>,
}

impl Certificates {
    /// # Errors
    /// [`FetchError::NoRoots`].
    pub(super) fn new(config: &EvidenceConfig) -> Result<Self, FetchError> {
        let source = |place: &Option<String>| place.as_deref().map(Source::new);
        let (vcek, crl) = (source(&config.vcek), source(&config.crl));
        let encrypted = [&vcek, &crl].into_iter().flatten().any(Source::is_encrypted);
        Ok(Self { fetcher: Fetcher::new(encrypted, LIMITS)?, vcek, crl })
    }

    /// The certificates for a report. What is configured goes before what the host hands over.
    pub(super) async fn section(&self, report: &Report, now_ms: u64) -> Result<Vec<u8>, CollateralError> {
        let table = table(&report.auxiliary)?;
        let mut section = Section { crl: self.list(&table, now_ms).await?, ..Section::default() };
        match signer(&report.quote)? {
            Signer::Vcek => section.vcek = Some(self.vcek(&table).await?),
            Signer::Vlek => {
                let named = |guid, name| {
                    let der = find(&table, guid).ok_or(CollateralError::NoCertificate(name))?;
                    certificate(der, "the host's certificate table")
                };
                section.vlek = Some(named(&VLEK, "a VLEK")?);
                section.asvk = Some(named(&ASK, "a VLEK")?);
            }
        }
        serde_json::to_vec(&section).map_err(|_| CollateralError::Table)
    }

    pub(super) async fn refresh(&self) -> Result<(), CollateralError> {
        for source in [&self.vcek, &self.crl].into_iter().flatten() {
            source.refresh(&self.fetcher).await?;
        }
        Ok(())
    }

    async fn vcek(&self, table: &[Entry<'_>]) -> Result<String, CollateralError> {
        match (&self.vcek, find(table, &VCEK)) {
            (Some(source), _) => certificate(&source.read(&self.fetcher).await?, "evidence.vcek"),
            (None, Some(der)) => certificate(der, "the host's certificate table"),
            (None, None) => Err(CollateralError::NoCertificate("a VCEK (evidence.vcek can name it)")),
        }
    }

    /// The revocation list. One that the host hands over is left out where it is out of date: it is a help, no more.
    async fn list(&self, table: &[Entry<'_>], now_ms: u64) -> Result<Option<String>, CollateralError> {
        let in_date = |der: &[u8]| {
            let next = CertificateList::from_der(der).ok()?.tbs_cert_list.next_update?;
            Some(next.to_unix_duration().as_millis() > u128::from(now_ms))
        };
        let Some(source) = &self.crl else {
            let found = find(table, &CRL).filter(|der| in_date(der) == Some(true));
            return Ok(found.map(|der| STANDARD.encode(der)));
        };
        let der = source.read(&self.fetcher).await?;
        match in_date(&der) {
            Some(true) => Ok(Some(STANDARD.encode(der))),
            Some(false) => Err(CollateralError::OutOfDate("AMD's revocation list (evidence.crl)")),
            None => Err(malformed("evidence.crl", "a revocation list in DER")),
        }
    }
}

fn certificate(der: &[u8], from: &str) -> Result<String, CollateralError> {
    match Certificate::from_der(der) {
        Ok(_) => Ok(STANDARD.encode(der)),
        Err(_) => Err(malformed(from, "a certificate in DER")),
    }
}

fn malformed(from: &str, what: &'static str) -> CollateralError {
    CollateralError::Malformed { from: from.to_owned(), what }
}

/// Kind and content.
type Entry<'a> = (&'a [u8; 16], &'a [u8]);

fn find<'a>(table: &[Entry<'a>], kind: &[u8; 16]) -> Option<&'a [u8]> {
    table.iter().find(|(entry, _)| *entry == kind).map(|(_, content)| *content)
}

/// The host's table: entries of kind, offset and length, up to one of zeros; then what they point to.
fn table(bytes: &[u8]) -> Result<Vec<Entry<'_>>, CollateralError> {
    let mut entries = Vec::new();
    if bytes.is_empty() {
        return Ok(entries);
    }
    for entry in bytes.chunks_exact(ENTRY_LEN) {
        let (kind, place) = entry.split_first_chunk::<16>().ok_or(CollateralError::Table)?;
        if entry.iter().all(|byte| *byte == 0) {
            return Ok(entries);
        }
        let number = |bytes: &[u8]| {
            let bytes = bytes.first_chunk().copied().ok_or(CollateralError::Table)?;
            usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| CollateralError::Table)
        };
        let (offset, length) = (number(place)?, number(&place[4..])?);
        let end = offset.checked_add(length).ok_or(CollateralError::Table)?;
        entries.push((kind, bytes.get(offset..end).ok_or(CollateralError::Table)?));
    }
    // Without its end, more may be missing.
    Err(CollateralError::Table)
}

#[cfg(test)]
mod tests;
