//! What a registry is asked.

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Address, ArcCell, CellError, CellHash};

/// `RegistryOperation` of `contracts/schema.tlb`, each with a `query_id` that `Excesses` repeats. Hashes are
/// SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryMessage {
    /// The owner. Replaces a policy that waits; the delay of 48 hours begins anew.
    ProposePolicy { version: u32, hash: [u8; 32] },
    /// Anyone, once the delay is over.
    ActivatePolicy,
    /// The owner.
    CancelPolicy,
    /// The owner.
    SetPrices { number: u32, hash: [u8; 32] },
    /// The owner.
    SetGateways { hash: [u8; 32] },
    /// The owner.
    SetChannelCode { hash: CellHash },
    /// The owner.
    SetPublisher { publisher: Address },
    /// The publisher; `epoch` is the last one and 1.
    AppendRoot { epoch: u32, root: [u8; 32] },
}

impl RegistryMessage {
    /// The number that the body begins with, and that the contract's `required_value` takes.
    #[must_use]
    pub fn op(&self) -> u32 {
        match self {
            Self::ProposePolicy { .. } => 0x5247_0101,
            Self::ActivatePolicy => 0x5247_0102,
            Self::CancelPolicy => 0x5247_0103,
            Self::SetPrices { .. } => 0x5247_0104,
            Self::SetGateways { .. } => 0x5247_0105,
            Self::SetChannelCode { .. } => 0x5247_0106,
            Self::SetPublisher { .. } => 0x5247_0107,
            Self::AppendRoot { .. } => 0x5247_0108,
        }
    }

    /// The body.
    ///
    /// # Errors
    /// [`CellError`] never comes of a message; it is what cells can fail with.
    pub fn body(&self, query_id: u64) -> Result<ArcCell, CellError> {
        let writer = Writer::new().uint(32, self.op().into()).uint(64, query_id);
        match self {
            Self::ActivatePolicy | Self::CancelPolicy => writer,
            Self::ProposePolicy { version: number, hash }
            | Self::SetPrices { number, hash }
            | Self::AppendRoot { epoch: number, root: hash } => writer.uint(32, (*number).into()).bytes(hash),
            Self::SetGateways { hash } | Self::SetChannelCode { hash: CellHash(hash) } => writer.bytes(hash),
            Self::SetPublisher { publisher } => writer.address(publisher),
        }
        .cell()
    }

    /// The message in a body, and its `query_id`.
    ///
    /// # Errors
    /// [`CellError`].
    pub fn parse(body: &ArcCell) -> Result<(Self, u64), CellError> {
        let mut reader = Reader::new(body)?;
        let (op, query_id) = (reader.u32()?, reader.uint(64)?);
        let message = match op {
            0x5247_0101 => Self::ProposePolicy { version: reader.u32()?, hash: reader.bytes()? },
            0x5247_0102 => Self::ActivatePolicy,
            0x5247_0103 => Self::CancelPolicy,
            0x5247_0104 => Self::SetPrices { number: reader.u32()?, hash: reader.bytes()? },
            0x5247_0105 => Self::SetGateways { hash: reader.bytes()? },
            0x5247_0106 => Self::SetChannelCode { hash: reader.hash()? },
            0x5247_0107 => Self::SetPublisher { publisher: reader.address()? },
            0x5247_0108 => Self::AppendRoot { epoch: reader.u32()?, root: reader.bytes()? },
            _ => return Err(CellError::Tag("a message of Registry")),
        };
        reader.end()?;
        Ok((message, query_id))
    }
}
