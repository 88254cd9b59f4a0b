//! `channel deposit`.

use anyhow::{Context, bail};
use cocoon_receipts::NanoTon;
use cocoon_ton::{ChannelMessage, Phase};
use serde_json::json;

use super::{Said, introduce};
use crate::channel::desk::{Desk, Wanted};
use crate::channel::order::{Kind, Outcome};
use crate::channel::ton;

/// Adds at least `amount` to the open channel. An unfinished deposit of the same amount is finished in place of a new
/// one; of another amount, before it.
///
/// # Errors
/// Where it cannot be done, or not yet.
pub async fn deposit(desk: &Desk, amount: NanoTon) -> anyhow::Result<Said> {
    let pending = desk.finish_pending().await?;
    let mut channel = desk.open_channel()?;
    let mut came = None;
    if let Some((order, outcome)) = pending {
        if order.kind == Kind::Deposit && order.to == channel.address() {
            desk.check(outcome)?;
            came = (order.amount == amount).then_some(outcome);
        }
        if came.is_none() {
            desk.clear_order()?;
        }
    }
    let resumed = came.is_some();
    let outcome = match came {
        Some(outcome) => outcome,
        None => {
            let storage = desk.storage(&channel).await?;
            if storage.is_none_or(|storage| storage.state.phase != Phase::Open) {
                bail!("the channel {} takes no deposits: it is closing or closed", channel.shown());
            }
            let required = desk.required(&channel, &ChannelMessage::Deposit).await?;
            let value = Some(amount.checked_add(required).context("no such amount exists")?);
            desk.carry_out(Wanted { kind: Kind::Deposit, to: channel.address(), amount, value }).await?
        }
    };
    let Outcome::Done { lt, .. } = outcome else { bail!("the deposit has no end") };
    channel.deposited = desk.storage_once(&channel, lt, "the deposit", |_| true).await?.state.deposited;
    channel.store(&desk.state)?;
    let seen = introduce(desk, &channel).await?;
    desk.clear_order()?;
    let (address, deposited) = (channel.shown(), channel.deposited);
    let finished = if resumed { "An earlier run's deposit has arrived" } else { "The deposit has arrived" };
    let text = format!(
        "{finished}. In the channel {address} are {} now.\nThe gateway has seen {} of it.\n",
        ton::shown(deposited),
        ton::shown(seen)
    );
    let json = json!({
        "channel": address,
        "deposited": deposited,
        "seen_by_gateway": seen,
        "finished_an_earlier_run": resumed,
    });
    Ok(Said { text, json })
}
