//! The report as the firmware writes it.

use sev::Generation;
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

use crate::policy::SnpProduct;

/// Bytes of a report.
const LENGTH: usize = 1184;
/// How many of them are signed; the signature follows.
const SIGNED: usize = 0x2a0;
/// Bytes of each half of a signature, little-endian; a number on P-384 has 48 of them.
const HALF: usize = 72;
const NUMBER: usize = 48;
/// Where the guest policy lies.
const POLICY: usize = 8;
/// Versions whose every field is known here.
const VERSIONS: [u32; 3] = [2, 3, 5];

/// Why the quote is not a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("the quote has {0} bytes, and a SEV-SNP report has {LENGTH}")]
    Length(usize),
    #[error("a report of version {0} is not known here")]
    Version(u32),
    #[error("not a SEV-SNP report: {0}")]
    Malformed(String),
    #[error("its processor is not known here")]
    Processor,
}

/// A report, not yet proven.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) fields: AttestationReport,
    /// What the report itself says of its processor; a report of version 2 says nothing.
    pub(crate) product: Option<SnpProduct>,
    bytes: [u8; LENGTH],
}

/// Whether the quote may be a SEV-SNP report: they all have one length, and no other kind of quote has it.
pub(crate) fn is_report(quote: &[u8]) -> bool {
    quote.len() == LENGTH
}

impl Report {
    pub(crate) fn read(quote: &[u8]) -> Result<Self, ReportError> {
        let bytes: [u8; LENGTH] = quote.try_into().map_err(|_| ReportError::Length(quote.len()))?;
        let version = bytes.first_chunk().map_or(0, |version| u32::from_le_bytes(*version));
        if !VERSIONS.contains(&version) {
            return Err(ReportError::Version(version));
        }
        // Refuses reserved bytes that are not zero, of which the parsed fields would say nothing.
        let fields = AttestationReport::from_bytes(&bytes)
            .map_err(|problem| ReportError::Malformed(problem.to_string()))?;
        let product = match (fields.cpuid_fam_id, fields.cpuid_mod_id) {
            (Some(family), Some(model)) => Some(product(family, model).ok_or(ReportError::Processor)?),
            _ => None,
        };
        Ok(Self { fields, product, bytes })
    }

    /// What is signed.
    pub(crate) fn signed(&self) -> &[u8] {
        self.bytes.get(..SIGNED).unwrap_or_default()
    }

    /// The signature as `r ‖ s`, big-endian; none where bytes beside the two numbers are not zero.
    pub(crate) fn signature(&self) -> Option<[u8; 2 * NUMBER]> {
        let (r, rest) = self.bytes.get(SIGNED..)?.split_at_checked(HALF)?;
        let (s, rest) = rest.split_at_checked(HALF)?;
        let mut signature = [0; 2 * NUMBER];
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        for (number, half) in signature.chunks_exact_mut(NUMBER).zip([r, s]) {
            let (value, padding) = half.split_at_checked(NUMBER)?;
            number.copy_from_slice(value);
            number.reverse();
            if !zero(padding) {
                return None;
            }
        }
        zero(rest).then_some(signature)
    }

    /// The guest policy bit for bit.
    pub(crate) fn policy(&self) -> u64 {
        self.bytes.get(POLICY..).and_then(<[u8]>::first_chunk).map_or(0, |bits| u64::from_le_bytes(*bits))
    }
}

fn product(family: u8, model: u8) -> Option<SnpProduct> {
    match Generation::identify_cpu(family, model).ok()? {
        Generation::Milan => Some(SnpProduct::Milan),
        Generation::Genoa => Some(SnpProduct::Genoa),
        Generation::Turin => Some(SnpProduct::Turin),
        Generation::Venice => None,
    }
}

/// A product as AMD writes it.
pub(crate) fn name(product: SnpProduct) -> &'static str {
    match product {
        SnpProduct::Milan => "Milan",
        SnpProduct::Genoa => "Genoa",
        SnpProduct::Turin => "Turin",
    }
}
