//! Money that goes out: to an address that has been known for a day, and only what was deposited.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_receipts::{AccountId, NanoTon, RequestId};
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Shard};

pub(crate) const ADDRESS_DELAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How old an address must be before anything is paid to it: who steals a key does not get away with the balance
/// before its owner has looked.
pub const ADDRESS_DELAY: Duration = Duration::from_millis(ADDRESS_DELAY_MS);

/// Longest reason for which withdrawals are stopped, bytes.
pub const MAX_REASON_BYTES: usize = 256;

/// An address of the chain in its user-friendly form, 48 characters of base64url, whose checksum is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TonAddress(String);

/// Not such an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address is 48 characters of base64url with a checksum, such as EQ…")]
pub struct NotAnAddress;

impl TonAddress {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TonAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for TonAddress {
    type Err = NotAnAddress;

    /// One byte of flags, the workchain, 32 bytes of hash and their CRC-16 (TEP-2).
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let mut bytes = [0; 36];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| NotAnAddress)?;
        let [content @ .., high, low] = &bytes;
        // 0x11 bounces, 0x51 does not; 0x80 marks a test network.
        let known = matches!(content[0] & 0x7f, 0x11 | 0x51);
        if length != bytes.len() || !known || crc16(content) != u16::from_be_bytes([*high, *low]) {
            return Err(NotAnAddress);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TonAddress {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}

impl From<TonAddress> for String {
    fn from(address: TonAddress) -> Self {
        address.0
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Where an account's withdrawals go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payout {
    pub current: Option<TonAddress>,
    /// Takes the current one's place at its time.
    pub pending: Option<PendingAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingAddress {
    pub address: TonAddress,
    /// Milliseconds since 1970.
    pub from_ms: u64,
}

impl Payout {
    /// As it stands at `now_ms`.
    #[must_use]
    pub(crate) fn at(self, now_ms: u64) -> Self {
        match self.pending {
            Some(pending) if pending.from_ms <= now_ms => {
                Self { current: Some(pending.address), pending: None }
            }
            pending => Self { current: self.current, pending },
        }
    }

    /// After `address` was asked for at `now_ms`: the current one again calls a change off, the pending one again
    /// does not restart its wait.
    #[must_use]
    pub(crate) fn set(self, address: &TonAddress, now_ms: u64) -> Self {
        let now = self.at(now_ms);
        if now.current.as_ref() == Some(address) {
            return Self { pending: None, ..now };
        }
        if now.pending.as_ref().is_some_and(|pending| pending.address == *address) {
            return now;
        }
        let from_ms = now_ms.saturating_add(ADDRESS_DELAY_MS);
        Self { pending: Some(PendingAddress { address: address.clone(), from_ms }), ..now }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    pub account: AccountId,
    /// Idempotency key.
    pub intent: RequestId,
    /// Above 0.
    pub amount: NanoTon,
}

/// How far a withdrawal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Begun,
    Done,
    Undone,
}

impl State {
    /// As stores keep it.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Begun => "b",
            Self::Done => "d",
            Self::Undone => "u",
        }
    }
}

impl std::str::FromStr for State {
    type Err = LedgerError;

    fn from_str(letter: &str) -> Result<Self, LedgerError> {
        [Self::Begun, Self::Done, Self::Undone]
            .into_iter()
            .find(|state| state.letter() == letter)
            .ok_or_else(|| LedgerError::Corrupt(format!("state of a withdrawal {letter:?}")))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithdrawalBegun {
    /// The amount has left the balance, now or before, and is to be sent there.
    Begun { address: TonAddress },
    /// Paid out before.
    Done,
    /// Undone before; another intent is needed.
    Undone,
    /// Nothing has moved.
    Refused(WithdrawalRefusal),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithdrawalRefusal {
    /// More than this cannot be paid out ([`crate::Account::withdrawable`]).
    Insufficient { withdrawable: NanoTon },
    /// No address is old enough; one will be at `from_ms` (milliseconds since 1970) where one is pending.
    NoAddress { from_ms: Option<u64> },
    /// The intent belongs to another account or amount.
    OtherIntent,
    /// The account is a channel's, whose money is in the channel.
    OfChannel,
    /// Nobody withdraws from this shard now, for this reason.
    Stopped { reason: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawalEnded {
    /// Now, or in the same way before.
    Ended,
    /// It ended in the other way before.
    Otherwise,
    /// No such intent of this account.
    Unknown,
}

/// The operations. Each is idempotent and durable before it is answered.
#[async_trait]
pub trait Withdrawals {
    /// Sets where withdrawals go, from [`ADDRESS_DELAY`] on; until then the one before stays.
    async fn set_payout_address(
        &self,
        account: &AccountId,
        address: &TonAddress,
    ) -> Result<Payout, LedgerError>;

    /// Where withdrawals go.
    async fn payout(&self, account: &AccountId) -> Result<Payout, LedgerError>;

    /// Moves an amount from the balance to what is being paid out.
    async fn withdraw_begin(&self, withdrawal: &Withdrawal) -> Result<WithdrawalBegun, LedgerError>;

    /// The amount was paid out.
    async fn withdraw_done(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError>;

    /// It was not and never will be: the amount goes back to the balance.
    async fn withdraw_undo(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError>;

    /// Lets no withdrawal of the shard begin until [`Self::resume_withdrawals`]; those under way may end.
    async fn stop_withdrawals(&self, shard: Shard, reason: &str) -> Result<(), LedgerError>;

    /// Why none begins now; none where they do.
    async fn withdrawals_stopped(&self, shard: Shard) -> Result<Option<String>, LedgerError>;

    /// Lets them begin again.
    async fn resume_withdrawals(&self, shard: Shard) -> Result<(), LedgerError>;
}

/// # Errors
/// [`LedgerError::Configuration`].
pub(crate) fn check_reason(reason: &str) -> Result<(), LedgerError> {
    if (1..=MAX_REASON_BYTES).contains(&reason.len()) {
        return Ok(());
    }
    Err(LedgerError::Configuration(format!("a reason has 1 to {MAX_REASON_BYTES} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As user-friendly addresses are made.
    fn address(flags: u8, hash: u8) -> String {
        let mut bytes = vec![flags, 0];
        bytes.extend([hash; 32]);
        bytes.extend(crc16(&bytes).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn an_address_is_checked_by_its_checksum() {
        // The all-zero address, as explorers show it.
        let known = "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c";
        assert_eq!(known.parse::<TonAddress>().unwrap().as_str(), known);
        assert_eq!(address(0x11, 0), known);
        for flags in [0x11, 0x51, 0x91, 0xd1] {
            assert!(address(flags, 7).parse::<TonAddress>().is_ok(), "{flags}");
        }
        let wrong_checksum = known.replace("M9c", "M9d");
        let longer = format!("{known}AAAA");
        for bad in [wrong_checksum.as_str(), &known[..47], &longer, "", &address(0x12, 7), &address(0, 7)] {
            assert!(bad.parse::<TonAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_change_waits_a_day_and_every_other_one_waits_anew() {
        let [first, second]: [TonAddress; 2] = [1, 2].map(|hash| address(0x51, hash).parse().unwrap());
        let set = Payout::default().set(&first, 5);
        assert_eq!(set.current, None);
        let again = set.clone().set(&first, 10);
        assert_eq!(again, set, "the same again does not restart the wait");
        let over = 5 + ADDRESS_DELAY_MS;
        assert_eq!(set.clone().at(over - 1), set);
        let known = set.at(over);
        assert_eq!((known.current.as_ref(), &known.pending), (Some(&first), &None));
        let changing = known.clone().set(&second, over);
        assert_eq!(changing.current.as_ref(), Some(&first));
        assert_eq!(changing.pending.as_ref().unwrap().from_ms, over + ADDRESS_DELAY_MS);
        assert_eq!(changing.set(&first, over + 1), known, "the current one calls the change off");
    }
}
