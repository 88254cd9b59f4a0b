//! The channel's side of the fake gateway: it takes vouchers as the real one does, holds by the same estimate, and
//! charges what receipts say. It never asks a chain: what is deposited the test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use cocoon_connect::channel::file::Channel;
use cocoon_openapi::Endpoint;
use cocoon_openapi::estimate::{Sealed, estimate_sealed};
use cocoon_receipts::{NanoTon, Price};
use cocoon_ton::{GlobalId, PublicKey, SignedVoucher, VoucherToken};

/// Tokens that fit together, as the list says.
pub(crate) const CONTEXT: u64 = 1000;

/// Why a request on a channel is refused: status and code.
pub(crate) type Refused = (u16, &'static str);

pub(crate) struct Books {
    shown: String,
    key: PublicKey,
    pub(crate) deposited: u64,
    pub(crate) ceiling: u64,
    pub(crate) charged: u64,
    pub(crate) held: u64,
    /// The most that was ever claimed and held at once.
    pub(crate) peak: u64,
    /// It has seen the channel.
    pub(crate) known: bool,
    pub(crate) closed: bool,
    /// Questions about the channel, and looks at the chain.
    pub(crate) asked: usize,
    pub(crate) introduced: usize,
    /// Holds stay when an answer ends: its receipt is late.
    pub(crate) late: bool,
}

#[derive(Clone)]
pub(crate) struct Till(Arc<Mutex<Books>>);

/// A running request: charged when it is dropped.
pub(crate) struct Holding {
    till: Till,
    hold: u64,
    cost: u64,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut books = self.till.books();
        if !books.late {
            books.held -= self.hold;
            books.charged += self.cost;
        }
    }
}

impl Till {
    pub(crate) fn new(channel: &Channel, deposited: u64) -> Self {
        Self(Arc::new(Mutex::new(Books {
            shown: channel.shown(),
            key: channel.terms.payer_key,
            deposited,
            ceiling: 0,
            charged: 0,
            held: 0,
            peak: 0,
            known: true,
            closed: false,
            asked: 0,
            introduced: 0,
            late: false,
        })))
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the voucher that a request brings.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<SignedVoucher, Refused> {
        let mut books = self.books();
        let bearer =
            headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token: VoucherToken =
            bearer.and_then(|token| token.parse().ok()).ok_or((401, "invalid_api_key"))?;
        if !books.known || token.channel.show(true, true) != books.shown {
            return Err((401, "unknown_channel"));
        }
        let voucher = token.verify(GlobalId::TESTNET, &books.key).map_err(|_| (401, "invalid_api_key"))?;
        if books.closed {
            return Err((403, "channel_closed"));
        }
        let cumulative = voucher.voucher().cumulative.0;
        if cumulative > books.deposited {
            return Err((402, "channel_exhausted"));
        }
        books.ceiling = books.ceiling.max(cumulative);
        Ok(voucher)
    }

    /// Holds for a sealed request, as `docs/LEDGER.md` has it.
    pub(crate) fn admit(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        length: usize,
        price: &Price,
        cost: NanoTon,
    ) -> Result<Holding, Refused> {
        self.authorize(headers)?;
        let ceiling = headers.get("cocoon-max-tokens").map(|value| value.to_str().unwrap().parse().unwrap());
        let sealed = Sealed { endpoint, length: Some(length as u64), ceiling };
        let bound = estimate_sealed(price, sealed, 8 << 20, CONTEXT).unwrap();
        let mut books = self.books();
        let available = books.ceiling - books.charged - books.held;
        let hold = match bound.useful_minimum {
            None => bound.worst_case.0,
            Some(least) => bound.worst_case.0.min(least.0.max(available / 4)),
        };
        if hold > available {
            return Err((402, "insufficient_balance"));
        }
        books.held += hold;
        books.peak = books.peak.max(books.charged + books.held);
        Ok(Holding { till: self.clone(), hold, cost: cost.0 })
    }

    pub(crate) fn shown(&self) -> serde_json::Value {
        let books = self.books();
        serde_json::json!({
            "object": "channel",
            "address": books.shown,
            "status": if books.closed { "closed" } else { "open" },
            "deposited": books.deposited.to_string(),
            "ceiling": books.ceiling.to_string(),
            "charged": books.charged.to_string(),
            "held": books.held.to_string(),
        })
    }
}
