//! What a gateway offers to take channels on, and what of it is refused here.

use cocoon_openapi::channels::ChannelOffer;
use cocoon_ton::{Address, AddressError, GlobalId, MAX_CLOSE_DELAY, Network, PAY_CHANNEL_HASH, Workchain};

/// An offer that money is not put on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    #[error("the gateway is on network {found}, not on {expected}, which --network names")]
    Network { expected: GlobalId, found: GlobalId },
    #[error("the gateway's channels have other code than the one that is known here: {0}")]
    Code(String),
    #[error("the gateway's receiver is no address on this network: {0}")]
    Receiver(#[from] AddressError),
    #[error("the gateway's receiver is outside of the basechain")]
    Workchain,
    #[error(
        "the gateway wants {asked} s to redeem before you can have your money back without it; --max-close-delay \
         allows {allowed} s"
    )]
    CloseDelay { asked: u32, allowed: u32 },
}

/// What a channel is opened under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    pub receiver: Address,
    /// The shortest that the gateway takes, seconds.
    pub close_delay: u32,
}

/// Checks an offer for a channel on `network`, with a close delay of at most `allowed` seconds.
///
/// # Errors
/// [`OfferError`]: the first rule that is broken, in the order above.
pub fn agree(offer: &ChannelOffer, network: Network, allowed: u32) -> Result<Agreed, OfferError> {
    let (expected, found) = (network.global_id(), GlobalId(offer.global_id));
    if found != expected {
        return Err(OfferError::Network { expected, found });
    }
    if !offer.code_hash.eq_ignore_ascii_case(&PAY_CHANNEL_HASH.to_hex()) {
        // The gateway's own text, of which a hash is short.
        let shown = offer.code_hash.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        return Err(OfferError::Code(shown));
    }
    let receiver = Address::parse_for(&offer.receiver, network)?;
    if receiver.workchain() != Workchain::Basechain {
        return Err(OfferError::Workchain);
    }
    let (asked, allowed) = (offer.min_close_delay_s, allowed.min(MAX_CLOSE_DELAY));
    if asked > allowed {
        return Err(OfferError::CloseDelay { asked, allowed });
    }
    Ok(Agreed { receiver, close_delay: asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 86_400;

    fn offer() -> ChannelOffer {
        ChannelOffer {
            object: "channel.offer".into(),
            receiver: Address::new(Workchain::Basechain, [7; 32]).show(true, true),
            global_id: -3,
            min_close_delay_s: DAY,
            code_hash: PAY_CHANNEL_HASH.to_hex(),
        }
    }

    fn network() -> Network {
        Network::test(GlobalId::TESTNET).unwrap()
    }

    #[test]
    fn a_fair_offer_is_taken_with_the_shortest_delay() {
        let agreed = Agreed { receiver: Address::new(Workchain::Basechain, [7; 32]), close_delay: DAY };
        assert_eq!(agree(&offer(), network(), DAY), Ok(agreed));
    }

    #[test]
    fn every_other_one_is_refused() {
        let other = "0".repeat(64);
        let masterchain = Address::new(Workchain::Masterchain, [7; 32]).to_string();
        for (wrong, refused) in [
            (
                ChannelOffer { global_id: -239, ..offer() },
                OfferError::Network { expected: GlobalId::TESTNET, found: GlobalId::MAINNET },
            ),
            (ChannelOffer { code_hash: other.clone(), ..offer() }, OfferError::Code(other)),
            (ChannelOffer { code_hash: "\u{1b}[2J<".into(), ..offer() }, OfferError::Code("2J".into())),
            (ChannelOffer { receiver: "EQ".into(), ..offer() }, OfferError::Receiver(AddressError::Form)),
            (ChannelOffer { receiver: masterchain, ..offer() }, OfferError::Workchain),
            (
                ChannelOffer { min_close_delay_s: DAY + 1, ..offer() },
                OfferError::CloseDelay { asked: DAY + 1, allowed: DAY },
            ),
        ] {
            assert_eq!(agree(&wrong, network(), DAY), Err(refused));
        }
        let longest = ChannelOffer { min_close_delay_s: MAX_CLOSE_DELAY + 1, ..offer() };
        assert!(agree(&longest, network(), u32::MAX).is_err(), "no channel takes a deposit under it");
        let test_only = ChannelOffer { global_id: -239, ..offer() };
        assert_eq!(
            agree(&test_only, Network::Mainnet, DAY),
            Err(OfferError::Receiver(AddressError::TestOnly)),
            "an address for test networks"
        );
    }
}
