//! `channel withdraw`.

use anyhow::{Context, bail};
use cocoon_receipts::NanoTon;
use cocoon_ton::Address;
use serde_json::json;

use super::Said;
use crate::channel::desk::{Desk, Wanted};
use crate::channel::file::Stage;
use crate::channel::order::{Kind, Outcome};
use crate::channel::ton;

/// Sends all that the wallet has to an address. An unfinished withdrawal there is finished in place of a new one.
///
/// # Errors
/// Where it cannot be done, or not yet.
pub async fn withdraw(desk: &Desk, to: &str) -> anyhow::Result<Said> {
    let to = Address::parse_for(to, desk.network).context("--to")?;
    if to == desk.wallet() {
        bail!("--to is this wallet itself");
    }
    let mut came = None;
    if let Some((order, outcome)) = desk.finish_pending().await? {
        if order.kind == Kind::Withdraw && order.to == to {
            desk.check(outcome)?;
            came = Some(outcome);
        } else if order.kind.is_deposit() && outcome.check().is_ok() {
            // What follows from it is for its own command to do.
            bail!("a deposit was not finished: run `channel open` or `channel deposit` first");
        } else {
            desk.clear_order()?;
        }
    }
    let outcome = match came {
        Some(outcome) => outcome,
        None => {
            desk.carry_out(Wanted { kind: Kind::Withdraw, to, amount: NanoTon::ZERO, value: None }).await?
        }
    };
    let Outcome::Done { value, .. } = outcome else { bail!("the withdrawal has no end") };
    desk.clear_order()?;
    let address = desk.show(&to, true);
    let mut text = format!("{} are on their way to {address}.\n", ton::shown(value));
    if desk.channel()?.is_some_and(|channel| channel.stage != Stage::Closed) {
        text += "The wallet has nothing left for fees: to close the channel alone, it will need a little.\n";
    }
    Ok(Said { text, json: json!({ "to": address, "sent": value }) })
}
