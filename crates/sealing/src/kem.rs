/// The key encapsulation mechanisms a request may be sealed with.
///
/// The KDF and the AEAD are the same for both: HKDF-SHA256 and AES-256-GCM (EHBP 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kem {
    /// DHKEM(X25519, HKDF-SHA256), RFC 9180 section 7.1: what every EHBP client speaks.
    X25519,
    /// X-Wing, ML-KEM-768 with X25519 (draft-ietf-hpke-pq): also safe from a later quantum computer.
    XWing,
}

impl Kem {
    /// Every KEM, in the order in which key configurations are published.
    pub const ALL: [Self; 2] = [Self::X25519, Self::XWing];

    /// The KEM's number in the IANA HPKE registry.
    pub const fn id(self) -> u16 {
        match self {
            Self::X25519 => 0x0020,
            Self::XWing => 0x647a,
        }
    }

    /// The KEM of an IANA number, or `None` for one that is not supported here.
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0020 => Some(Self::X25519),
            0x647a => Some(Self::XWing),
            _ => None,
        }
    }

    /// Bytes in an encapsulated key: `Nenc` of RFC 9180 section 4.
    pub const fn encapsulated_key_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1120,
        }
    }

    /// Bytes in a public key: `Npk` of RFC 9180 section 4.
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }
}
