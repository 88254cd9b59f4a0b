//! The keys at the top of every chain.

use std::collections::BTreeMap;

use crate::policy::SnpProduct;

/// Whose signatures are believed in place of the vendors' own. A program believes the vendors and has no way to name
/// others ([`Roots::default`]); tests bring evidence of their own making, which no vendor signs.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// DER certificate in place of Intel's SGX Root CA.
    pub intel: Option<Vec<u8>>,
    /// In place of AMD's; where it has none, each product has AMD's.
    pub amd: BTreeMap<SnpProduct, AmdRoots>,
    /// SHA-256 of the SubjectPublicKeyInfo of each authority in place of those of NVIDIA's attestation service; where
    /// there are none, NVIDIA's.
    pub nvidia: Vec<[u8; 32]>,
}

/// DER certificates of one product's authorities.
#[derive(Debug, Clone)]
pub struct AmdRoots {
    /// The root (ARK).
    pub ark: Vec<u8>,
    /// The authority of the chips' keys (ASK), which the root signed.
    pub ask: Vec<u8>,
}
