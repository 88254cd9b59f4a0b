//! Payment channels: a client deposits in a contract of its own, and each voucher that its payer signs raises what may be
//! claimed of it in all. The raise is credit of an account that is the channel's alone, which holds and charges take from
//! as from any other.

use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon};
use serde::{Deserialize, Serialize};

use crate::rules::check_amount;
use crate::{Account, LedgerError, Shard};

/// Begins the name of every channel's account: `channel:<64 lowercase hex of the contract's address in the basechain>`.
pub const CHANNEL_PREFIX: &str = "channel:";

/// Channels that are listed at once.
pub const MAX_CHANNELS: u32 = 500;

/// Whether the account's name is one that is kept for channels. Such an account is never credited or granted anything, and
/// nothing is withdrawn from it: its money is in the channel.
#[must_use]
pub fn is_channel(account: &AccountId) -> bool {
    account.as_str().starts_with(CHANNEL_PREFIX)
}

/// A channel that was seen open on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOpening {
    pub account: AccountId,
    /// Ed25519, of whoever signs vouchers. Never changes: the address commits to it.
    pub payer_key: [u8; 32],
    /// What the chain says was deposited in all, nanoTON.
    pub deposited: NanoTon,
    /// What the chain says was settled in all when the channel was first opened here, nanoTON: it was charged elsewhere and
    /// is not credited. At most what was deposited.
    pub settled: NanoTon,
}

/// What a payer signed, as its verifier left it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptVoucher {
    /// What may be claimed in all, nanoTON.
    pub cumulative: NanoTon,
    #[serde(with = "in_hex")]
    pub signature: [u8; 64],
}

impl std::fmt::Debug for KeptVoucher {
    /// Without the signature, which is as good as the money.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptVoucher").field("cumulative", &self.cumulative).finish_non_exhaustive()
    }
}

/// A channel as it is known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub account: AccountId,
    #[serde(with = "in_hex")]
    pub payer_key: [u8; 32],
    /// The most that was ever seen deposited, nanoTON.
    pub deposited: NanoTon,
    /// `settled` of the first opening.
    pub base: NanoTon,
    /// The newest voucher; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<KeptVoucher>,
    pub closed: bool,
}

impl Channel {
    /// What may be claimed in all: of the newest voucher, or before the first one the base.
    #[must_use]
    pub fn ceiling(&self) -> NanoTon {
        self.voucher.as_ref().map_or(self.base, |voucher| voucher.cumulative.max(self.base))
    }

    /// Of a record that is carried here.
    ///
    /// # Errors
    /// [`LedgerError`] for a channel that no ledger has.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_name(&self.account)?;
        check_amount(self.deposited)?;
        let raised = self.voucher.as_ref().is_none_or(|voucher| voucher.cumulative > self.base);
        if raised && self.ceiling() <= self.deposited {
            return Ok(());
        }
        Err(LedgerError::Corrupt(format!("the ceiling of {}", self.account)))
    }
}

/// What became of an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOpened {
    Open,
    /// It was closed for good: nothing changed.
    Closed,
    /// Known under another payer key, open or closed: nothing changed.
    OtherKey,
}

/// What became of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// This much more may be spent.
    Raised { by: NanoTon },
    /// Not above the newest voucher (or the base): nothing changed.
    Known,
    /// Above what is deposited as far as is known: nothing changed.
    AboveDeposit { deposited: NanoTon },
    /// Whatever the voucher says.
    Closed,
    /// No such channel was opened.
    Unknown,
}

/// The operations. Each is idempotent. [`LedgerError::Configuration`] for an account whose name is no channel's;
/// [`LedgerError::Overflow`] for amounts that the ledger does not hold, and then nothing changed.
#[async_trait]
pub trait Channels {
    /// Makes the channel known, or learns of more that was deposited: `deposited` only ever grows, `settled` counts only
    /// the first time. On disk when answered.
    ///
    /// # Errors
    /// [`LedgerError::Configuration`] also where more is settled than was deposited.
    async fn open_channel(&self, opening: &ChannelOpening) -> Result<ChannelOpened, LedgerError>;

    /// As it is known; none where it was never opened.
    async fn channel(&self, account: &AccountId) -> Result<Option<Channel>, LedgerError>;

    /// Keeps the voucher and credits cumulative − max(newest, base), in one step. The caller has verified the signature.
    /// Durable as a hold is, and not as a deposit is: it is made before every request.
    async fn raise_ceiling(&self, account: &AccountId, voucher: &KeptVoucher) -> Result<Raised, LedgerError>;

    /// For good: no voucher raises it any more. What is held goes on and is charged. False: there is no such channel. On
    /// disk when answered.
    async fn close_channel(&self, account: &AccountId) -> Result<bool, LedgerError>;

    /// A shard's channels after `after` by name, each with its account as it stood at the same moment: at most `limit` and
    /// [`MAX_CHANNELS`].
    async fn channels(
        &self,
        shard: Shard,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<(Channel, Account)>, LedgerError>;
}

/// Refuses what is no channel's account.
pub(crate) fn check_name(account: &AccountId) -> Result<(), LedgerError> {
    let address = account.as_str().strip_prefix(CHANNEL_PREFIX).unwrap_or_default();
    if address.len() == 64 && address.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    Err(LedgerError::Configuration(format!(
        "a channel's account is {CHANNEL_PREFIX}<64 lowercase hexadecimal digits>"
    )))
}

/// Refuses what neither store opens.
pub(crate) fn check_opening(opening: &ChannelOpening) -> Result<(), LedgerError> {
    check_name(&opening.account)?;
    check_amount(opening.deposited)?;
    check_amount(opening.settled)?;
    if opening.settled <= opening.deposited {
        return Ok(());
    }
    Err(LedgerError::Configuration("a channel has not settled more than was deposited".to_owned()))
}

/// Refuses what neither store keeps as a voucher.
pub(crate) fn check_voucher(account: &AccountId, voucher: &KeptVoucher) -> Result<(), LedgerError> {
    check_name(account)?;
    check_amount(voucher.cumulative)
}

/// Refuses a deposit or a grant for a channel's account.
pub(crate) fn check_takes_credit(account: &AccountId) -> Result<(), LedgerError> {
    if is_channel(account) {
        return Err(LedgerError::Configuration(
            "a channel's account is credited by its vouchers alone".to_owned(),
        ));
    }
    Ok(())
}

/// # Errors
/// [`LedgerError::Corrupt`] for what is not so many bytes in hexadecimal.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], LedgerError> {
    let mut bytes = [0; N];
    // Not what it says: it may be a signature.
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| LedgerError::Corrupt(format!("not {N} bytes in hexadecimal")))?;
    Ok(bytes)
}

/// Bytes in JSON.
mod in_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        super::from_hex(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountId {
        name.parse().unwrap()
    }

    #[test]
    fn a_channels_account_has_its_address() {
        let address = "0123456789abcdef".repeat(4);
        assert!(check_name(&account(&format!("channel:{address}"))).is_ok());
        let upper = address.to_uppercase();
        for bad in [
            "alice",
            "channel:",
            &address,
            &format!("channel:{upper}"),
            &format!("channel:{}", &address[1..]),
            &format!("channel:{address}0"),
            &format!("channel:{}g", &address[1..]),
            &format!("Channel:{address}"),
            &format!("iss:channel:{address}"),
        ] {
            let refused = check_name(&account(bad));
            assert!(matches!(refused, Err(LedgerError::Configuration(_))), "{bad}");
        }
    }

    #[test]
    fn a_signature_is_in_no_text_but_json() {
        let voucher = KeptVoucher { cumulative: NanoTon(7), signature: [0xab; 64] };
        assert_eq!(format!("{voucher:?}"), "KeptVoucher { cumulative: NanoTon(7), .. }");
        let json = format!(r#"{{"cumulative":"7","signature":"{}"}}"#, "ab".repeat(64));
        assert_eq!(serde_json::to_string(&voucher).unwrap(), json);
        assert_eq!(serde_json::from_str::<KeptVoucher>(&json).unwrap(), voucher);
        for bad in ["ab".repeat(63), "ab".repeat(65), "zz".repeat(64)] {
            let json = format!(r#"{{"cumulative":"7","signature":"{bad}"}}"#);
            let refused = serde_json::from_str::<KeptVoucher>(&json).unwrap_err().to_string();
            assert!(!refused.contains(&bad), "{refused}");
        }
    }

    #[test]
    fn a_channel_that_no_ledger_has_is_not_carried() {
        let channel = Channel {
            account: account(&format!("channel:{}", "0a".repeat(32))),
            payer_key: [1; 32],
            deposited: NanoTon(100),
            base: NanoTon(40),
            voucher: None,
            closed: false,
        };
        let voucher = |cumulative| Some(KeptVoucher { cumulative: NanoTon(cumulative), signature: [2; 64] });
        for good in [
            channel.clone(),
            Channel { voucher: voucher(41), ..channel.clone() },
            Channel { voucher: voucher(100), closed: true, ..channel.clone() },
        ] {
            assert!(good.check().is_ok(), "{good:?}");
        }
        for bad in [
            Channel { account: account("alice"), ..channel.clone() },
            Channel { deposited: NanoTon(1 << 53), ..channel.clone() },
            Channel { base: NanoTon(101), ..channel.clone() },
            Channel { voucher: voucher(40), ..channel.clone() },
            Channel { voucher: voucher(101), ..channel },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
