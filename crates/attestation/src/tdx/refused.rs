//! Why dcap-qvl gave no claims. It tells by text alone: the texts of its version 0.7 are sorted here, and a text that is not
//! known proves nothing.

use crate::findings::Check;

/// How far the verification came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of the quote is proven.
    Unproven,
    /// The same, and the collateral's dates are why.
    OutOfDate,
    /// The whole chain of signatures was verified, from the root to the report.
    Signed,
}

/// A quote without claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) check: Check,
    pub(super) stage: Stage,
    /// For people.
    pub(super) why: String,
}

/// The beginnings of texts that mean the same, each with what is told of it; the text itself where that is empty.
type Known = (Check, Stage, &'static [(&'static str, &'static str)]);

const KNOWN: [Known; 6] = [
    (
        Check::Collateral,
        Stage::OutOfDate,
        &[
            ("TCBInfo issue date is in the future", "the TCB info is not issued yet"),
            ("TCBInfo expired", "the TCB info has expired"),
            ("QE Identity issue date is in the future", "the QE identity is not issued yet"),
            ("QE Identity expired", "the QE identity has expired"),
            ("CrlExpired", "a revocation list has expired"),
            ("CertExpired", "a certificate has expired"),
            ("CertNotValidYet", "a certificate is not valid yet"),
        ],
    ),
    // Of any chain up to the root.
    (
        Check::Quote,
        Stage::Unproven,
        &[
            ("InvalidCrlSignatureForPublicKey", "a revocation list is not signed under the trusted root"),
            ("UnknownIssuer", "a certificate is not from the trusted root"),
            ("CertRevoked", "a certificate is revoked"),
        ],
    ),
    (
        Check::Collateral,
        Stage::Unproven,
        &[
            ("Failed to parse root CA CRL", "the root's revocation list cannot be read"),
            ("Failed to parse PCK CRL", "the revocation list of PCK certificates cannot be read"),
            ("Failed to decode TcbInfo", "the TCB info cannot be read"),
            ("Failed to decode QeIdentity", "the QE identity cannot be read"),
            ("Failed to parse TCB Info", ""),
            ("Failed to parse QE Identity", ""),
            ("Certificate chain is too short for", ""),
            ("TCB Info signer must be", ""),
            ("QE Identity signer must be", ""),
            ("Signature is invalid for tcb_info", "the TCB info is not signed by its vendor"),
            ("Signature is invalid for qe_identity", "the QE identity is not signed by its vendor"),
            ("Unsupported QE Identity id/version", ""),
        ],
    ),
    (
        Check::Collateral,
        Stage::Signed,
        &[
            ("Fmspc mismatch", "the TCB info is for another platform"),
            ("TDX quote with non-TDX TCB info", "the TCB info is not for TDX"),
            ("TDX TCB Info is missing tdxModule field", "the TCB info says nothing of the TDX module"),
        ],
    ),
    (
        Check::TdxTcbStatus,
        Stage::Signed,
        &[
            ("No matching TCB level found", "below every TCB level that the vendor knows"),
            ("TCB status is invalid: Revoked", "Revoked"),
            ("TDX module ISVSVN", ""),
            ("No TDX module identity", ""),
        ],
    ),
    (
        Check::TdxMrSeam,
        Stage::Signed,
        &[
            ("TDX module MRSIGNER mismatch", "the TDX module is not signed by its vendor"),
            ("TDX module SEAMATTRIBUTES", ""),
        ],
    ),
];
/// What dcap-qvl says last of all, when everything else was good: bits that it lets nobody allow.
const ATTRIBUTES: [&str; 4] = [
    "Reserved bits in TD attributes are set",
    "TD migration is enabled",
    "SERVTD_EXT is enabled",
    "SEPT_VE_DISABLE is not enabled",
];

impl Refused {
    /// What an error means whose texts are `chain`, from what was tried down to what went wrong.
    pub(super) fn from_texts(chain: &[String]) -> Self {
        let begins = |with: &str| chain.iter().find(|text| text.starts_with(with));
        for (check, stage, texts) in KNOWN {
            for (with, why) in texts {
                if let Some(text) = begins(with) {
                    let why = if why.is_empty() { text } else { *why };
                    return Self { check, stage, why: why.to_owned() };
                }
            }
        }
        match ATTRIBUTES.iter().find_map(|with| begins(with)) {
            Some(text) => Self { check: Check::TdxAttributes, stage: Stage::Signed, why: text.clone() },
            None => Self { check: Check::Quote, stage: Stage::Unproven, why: chain.join(": ") },
        }
    }
}
