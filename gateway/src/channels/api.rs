//! `/v1/channels`: what is taken, and how one stands.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cocoon_openapi::channels::{ChannelOf, ChannelOffer, NewChannel};
use cocoon_openapi::{ApiError, CHANNELS_PATH};
use cocoon_ton::{Address, PAY_CHANNEL_HASH};
use http::HeaderMap;

use super::{Channels, account_of};
use crate::accept::Gateway;
use crate::authenticate;
use crate::error::Failure;
use crate::keys_api::asked;

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(CHANNELS_PATH, get(offer).post(open))
        .route(&format!("{CHANNELS_PATH}/{{address}}"), get(read))
        .route(&format!("{CHANNELS_PATH}/{{address}}/close"), post(close))
}

/// Which channels are taken.
async fn offer(State(gateway): State<Arc<Gateway>>) -> Result<Json<ChannelOffer>, Failure> {
    let channels = gateway.channels()?;
    Ok(Json(ChannelOffer {
        object: "channel.offer".to_owned(),
        receiver: channels.show(&channels.receiver),
        global_id: channels.network.global_id().0,
        min_close_delay_s: channels.config.min_close_delay_s,
        code_hash: PAY_CHANNEL_HASH.to_hex(),
    }))
}

/// Looks at a channel that was opened, or in which more was deposited. Needs no key: it gives nobody anything but who has
/// the payer's.
async fn open(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ChannelOf>, Failure> {
    let channels = gateway.channels()?;
    let NewChannel { address } = asked::json(&headers, body).await?;
    let address = channels.parse(&address)?;
    channels.open(&address).await?;
    tracing::info!(channel = %address, "opened");
    channels.show_channel(&address).await.map(Json)
}

/// How the voucher's own channel stands.
async fn read(
    State(gateway): State<Arc<Gateway>>,
    Path(address): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ChannelOf>, Failure> {
    let channels = gateway.channels()?;
    let address = channels.owned(&address, &headers).await?;
    channels.show_channel(&address).await.map(Json)
}

/// No voucher of it is taken any more; once nothing runs on it, the settler closes the contract.
async fn close(
    State(gateway): State<Arc<Gateway>>,
    Path(address): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ChannelOf>, Failure> {
    let channels = gateway.channels()?;
    let address = channels.owned(&address, &headers).await?;
    if !channels.ledger.close_channel(&account_of(&address)?).await.map_err(Failure::of_ledger)? {
        return Err(Failure::unknown_channel());
    }
    tracing::info!(channel = %address, "closed by its payer");
    channels.show_channel(&address).await.map(Json)
}

impl Channels {
    fn show(&self, address: &Address) -> String {
        address.show(true, !self.network.global_id().is_mainnet())
    }

    fn parse(&self, text: &str) -> Result<Address, Failure> {
        let parsed = Address::parse_for(text, self.network);
        parsed.map_err(|error| {
            ApiError::invalid(format!("'address' is no address here: {error}.")).with_param("address").into()
        })
    }

    /// The channel at `address`, of which the request brings a voucher.
    async fn owned(&self, address: &str, headers: &HeaderMap) -> Result<Address, Failure> {
        let token = authenticate::voucher(headers)?.ok_or_else(Failure::no_key)?;
        self.identify(&token).await?;
        if token.channel == self.parse(address)? {
            Ok(token.channel)
        } else {
            Err(Failure::forbidden("The voucher is of another channel."))
        }
    }

    async fn show_channel(&self, address: &Address) -> Result<ChannelOf, Failure> {
        let account = account_of(address)?;
        let found = self.ledger.channel(&account).await.map_err(Failure::of_ledger)?;
        let channel = found.ok_or_else(Failure::unknown_channel)?;
        let state = self.ledger.account(&account).await.map_err(Failure::of_ledger)?;
        Ok(ChannelOf {
            object: "channel".to_owned(),
            address: self.show(address),
            status: if channel.closed { "closed" } else { "open" }.to_owned(),
            deposited: channel.deposited,
            ceiling: channel.ceiling(),
            charged: channel.base.checked_add(state.charged).ok_or_else(Failure::internal)?,
            held: state.held,
        })
    }
}
