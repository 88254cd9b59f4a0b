//! The keys at the top of every chain.

/// Whose signatures are believed in place of the vendors' own. A program believes the vendors and has no way to name
/// others ([`Roots::default`]); tests bring evidence of their own making, which no vendor signs.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// DER certificate in place of Intel's SGX Root CA.
    pub intel: Option<Vec<u8>>,
}
