//! `channel close`.

use std::sync::atomic::Ordering;

use cocoon_connect::channel::command::{close, open};
use cocoon_connect::channel::file::{Channel, Stage};
use cocoon_receipts::NanoTon;
use cocoon_ton::{ChannelMessage, Phase};

use crate::mortal::{Fate, WHENS};
use crate::stand_in::CLOSE_DELAY;
use crate::world::{TON, World};

/// With an open channel of 1 TON.
async fn world() -> World {
    let world = World::with(3 * TON).await;
    open(&world.free(), NanoTon(TON), CLOSE_DELAY).await.unwrap();
    world
}

async fn assert_closed(world: &World, refund: u64) {
    assert_eq!(world.channel().stage, Stage::Closed);
    assert_eq!(world.phase().await, Phase::Closed);
    let history = world.history(&world.wallet()).await;
    let refunds: Vec<NanoTon> = history
        .iter()
        .filter_map(|transaction| {
            match ChannelMessage::parse(&transaction.in_message.as_ref().unwrap().body) {
                Ok((ChannelMessage::Refund { amount }, _)) => Some(amount),
                _ => None,
            }
        })
        .collect();
    assert_eq!(refunds, [NanoTon(refund)]);
}

#[tokio::test]
async fn with_the_gateway_it_gets_what_it_charged_and_the_rest_comes_back() {
    let world = world().await;
    let (channel, deposited) = (world.channel(), world.channel().deposited.0);
    Channel::store_signed(&world.state(), &channel.address(), NanoTon(300_000_000)).unwrap();
    world.gateway.charged.store(200_000_000, Ordering::SeqCst);
    let said = close(&world.free(), false).await.unwrap();
    assert_eq!(said.json["settled"], "200000000");
    assert_eq!(said.json["refund"], (deposited - 200_000_000).to_string());
    assert_closed(&world, deposited - 200_000_000).await;
    let again = close(&world.free(), false).await.unwrap_err().to_string();
    assert!(again.contains("closed already"), "{again}");
}

#[tokio::test]
async fn a_gateway_that_charged_all_leaves_nothing_to_come_back() {
    let world = world().await;
    let (channel, deposited) = (world.channel(), world.channel().deposited);
    Channel::store_signed(&world.state(), &channel.address(), deposited).unwrap();
    world.gateway.charged.store(deposited.0, Ordering::SeqCst);
    assert_eq!(close(&world.free(), false).await.unwrap().json["refund"], "0");
    assert_eq!(world.channel().stage, Stage::Closed);
}

#[tokio::test]
async fn without_the_gateway_it_takes_the_close_delay_and_gives_all_back() {
    let world = world().await;
    let deposited = world.channel().deposited.0;
    world.gateway.down.store(503, Ordering::SeqCst);
    let failed = close(&world.free(), false).await.unwrap_err().to_string();
    assert!(failed.contains("--alone") && failed.contains("24 h"), "{failed}");
    let said = close(&world.free(), true).await.unwrap();
    let close_at = said.json["close_at"].as_u64().unwrap();
    assert_eq!(world.phase().await, Phase::Closing);
    // Too early: the same is said, and nothing sent.
    let sent = world.sent().await.len();
    assert_eq!(close(&world.free(), true).await.unwrap(), said);
    world.pass(CLOSE_DELAY - 10);
    assert_eq!(close(&world.free(), true).await.unwrap().json["close_at"].as_u64(), Some(close_at));
    assert_eq!(world.sent().await.len(), sent);
    world.pass(10);
    let said = close(&world.free(), true).await.unwrap();
    assert_eq!(said.json["refund"], deposited.to_string());
    assert_closed(&world, deposited).await;
}

#[tokio::test]
async fn ended_at_any_call_closing_goes_on() {
    // Three runs: with the gateway, StartClose, and Finalize after the delay.
    for (alone, late) in [(false, false), (true, false), (true, true)] {
        let prepared = async || {
            let world = world().await;
            if late {
                close(&world.free(), true).await.unwrap();
                world.pass(CLOSE_DELAY);
            }
            world
        };
        let calls = {
            let (world, fate) = (prepared().await, Fate::kind());
            close(&world.desk(&fate), alone).await.unwrap();
            fate.calls()
        };
        for call in 0..calls {
            for when in WHENS {
                let world = prepared().await;
                let deposited = world.channel().deposited.0;
                assert!(close(&world.desk(&Fate::ends_at(call, when)), alone).await.is_err());
                // What was on its way arrives, or lapses.
                world.pass(300);
                close(&world.free(), alone).await.unwrap();
                if alone && !late {
                    assert_eq!(world.phase().await, Phase::Closing, "{call} {when:?}");
                    world.pass(CLOSE_DELAY);
                    close(&world.free(), true).await.unwrap();
                }
                assert_closed(&world, deposited).await;
            }
        }
    }
}

#[tokio::test]
async fn what_was_never_deployed_is_given_up() {
    let world = World::with(TON / 2).await;
    assert!(open(&world.free(), NanoTon(TON), CLOSE_DELAY).await.is_err(), "too little");
    close(&world.free(), false).await.unwrap();
    assert_eq!(world.channel().stage, Stage::Closed);
}
