//! Vouchers: what a payer has signed that the receiver of its channel may claim, in all.

mod token;

pub use token::{NotAVoucherToken, VOUCHER_TOKEN_PREFIX, VoucherToken};

use cocoon_receipts::NanoTon;

use crate::writer::Writer;
use crate::{Address, ArcCell, CellError, CellHash, GlobalId, KeyPair, PublicKey, Signature};

/// Begins every voucher, so that a signature over one is none over another kind of message: "VOUC".
pub const VOUCHER_DOMAIN: u32 = 0x564f_5543;

/// A voucher that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    #[error("a voucher is for at least 1 nanoTON")]
    Zero,
    #[error("the payer's key did not sign this voucher")]
    Signature,
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// `Voucher` of `contracts/schema.tlb`. The cell is never sent: the channel makes it anew before it checks
/// the signature, so that a voucher is worth nothing on another network or channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    pub global_id: GlobalId,
    pub channel: Address,
    /// Ceiling of all that the receiver may claim from the channel, not in addition to earlier vouchers.
    /// NanoTON, above 0.
    pub cumulative: NanoTon,
}

/// A voucher whose signature is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedVoucher {
    voucher: Voucher,
    signature: Signature,
}

impl Voucher {
    /// # Errors
    /// [`VoucherError::Zero`]: such a voucher allows nothing.
    pub fn cell(&self) -> Result<ArcCell, VoucherError> {
        if self.cumulative == NanoTon::ZERO {
            return Err(VoucherError::Zero);
        }
        Ok(Writer::new()
            .uint(32, VOUCHER_DOMAIN.into())
            .i32(self.global_id.0)
            .address(&self.channel)
            .coins(self.cumulative)
            .cell()?)
    }

    /// What is signed.
    ///
    /// # Errors
    /// As [`Self::cell`].
    pub fn hash(&self) -> Result<CellHash, VoucherError> {
        Ok(CellHash::of(&*self.cell()?))
    }

    /// # Errors
    /// As [`Self::cell`].
    pub fn sign(self, key: &KeyPair) -> Result<SignedVoucher, VoucherError> {
        Ok(SignedVoucher { voucher: self, signature: key.sign(self.hash()?) })
    }

    /// # Errors
    /// [`VoucherError::Signature`] unless `key` has signed this voucher; and as [`Self::cell`].
    pub fn verify(self, signature: &Signature, key: &PublicKey) -> Result<SignedVoucher, VoucherError> {
        if !key.verifies(self.hash()?, signature) {
            return Err(VoucherError::Signature);
        }
        Ok(SignedVoucher { voucher: self, signature: *signature })
    }
}

impl SignedVoucher {
    #[must_use]
    pub fn voucher(&self) -> &Voucher {
        &self.voucher
    }

    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

#[cfg(test)]
mod tests;
