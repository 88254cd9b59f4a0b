//! Transactions of a treasury that the official TVM has made (`goldens/make.mjs`), for the tests.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use cocoon_receipts::NanoTon;

use crate::{Address, Batch, CellHash, Payout, PayoutId, Shown, Transaction};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    treasury: String,
    user: String,
    batch_body: String,
    valid_until: u32,
    payouts: Vec<GoldenPayout>,
    transactions: HashMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct GoldenPayout {
    id: String,
    to: String,
    amount: NanoTon,
    bounce: bool,
}

impl GoldenPayout {
    pub(crate) fn payout(&self) -> Payout {
        let id = PayoutId(self.id.parse().unwrap());
        Payout { id, to: address(&self.to), amount: self.amount, bounce: self.bounce, call: None }
    }
}

pub(crate) fn address(text: &str) -> Address {
    text.parse::<Shown>().unwrap().address
}

pub(crate) fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../goldens/transactions.json")).unwrap()
}

impl Recorded {
    pub(crate) fn treasury(&self) -> Address {
        address(&self.treasury)
    }

    pub(crate) fn user(&self) -> Address {
        address(&self.user)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.transactions.keys()
    }

    pub(crate) fn boc(&self, name: &str) -> Vec<u8> {
        STANDARD.decode(&self.transactions[name]).unwrap()
    }

    pub(crate) fn transaction(&self, name: &str) -> Transaction {
        Transaction::from_boc(&self.boc(name)).unwrap()
    }

    /// The batch that transaction `batch` ran; its bytes are not needed for that.
    pub(crate) fn batch(&self) -> Batch {
        let payouts: Vec<_> = self.payouts.iter().map(GoldenPayout::payout).collect();
        Batch {
            boc: Vec::new(),
            body_hash: CellHash::from_hex(&self.batch_body),
            seqno: 1,
            valid_until: self.valid_until,
            total: NanoTon(payouts.iter().map(|payout| payout.amount.0).sum()),
            payouts,
        }
    }
}

impl CellHash {
    pub(crate) fn from_hex(text: &str) -> Self {
        text.parse().unwrap()
    }
}
