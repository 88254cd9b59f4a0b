//! PayChannel: a payer deposits, a receiver claims what the payer's vouchers allow. The rules are the
//! contract's, `contracts/pay_channel.tolk`; the cells are those of `contracts/schema.tlb`.

mod acceptance;
mod getters;
mod messages;

pub use acceptance::{Accepted, NotAcceptable, Observed, accept};
pub use messages::ChannelMessage;

use cocoon_receipts::NanoTon;

use crate::message::state_init;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Address, ArcCell, BocError, CellError, CellHash, PublicKey, pay_channel_code};

/// Longest close delay that the contract allows, seconds: 30 days.
pub const MAX_CLOSE_DELAY: u32 = 30 * 24 * 60 * 60;

/// `PayChannelTerms`: fixed for ever, since with the code they are the channel's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTerms {
    pub payer: Address,
    /// Signs vouchers and nothing else.
    pub payer_key: PublicKey,
    pub receiver: Address,
    /// Seconds from `StartClose` to the first possible `Finalize`.
    pub close_delay: u32,
    /// Tells channels under equal terms apart; never used again, since the old vouchers would be good again.
    pub salt: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// The payer has asked for its money back.
    Closing,
    /// For ever.
    Closed,
}

/// What changes: `channel_state` of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelState {
    pub phase: Phase,
    /// NanoTON paid in for vouchers, less what was given back in part; equal to `settled` once closed.
    pub deposited: NanoTon,
    /// NanoTON paid out to the receiver.
    pub settled: NanoTon,
    /// Unix time of the first possible `Finalize`; 0 before `StartClose`.
    pub close_at: u32,
}

/// `PayChannelStorage`: the account's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelStorage {
    pub state: ChannelState,
    pub terms: ChannelTerms,
}

/// Why a contract has no address: only where `contracts/build` was damaged before this was compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateInitError {
    #[error(transparent)]
    Cell(#[from] CellError),
    #[error(transparent)]
    Code(#[from] BocError),
}

impl Phase {
    fn from_number(number: u64) -> Result<Self, CellError> {
        match number {
            0 => Ok(Self::Open),
            1 => Ok(Self::Closing),
            2 => Ok(Self::Closed),
            _ => Err(CellError::Value("state")),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Closing => 1,
            Self::Closed => 2,
        }
    }
}

impl ChannelState {
    /// Of a channel to which nothing has happened: what its address is the hash of.
    pub const NEW: Self =
        Self { phase: Phase::Open, deposited: NanoTon::ZERO, settled: NanoTon::ZERO, close_at: 0 };
}

impl ChannelTerms {
    fn cell(&self) -> Result<ArcCell, CellError> {
        Writer::new()
            .address(&self.payer)
            .bytes(self.payer_key.as_bytes())
            .address(&self.receiver)
            .uint(32, self.close_delay.into())
            .uint(64, self.salt)
            .cell()
    }

    fn parse(cell: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(cell)?;
        let terms = Self {
            payer: reader.address()?,
            payer_key: PublicKey::new(reader.bytes()?).map_err(|_| CellError::Value("payer_key"))?,
            receiver: reader.address()?,
            close_delay: reader.u32()?,
            salt: reader.uint(64)?,
        };
        reader.end()?;
        Ok(terms)
    }

    /// What a message that deploys the channel brings along.
    ///
    /// # Errors
    /// [`StateInitError::Code`], as [`pay_channel_code`].
    pub fn state_init(&self) -> Result<ArcCell, StateInitError> {
        let data = ChannelStorage { state: ChannelState::NEW, terms: *self }.cell()?;
        Ok(state_init(&pay_channel_code()?, &data)?)
    }

    /// The channel's address.
    ///
    /// # Errors
    /// As [`Self::state_init`].
    pub fn address(&self) -> Result<Address, StateInitError> {
        Ok(Address::of_state(CellHash::of(&*self.state_init()?)))
    }
}

impl ChannelStorage {
    /// # Errors
    /// [`CellError`] never comes of a storage; it is what cells can fail with.
    pub fn cell(&self) -> Result<ArcCell, CellError> {
        Writer::new()
            .uint(2, self.state.phase.number())
            .coins(self.state.deposited)
            .coins(self.state.settled)
            .uint(32, self.state.close_at.into())
            .reference(&self.terms.cell()?)
            .cell()
    }

    /// # Errors
    /// [`CellError`] where it is not a channel's data, or the payer's key is weak.
    pub fn parse(data: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(data)?;
        let state = ChannelState {
            phase: Phase::from_number(reader.uint(2)?)?,
            deposited: reader.coins()?,
            settled: reader.coins()?,
            close_at: reader.u32()?,
        };
        let terms = ChannelTerms::parse(reader.reference()?)?;
        reader.end()?;
        Ok(Self { state, terms })
    }
}

#[cfg(test)]
mod tests;
