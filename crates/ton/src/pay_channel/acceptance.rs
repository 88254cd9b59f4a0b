//! Whether a gateway may give credit on a channel.

use cocoon_receipts::NanoTon;

use super::{ChannelState, ChannelStorage, ChannelTerms, MAX_CLOSE_DELAY, Phase};
use crate::{Address, ArcCell, CellHash, PAY_CHANNEL_HASH, Workchain};

/// A deployed account, as an endpoint reports it.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    pub address: Address,
    pub code: &'a ArcCell,
    pub data: &'a ArcCell,
}

/// A channel on which its receiver may give credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub address: Address,
    pub terms: ChannelTerms,
    pub state: ChannelState,
    /// NanoTON that vouchers can still claim: what is deposited less what is settled.
    pub unsettled: NanoTon,
}

/// Why a channel is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAcceptable {
    #[error("the account does not have PayChannel's code")]
    Code,
    #[error("the account does not have a channel's data, or its key is one that anybody can sign for")]
    Data,
    #[error("the address is not the hash of the code and the terms")]
    Address,
    #[error("the channel pays {0}, not this gateway")]
    Receiver(Address),
    #[error("the payer is outside of the basechain")]
    Payer,
    #[error("the close delay of {0} s is out of range")]
    CloseDelay(u32),
    #[error("the channel is not open")]
    NotOpen,
    #[error("more is settled than deposited")]
    Sums,
}

/// Checks a channel for its receiver; `min_close_delay` is in seconds, the maximum is [`MAX_CLOSE_DELAY`].
///
/// The terms are proven by the address. The state is only as true as the endpoint that reported it: ask two.
///
/// # Errors
/// [`NotAcceptable`]: the first rule that is broken, in the order above.
pub fn accept(
    observed: Observed<'_>,
    receiver: &Address,
    min_close_delay: u32,
) -> Result<Accepted, NotAcceptable> {
    if CellHash::of(observed.code) != PAY_CHANNEL_HASH {
        return Err(NotAcceptable::Code);
    }
    let ChannelStorage { state, terms } =
        ChannelStorage::parse(observed.data).map_err(|_| NotAcceptable::Data)?;
    if terms.address().ok() != Some(observed.address) {
        return Err(NotAcceptable::Address);
    }
    if terms.receiver != *receiver {
        return Err(NotAcceptable::Receiver(terms.receiver));
    }
    if terms.payer.workchain() != Workchain::Basechain {
        return Err(NotAcceptable::Payer);
    }
    if !(min_close_delay..=MAX_CLOSE_DELAY).contains(&terms.close_delay) {
        return Err(NotAcceptable::CloseDelay(terms.close_delay));
    }
    if state.phase != Phase::Open {
        return Err(NotAcceptable::NotOpen);
    }
    let unsettled = state.deposited.checked_sub(state.settled).ok_or(NotAcceptable::Sums)?;
    Ok(Accepted { address: observed.address, terms, state, unsettled })
}
