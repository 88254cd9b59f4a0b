//! Payment channels: what a gateway takes them on, and how one stands.

use cocoon_receipts::NanoTon;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Channels that this gateway takes: their terms, and the network they are on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelOffer {
    /// `channel.offer`.
    pub object: String,
    /// Who must be the channel's receiver, in its user-friendly form.
    pub receiver: String,
    /// ConfigParam 19 of the network: vouchers are signed for it.
    pub global_id: i32,
    /// Least close delay, seconds.
    pub min_close_delay_s: u32,
    /// Representation hash of the contract's code, hexadecimal.
    pub code_hash: String,
}

/// Asks the gateway to look at a channel on the chain: when it was opened, and when more was deposited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// The contract, in any form.
    #[schema(max_length = 67)]
    pub address: String,
}

/// A channel as the gateway has it. Amounts are nanoTON, as decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Channel)]
pub struct ChannelOf {
    /// `channel`.
    pub object: String,
    /// In its user-friendly form.
    pub address: String,
    /// `open`, or `closed`: then no voucher is taken any more.
    pub status: String,
    /// What was paid in, as far as the gateway has seen.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub deposited: NanoTon,
    /// The newest voucher's amount.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub ceiling: NanoTon,
    /// What the gateway claims of it in all.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub charged: NanoTon,
    /// What running requests may still cost.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub held: NanoTon,
}
