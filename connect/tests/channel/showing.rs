//! `channel address` and `channel status`.

use std::sync::atomic::Ordering;

use cocoon_connect::channel::command::{address, close, open, status};
use cocoon_connect::channel::file::Channel;
use cocoon_receipts::NanoTon;
use cocoon_ton::{GlobalId, Network};

use crate::mortal::{Fate, When};
use crate::stand_in::CLOSE_DELAY;
use crate::world::{TON, World, put};

#[tokio::test]
async fn the_address_is_the_wallets_and_stays() {
    let world = World::with(0).await;
    let said = address(&world.own(), Network::test(GlobalId::TESTNET).unwrap());
    let shown = world.wallet().show(false, true);
    assert_eq!(said.json["address"], shown);
    assert_eq!(said.json["link"], format!("ton://transfer/{shown}"));
    assert!(said.text.starts_with(&shown));
    assert_eq!(address(&world.own(), Network::test(GlobalId::TESTNET).unwrap()), said);
    let mainnet = address(&world.own(), Network::Mainnet).json;
    assert!(mainnet["address"].as_str().unwrap().starts_with("UQ"), "{mainnet}");
}

#[tokio::test]
async fn status_shows_all_three_sides_and_what_is_at_risk() {
    let world = World::with(3 * TON).await;
    let said = status(&world.free(), true).await.unwrap();
    assert_eq!(said.json["wallet"]["balance"], (3 * TON).to_string());
    assert!(said.json["channel"].is_null());

    open(&world.free(), NanoTon(TON), CLOSE_DELAY).await.unwrap();
    let channel = world.channel();
    Channel::store_signed(&world.state(), &channel.address(), NanoTon(500)).unwrap();
    world.gateway.charged.store(200, Ordering::SeqCst);
    let said = status(&world.free(), true).await.unwrap();
    let shown = &said.json["channel"];
    assert_eq!((shown["signed"].as_str(), shown["at_risk"].as_str()), (Some("500"), Some("300")));
    assert_eq!(shown["chain"]["phase"], "open");
    assert_eq!(shown["chain"]["deposited"], channel.deposited.to_string());
    assert_eq!(shown["gateway"]["charged"], "200");
    assert!(said.text.contains("at risk      0.0000003 TON"), "{}", said.text);

    world.gateway.down.store(503, Ordering::SeqCst);
    let said = status(&world.free(), true).await.unwrap();
    assert!(said.json["channel"]["gateway"]["error"].as_str().unwrap().contains("503"));
    assert!(said.json["channel"]["at_risk"].is_null(), "without the gateway's word it is not known");

    close(&world.free(), true).await.unwrap();
    let said = status(&world.free(), true).await.unwrap();
    assert_eq!(said.json["channel"]["chain"]["phase"], "closing");
    assert!(said.text.contains("can be ended from"), "{}", said.text);
}

#[tokio::test]
async fn status_tells_of_what_is_not_finished_and_of_what_others_deposited() {
    let world = World::with(3 * TON).await;
    let fate = Fate::ends_at(2, When::After);
    assert!(open(&world.desk(&fate), NanoTon(TON), CLOSE_DELAY).await.is_err());
    let said = status(&world.free(), true).await.unwrap();
    assert_eq!(said.json["unfinished"], "open", "{said:?}");
    open(&world.free(), NanoTon(TON), CLOSE_DELAY).await.unwrap();
    assert!(status(&world.free(), true).await.unwrap().json["unfinished"].is_null());

    let (channel, other) =
        (world.channel(), cocoon_ton::Address::new(cocoon_ton::Workchain::Basechain, [9; 32]));
    let body = cocoon_ton::ChannelMessage::Deposit.body(1).unwrap();
    put(&world.devnet, other, channel.address(), TON, &body);
    world.pass(0);
    status(&world.free(), true).await.unwrap();
    assert!(world.channel().deposited.0 > 2 * TON - 10_000_000, "what can be signed for follows");
}
