//! One request of the wallet's at a time, written down before it leaves, and kept until all that follows from it is
//! done: so a command that was ended anywhere goes on, and sends nothing twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_receipts::NanoTon;
use cocoon_ton::{Address, ArcCell, CellError, CellHash, ChannelMessage, GlobalId};
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, StateError};

/// One for each network, as the wallet is.
fn file(network: GlobalId) -> String {
    format!("wallet-order-{}.json", network.0)
}

/// What the wallet is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Deploys the channel and deposits.
    Open,
    Deposit,
    StartClose,
    Finalize,
    /// All that it has, to the user.
    Withdraw,
}

impl Kind {
    /// What a channel is told; none for the user.
    #[must_use]
    pub fn message(self) -> Option<ChannelMessage> {
        match self {
            Self::Open | Self::Deposit => Some(ChannelMessage::Deposit),
            Self::StartClose => Some(ChannelMessage::StartClose),
            Self::Finalize => Some(ChannelMessage::Finalize),
            Self::Withdraw => None,
        }
    }

    /// Whether it brings money into a channel.
    #[must_use]
    pub fn is_deposit(self) -> bool {
        matches!(self, Self::Open | Self::Deposit)
    }
}

/// What the wallet was asked for, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub kind: Kind,
    pub to: Address,
    /// NanoTON that a user asked for: to be deposited at least.
    pub amount: NanoTon,
    /// NanoTON that the message brings; none for all that there is.
    pub value: Option<NanoTon>,
    pub query_id: u64,
    pub signed: Signed,
}

/// A signed request. It is sent again as the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub boc: Vec<u8>,
    /// By which its transaction is known.
    pub body: CellHash,
    pub seqno: u32,
    /// Unix time from which the wallet no longer takes it.
    pub valid_until: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    kind: Kind,
    to: String,
    amount: NanoTon,
    value: Option<NanoTon>,
    query_id: String,
    boc: String,
    body: String,
    seqno: u32,
    valid_until: u32,
}

impl Written {
    fn order(&self) -> Option<Order> {
        let signed = Signed {
            boc: STANDARD.decode(&self.boc).ok()?,
            body: self.body.parse().ok()?,
            seqno: self.seqno,
            valid_until: self.valid_until,
        };
        let to = Address::from_raw(&self.to).ok()?;
        let query_id = self.query_id.parse().ok()?;
        let Self { version, kind, amount, value, .. } = *self;
        (version == 1).then_some(Order { kind, to, amount, value, query_id, signed })
    }
}

impl Order {
    /// The one that is on its way, or whose end is not dealt with yet.
    ///
    /// # Errors
    /// [`StateError`]; also where the file holds something else, because it is not known then what was sent.
    pub fn load(state: &StateDir, network: GlobalId) -> Result<Option<Self>, StateError> {
        let name = file(network);
        let Some(text) = state.read_secret(&name)? else { return Ok(None) };
        let order = serde_json::from_str::<Written>(&text).ok().and_then(|written| written.order());
        order
            .map(Some)
            .ok_or_else(|| StateError::Corrupt { path: state.path(&name), message: "not an order" })
    }

    /// Writes it down, durably.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn store(&self, state: &StateDir, network: GlobalId) -> Result<(), StateError> {
        let written = serde_json::json!({
            "version": 1,
            "kind": self.kind,
            "to": self.to.to_string(),
            "amount": self.amount,
            "value": self.value,
            "query_id": self.query_id.to_string(),
            "boc": STANDARD.encode(&self.signed.boc),
            "body": self.signed.body.to_hex(),
            "seqno": self.signed.seqno,
            "valid_until": self.signed.valid_until,
        });
        state.replace(&file(network), &written.to_string())
    }

    /// All that follows from it is done, or it can never run.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear(state: &StateDir, network: GlobalId) -> Result<(), StateError> {
        state.remove(&file(network))
    }
}

/// The body of the message that a kind of order sends.
///
/// # Errors
/// [`CellError`] never comes of these; it is what cells can fail with.
pub fn body(kind: Kind, query_id: u64) -> Result<ArcCell, CellError> {
    kind.message().map_or_else(|| Ok(ArcCell::default()), |message| message.body(query_id))
}

/// How an order has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has arrived, and was taken: NanoTON that it brought, and the logical time at which it was taken.
    Done { value: NanoTon, lt: u64 },
    /// The wallet has run it without sending anything: it had too little.
    Skipped,
    /// The channel would not have it, and its money came back.
    Refused { exit_code: Option<i32> },
}

impl Outcome {
    /// # Errors
    /// What went wrong, for people.
    pub fn check(self) -> anyhow::Result<()> {
        match self {
            Self::Done { .. } => Ok(()),
            Self::Skipped => anyhow::bail!("the wallet has too little for it: nothing was sent"),
            Self::Refused { exit_code: Some(code) } => {
                anyhow::bail!(
                    "the channel refused it with code {code} (contracts/README.md); its money came back"
                )
            }
            Self::Refused { exit_code: None } => {
                anyhow::bail!("the channel did not take it; its money came back")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cocoon_ton::Workchain;

    use super::*;

    const NETWORK: GlobalId = GlobalId::TESTNET;

    #[test]
    fn an_order_is_read_as_it_was_written_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("s")).unwrap();
        assert_eq!(Order::load(&state, NETWORK).unwrap(), None);
        let signed =
            Signed { boc: vec![1, 2, 3], body: CellHash([4; 32]), seqno: 5, valid_until: 1_790_000_000 };
        let order = Order {
            kind: Kind::Deposit,
            to: Address::new(Workchain::Basechain, [6; 32]),
            amount: NanoTon(7),
            value: Some(NanoTon(8)),
            query_id: u64::MAX,
            signed,
        };
        order.store(&state, NETWORK).unwrap();
        assert_eq!(Order::load(&state, NETWORK).unwrap(), Some(order.clone()));
        assert_eq!(Order::load(&state, GlobalId::MAINNET).unwrap(), None, "another network's wallet");
        let all = Order { value: None, kind: Kind::Withdraw, ..order };
        all.store(&state, NETWORK).unwrap();
        assert_eq!(Order::load(&state, NETWORK).unwrap(), Some(all));
        for wrong in ["", "{}", "null"] {
            state.replace(&file(NETWORK), wrong).unwrap();
            assert!(matches!(Order::load(&state, NETWORK), Err(StateError::Corrupt { .. })), "{wrong}");
        }
        Order::clear(&state, NETWORK).unwrap();
        Order::clear(&state, NETWORK).unwrap();
        assert_eq!(Order::load(&state, NETWORK).unwrap(), None);
    }
}
