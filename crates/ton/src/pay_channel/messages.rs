//! What a channel is asked, and what it sends.

use cocoon_receipts::NanoTon;

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{ArcCell, CellError, Signature};

/// `PayChannelOperation`, `PayChannelAnswer` and `Excesses` of `contracts/schema.tlb`, each with a `query_id`
/// that the answer repeats. Amounts are nanoTON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelMessage {
    /// Anyone, while open: all that the message brings above its needs is deposited.
    Deposit,
    /// The receiver: `amount` in all, above what is settled and at most `cumulative` and what is deposited.
    /// The signature is the payer's over the voucher for `cumulative`.
    Redeem { amount: NanoTon, cumulative: NanoTon, signature: Signature },
    /// The receiver: the same, and the rest back to the payer.
    RedeemAndClose { amount: NanoTon, cumulative: NanoTon, signature: Signature },
    /// The receiver gives back all that is not settled.
    ReceiverClose,
    /// The receiver gives back a part of it.
    PartialRefund { amount: NanoTon },
    /// The payer.
    StartClose,
    /// Anyone, once the close delay is over.
    Finalize,
    /// The payer, from a closed channel: all above the rent reserve.
    Sweep,
    /// To the receiver: its value is `amount` and the excess of the message that asked for it.
    Paid { amount: NanoTon },
    /// To the payer: its value is `amount`.
    Refund { amount: NanoTon },
    /// To who sent a message: what it brought beyond its needs (TEP-74).
    Excesses,
}

impl ChannelMessage {
    /// Numbers of what only the receiver may ask: `Redeem`, `RedeemAndClose`, `ReceiverClose`.
    pub(crate) const RECEIVERS_OPS: [u32; 3] = [0x5043_0102, 0x5043_0103, 0x5043_0104];

    /// The number that the body begins with, and that the contract's `required_value` takes.
    #[must_use]
    pub fn op(&self) -> u32 {
        match self {
            Self::Deposit => 0x5043_0101,
            Self::Redeem { .. } => 0x5043_0102,
            Self::RedeemAndClose { .. } => 0x5043_0103,
            Self::ReceiverClose => 0x5043_0104,
            Self::PartialRefund { .. } => 0x5043_0105,
            Self::StartClose => 0x5043_0106,
            Self::Finalize => 0x5043_0107,
            Self::Sweep => 0x5043_0108,
            Self::Paid { .. } => 0x5043_0181,
            Self::Refund { .. } => 0x5043_0182,
            Self::Excesses => 0xd532_76db,
        }
    }

    /// The body.
    ///
    /// # Errors
    /// [`CellError`] never comes of a message; it is what cells can fail with.
    pub fn body(&self, query_id: u64) -> Result<ArcCell, CellError> {
        let writer = Writer::new().uint(32, self.op().into()).uint(64, query_id);
        match self {
            Self::Redeem { amount, cumulative, signature }
            | Self::RedeemAndClose { amount, cumulative, signature } => {
                writer.coins(*amount).coins(*cumulative).bytes(signature)
            }
            Self::PartialRefund { amount } | Self::Paid { amount } | Self::Refund { amount } => {
                writer.coins(*amount)
            }
            _ => writer,
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
            0x5043_0101 => Self::Deposit,
            0x5043_0102 => {
                let (amount, cumulative, signature) = (reader.coins()?, reader.coins()?, reader.bytes()?);
                Self::Redeem { amount, cumulative, signature }
            }
            0x5043_0103 => {
                let (amount, cumulative, signature) = (reader.coins()?, reader.coins()?, reader.bytes()?);
                Self::RedeemAndClose { amount, cumulative, signature }
            }
            0x5043_0104 => Self::ReceiverClose,
            0x5043_0105 => Self::PartialRefund { amount: reader.coins()? },
            0x5043_0106 => Self::StartClose,
            0x5043_0107 => Self::Finalize,
            0x5043_0108 => Self::Sweep,
            0x5043_0181 => Self::Paid { amount: reader.coins()? },
            0x5043_0182 => Self::Refund { amount: reader.coins()? },
            0xd532_76db => Self::Excesses,
            _ => return Err(CellError::Tag("a message of PayChannel")),
        };
        reader.end()?;
        Ok((message, query_id))
    }
}
