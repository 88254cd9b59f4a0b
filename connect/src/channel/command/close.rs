//! `channel close`: with the gateway, or alone.

use anyhow::{Context, bail};
use cocoon_receipts::NanoTon;
use cocoon_ton::{ChannelMessage, ChannelState, ChannelStorage, Phase, Transaction};
use serde_json::json;
use tokio::time::Instant;

use super::{Said, told};
use crate::ask::ApiKey;
use crate::channel::desk::{Desk, Wanted, internal};
use crate::channel::file::{Channel, Stage};
use crate::channel::order::Kind;
use crate::channel::{remote, ton};
use crate::clock::{shown, span};

/// Closes the channel and waits for what comes back; where the gateway does not, in two runs with the close delay
/// between them.
///
/// # Errors
/// Where it cannot be done, or not yet.
pub async fn close(desk: &Desk, alone: bool) -> anyhow::Result<Said> {
    if let Some((order, outcome)) = desk.finish_pending().await? {
        tracing::info!(kind = ?order.kind, ?outcome, "what an earlier command has begun is done");
        // What follows from it, the chain shows.
        desk.clear_order()?;
    }
    let mut channel = desk.channel()?.context("there is no channel in this folder")?;
    if channel.stage == Stage::Closed {
        bail!("the channel {} is closed already", channel.shown());
    }
    let Some(storage) = desk.storage(&channel).await? else {
        if channel.stage == Stage::Open {
            bail!("the chain does not show the channel {}: an endpoint may be behind", channel.shown());
        }
        channel.stage = Stage::Closed;
        channel.store(&desk.state)?;
        let text = format!("Nothing was ever deposited in {}: it is given up.\n", channel.shown());
        return Ok(Said { text, json: json!({ "channel": channel.shown(), "refund": NanoTon::ZERO }) });
    };
    match (storage.state.phase, alone) {
        (Phase::Closed, _) => {}
        (_, false) => ask_gateway(desk, &channel).await?,
        (Phase::Open, true) => {
            let state = start(desk, &channel).await?;
            return Ok(waits(&channel, &state));
        }
        (Phase::Closing, true) => {
            let now = desk.account(&channel.address()).await?.at;
            if now < storage.state.close_at.into() {
                return Ok(waits(&channel, &storage.state));
            }
            order(desk, &channel, Kind::Finalize, ChannelMessage::Finalize).await?;
        }
    }
    let closed = |storage: &ChannelStorage| storage.state.phase == Phase::Closed;
    let storage = desk.storage_once(&channel, 0, "the channel's end", closed).await?;
    let refund = refund(desk, &channel).await?;
    channel.stage = Stage::Closed;
    channel.store(&desk.state)?;
    desk.clear_order()?;
    let (address, settled) = (channel.shown(), storage.state.settled);
    let text = format!(
        "The channel {address} is closed. The gateway has got {}; {} came back to the wallet.\n`channel withdraw --to \
         ADDRESS` sends it on.\n",
        ton::shown(settled),
        ton::shown(refund)
    );
    let json = json!({ "channel": address, "phase": "closed", "settled": settled, "refund": refund });
    Ok(Said { text, json })
}

/// The cooperative way: from its answer on the gateway takes no voucher, and its settler closes the contract.
async fn ask_gateway(desk: &Desk, channel: &Channel) -> anyhow::Result<()> {
    let token = channel.token(channel.signed(&desk.state)?)?;
    let key = ApiKey::new(&token).context("a voucher is no header")?;
    match remote::close(&desk.gateway, &channel.shown(), key.authorization).await {
        Ok(stands) if stands.status == "closed" => Ok(()),
        Ok(_) => bail!("the gateway did not close the channel"),
        // It was asked before.
        Err(error) if remote::refusal(&error).as_deref() == Some(remote::CHANNEL_CLOSED) => Ok(()),
        Err(error) => {
            bail!(
                "the gateway does not close the channel: {}. `channel close --alone` does without it, after {}",
                told(&error),
                span(u64::from(channel.terms.close_delay) * 1000)
            )
        }
    }
}

async fn order(desk: &Desk, channel: &Channel, kind: Kind, message: ChannelMessage) -> anyhow::Result<()> {
    let value = Some(desk.required(channel, &message).await?);
    desk.carry_out(Wanted { kind, to: channel.address(), amount: NanoTon::ZERO, value }).await?;
    Ok(())
}

async fn start(desk: &Desk, channel: &Channel) -> anyhow::Result<ChannelState> {
    order(desk, channel, Kind::StartClose, ChannelMessage::StartClose).await?;
    let begun = |storage: &ChannelStorage| storage.state.phase != Phase::Open;
    let storage = desk.storage_once(channel, 0, "the beginning of the close", begun).await?;
    desk.clear_order()?;
    Ok(storage.state)
}

fn waits(channel: &Channel, state: &ChannelState) -> Said {
    let (address, close_at) = (channel.shown(), state.close_at);
    let text = format!(
        "The channel {address} is closing. From {} on, `channel close --alone` brings back what the gateway has not \
         claimed until then.\n",
        shown(u64::from(close_at) * 1000)
    );
    Said { text, json: json!({ "channel": address, "phase": "closing", "close_at": close_at }) }
}

/// What came back when the channel was closed, once it has arrived.
async fn refund(desk: &Desk, channel: &Channel) -> anyhow::Result<NanoTon> {
    let (here, wallet) = (channel.address(), desk.wallet());
    let last = desk.account(&here).await?.last_transaction;
    let found = desk.find(&here, last, 0, |transaction| ended(transaction, channel)).await?;
    let Some((refund, created_lt)) = found.context("the transaction that closed the channel is not shown")?
    else {
        // All of it was the gateway's.
        return Ok(NanoTon::ZERO);
    };
    let deadline = Instant::now() + desk.patience;
    loop {
        let last = desk.account(&wallet).await?.last_transaction;
        let came = |transaction: &Transaction| {
            let internal = internal(transaction)?;
            (internal.from == here && internal.created_lt == created_lt).then_some(())
        };
        if desk.find(&wallet, last, 0, came).await?.is_some() {
            return Ok(refund);
        }
        desk.wait(deadline, "the refund").await?;
    }
}

/// Whether a transaction has closed the channel, and the refund that it has sent: nanoTON, and the message's logical
/// time.
fn ended(transaction: &Transaction, channel: &Channel) -> Option<Option<(NanoTon, u64)>> {
    let (asked, _) = ChannelMessage::parse(&transaction.in_message.as_ref()?.body).ok()?;
    let closes = matches!(
        asked,
        ChannelMessage::Finalize | ChannelMessage::ReceiverClose | ChannelMessage::RedeemAndClose { .. }
    );
    if transaction.aborted || !closes {
        return None;
    }
    let refund = transaction.out_messages.iter().find_map(|message| {
        let cocoon_ton::Direction::Internal(sent) = &message.direction else { return None };
        let (ChannelMessage::Refund { amount }, _) = ChannelMessage::parse(&message.body).ok()? else {
            return None;
        };
        (sent.to == channel.terms.payer).then_some((amount, sent.created_lt))
    });
    Some(refund)
}
