//! What is asked of AMD SEV-SNP reports. VMPL 0, no debug, no migration are asked always.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hex::Hex;

/// The `[snp]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpPolicy {
    /// What may run.
    pub images: Vec<SnpImage>,
    /// Lowest security versions, by processor; a processor that is not named is refused.
    pub min_tcb: BTreeMap<SnpProduct, SnpTcb>,
    /// SHA-384 of the key that signed the ID block; zeros: there is none.
    #[serde(default)]
    pub id_key: Hex<48>,
    /// SHA-384 of the author's key; zeros: there is none.
    #[serde(default)]
    pub author_key: Hex<48>,
    #[serde(default)]
    pub host_data: Hex<32>,
    /// Whether another VM may run on the core's other thread.
    #[serde(default)]
    pub allow_smt: bool,
}

/// A VM's image by its launch digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpImage {
    /// For people.
    pub name: String,
    pub launch_digest: Hex<48>,
}

/// Generations of EPYC whose roots are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnpProduct {
    Milan,
    Genoa,
    Turin,
}

/// Security version numbers (SEV-SNP firmware ABI, TCB_VERSION).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpTcb {
    pub bootloader: u8,
    pub tee: u8,
    pub snp: u8,
    pub microcode: u8,
    /// Turin and later.
    #[serde(default)]
    pub fmc: u8,
}
