//! What comes in, and what of it is nobody's.

use std::sync::Arc;

use cocoon_devnet::EndpointFaults;
use cocoon_receipts::NanoTon;
use cocoon_settler::decision::Class;
use cocoon_settler::plan::Held;
use cocoon_settler::{Settler, SettlerError, Step};
use cocoon_ton::chain::{Chain, Disagreement, Failover};
use cocoon_ton::{FLOAT_COMMENT, deposit_comment};
use tycho_types::cell::{Cell, CellBuilder, CellType};

use crate::world::{Sending, TON, World, account, address, comment, operator};

#[tokio::test]
async fn a_transfer_with_an_accounts_comment_is_credited_once() {
    let world = World::open().await;
    let mut settler = world.settler();
    world.deposit("acme", 5 * TON);
    world.run(&mut settler).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(5 * TON));
    // Another one reads the same chain and the same log.
    world.run(&mut world.settler()).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(5 * TON));
    world.assert_closes(&settler).await;
}

fn acme() -> Vec<u8> {
    deposit_comment(&account("acme")).into_bytes()
}

/// A comment over several cells, so many bytes in each.
fn split(text: &[u8], each: usize) -> Cell {
    let mut chunks: Vec<&[u8]> = text.chunks(each).collect();
    let first = chunks.remove(0);
    let mut rest: Option<Cell> = None;
    for chunk in chunks.into_iter().rev() {
        let mut builder = CellBuilder::new();
        builder.store_raw(chunk, u16::try_from(chunk.len() * 8).unwrap()).unwrap();
        if let Some(rest) = rest {
            builder.store_reference(rest).unwrap();
        }
        rest = Some(builder.build().unwrap());
    }
    let mut builder = CellBuilder::new();
    builder.store_u32(0).unwrap();
    builder.store_raw(first, u16::try_from(first.len() * 8).unwrap()).unwrap();
    if let Some(rest) = rest {
        builder.store_reference(rest).unwrap();
    }
    builder.build().unwrap()
}

fn bits(bytes: &[u8], bits: u16) -> Cell {
    let mut builder = CellBuilder::new();
    builder.store_raw(bytes, bits).unwrap();
    builder.build().unwrap()
}

fn library() -> Cell {
    let mut builder = CellBuilder::new();
    builder.set_exotic(true);
    builder.store_u8(CellType::LibraryReference.to_byte()).unwrap();
    builder.store_raw(&[7; 32], 256).unwrap();
    builder.build().unwrap()
}

fn with_reference(text: &[u8], reference: Cell) -> Cell {
    let mut builder = CellBuilder::new();
    builder.store_slice(comment(text).as_slice().unwrap()).unwrap();
    builder.store_reference(reference).unwrap();
    builder.build().unwrap()
}

#[tokio::test]
async fn only_a_comment_to_the_letter_and_enough_money_is_a_deposit() {
    let world = World::open().await;
    let mut settler = world.settler();
    world.run(&mut settler).await;
    let minimum = world.deposits.minimum.0;
    let slip = {
        let mut text = acme();
        let last = text.len() - 1;
        text[last] ^= 1;
        text
    };
    let plain = |body| Sending::new(0xdd, TON, body);
    let (credited, unclaimed) = (true, false);
    let with = |nano, body| Sending { nano, ..plain(body) };
    let mut no_text = acme();
    no_text.push(0xff);
    let cases: Vec<(&str, Sending, bool)> = vec![
        ("its comment", plain(comment(&acme())), credited),
        ("the minimum", with(minimum, comment(&acme())), credited),
        ("a bounceable one", Sending { bounce: true, ..plain(comment(&acme())) }, credited),
        ("over cells", plain(split(&acme(), 5)), credited),
        ("over as many as are read", plain(split(&acme(), 2)), credited),
        ("below the minimum", with(minimum - 1, comment(&acme())), unclaimed),
        ("nothing at all", with(0, comment(&acme())), unclaimed),
        ("no body", plain(Cell::default()), unclaimed),
        ("no text", plain(comment(b"")), unclaimed),
        ("another text", plain(comment(b"for acme")), unclaimed),
        ("another scheme's comment", plain(comment(b"deposit:acme:92b66ac8")), unclaimed),
        ("a slip in the checksum", plain(comment(&slip)), unclaimed),
        ("another account's checksum", plain(comment(b"cocoon:bob:92b66ac8")), unclaimed),
        ("in capitals", plain(comment(&acme().to_ascii_uppercase())), unclaimed),
        ("a space after it", plain(comment(&[&acme()[..], b" "].concat())), unclaimed),
        ("a zero after it", plain(comment(&[&acme()[..], b"\0"].concat())), unclaimed),
        ("no text after it", plain(comment(&no_text)), unclaimed),
        (
            "half a byte after it",
            plain(bits(
                &[&[0; 4], &acme()[..], &[0]].concat(),
                36 + 8 * u16::try_from(acme().len()).unwrap(),
            )),
            unclaimed,
        ),
        ("31 zeros", plain(bits(&[0; 4], 31)), unclaimed),
        ("an op", plain(bits(&[0x0f, 0x8a, 0x7e, 0xa5, 0, 0, 0, 0], 64)), unclaimed),
        ("too long", plain(split(&acme().repeat(40), 120)), unclaimed),
        ("over too many cells", plain(split(&acme(), 1)), unclaimed),
        ("a library after it", plain(with_reference(&acme(), library())), unclaimed),
        ("came back", Sending { bounced: true, ..plain(comment(&acme())) }, unclaimed),
        ("the float's comment, nearly", plain(comment(b"cocoon-floaT")), unclaimed),
        ("a float below the minimum", with(minimum - 1, comment(FLOAT_COMMENT.as_bytes())), unclaimed),
        ("signed for the wallet by nobody", plain(bits(b"sint", 32)), unclaimed),
        ("an extension's, which the wallet has not", plain(bits(b"extn", 32)), unclaimed),
        ("a payout's body", plain(bits(&[0x50, 0x41, 0x01, 0x01, 0, 0, 0, 0, 0, 0, 0, 1], 96)), unclaimed),
    ];
    let mut expected = 0;
    for (what, sending, is_credited) in cases {
        let (nano, before) = (sending.nano, *settler.treasury().sums());
        world.put(sending);
        world.settle_chain();
        world.run(&mut settler).await;
        let after = *settler.treasury().sums();
        expected += if is_credited { nano } else { 0 };
        assert_eq!(world.user("acme").await.deposited, NanoTon(expected), "{what}");
        let unclaimed = if is_credited { 0 } else { u128::from(nano) };
        assert_eq!(after.unclaimed - before.unclaimed, unclaimed, "{what}");
        assert_eq!((after.float, after.unexplained), (before.float, 0), "{what}");
        world.assert_closes(&settler).await;
    }
    // Nothing of it stands in the way of payouts.
    world.earn("acme", &operator(7), TON).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, TON)]);
    world.assert_closes(&settler).await;
}

/// Anybody can send a little so that it should come back; too little for its way back stays.
#[tokio::test]
async fn dust_that_cannot_go_back_stops_nothing() {
    for deployed in [false, true] {
        let world = World::new().await;
        world.float(TON);
        let mut settler = world.settler();
        if deployed {
            world.run(&mut settler).await;
        }
        for nano in [1, 1000, 6_000, 30_000, 66_666, 66_667, 66_668, 70_000, 200_000, 500_000, 1_000_000] {
            for bounce in [true, false] {
                world.put(Sending { bounce, ..Sending::new(0xdd, nano, comment(&acme())) });
                world.settle_chain();
            }
        }
        world.run(&mut settler).await;
        assert_eq!(settler.treasury().unexplained().count(), 0);
        world.assert_closes(&settler).await;
        world.deposit("acme", 3 * TON);
        world.run(&mut settler).await;
        world.earn("acme", &operator(7), TON).await;
        world.run(&mut settler).await;
        assert_eq!(world.payouts_to(&address(7)).await, [(1, TON)], "deployed: {deployed}");
        world.assert_closes(&settler).await;
    }
}

#[tokio::test]
async fn what_comes_before_the_wallet_is_deployed_is_float_or_goes_back_or_is_nobodys() {
    let world = World::new().await;
    let mut settler = world.settler();
    let step = world.run(&mut settler).await.pop().unwrap();
    let not_deployed =
        |step: &Step| matches!(step, Step::Idle(held) if matches!(held[..], [Held::NotDeployed { .. }]));
    assert!(not_deployed(&step), "{step:?}");
    // Not for so little that its gas and rent would be most of it.
    world.float(49_000_000);
    let step = world.run(&mut settler).await.pop().unwrap();
    assert!(not_deployed(&step), "{step:?}");
    for bounce in [true, false] {
        world.put(Sending { bounce, ..Sending::new(0xdd, 3 * TON, comment(&acme())) });
        world.settle_chain();
    }
    let steps = world.run(&mut settler).await;
    assert!(steps.iter().any(|step| matches!(step, Step::Began { payouts: 0, total: 0 })), "{steps:?}");
    assert_eq!(world.user("acme").await.deposited, NanoTon(0));
    let sums = *settler.treasury().sums();
    assert_eq!((sums.unclaimed, sums.credited, sums.float), (u128::from(3 * TON), 0, 49_000_000));
    let back = world.balance_of(&address(0xdd)).await;
    assert!((3 * TON - 1_000_000..3 * TON).contains(&back), "{back}");
    world.float(TON);
    world.deposit("acme", TON);
    world.run(&mut settler).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(TON));
    assert_eq!(settler.treasury().sums().float, u128::from(TON) + 49_000_000);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn the_platforms_own_is_nobodys_balance() {
    let world = World::new().await;
    let mut settler = world.settler();
    // The first before the wallet is deployed, the second after.
    for times in 1..=2_u64 {
        world.float(TON);
        world.run(&mut settler).await;
        assert_eq!(settler.treasury().sums().float, u128::from(times * TON));
    }
    assert_eq!(world.books().sums().await.unwrap().balances, 0);
    assert_eq!(settler.treasury().sums().unclaimed, 0);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn deposits_of_one_block_are_told_apart() {
    let world = World::open().await;
    for from in [1, 2, 2] {
        world.put(Sending::new(from, TON, comment(&acme())));
    }
    world.settle_chain();
    let mut settler = world.settler();
    let steps = world.run(&mut settler).await;
    assert_eq!(steps[0], Step::Booked(3));
    assert_eq!(world.user("acme").await.deposited, NanoTon(3 * TON));
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn hundreds_of_deposits_are_read_in_pages_and_credited_once_each() {
    let world = World::open().await;
    let count = 230_u64;
    for number in 0..count {
        let text = deposit_comment(&account(&format!("user-{}", number % 7)));
        world.put(Sending::new(
            u8::try_from(number % 200).unwrap(),
            TON / 10 + number,
            comment(text.as_bytes()),
        ));
        if number % 30 == 0 {
            world.block();
        }
    }
    world.settle_chain();
    let mut settler = world.settler();
    let steps = world.run(&mut settler).await;
    let booked: usize =
        steps.iter().map(|step| if let Step::Booked(count) = step { *count } else { 0 }).sum();
    assert_eq!(booked as u64, count);
    for user in 0..7 {
        let sum = (0..count).filter(|number| number % 7 == user).map(|number| TON / 10 + number).sum();
        assert_eq!(world.user(&format!("user-{user}")).await.deposited, NanoTon(sum));
    }
    world.assert_closes(&settler).await;
}

/// A body of 200 KB, in which no cell is like another.
fn large(seed: u8) -> Cell {
    let mut number = u64::from(seed) << 32;
    let mut data = || {
        number += 1;
        let mut builder = CellBuilder::new();
        builder.store_raw(&[number.to_be_bytes(); 15].concat(), 960).unwrap();
        builder
    };
    let mut level: Vec<Cell> = (0..1200).map(|_| data().build().unwrap()).collect();
    while level.len() > 1 {
        let above = level.chunks(4).map(|children| {
            let mut builder = data();
            children.iter().for_each(|child| builder.store_reference(child.clone()).unwrap());
            builder.build().unwrap()
        });
        level = above.collect();
    }
    level.remove(0)
}

/// Messages are up to a quarter of a megabyte, and a page of them larger than any answer that is taken.
#[tokio::test]
async fn a_page_that_is_too_large_is_read_in_smaller_ones() {
    let world = World::open().await;
    for from in 1..=20 {
        world.put(Sending::new(from, TON, large(from)));
    }
    world.put(Sending::new(0xdd, TON, comment(&acme())));
    world.settle_chain();
    let endpoint = world.endpoints().remove(0);
    let mut settler = world.settler_of(world.books(), Arc::new(endpoint));
    world.run(&mut settler).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(TON));
    assert_eq!(settler.treasury().sums().unclaimed, u128::from(20 * TON));
    world.assert_closes(&settler).await;
}

fn confirming(world: &World) -> Settler {
    let endpoints = Arc::new(Failover::new(world.endpoints()).unwrap());
    let chain = Arc::clone(&endpoints) as Arc<dyn Chain>;
    Settler::new(world.books(), chain, Some(endpoints), World::key(), world.settings()).unwrap()
}

#[tokio::test]
async fn a_large_deposit_waits_until_a_second_endpoint_has_it() {
    let mut world = World::with_endpoints(2).await;
    world.deposits.confirm_from = Some(NanoTon(2 * TON));
    world.float(TON);
    let mut settler = confirming(&world);
    world.run(&mut settler).await;
    world.set_faults(1, &EndpointFaults { stale: true, ..EndpointFaults::default() }).await;
    world.deposit("acme", 2 * TON - 1);
    world.run(&mut settler).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(2 * TON - 1), "it is not large");
    world.deposit("bob", 2 * TON);
    for _ in 0..2 {
        let waits = settler.step(world.now()).await;
        assert!(
            matches!(waits, Err(SettlerError::Unconfirmed(Disagreement::TooFew(_) | Disagreement::Differ))),
            "{waits:?}"
        );
        assert_eq!(world.user("bob").await.deposited, NanoTon(0));
    }
    world.set_faults(1, &EndpointFaults::default()).await;
    world.run(&mut settler).await;
    assert_eq!(world.user("bob").await.deposited, NanoTon(2 * TON));
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn each_transaction_is_of_one_class_and_the_log_has_them_all() {
    let world = World::open().await;
    world.deposit("acme", 3 * TON);
    world.send(0xcc, TON, None);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), TON).await;
    world.run(&mut settler).await;
    let classes = world.classes().await;
    assert!(
        matches!(
            classes[..],
            [
                Class::Float { .. },
                Class::Paid { seqno: 0, .. },
                Class::Deposit { .. },
                Class::Unclaimed { .. },
                Class::Paid { seqno: 1, .. }
            ]
        ),
        "{classes:?}"
    );
}
