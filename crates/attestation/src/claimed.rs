//! What a document says of its machine, before anything of it is proven: where a policy's author begins.

use dcap_qvl::quote::{Quote, Report};
use sev::Generation;
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

use crate::document::{Document, Tee};
use crate::keyset::Keyset;
use crate::policy::{Hex, SnpTcb};

/// The words of an unverified document.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub keyset: Keyset,
    pub machine: ClaimedMachine,
    /// Whether there is evidence of GPUs.
    pub has_devices: bool,
}

/// What its quote says was measured.
#[derive(Debug, Clone)]
pub enum ClaimedMachine {
    Tdx(Box<ClaimedTdx>),
    Snp(Box<ClaimedSnp>),
    Dev,
}

/// The fields of a TDX quote that a policy speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedTdx {
    pub mr_seam: Hex<48>,
    pub mr_td: Hex<48>,
    pub rtmr: [Hex<48>; 4],
    pub mr_config_id: Hex<48>,
    pub mr_owner: Hex<48>,
    pub mr_owner_config: Hex<48>,
    pub xfam: Hex<8>,
}

/// The fields of an SEV-SNP report that a policy speaks of.
#[derive(Debug, Clone)]
pub struct ClaimedSnp {
    /// As a policy names the processor; none where it is none that is known.
    pub product: Option<&'static str>,
    pub tcb: SnpTcb,
    pub launch_digest: Hex<48>,
    pub id_key: Hex<48>,
    pub author_key: Hex<48>,
    pub host_data: Hex<32>,
    pub allows_smt: bool,
}

/// A document that cannot be read that far.
#[derive(Debug, thiserror::Error)]
pub enum ClaimedError {
    #[error("its keyset is not of this version's form")]
    Keyset,
    #[error("its quote is not one of kind '{}'", .0.as_str())]
    Quote(Tee),
}

impl Claimed {
    /// Reads a document without verifying anything.
    ///
    /// # Errors
    /// [`ClaimedError`].
    pub fn read(document: &Document) -> Result<Self, ClaimedError> {
        let quote = document.quote.0.as_slice();
        let machine = match document.tee {
            Tee::Dev => Some(ClaimedMachine::Dev),
            Tee::Tdx => tdx(quote).map(|tdx| ClaimedMachine::Tdx(Box::new(tdx))),
            Tee::SevSnp => snp(quote).map(|snp| ClaimedMachine::Snp(Box::new(snp))),
        };
        Ok(Self {
            keyset: Keyset::from_bytes(&document.keyset.0).map_err(|_| ClaimedError::Keyset)?,
            machine: machine.ok_or(ClaimedError::Quote(document.tee))?,
            has_devices: !document.devices.0.is_empty(),
        })
    }
}

fn tdx(quote: &[u8]) -> Option<ClaimedTdx> {
    let report = match Quote::parse(quote).ok()?.report {
        Report::SgxEnclave(_) => return None,
        Report::TD10(report) => report,
        Report::TD15(report) => report.base,
        Report::TD15Ex(report) => report.base.base,
    };
    Some(ClaimedTdx {
        mr_seam: Hex(report.mr_seam),
        mr_td: Hex(report.mr_td),
        rtmr: [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3].map(Hex),
        mr_config_id: Hex(report.mr_config_id),
        mr_owner: Hex(report.mr_owner),
        mr_owner_config: Hex(report.mr_owner_config),
        xfam: Hex(report.xfam),
    })
}

fn snp(quote: &[u8]) -> Option<ClaimedSnp> {
    let report = AttestationReport::from_bytes(quote).ok()?;
    let generation = match (report.cpuid_fam_id, report.cpuid_mod_id) {
        (Some(family), Some(model)) => Generation::identify_cpu(family, model).ok(),
        _ => None,
    };
    let product = match generation {
        Some(Generation::Milan) => Some("milan"),
        Some(Generation::Genoa) => Some("genoa"),
        Some(Generation::Turin) => Some("turin"),
        _ => None,
    };
    let tcb = report.reported_tcb;
    Some(ClaimedSnp {
        product,
        tcb: SnpTcb {
            bootloader: tcb.bootloader,
            tee: tcb.tee,
            snp: tcb.snp,
            microcode: tcb.microcode,
            fmc: tcb.fmc.unwrap_or(0),
        },
        launch_digest: Hex(report.measurement),
        id_key: Hex(report.id_key_digest),
        author_key: Hex(report.author_key_digest),
        host_data: Hex(report.host_data),
        allows_smt: report.policy.smt_allowed(),
    })
}
