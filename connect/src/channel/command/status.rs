//! `channel address` and `channel status`.

use std::fmt::Write;

use cocoon_openapi::channels::ChannelOf;
use cocoon_receipts::NanoTon;
use cocoon_ton::{ChannelState, Network, Phase};
use serde_json::{Value, json};

use super::{Said, told};
use crate::ask::ApiKey;
use crate::channel::desk::Desk;
use crate::channel::file::{Channel, Stage};
use crate::channel::wallet::OwnWallet;
use crate::channel::{remote, ton};
use crate::clock::{shown, span};
use crate::gateway::GatewayError;

/// Where the user's TON is to be sent.
#[must_use]
pub fn address(own: &OwnWallet, network: Network) -> Said {
    // Before its first message the wallet is not deployed, and would not take what bounces.
    let address = own.wallet.address().show(false, network != Network::Mainnet);
    let link = format!("ton://transfer/{address}");
    let warning = match network {
        Network::Mainnet => String::new(),
        Network::Test { global_id, .. } => {
            format!("On the test network {global_id} only: coins there are worth nothing.\n")
        }
    };
    let text = format!("{address}\n{link}\n{warning}");
    Said { text, json: json!({ "address": address, "link": link, "network": network.global_id().0 }) }
}

/// What is known of a channel from one side.
struct Sides {
    chain: Option<ChannelState>,
    gateway: Result<ChannelOf, GatewayError>,
    signed: NanoTon,
}

/// The wallet, the channel on the chain, at the gateway and here, and what is at risk. What others deposited is written
/// down, so that it can be signed for, if this command `may_write`.
///
/// # Errors
/// Where no endpoint answers, or the folder cannot be read. That the gateway does not answer is shown.
pub async fn status(desk: &Desk, may_write: bool) -> anyhow::Result<Said> {
    let wallet = desk.show(&desk.wallet(), false);
    let balance = desk.account(&desk.wallet()).await?.balance;
    let mut text = format!("wallet       {wallet}\n             {}\n", ton::shown(balance));
    let mut json = json!({ "wallet": { "address": wallet, "balance": balance } });
    if let Some(order) = desk.order()? {
        let _ = writeln!(text, "             a {:?} is not finished: run that command again", order.kind);
        json["unfinished"] = serde_json::to_value(order.kind)?;
    }
    let Some(mut channel) = desk.channel()? else {
        text += "channel      none: `channel open --deposit TON` opens one\n";
        json["channel"] = Value::Null;
        return Ok(Said { text, json });
    };
    let chain = desk.storage(&channel).await?.map(|storage| storage.state);
    if let Some(state) = &chain
        && may_write
        && channel.stage == Stage::Open
        && state.deposited != channel.deposited
    {
        // Anybody may deposit, and the gateway may give back a part.
        channel.deposited = state.deposited;
        channel.store(&desk.state)?;
    }
    let signed = channel.signed(&desk.state)?;
    let gateway = match ApiKey::new(&channel.token(signed)?) {
        Some(key) => {
            let path = channel.shown();
            remote::stands(&desk.gateway, &path, key.authorization).await
        }
        None => Err(GatewayError::Request),
    };
    let sides = Sides { chain, gateway, signed };
    text += &sides.text(&channel);
    json["channel"] = sides.json(&channel);
    Ok(Said { text, json })
}

fn phase(state: &ChannelState) -> &'static str {
    match state.phase {
        Phase::Open => "open",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
    }
}

impl Sides {
    /// What the gateway could claim beyond what it says it has earned.
    fn at_risk(&self) -> Option<NanoTon> {
        let charged = self.gateway.as_ref().ok()?.charged;
        Some(NanoTon(self.signed.0.saturating_sub(charged.0)))
    }

    fn text(&self, channel: &Channel) -> String {
        let mut text = format!(
            "channel      {}\n             close delay {}\n",
            channel.shown(),
            span(u64::from(channel.terms.close_delay) * 1000)
        );
        let _ = match &self.chain {
            None => writeln!(text, "on chain     not there yet"),
            Some(state) => writeln!(
                text,
                "on chain     {}: deposited {}, paid to the gateway {}{}",
                phase(state),
                ton::shown(state.deposited),
                ton::shown(state.settled),
                match state.phase {
                    Phase::Closing =>
                        format!("; can be ended from {}", shown(u64::from(state.close_at) * 1000)),
                    Phase::Open | Phase::Closed => String::new(),
                }
            ),
        };
        let _ = match &self.gateway {
            Err(error) => writeln!(text, "gateway      {}", told(error)),
            Ok(of) => writeln!(
                text,
                "gateway      {}: has seen {}, charged {}, held for running requests {}",
                if of.status == "open" { "open" } else { "closed" },
                ton::shown(of.deposited),
                ton::shown(of.charged),
                ton::shown(of.held)
            ),
        };
        let _ = writeln!(text, "signed here  {} in all", ton::shown(self.signed));
        if let Some(at_risk) = self.at_risk() {
            let _ = writeln!(text, "at risk      {}: signed, and not charged", ton::shown(at_risk));
        }
        text
    }

    fn json(&self, channel: &Channel) -> Value {
        let chain = self.chain.as_ref().map(|state| {
            json!({
                "phase": phase(state),
                "deposited": state.deposited,
                "settled": state.settled,
                "close_at": state.close_at,
            })
        });
        let gateway = match &self.gateway {
            Ok(of) => json!({
                "status": of.status,
                "deposited": of.deposited,
                "ceiling": of.ceiling,
                "charged": of.charged,
                "held": of.held,
            }),
            Err(error) => json!({ "error": told(error) }),
        };
        json!({
            "address": channel.shown(),
            "stage": channel.stage,
            "close_delay_s": channel.terms.close_delay,
            "chain": chain,
            "gateway": gateway,
            "signed": self.signed,
            "at_risk": self.at_risk(),
        })
    }
}
