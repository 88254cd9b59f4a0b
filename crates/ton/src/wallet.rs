//! The treasury's wallet: W5 (`wallet_v5r1`), which sends up to 255 messages by one signature.

use cocoon_receipts::NanoTon;
use tonlib_core::wallet::version_helper::VersionHelper;
use tonlib_core::wallet::wallet_version::WalletVersion;

use crate::message::{from_outside, state_init, to_send};
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{
    Address, ArcCell, BocError, CellError, CellHash, ChannelMessage, GlobalId, KeyPair, PublicKey, boc,
};

/// Most payouts in a batch: a list of actions has no more.
pub const MAX_PAYOUTS: usize = 255;

/// Begins the body of every payout, which is this and the id: `payout#50410101 id:uint64`. A bounce brings
/// both back.
pub const PAYOUT_OP: u32 = 0x5041_0101;

/// Fees on top of the value, which is therefore exact; and an action that fails is passed over. W5 asks for
/// the latter in what comes from outside: else one bad action would block the wallet for ever.
const SEND_MODE: u64 = 1 + 2;

/// The whole balance, out of which fees come; an action that fails is passed over.
const SEND_ALL_MODE: u64 = 128 + 2;

const SIGNED_FROM_OUTSIDE: u64 = 0x7369_676e;
const ACTION_SEND: u64 = 0x0ec3_c86d;

/// Names one payout, in its body and for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayoutId(pub u64);

/// One transfer of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payout {
    pub id: PayoutId,
    pub to: Address,
    /// NanoTON that arrive, above 0; fees come on top.
    pub amount: NanoTon,
    /// Whether it comes back where there is no contract; to an account that is not deployed yet it must not
    /// be set.
    pub bounce: bool,
    /// What the payee, a payment channel, is told to do, with the payout's id as its `query_id`. The amount is then for
    /// its fees, and what it does not need comes back with its answer.
    pub call: Option<ChannelMessage>,
}

impl Payout {
    /// The body of its message.
    ///
    /// # Errors
    /// As [`Wallet::new`].
    pub fn body(&self) -> Result<ArcCell, CellError> {
        match &self.call {
            None => payout_body(self.id),
            Some(call) => call.body(self.id.0),
        }
    }
}

/// What a message brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutgoingValue {
    /// NanoTON that arrive; fees come on top.
    Exactly(NanoTon),
    /// All that the wallet has, less fees: for the last message of a request.
    All,
}

/// A message that the wallet is asked to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub to: Address,
    pub value: OutgoingValue,
    /// Whether it comes back where it is refused or there is no contract.
    pub bounce: bool,
    /// Code and data of the account, which is deployed by it.
    pub init: Option<ArcCell>,
    pub body: ArcCell,
}

/// A request that is signed. To send it again is to send the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The external message, serialised.
    pub boc: Vec<u8>,
    /// Of the signed body, by which its transaction is known.
    pub body_hash: CellHash,
}

/// A batch that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("a batch has 1 to {MAX_PAYOUTS} payouts")]
    Size,
    #[error("payout {0:?} is for nothing")]
    Zero(PayoutId),
    #[error("payout {0:?} is in the batch twice")]
    Twice(PayoutId),
    #[error("the payouts add up to more than 2^64 - 1 nanoTON")]
    Sum,
    #[error("the key is not the wallet's")]
    Key,
    #[error(transparent)]
    Cell(#[from] CellError),
    #[error(transparent)]
    Boc(#[from] BocError),
}

/// A signed batch. To send it again is to send the same `boc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The external message, serialised.
    pub boc: Vec<u8>,
    /// Of the signed body, by which its transaction is known.
    pub body_hash: CellHash,
    pub seqno: u32,
    /// Unix time from which the wallet no longer takes it.
    pub valid_until: u32,
    /// In the order of sending.
    pub payouts: Vec<Payout>,
    /// Sum of the payouts, without fees.
    pub total: NanoTon,
}

/// The treasury's wallet on one network, which its address depends on.
#[derive(Debug, Clone)]
pub struct Wallet {
    key: PublicKey,
    id: i32,
    init: ArcCell,
    address: Address,
}

impl Wallet {
    /// The first wallet (subwallet 0, basechain) of `key`.
    ///
    /// # Errors
    /// [`CellError`] never comes of a key and a number; it is what cells can fail with.
    pub fn new(key: PublicKey, network: GlobalId) -> Result<Self, CellError> {
        // The network's number XOR a context: client, workchain 0, version 0, subwallet 0.
        let id = network.0 ^ i32::MIN;
        let code = VersionHelper::get_code(WalletVersion::V5R1)?.clone();
        // Signatures allowed, seqno 0, no extensions.
        let data = Writer::new().bit(true).uint(32, 0).i32(id).bytes(key.as_bytes()).bit(false).cell()?;
        let init = state_init(&code, &data)?;
        Ok(Self { key, id, address: Address::of_state(CellHash::of(&init)), init })
    }

    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a batch. `deploy` sends the wallet's code along, for the first message of all.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn batch(
        &self,
        key: &KeyPair,
        payouts: Vec<Payout>,
        seqno: u32,
        valid_until: u32,
        deploy: bool,
    ) -> Result<Batch, BatchError> {
        let total = total(&payouts)?;
        let outgoing = payouts.iter().map(|payout| {
            let Payout { to, amount, bounce, .. } = *payout;
            Ok(Outgoing {
                to,
                value: OutgoingValue::Exactly(amount),
                bounce,
                init: None,
                body: payout.body()?,
            })
        });
        let outgoing = outgoing.collect::<Result<Vec<_>, CellError>>()?;
        let SignedRequest { boc, body_hash } = self.request(key, &outgoing, seqno, valid_until, deploy)?;
        Ok(Batch { boc, body_hash, seqno, valid_until, payouts, total })
    }

    /// Signs the wallet's first message, which brings its code and sends nothing: the wallet does not see money that
    /// comes before it.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn deployment(&self, key: &KeyPair, valid_until: u32) -> Result<Batch, BatchError> {
        let SignedRequest { boc, body_hash } = self.request(key, &[], 0, valid_until, true)?;
        Ok(Batch { boc, body_hash, seqno: 0, valid_until, payouts: Vec::new(), total: NanoTon::ZERO })
    }

    /// Signs whatever the wallet is to send. `deploy` sends its code along, for the first message of all.
    ///
    /// # Errors
    /// [`BatchError::Size`] for more than [`MAX_PAYOUTS`] messages, [`BatchError::Key`], and what cells fail with.
    pub fn request(
        &self,
        key: &KeyPair,
        outgoing: &[Outgoing],
        seqno: u32,
        valid_until: u32,
        deploy: bool,
    ) -> Result<SignedRequest, BatchError> {
        if key.public() != self.key {
            return Err(BatchError::Key);
        }
        if outgoing.len() > MAX_PAYOUTS {
            return Err(BatchError::Size);
        }
        let actions = if outgoing.is_empty() { None } else { Some(actions(outgoing)?) };
        let request = Writer::new()
            .uint(32, SIGNED_FROM_OUTSIDE)
            .i32(self.id)
            .uint(32, valid_until.into())
            .uint(32, seqno.into())
            .maybe_reference(actions.as_ref())
            // No other actions.
            .bit(false);
        let unsigned = request.cell()?;
        let signature = key.sign(CellHash::of(&unsigned));
        let body = Writer::new().content(&unsigned).bytes(&signature).cell()?;
        let message = from_outside(&self.address, deploy.then_some(&self.init), &body)?;
        Ok(SignedRequest { boc: boc::encode(&message)?, body_hash: CellHash::of(&body) })
    }
}

fn total(payouts: &[Payout]) -> Result<NanoTon, BatchError> {
    if !(1..=MAX_PAYOUTS).contains(&payouts.len()) {
        return Err(BatchError::Size);
    }
    let mut seen = std::collections::HashSet::new();
    let mut total = NanoTon::ZERO;
    for payout in payouts {
        if payout.amount == NanoTon::ZERO {
            return Err(BatchError::Zero(payout.id));
        }
        if !seen.insert(payout.id) {
            return Err(BatchError::Twice(payout.id));
        }
        total = total.checked_add(payout.amount).ok_or(BatchError::Sum)?;
    }
    Ok(total)
}

/// `OutList` (block.tlb): the first action is the innermost.
fn actions(outgoing: &[Outgoing]) -> Result<ArcCell, BatchError> {
    let mut list = Writer::new().cell()?;
    for Outgoing { to, value, bounce, init, body } in outgoing {
        let (mode, value) = match value {
            OutgoingValue::Exactly(value) => (SEND_MODE, *value),
            OutgoingValue::All => (SEND_ALL_MODE, NanoTon::ZERO),
        };
        let message = to_send(to, value, *bounce, init.as_ref(), body)?;
        list =
            Writer::new().uint(32, ACTION_SEND).uint(8, mode).reference(&list).reference(&message).cell()?;
    }
    Ok(list)
}

/// The body of a payout.
///
/// # Errors
/// As [`Wallet::new`].
pub fn payout_body(id: PayoutId) -> Result<ArcCell, CellError> {
    Writer::new().uint(32, PAYOUT_OP.into()).uint(64, id.0).cell()
}

/// What a W5 wallet stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalletState {
    /// Number that the next batch must have.
    pub seqno: u32,
    pub key: PublicKey,
    pub wallet_id: i32,
}

impl WalletState {
    /// From the account's data.
    ///
    /// # Errors [`CellError`] where it is not a W5 wallet's, one that takes no signatures, or one with
    /// extensions, which may send without a seqno.
    pub fn parse(data: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(data)?;
        if !reader.bit()? {
            return Err(CellError::Value("signatures are off"));
        }
        let (seqno, wallet_id) = (reader.u32()?, reader.i32()?);
        let key = PublicKey::new(reader.bytes()?).map_err(|_| CellError::Value("the key is weak"))?;
        if reader.maybe_reference()?.is_some() {
            return Err(CellError::Value("the wallet has extensions"));
        }
        reader.end()?;
        Ok(Self { seqno, key, wallet_id })
    }
}

#[cfg(test)]
mod tests;
