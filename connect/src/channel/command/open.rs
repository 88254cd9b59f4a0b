//! `channel open`.

use anyhow::{Context, bail};
use cocoon_receipts::NanoTon;
use cocoon_ton::Phase;
use serde_json::json;

use super::{Said, introduce, told};
use crate::channel::desk::{Desk, Wanted};
use crate::channel::file::{Channel, Stage};
use crate::channel::offer::agree;
use crate::channel::order::{Kind, Outcome};
use crate::channel::{remote, ton};

/// What a channel's first message brings beside the deposit, nanoTON: gas and the rent reserve of a new channel, 0.0344
/// TON at the prices until April 2026 and 0.0049 since (`contracts/fees.txt`). The contract cannot be asked before it
/// is there. What it does not need is deposited.
const OPENING: NanoTon = NanoTon(40_000_000);

/// Opens a channel with at least `amount`, or goes on with the one that is being opened. `allowed` is the longest close
/// delay, seconds.
///
/// # Errors
/// Where it cannot be done, or not yet.
pub async fn open(desk: &Desk, amount: NanoTon, allowed: u32) -> anyhow::Result<Said> {
    let pending = desk.finish_pending().await?;
    let mut channel = match desk.channel()? {
        Some(channel) if channel.stage != Stage::Closed => channel,
        ended => make(desk, ended, allowed).await?,
    };
    let came = match pending {
        Some((order, outcome)) if order.kind.is_deposit() && order.to == channel.address() => {
            desk.check(outcome)?;
            Some(outcome)
        }
        _ => {
            desk.clear_order()?;
            None
        }
    };
    let is_new = channel.stage == Stage::Opening;
    if is_new {
        deposit_first(desk, &channel, came, amount).await?;
    }
    let storage =
        desk.storage_once(&channel, 0, "the channel", |storage| storage.state.deposited > NanoTon::ZERO);
    let state = storage.await?.state;
    if state.phase != Phase::Open {
        bail!("the channel {} is closing: `channel close` brings that to its end", channel.shown());
    }
    (channel.stage, channel.deposited) = (Stage::Open, state.deposited);
    channel.store(&desk.state)?;
    let seen = introduce(desk, &channel).await?;
    desk.clear_order()?;
    Ok(said(&channel, seen, is_new))
}

/// A channel under what the gateway offers, written down before anything else.
async fn make(desk: &Desk, ended: Option<Channel>, allowed: u32) -> anyhow::Result<Channel> {
    let offer = match remote::offer(&desk.gateway).await {
        Ok(offer) => offer,
        Err(error) => bail!("the gateway does not say what channels it takes: {}", told(&error)),
    };
    let agreed = agree(&offer, desk.network, allowed)?;
    let global_id = desk.network.global_id();
    let channel = Channel::new(global_id, desk.wallet(), agreed.receiver, agreed.close_delay)?;
    if let Some(ended) = ended {
        ended.archive(&desk.state)?;
    }
    channel.store(&desk.state).context("the channel cannot be written down")?;
    Ok(channel)
}

/// Deploys and deposits, unless that has happened.
async fn deposit_first(
    desk: &Desk,
    channel: &Channel,
    came: Option<Outcome>,
    amount: NanoTon,
) -> anyhow::Result<()> {
    if came.is_some() {
        return Ok(());
    }
    if let Some(storage) = desk.storage(channel).await?
        && (storage.state.deposited > NanoTon::ZERO || storage.state.phase != Phase::Open)
    {
        return Ok(());
    }
    let value = amount.checked_add(OPENING).context("no such amount exists")?;
    let wanted = Wanted { kind: Kind::Open, to: channel.address(), amount, value: Some(value) };
    desk.carry_out(wanted).await?;
    Ok(())
}

fn said(channel: &Channel, seen: NanoTon, is_new: bool) -> Said {
    let (address, deposited) = (channel.shown(), channel.deposited);
    let state = if is_new { "is open" } else { "was open already" };
    let text = format!(
        "The channel {address} {state} with {}.\nThe gateway has seen {} of it. Requests are paid from it by: \
         cocoon-connect serve --channel\n",
        ton::shown(deposited),
        ton::shown(seen)
    );
    let json = json!({
        "channel": address,
        "deposited": deposited,
        "seen_by_gateway": seen,
        "opened_now": is_new,
        "close_delay_s": channel.terms.close_delay,
    });
    Said { text, json }
}
