//! A voucher as a bearer token: what a request on a channel brings in place of an API key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_receipts::NanoTon;

use super::{SignedVoucher, Voucher, VoucherError};
use crate::{Address, GlobalId, PublicKey, Signature, Workchain};

/// Begins every such token, so that it is told from an API key, and people and secret scanners know what they found.
pub const VOUCHER_TOKEN_PREFIX: &str = "cocoon-voucher-";

/// 32 bytes of the channel's address in the basechain, the cumulative amount (8 bytes, big-endian), the signature.
const LENGTH: usize = 32 + 8 + 64;

/// What a token says; nothing of it is verified.
///
/// Whoever has one may spend what is left of its ceiling, so it is a secret, as an API key is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VoucherToken {
    pub channel: Address,
    pub cumulative: NanoTon,
    pub signature: Signature,
}

/// Not a voucher's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a voucher is `{VOUCHER_TOKEN_PREFIX}` and 104 bytes in base64url without padding")]
pub struct NotAVoucherToken;

impl VoucherToken {
    /// Verifies that `key` has signed it for the network `global_id`.
    ///
    /// # Errors
    /// [`VoucherError`].
    pub fn verify(&self, global_id: GlobalId, key: &PublicKey) -> Result<SignedVoucher, VoucherError> {
        let Self { channel, cumulative, signature } = *self;
        Voucher { global_id, channel, cumulative }.verify(&signature, key)
    }
}

impl From<&SignedVoucher> for VoucherToken {
    fn from(signed: &SignedVoucher) -> Self {
        let Voucher { channel, cumulative, .. } = *signed.voucher();
        Self { channel, cumulative, signature: *signed.signature() }
    }
}

impl fmt::Debug for VoucherToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoucherToken").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl fmt::Display for VoucherToken {
    /// The token itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; LENGTH];
        bytes[..32].copy_from_slice(self.channel.hash());
        bytes[32..40].copy_from_slice(&self.cumulative.0.to_be_bytes());
        bytes[40..].copy_from_slice(&self.signature);
        write!(f, "{VOUCHER_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for VoucherToken {
    type Err = NotAVoucherToken;

    fn from_str(text: &str) -> Result<Self, NotAVoucherToken> {
        let text = text.strip_prefix(VOUCHER_TOKEN_PREFIX).ok_or(NotAVoucherToken)?;
        // One byte more than there may be, so that what is longer is noticed.
        let mut bytes = [0; LENGTH + 1];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| NotAVoucherToken)?;
        let Some((channel, rest)) = bytes[..length].split_first_chunk::<32>() else {
            return Err(NotAVoucherToken);
        };
        let Some((cumulative, rest)) = rest.split_first_chunk::<8>() else { return Err(NotAVoucherToken) };
        let signature: Signature = rest.try_into().map_err(|_| NotAVoucherToken)?;
        Ok(Self {
            channel: Address::new(Workchain::Basechain, *channel),
            cumulative: NanoTon(u64::from_be_bytes(*cumulative)),
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KeyPair;

    fn channel() -> Address {
        Address::new(Workchain::Basechain, [7; 32])
    }

    #[test]
    fn a_token_is_the_voucher_and_good_for_one_network_and_key() {
        let key = KeyPair::from_seed(&[1; 32]).unwrap();
        let voucher = Voucher { global_id: GlobalId::TESTNET, channel: channel(), cumulative: NanoTon(5) };
        let signed = voucher.sign(&key).unwrap();
        let token: VoucherToken = VoucherToken::from(&signed).to_string().parse().unwrap();
        assert_eq!(token.verify(GlobalId::TESTNET, &key.public()), Ok(signed));
        assert_eq!(token.verify(GlobalId::MAINNET, &key.public()), Err(VoucherError::Signature));
        let other = KeyPair::from_seed(&[2; 32]).unwrap().public();
        assert_eq!(token.verify(GlobalId::TESTNET, &other), Err(VoucherError::Signature));
        let more = VoucherToken { cumulative: NanoTon(6), ..token };
        assert_eq!(more.verify(GlobalId::TESTNET, &key.public()), Err(VoucherError::Signature));
        let elsewhere = VoucherToken { channel: Address::new(Workchain::Basechain, [8; 32]), ..token };
        assert_eq!(elsewhere.verify(GlobalId::TESTNET, &key.public()), Err(VoucherError::Signature));
    }

    #[test]
    fn what_is_shorter_longer_or_other_is_none() {
        let token = VoucherToken { channel: channel(), cumulative: NanoTon(1), signature: [9; 64] };
        let text = token.to_string();
        assert_eq!(text.len(), VOUCHER_TOKEN_PREFIX.len() + 139);
        assert!(!format!("{token:?}").contains("0909") && !format!("{token:?}").contains("9, 9"));
        let bare = text.strip_prefix(VOUCHER_TOKEN_PREFIX).unwrap();
        for wrong in [
            String::new(),
            bare.to_owned(),
            VOUCHER_TOKEN_PREFIX.to_owned(),
            text[..text.len() - 4].to_owned(),
            format!("{text}AAAA"),
            format!("{text}="),
            text.replace(bare, &bare.replace('C', "+")) + "!",
        ] {
            assert_eq!(wrong.parse::<VoucherToken>(), Err(NotAVoucherToken), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_token_reads_back_and_no_text_panics(
            hash: [u8; 32], cumulative: u64, signature in proptest::array::uniform32(any::<u8>()), text in ".{0,200}",
        ) {
            let signature: Signature = [signature, signature].concat().try_into().unwrap();
            let channel = Address::new(Workchain::Basechain, hash);
            let token = VoucherToken { channel, cumulative: NanoTon(cumulative), signature };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
            let _ = text.parse::<VoucherToken>();
            let _ = format!("{VOUCHER_TOKEN_PREFIX}{text}").parse::<VoucherToken>();
        }
    }
}
