//! Stands in for a gateway and its settler: the four endpoints, with the checks that the real one makes, on the same
//! chain. It sells nothing; what it has charged the test says.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use cocoon_devnet::SharedChain;
use cocoon_ton::chain::{Chain, Status};
use cocoon_ton::{
    Address, ChannelMessage, GlobalId, Observed, PAY_CHANNEL_HASH, SignedVoucher, VoucherToken, Workchain,
    accept,
};
use serde_json::{Value, json};

use crate::world::{TON, put};

pub(crate) const CLOSE_DELAY: u32 = 86_400;

pub(crate) struct StandIn {
    devnet: SharedChain,
    chain: Arc<dyn Chain>,
    pub(crate) charged: AtomicU64,
    pub(crate) introduced: AtomicUsize,
    /// Answers to fail with this status before anything else; 0 for none.
    pub(crate) down: AtomicU32,
    closed: Mutex<Vec<Address>>,
}

/// The treasury.
pub(crate) fn receiver() -> Address {
    Address::new(Workchain::Basechain, [0x77; 32])
}

type Refused = (StatusCode, Json<Value>);
type Answer = Result<Json<Value>, Refused>;

fn refused(status: u16, code: &str) -> Refused {
    let error = json!({ "message": "no", "type": "invalid_request_error", "param": null, "code": code });
    (StatusCode::from_u16(status).unwrap(), Json(json!({ "error": error })))
}

impl StandIn {
    pub(crate) fn new(devnet: SharedChain, chain: Arc<dyn Chain>) -> Arc<Self> {
        Arc::new(Self {
            devnet,
            chain,
            charged: AtomicU64::new(0),
            introduced: AtomicUsize::new(0),
            down: AtomicU32::new(0),
            closed: Mutex::default(),
        })
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/channels", get(offer).post(open))
            .route("/v1/channels/{address}", get(read))
            .route("/v1/channels/{address}/close", post(close))
            .with_state(Arc::clone(self))
    }

    fn up(&self) -> Result<(), Refused> {
        match self.down.load(Ordering::SeqCst) {
            0 => Ok(()),
            status => Err(refused(status.try_into().unwrap(), "down")),
        }
    }

    /// What the chain has of an acceptable channel: its payer's key, and what is deposited.
    async fn look(&self, address: &Address) -> Result<cocoon_ton::Accepted, Refused> {
        let Status::Active { code, data } = self.chain.account(address).await.unwrap().status else {
            return Err(refused(400, "channel_not_accepted"));
        };
        let observed = Observed { address: *address, code: &code, data: &data };
        accept(observed, &receiver(), CLOSE_DELAY).map_err(|_| refused(400, "channel_not_accepted"))
    }

    async fn voucher(&self, address: &str, headers: &HeaderMap) -> Result<SignedVoucher, Refused> {
        let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let token: VoucherToken = token.parse().map_err(|_| refused(401, "invalid_api_key"))?;
        assert_eq!(token.channel.show(true, true), address);
        let Status::Active { data, .. } = self.chain.account(&token.channel).await.unwrap().status else {
            return Err(refused(401, "unknown_channel"));
        };
        let key = cocoon_ton::ChannelStorage::parse(&data).unwrap().terms.payer_key;
        token.verify(GlobalId::TESTNET, &key).map_err(|_| refused(401, "invalid_api_key"))
    }

    async fn shown(&self, address: &Address) -> Json<Value> {
        let closed = self.closed.lock().unwrap().contains(address);
        let deposited = self.look(address).await.map_or(0, |accepted| accepted.state.deposited.0);
        Json(json!({
            "object": "channel",
            "address": address.show(true, true),
            "status": if closed { "closed" } else { "open" },
            "deposited": deposited.to_string(),
            "ceiling": "0",
            "charged": self.charged.load(Ordering::SeqCst).to_string(),
            "held": "0",
        }))
    }
}

async fn offer(State(own): State<Arc<StandIn>>) -> Answer {
    own.up()?;
    Ok(Json(json!({
        "object": "channel.offer",
        "receiver": receiver().show(true, true),
        "global_id": -3,
        "min_close_delay_s": CLOSE_DELAY,
        "code_hash": PAY_CHANNEL_HASH.to_hex(),
    })))
}

async fn open(State(own): State<Arc<StandIn>>, Json(body): Json<Value>) -> Answer {
    own.up()?;
    let shown: cocoon_ton::Shown = body["address"].as_str().unwrap().parse().unwrap();
    own.look(&shown.address).await?;
    own.introduced.fetch_add(1, Ordering::SeqCst);
    Ok(own.shown(&shown.address).await)
}

async fn read(State(own): State<Arc<StandIn>>, Path(address): Path<String>, headers: HeaderMap) -> Answer {
    own.up()?;
    let voucher = own.voucher(&address, &headers).await?;
    Ok(own.shown(&voucher.voucher().channel).await)
}

/// As the settler does it at once: what was charged is redeemed, the rest goes back.
async fn close(State(own): State<Arc<StandIn>>, Path(address): Path<String>, headers: HeaderMap) -> Answer {
    own.up()?;
    let signed = own.voucher(&address, &headers).await?;
    let voucher = *signed.voucher();
    let charged = cocoon_receipts::NanoTon(own.charged.load(Ordering::SeqCst));
    let message = match charged.0 {
        0 => ChannelMessage::ReceiverClose,
        _ => ChannelMessage::RedeemAndClose {
            amount: charged,
            cumulative: voucher.cumulative,
            signature: *signed.signature(),
        },
    };
    own.closed.lock().unwrap().push(voucher.channel);
    put(&own.devnet, receiver(), voucher.channel, TON, &message.body(7).unwrap());
    Ok(own.shown(&voucher.channel).await)
}
