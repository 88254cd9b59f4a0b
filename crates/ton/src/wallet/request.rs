//! Messages of any kind, for wallets that are not the treasury's: a contract is deployed, or told something.

use cocoon_receipts::NanoTon;

use super::{MAX_PAYOUTS, Wallet, out_list};
use crate::message::to_send;
use crate::{Address, ArcCell, BatchError, CellHash, KeyPair};

/// A message that the wallet is to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub to: Address,
    /// NanoTON that arrive; fees come on top.
    pub value: NanoTon,
    /// Whether it comes back where it is refused.
    pub bounce: bool,
    /// `StateInit` of the account, where it may have to be deployed.
    pub init: Option<ArcCell>,
    /// In the message's own cell: at most 500 bits or so, and fewer references by the `init`.
    pub body: ArcCell,
}

/// What is signed for them. To send it again is to send the same `boc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The external message, serialised.
    pub boc: Vec<u8>,
    /// Of the signed body, by which its transaction is known.
    pub body_hash: CellHash,
    pub seqno: u32,
    /// Unix time from which the wallet no longer takes it.
    pub valid_until: u32,
}

impl Wallet {
    /// Signs one to 255 messages, sent in their order; one that fails is passed over. `deploy` sends the wallet's own
    /// code along, for the first message of all.
    ///
    /// # Errors
    /// [`BatchError::Size`], [`BatchError::Key`], [`BatchError::Cell`] for a body that is too long.
    pub fn request(
        &self,
        key: &KeyPair,
        messages: &[Outgoing],
        seqno: u32,
        valid_until: u32,
        deploy: bool,
    ) -> Result<Request, BatchError> {
        if !(1..=MAX_PAYOUTS).contains(&messages.len()) {
            return Err(BatchError::Size);
        }
        let message = |out: &Outgoing| to_send(&out.to, out.value, out.bounce, out.init.as_ref(), &out.body);
        let actions = out_list(messages.iter().map(message))?;
        let (boc, body_hash) = self.sign(key, Some(&actions), seqno, valid_until, deploy)?;
        Ok(Request { boc, body_hash, seqno, valid_until })
    }
}
