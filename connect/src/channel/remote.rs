//! What the gateway is asked about channels, which are named as people are shown them. What it answers is its own word:
//! bounded, and held against what is known.

use cocoon_openapi::CHANNELS_PATH;
use cocoon_openapi::channels::{ChannelOf, ChannelOffer};
use http::HeaderValue;
use serde::Deserialize;

use crate::error::PlainError;
use crate::gateway::{Gateway, GatewayError};

/// Largest answer about a channel, bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The gateway has not seen the channel.
pub const UNKNOWN_CHANNEL: &str = "unknown_channel";
/// No voucher of the channel is taken any more.
pub const CHANNEL_CLOSED: &str = "channel_closed";
/// A voucher is above what the gateway has seen deposited.
pub const CHANNEL_EXHAUSTED: &str = "channel_exhausted";
/// The newest voucher does not cover what would be held.
pub const INSUFFICIENT_BALANCE: &str = "insufficient_balance";

/// The code of an error in OpenAI's shape, where it has one.
#[must_use]
pub fn code_of(plain: &PlainError) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Detail,
    }
    #[derive(Deserialize)]
    struct Detail {
        code: Option<String>,
    }
    serde_json::from_slice::<Body>(&plain.body).ok()?.error.code
}

/// The code of a refusal, where it is one.
#[must_use]
pub fn refusal(error: &GatewayError) -> Option<String> {
    match error {
        GatewayError::Refused(plain) => code_of(plain),
        _ => None,
    }
}

/// What the gateway takes channels on.
///
/// # Errors
/// [`GatewayError`]; a refusal with 404 where it takes none.
pub async fn offer(gateway: &Gateway) -> Result<ChannelOffer, GatewayError> {
    gateway.get_json(CHANNELS_PATH, None, MAX_ANSWER).await
}

/// Has the gateway look at a channel on the chain, which takes as long as asking the chain does.
///
/// # Errors
/// [`GatewayError`].
pub async fn introduce(gateway: &Gateway, channel: &str) -> Result<ChannelOf, GatewayError> {
    let body = serde_json::json!({ "address": channel });
    gateway.post_json(CHANNELS_PATH, None, Some(&body), MAX_ANSWER).await
}

/// How the channel stands at the gateway. One that it has not seen it is told of, once.
///
/// # Errors
/// [`GatewayError`].
pub async fn stands(
    gateway: &Gateway,
    channel: &str,
    authorization: HeaderValue,
) -> Result<ChannelOf, GatewayError> {
    let path = format!("{CHANNELS_PATH}/{channel}");
    let asked = gateway.get_json(&path, Some(authorization.clone()), MAX_ANSWER).await;
    match asked {
        Err(error) if refusal(&error).as_deref() == Some(UNKNOWN_CHANNEL) => {
            introduce(gateway, channel).await?;
            gateway.get_json(&path, Some(authorization), MAX_ANSWER).await
        }
        other => other,
    }
}

/// Has the gateway close the channel: from its answer on it takes no voucher.
///
/// # Errors
/// [`GatewayError`].
pub async fn close(
    gateway: &Gateway,
    channel: &str,
    authorization: HeaderValue,
) -> Result<ChannelOf, GatewayError> {
    let path = format!("{CHANNELS_PATH}/{channel}/close");
    let asked = gateway.post_json(&path, Some(authorization.clone()), None, MAX_ANSWER).await;
    match asked {
        Err(error) if refusal(&error).as_deref() == Some(UNKNOWN_CHANNEL) => {
            introduce(gateway, channel).await?;
            gateway.post_json(&path, Some(authorization), None, MAX_ANSWER).await
        }
        other => other,
    }
}
