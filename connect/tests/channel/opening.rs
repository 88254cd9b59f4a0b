//! `channel open`.

use std::sync::atomic::Ordering;

use cocoon_connect::channel::command::{close, open};
use cocoon_connect::channel::file::{Channel, Stage};
use cocoon_devnet::Fees;
use cocoon_receipts::NanoTon;
use cocoon_ton::{Phase, Workchain};

use crate::mortal::{Fate, WHENS};
use crate::stand_in::{CLOSE_DELAY, receiver};
use crate::world::{TON, World};

const DEPOSIT: NanoTon = NanoTon(TON);
const ALLOWED: u32 = 2 * CLOSE_DELAY;
/// Longer than any signed request is good for.
const LAPSE: u32 = 300;

#[tokio::test]
async fn a_channel_is_opened_under_what_the_gateway_offers_with_at_least_what_was_asked_for() {
    for fees in [Fees::Current, Fees::Old] {
        let world = World::under(fees, 2 * TON).await;
        let said = open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
        let channel = world.channel();
        assert_eq!((channel.stage, channel.terms.receiver), (Stage::Open, receiver()));
        assert_eq!((channel.terms.payer, channel.terms.close_delay), (world.wallet(), CLOSE_DELAY));
        let state = world.storage(&channel).await.state;
        assert_eq!((state.phase, state.deposited), (Phase::Open, channel.deposited));
        assert!((TON..TON + 40_000_000).contains(&state.deposited.0), "{fees:?}: {state:?}");
        assert_eq!(said.json["channel"], channel.shown());
        assert_eq!(said.json["seen_by_gateway"], state.deposited.to_string());
        assert!(said.text.contains(&channel.shown()) && !said.text.contains("key"), "{}", said.text);
        assert_eq!(world.deposits(&channel).await, (1, 1));
        let spent = 2 * TON - world.balance(&world.wallet()).await;
        // Within what the wallet must have beside.
        assert!(spent < TON + 40_000_000 + 50_000_000, "{fees:?}: {spent}");
    }
}

#[tokio::test]
async fn an_open_channel_is_not_opened_again() {
    let world = World::with(3 * TON).await;
    open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
    let said = open(&world.free(), NanoTon(2 * TON), ALLOWED).await.unwrap();
    assert_eq!(said.json["opened_now"], false);
    assert_eq!(world.deposits(&world.channel()).await, (1, 1));
    assert_eq!(world.gateway.introduced.load(Ordering::SeqCst), 2, "the gateway is told again");
}

#[tokio::test]
async fn ended_at_any_call_to_the_chain_it_goes_on_and_deposits_once() {
    let calls = {
        let (world, fate) = (World::with(3 * TON).await, Fate::kind());
        open(&world.desk(&fate), DEPOSIT, ALLOWED).await.unwrap();
        fate.calls()
    };
    assert!(calls > 5, "{calls}");
    for call in 0..calls {
        for when in WHENS {
            for lapse in [0, LAPSE] {
                let world = World::with(3 * TON).await;
                let ended = open(&world.desk(&Fate::ends_at(call, when)), DEPOSIT, ALLOWED).await;
                assert!(ended.is_err(), "{call} {when:?}");
                let terms = Channel::load(&world.state()).unwrap().unwrap().terms;
                world.pass(lapse);
                let said = open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
                let channel = world.channel();
                let shown = format!("call {call}, {when:?}, {lapse} s: {said:?}");
                assert_eq!(channel.terms, terms, "{shown}");
                world.pass(LAPSE);
                assert_eq!(world.deposits(&channel).await, (1, 1), "{shown}");
                assert!(world.storage(&channel).await.state.deposited < NanoTon(TON + 40_000_000), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_gateway_that_fails_after_the_deposit_is_asked_again_by_the_next_run() {
    let world = World::with(3 * TON).await;
    open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
    // As after a run that was ended right before the gateway was told.
    world.gateway.down.store(503, Ordering::SeqCst);
    let failed = open(&world.free(), DEPOSIT, ALLOWED).await.unwrap_err().to_string();
    assert!(failed.contains("status 503") && failed.contains("Run the command again"), "{failed}");
    world.gateway.down.store(0, Ordering::SeqCst);
    open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
    assert_eq!(world.deposits(&world.channel()).await, (1, 1));
}

#[tokio::test]
async fn without_the_gateways_offer_nothing_is_made() {
    let world = World::with(3 * TON).await;
    world.gateway.down.store(404, Ordering::SeqCst);
    assert!(open(&world.free(), DEPOSIT, ALLOWED).await.is_err());
    assert!(Channel::load(&world.state()).unwrap().is_none());
    world.gateway.down.store(0, Ordering::SeqCst);
    let too_long = open(&world.free(), DEPOSIT, CLOSE_DELAY - 1).await.unwrap_err().to_string();
    assert!(too_long.contains("--max-close-delay"), "{too_long}");
    assert!(Channel::load(&world.state()).unwrap().is_none());
    assert!(world.sent().await.is_empty());
}

#[tokio::test]
async fn a_wallet_with_too_little_says_where_to_send_how_much_and_sends_nothing() {
    let world = World::with(TON).await;
    let failed = open(&world.free(), DEPOSIT, ALLOWED).await.unwrap_err().to_string();
    let address = world.wallet().show(false, true);
    assert!(failed.contains("0.09 TON") && failed.contains(&address), "{failed}");
    assert!(world.sent().await.is_empty());
    let terms = world.channel().terms;
    world.give(90_000_000);
    open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
    assert_eq!(world.channel().terms, terms, "the same channel");
    assert_eq!(world.deposits(&world.channel()).await, (1, 1));
}

#[tokio::test]
async fn after_the_end_of_one_the_next_has_another_salt_and_key() {
    let world = World::with(5 * TON).await;
    open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
    let first = world.channel();
    close(&world.free(), false).await.unwrap();
    open(&world.free(), DEPOSIT, ALLOWED).await.unwrap();
    let second = world.channel();
    assert_ne!(first.terms.salt, second.terms.salt);
    assert_ne!(first.terms.payer_key, second.terms.payer_key);
    assert_eq!(world.deposits(&second).await, (2, 1));
    assert_eq!(world.phase().await, Phase::Open);
    let kept = world.state().path(&format!("channel-{}.json", hex::encode(first.address().hash())));
    assert!(kept.exists(), "the first one's terms are kept");
    assert_eq!(second.address().workchain(), Workchain::Basechain);
}
