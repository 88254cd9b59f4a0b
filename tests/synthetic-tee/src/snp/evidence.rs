//! What a synthetic chip's evidence says.

/// What report and certificates say. It passes [`SyntheticSnp::policy_toml`]; every change is signed as if it were true.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub version: u32,
    pub guest_policy: u64,
    pub vmpl: u32,
    pub signature_algorithm: u32,
    pub key_info: u32,
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key: [u8; 48],
    pub author_key: [u8; 48],
    /// The processor's family and model; in reports of version 3 and later.
    pub cpuid: (u8, u8),
    pub chip_id: [u8; 64],
    pub reported: Tcb,
    pub committed: Tcb,
    /// Whether the numbers lie as they do in reports of Turin.
    pub turin: bool,
    pub certificate: ChipCertificate,
    /// A VLEK with its ASVK in place of a VCEK.
    pub vlek: bool,
    pub crl: Option<Crl>,
    /// What is signed by another key than it must be.
    pub forged: Option<Forged>,
}

/// Security version numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb {
    pub fmc: u8,
    pub bootloader: u8,
    pub tee: u8,
    pub snp: u8,
    pub microcode: u8,
}

impl Tcb {
    /// The lower of each number.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            fmc: self.fmc.min(other.fmc),
            bootloader: self.bootloader.min(other.bootloader),
            tee: self.tee.min(other.tee),
            snp: self.snp.min(other.snp),
            microcode: self.microcode.min(other.microcode),
        }
    }
}

/// The certificate of the key that signs reports.
#[derive(Debug, Clone)]
pub struct ChipCertificate {
    pub product_name: String,
    pub hardware_id: Vec<u8>,
    /// To whom AMD gave the key; in the certificate of a VLEK.
    pub provider: Option<String>,
    pub tcb: Tcb,
    /// Of the key, from and until when, days from now.
    pub days: (i64, i64),
    /// Whether the authority above it may sign certificates; only that of a VLEK can be changed, as that of a VCEK is
    /// not in the document.
    pub authority: bool,
}

/// AMD's revocation list.
#[derive(Debug, Clone)]
pub struct Crl {
    pub serials: Vec<u8>,
    /// Whether it has an extension that nobody knows, and must not be used by who does not.
    pub critical: bool,
    /// From and until when, days from now.
    pub days: (i64, i64),
}

/// A signature of a stranger's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forged {
    Report,
    /// The certificate of the key that signs reports.
    Key,
    /// The authority above a VLEK.
    Authority,
    Crl,
}

impl Evidence {
    pub(super) fn genoa() -> Self {
        let tcb = Tcb { fmc: 0, bootloader: 7, tee: 1, snp: 20, microcode: 72 };
        let chip_id = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap_or_default());
        Self {
            version: 3,
            guest_policy: 0x2_0000,
            vmpl: 0,
            signature_algorithm: 1,
            key_info: 0,
            measurement: [0x11; 48],
            host_data: [0; 32],
            id_key: [0; 48],
            author_key: [0; 48],
            cpuid: (0x19, 0x11),
            chip_id,
            reported: tcb,
            committed: tcb,
            turin: false,
            certificate: ChipCertificate {
                product_name: "Genoa-B0".into(),
                hardware_id: chip_id.to_vec(),
                provider: Some("cloud".into()),
                tcb,
                days: (-30, 300),
                authority: true,
            },
            vlek: false,
            crl: None,
            forged: None,
        }
    }

    pub(super) fn turin() -> Self {
        let mut evidence = Self::genoa();
        let tcb = Tcb { fmc: 1, ..evidence.reported };
        (evidence.version, evidence.cpuid, evidence.turin) = (5, (0x1a, 0x02), true);
        (evidence.reported, evidence.committed, evidence.certificate.tcb) = (tcb, tcb, tcb);
        evidence.chip_id[8..].fill(0);
        evidence.certificate.hardware_id = evidence.chip_id[..8].to_vec();
        evidence.certificate.product_name = "Turin".into();
        evidence
    }
}
