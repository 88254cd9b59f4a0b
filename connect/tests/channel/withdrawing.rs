//! `channel withdraw`.

use cocoon_connect::channel::command::{open, withdraw};
use cocoon_receipts::NanoTon;
use cocoon_ton::{Address, Workchain};

use crate::mortal::{Fate, WHENS};
use crate::stand_in::CLOSE_DELAY;
use crate::world::{TON, World};

fn user() -> Address {
    Address::new(Workchain::Basechain, [0x55; 32])
}

#[tokio::test]
async fn all_that_the_wallet_has_goes_to_the_user_from_a_new_wallet_and_a_used_one() {
    for used in [false, true] {
        let world = World::with(3 * TON).await;
        if used {
            open(&world.free(), NanoTon(TON), CLOSE_DELAY).await.unwrap();
        }
        let had = world.balance(&world.wallet()).await;
        let said = withdraw(&world.free(), &user().show(true, true)).await.unwrap();
        world.pass(0);
        let came = world.balance(&user()).await;
        assert_eq!(said.json["sent"], came.to_string());
        assert!(had - came < 10_000_000, "fees alone: {had} {came}");
        assert_eq!(world.balance(&world.wallet()).await, 0);
        assert_eq!(said.text.contains("nothing left for fees"), used, "{}", said.text);
        let empty = withdraw(&world.free(), &user().to_string()).await.unwrap_err().to_string();
        assert!(empty.contains("the wallet has 0 TON"), "{empty}");
    }
}

#[tokio::test]
async fn ended_at_any_call_it_is_sent_once() {
    let calls = {
        let (world, fate) = (World::with(TON).await, Fate::kind());
        withdraw(&world.desk(&fate), &user().to_string()).await.unwrap();
        fate.calls()
    };
    for call in 0..calls {
        for when in WHENS {
            for lapse in [0, 300] {
                let world = World::with(TON).await;
                let ended = withdraw(&world.desk(&Fate::ends_at(call, when)), &user().to_string()).await;
                assert!(ended.is_err());
                world.pass(lapse);
                // What came meanwhile is not sent by the run that finishes the first one.
                world.give(TON / 2);
                withdraw(&world.free(), &user().to_string()).await.unwrap();
                world.pass(300);
                assert_eq!(world.sent().await.len(), 1, "call {call}, {when:?}, {lapse} s");
            }
        }
    }
}

#[tokio::test]
async fn an_address_of_elsewhere_is_refused() {
    let world = World::with(TON).await;
    let own = world.wallet().show(true, true);
    for wrong in ["", "EQ", own.as_str()] {
        assert!(withdraw(&world.free(), wrong).await.is_err(), "{wrong}");
    }
    assert!(world.sent().await.is_empty());
}
