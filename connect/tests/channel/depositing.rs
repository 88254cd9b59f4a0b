//! `channel deposit`.

use std::sync::atomic::Ordering;

use cocoon_connect::channel::command::{close, deposit, open};
use cocoon_receipts::NanoTon;

use crate::mortal::{Fate, WHENS};
use crate::stand_in::CLOSE_DELAY;
use crate::world::{TON, World};

/// With an open channel of 1 TON.
async fn world() -> World {
    let world = World::with(6 * TON).await;
    open(&world.free(), NanoTon(TON), CLOSE_DELAY).await.unwrap();
    world
}

#[tokio::test]
async fn a_deposit_adds_at_least_what_was_asked_for() {
    let world = world().await;
    let before = world.channel().deposited.0;
    let said = deposit(&world.free(), NanoTon(TON / 2)).await.unwrap();
    let after = world.channel().deposited;
    assert!((before + TON / 2..before + TON / 2 + 21_000_000).contains(&after.0), "{before} {after}");
    assert_eq!(world.storage(&world.channel()).await.state.deposited, after);
    assert_eq!(said.json["deposited"], after.to_string());
    assert_eq!(world.gateway.introduced.load(Ordering::SeqCst), 2, "the gateway is told");
    deposit(&world.free(), NanoTon(TON / 2)).await.unwrap();
    assert_eq!(world.deposits(&world.channel()).await, (3, 3), "a run that was not ended is one deposit");
}

#[tokio::test]
async fn ended_at_any_call_the_next_run_finishes_that_deposit_and_makes_no_other() {
    let calls = {
        let (world, fate) = (world().await, Fate::kind());
        deposit(&world.desk(&fate), NanoTon(TON)).await.unwrap();
        fate.calls()
    };
    for call in 0..calls {
        for when in WHENS {
            for lapse in [0, 300] {
                let world = world().await;
                let ended = deposit(&world.desk(&Fate::ends_at(call, when)), NanoTon(TON)).await;
                assert!(ended.is_err());
                world.pass(lapse);
                deposit(&world.free(), NanoTon(TON)).await.unwrap();
                world.pass(300);
                let shown = format!("call {call}, {when:?}, {lapse} s");
                assert_eq!(world.deposits(&world.channel()).await, (2, 2), "{shown}");
                assert_eq!(world.storage(&world.channel()).await.state.deposited, world.channel().deposited);
            }
        }
    }
}

#[tokio::test]
async fn a_gateway_that_fails_after_it_does_not_make_the_next_run_deposit_again() {
    let world = world().await;
    world.gateway.down.store(500, Ordering::SeqCst);
    assert!(deposit(&world.free(), NanoTon(TON)).await.is_err());
    world.gateway.down.store(0, Ordering::SeqCst);
    let said = deposit(&world.free(), NanoTon(TON)).await.unwrap();
    assert_eq!(said.json["finished_an_earlier_run"], true);
    assert_eq!(world.deposits(&world.channel()).await, (2, 2));
}

#[tokio::test]
async fn another_amount_is_another_deposit() {
    let world = world().await;
    world.gateway.down.store(500, Ordering::SeqCst);
    assert!(deposit(&world.free(), NanoTon(TON)).await.is_err());
    world.gateway.down.store(0, Ordering::SeqCst);
    deposit(&world.free(), NanoTon(TON / 10)).await.unwrap();
    assert_eq!(world.deposits(&world.channel()).await, (3, 3));
}

#[tokio::test]
async fn a_channel_that_is_closing_gets_nothing() {
    let world = world().await;
    close(&world.free(), true).await.unwrap();
    let refused = deposit(&world.free(), NanoTon(TON)).await.unwrap_err().to_string();
    assert!(refused.contains("closing"), "{refused}");
    assert_eq!(world.deposits(&world.channel()).await, (1, 1));
}
