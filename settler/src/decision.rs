//! What the settler has decided and seen, as records of the ledger's log of decisions. The log is all that a settler
//! remembers: another one that reads it knows as much.

use std::fmt::Display;
use std::str::FromStr;

use cocoon_receipts::{AccountId, NanoTon, OperatorId, RequestId};
use cocoon_ton::{Address, CellHash, ChannelMessage, PayoutId, Signature, TransactionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// The first of all: whose log this is.
    Opened(Opened),
    /// A batch may be signed and sent from now on.
    Batch(Batch),
    /// It was not executed, and never will be: its time is over. What it was to pay is owed as before.
    Lapsed { seqno: u32 },
    /// The wallet's transactions up to the last of these are booked.
    Read(Read),
    /// A person has looked at a transaction that stopped payouts, and takes it as the platform's own.
    Explained { transaction: Place },
    /// A payee that had sent money back may be paid again.
    Released { payee: Payee },
    /// What the next epoch has; nothing about money.
    Epoch(crate::epochs::Record),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    pub wallet: Payee,
    pub global_id: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub seqno: u32,
    /// Unix time after which the wallet does not take it.
    pub valid_until: u32,
    /// Unix time of the decision.
    pub at: u32,
    /// Whether it brings the wallet's code.
    pub deploy: bool,
    /// Of the signed body: the same key makes the same bytes of the same batch.
    #[serde(with = "text")]
    pub body: CellHash,
    pub payouts: Vec<Begun>,
}

/// A payout that a batch is to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    pub id: Number,
    pub to: Payee,
    pub amount: NanoTon,
    pub of: Owed,
}

/// Why somebody is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owed {
    Operator(OperatorId),
    Withdrawal {
        account: AccountId,
        intent: RequestId,
    },
    /// Nothing: the amount is for the fees of a payment channel that is told to pay, and what is left of it comes back.
    Channel {
        account: AccountId,
        call: Call,
    },
}

/// What a payment channel is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// To pay `amount` in all, which the newest voucher allows.
    Redeem(Claim),
    /// The same, and to give the rest back to the payer.
    RedeemAndClose(Claim),
    /// To give all that was not paid back to the payer.
    Close,
}

/// What is claimed of a channel, nanoTON in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub amount: NanoTon,
    /// What the voucher is for.
    pub cumulative: NanoTon,
    #[serde(with = "text")]
    pub signature: VoucherSignature,
}

/// A payer's signature over a voucher, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherSignature(pub Signature);

impl Display for VoucherSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for VoucherSignature {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut signature = [0; 64];
        hex::decode_to_slice(text, &mut signature)?;
        Ok(Self(signature))
    }
}

impl From<Call> for ChannelMessage {
    fn from(call: Call) -> Self {
        match call {
            Call::Redeem(Claim { amount, cumulative, signature }) => {
                Self::Redeem { amount, cumulative, signature: signature.0 }
            }
            Call::RedeemAndClose(Claim { amount, cumulative, signature }) => {
                Self::RedeemAndClose { amount, cumulative, signature: signature.0 }
            }
            Call::Close => Self::ReceiverClose,
        }
    }
}

/// Transactions of the wallet, the oldest first, each the one after that before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    pub transactions: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub transaction: Place,
    /// Unix time.
    pub at: u32,
    /// What the wallet's balance changed by, nanoTON.
    #[serde(with = "text")]
    pub change: i128,
    pub class: Class,
}

/// What a transaction of the wallet was: each is one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Credited to an account.
    Deposit { account: AccountId, amount: NanoTon },
    /// The platform's own, for fees.
    Float { amount: NanoTon },
    /// Came in, and nobody knows for whom. It is never sent back by itself: it may come from an exchange.
    Unclaimed { amount: NanoTon, why: String },
    /// A batch was executed. Payouts that are in neither list do not exist.
    Paid { seqno: u32, sent: Vec<Number>, skipped: Vec<Number> },
    /// A payout came back, less what its way has cost.
    Returned { payout: Number, amount: NanoTon },
    /// A channel has done what it was told: it `paid` so much, and all that came is `value`.
    Redeemed { payout: Number, paid: NanoTon, value: NanoTon },
    /// Cost a fee and moved nothing: a batch that was aborted and may run again, or money that went back.
    Nothing,
    /// Something that this settler did not do and cannot place. Payouts stop until a person has looked.
    Unexplained { why: String },
}

/// A transaction of the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub lt: u64,
    pub hash: CellHash,
}

impl From<TransactionId> for Place {
    fn from(TransactionId { lt, hash }: TransactionId) -> Self {
        Self { lt, hash }
    }
}

impl From<Place> for TransactionId {
    fn from(Place { lt, hash }: Place) -> Self {
        Self { lt, hash }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.lt, self.hash.to_hex())
    }
}

/// Not a logical time, a colon and a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transaction is a logical time, a colon and a hash, such as 1000000:6a…")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (lt, hash) = text.split_once(':').ok_or(NotAPlace)?;
        Ok(Self { lt: lt.parse().map_err(|_| NotAPlace)?, hash: hash.parse().map_err(|_| NotAPlace)? })
    }
}

/// An account of the chain, in its raw form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payee(pub Address);

impl Display for Payee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Payee {
    type Err = cocoon_ton::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Address::from_raw(text).map(Self)
    }
}

/// A payout's id, in text: JSON's numbers end at 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u64);

impl From<Number> for PayoutId {
    fn from(Number(id): Number) -> Self {
        Self(id)
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Number {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What has one text.
mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                text::serialize(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text::deserialize(deserializer)
            }
        }
    )*};
}

as_text!(Number, Payee, Place);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a channel is told is a part of a payout.
    #[test]
    fn calls_are_written_as_they_were() {
        let account: AccountId = "channel:7".parse().unwrap();
        let claim =
            Claim { amount: NanoTon(5), cumulative: NanoTon(6), signature: VoucherSignature([9; 64]) };
        let written = format!(r#"{{"amount":"5","cumulative":"6","signature":"{}"}}"#, "09".repeat(64));
        for (call, text) in [
            (Call::Redeem(claim), format!(r#"{{"redeem":{written}}}"#)),
            (Call::RedeemAndClose(claim), format!(r#"{{"redeem_and_close":{written}}}"#)),
            (Call::Close, r#""close""#.to_owned()),
        ] {
            let of = Owed::Channel { account: account.clone(), call };
            let text = format!(r#"{{"channel":{{"account":"channel:7","call":{text}}}}}"#);
            assert_eq!(serde_json::to_string(&of).unwrap(), text);
            assert_eq!(serde_json::from_str::<Owed>(&text).unwrap(), of);
        }
    }

    fn place(lt: u64) -> Place {
        Place { lt, hash: CellHash([7; 32]) }
    }

    /// The log outlives this program: what it has written, later ones read.
    #[test]
    fn records_are_written_as_they_were() {
        let payee: Payee = format!("0:{}", "ab".repeat(32)).parse().unwrap();
        let operator = Owed::Operator(payee.to_string().parse().unwrap());
        let begun = Begun { id: Number(u64::MAX), to: payee, amount: NanoTon(5), of: operator };
        let hash = "07".repeat(32);
        let cases = [
            (
                Decision::Opened(Opened { wallet: payee, global_id: -3 }),
                format!(r#"{{"decision":"opened","wallet":"{payee}","global_id":-3}}"#),
            ),
            (
                Decision::Batch(Batch {
                    seqno: 1,
                    valid_until: 2,
                    at: 3,
                    deploy: true,
                    body: CellHash([7; 32]),
                    payouts: vec![begun],
                }),
                format!(
                    r#"{{"decision":"batch","seqno":1,"valid_until":2,"at":3,"deploy":true,"body":"{}","payouts":[{{"id":"18446744073709551615","to":"{payee}","amount":"5","of":{{"operator":"{payee}"}}}}]}}"#,
                    CellHash([7; 32])
                ),
            ),
            (Decision::Lapsed { seqno: 1 }, r#"{"decision":"lapsed","seqno":1}"#.to_owned()),
            (
                Decision::Read(Read {
                    transactions: vec![Entry {
                        transaction: place(9),
                        at: 4,
                        change: -5,
                        class: Class::Paid { seqno: 1, sent: vec![Number(1)], skipped: vec![] },
                    }],
                }),
                format!(
                    r#"{{"decision":"read","transactions":[{{"transaction":"9:{hash}","at":4,"change":"-5","class":{{"paid":{{"seqno":1,"sent":["1"],"skipped":[]}}}}}}]}}"#
                ),
            ),
            (
                Decision::Explained { transaction: place(9) },
                format!(r#"{{"decision":"explained","transaction":"9:{hash}"}}"#),
            ),
            (
                Decision::Read(Read {
                    transactions: vec![Entry {
                        transaction: place(9),
                        at: 4,
                        change: 7,
                        class: Class::Redeemed { payout: Number(1), paid: NanoTon(5), value: NanoTon(8) },
                    }],
                }),
                format!(
                    r#"{{"decision":"read","transactions":[{{"transaction":"9:{hash}","at":4,"change":"7","class":{{"redeemed":{{"payout":"1","paid":"5","value":"8"}}}}}}]}}"#
                ),
            ),
            (Decision::Released { payee }, format!(r#"{{"decision":"released","payee":"{payee}"}}"#)),
        ];
        for (decision, text) in cases {
            assert_eq!(serde_json::to_string(&decision).unwrap(), text);
            assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
        }
    }
}
