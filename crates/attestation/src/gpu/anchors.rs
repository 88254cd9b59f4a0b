//! The authorities that NVIDIA's attestation service signs its tokens' keys with.

use crate::roots::Roots;

/// An authority by its key. The root above it is published nowhere, so nothing proves what else its certificate says:
/// its end is written down here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(super) spki: [u8; 32],
    /// Seconds since 1970.
    pub(super) ends: u64,
}

/// As `https://nras.attestation.nvidia.com/.well-known/jwks.json` presents them.
const NVIDIA: [(&str, u64); 2] = [
    // "NVIDIA Attestation Service GPU Intermediate 004", until 2029-12-08.
    ("fd32837f954e2c45db073105166dfe6985ae0480bb113fba63b091a75affe896", 1_891_382_400),
    // "NVIDIA Attestation Service GPU Intermediate 005", until 2030-10-08.
    ("ba14d00377699189b6762c22c744a9dbdc62aa9396097ada7150426c6ff39afc", 1_917_648_000),
];

/// Those that are believed.
pub(super) fn anchors(roots: &Roots) -> Vec<Anchor> {
    if roots.nvidia.is_empty() {
        let anchor = |(spki, ends): &(&str, u64)| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(spki, &mut bytes).ok().map(|()| Anchor { spki: bytes, ends: *ends })
        };
        NVIDIA.iter().filter_map(anchor).collect()
    } else {
        roots.nvidia.iter().map(|spki| Anchor { spki: *spki, ends: u64::MAX }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_others_are_given_nvidias_are_believed() {
        let end = |text: &str| u64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_second()).unwrap();
        let ends: Vec<u64> = anchors(&Roots::default()).iter().map(|anchor| anchor.ends).collect();
        assert_eq!(ends, [end("2029-12-08T00:00:00Z"), end("2030-10-08T00:00:00Z")]);
        let own = anchors(&Roots { nvidia: vec![[7; 32]], ..Roots::default() });
        assert!(own.len() == 1 && own[0].spki == [7; 32], "{own:?}");
    }
}
