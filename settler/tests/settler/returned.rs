//! A payout comes back. Payouts do not bounce, so what comes back is made by hand here: the chain sets that mark itself
//! on what it returns and clears it on all that contracts send, so on a real one nobody can.

use cocoon_settler::decision::{Class, Decision, Payee};
use cocoon_settler::plan::Held;
use cocoon_settler::{Settler, Step};
use cocoon_ton::PAYOUT_OP;
use tycho_types::cell::{Cell, CellBuilder};

use crate::mortal::{Fate, WHENS, born};
use crate::world::{Sending, TON, World, address, operator};

/// 32 ones and what was sent.
fn bounced_body(id: u64) -> Cell {
    let mut body = CellBuilder::new();
    body.store_u32(u32::MAX).unwrap();
    body.store_u32(PAYOUT_OP).unwrap();
    body.store_u64(id).unwrap();
    body.build().unwrap()
}

fn come_back(world: &World, from: u8, id: u64, nano: u64) {
    world.put(Sending { bounced: true, ..Sending::new(from, nano, bounced_body(id)) });
    world.settle_chain();
}

/// Payout 1 of two TON to operator 7, payout 2 of one TON to operator 8.
async fn paid() -> (World, Settler) {
    let world = World::open().await;
    world.deposit("acme", 9 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    world.earn("acme", &operator(8), TON).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON)]);
    assert_eq!(world.payouts_to(&address(8)).await, [(2, TON)]);
    (world, settler)
}

#[tokio::test]
async fn an_operator_is_owed_what_came_back_and_gets_it_once_it_is_released() {
    let (world, mut settler) = paid().await;
    let back = 2 * TON - 400_000;
    come_back(&world, 7, 1, back);
    let step = world.run(&mut settler).await.pop().unwrap();
    let payee = Payee(address(7));
    assert_eq!(step, Step::Idle(vec![Held::SentBack { to: payee }]));
    let owed = world.books().owing().await.unwrap().owed(&operator(7), settler.treasury());
    assert_eq!(owed, i128::from(back));
    world.assert_closes(&settler).await;
    // Others are paid meanwhile, and what it earns meanwhile waits with the rest.
    world.earn("acme", &operator(8), TON).await;
    world.earn("acme", &operator(7), TON).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(8)).await, [(2, TON), (3, TON)]);
    assert_eq!(world.payouts_to(&address(7)).await.len(), 1);
    assert!(settler.decide(&Decision::Released { payee }).await.unwrap());
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON), (4, back + TON)]);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn a_withdrawal_that_came_back_is_its_accounts_again_once_wherever_a_settler_ends() {
    let mut kills = vec![None];
    let mut index = 0;
    while let Some(kill) = kills.get(index).copied() {
        index += 1;
        let world = World::open().await;
        world.deposit("bob", 5 * TON);
        let mut settler = world.settler();
        world.run(&mut settler).await;
        world.withdraw("bob", 9, 2 * TON).await;
        world.run(&mut settler).await;
        assert_eq!(world.payouts_to(&address(9)).await, [(1, 2 * TON)]);
        let back = 2 * TON - 400_000;
        come_back(&world, 9, 1, back);
        let fate = Fate::new(&kill.into_iter().collect::<Vec<_>>());
        let (mut settler, mut life) = born(&world, &fate);
        while !matches!(settler.step(world.now()).await, Ok(Step::Idle(_))) {
            if life.is_over() {
                (settler, life) = born(&world, &fate);
            }
        }
        if kill.is_none() {
            kills.extend((0..fate.calls()).flat_map(|call| WHENS.map(|when| Some((call, when)))));
            assert!(kills.len() > 10);
        }
        let bob = world.user("bob").await;
        assert_eq!((bob.balance.0, bob.withdrawing.0, bob.deposited.0), (3 * TON + back, 0, 5 * TON + back));
        assert_eq!(world.payouts_to(&address(9)).await.len(), 1, "it is not sent again");
        world.assert_closes(&settler).await;
        if kill.is_some() {
            continue;
        }
        // Nothing more goes there until a person has looked.
        world.withdraw("bob", 9, TON).await;
        let step = world.run(&mut world.settler()).await.pop().unwrap();
        let payee = Payee(address(9));
        assert_eq!(step, Step::Idle(vec![Held::SentBack { to: payee }]));
        let mut settler = world.settler();
        settler.catch_up().await.unwrap();
        assert!(settler.decide(&Decision::Released { payee }).await.unwrap());
        world.run(&mut settler).await;
        assert_eq!(world.payouts_to(&address(9)).await, [(1, 2 * TON), (2, TON)]);
        world.assert_closes(&settler).await;
    }
}

#[tokio::test]
async fn what_came_back_and_was_not_sent_so_is_nobodys() {
    let (world, mut settler) = paid().await;
    let cases = [
        ("of no payout", 7, 3, TON),
        ("of the payout before all", 7, 0, TON),
        ("of another payee", 8, 1, TON),
        ("of nobody we know", 66, 1, TON),
        ("more than was sent", 7, 1, 2 * TON + 1),
    ];
    for (what, from, id, nano) in cases {
        let before = *settler.treasury().sums();
        come_back(&world, from, id, nano);
        let step = world.run(&mut settler).await.pop().unwrap();
        assert_eq!(step, Step::Idle(Vec::new()), "{what}");
        let after = *settler.treasury().sums();
        assert_eq!(after.unclaimed - before.unclaimed, u128::from(nano), "{what}");
        assert_eq!(after.from_operators, 0, "{what}");
        world.assert_closes(&settler).await;
    }
    // All of it, and then once more.
    come_back(&world, 7, 1, 2 * TON);
    world.run(&mut settler).await;
    assert_eq!(settler.treasury().sums().from_operators, u128::from(2 * TON));
    let before = settler.treasury().sums().unclaimed;
    come_back(&world, 7, 1, TON);
    world.run(&mut settler).await;
    assert_eq!(settler.treasury().sums().unclaimed - before, u128::from(TON));
    assert_eq!(settler.treasury().sums().from_operators, u128::from(2 * TON));
    let returned = world.classes().await;
    let returned = returned.iter().filter(|class| matches!(class, Class::Returned { .. }));
    assert_eq!(returned.count(), 1);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn a_bounce_of_something_else_is_nobodys() {
    let (world, mut settler) = paid().await;
    let mut body = CellBuilder::new();
    body.store_u32(u32::MAX).unwrap();
    body.store_u32(0).unwrap();
    body.store_u64(1).unwrap();
    for body in [body.build().unwrap(), Cell::default(), short()] {
        let before = settler.treasury().sums().unclaimed;
        world.put(Sending { bounced: true, ..Sending::new(7, TON, body) });
        world.settle_chain();
        world.run(&mut settler).await;
        assert_eq!(settler.treasury().sums().unclaimed - before, u128::from(TON));
    }
    assert_eq!(settler.treasury().sums().from_operators, 0);
    world.assert_closes(&settler).await;
}

/// A payout's bounce of which the id is cut.
fn short() -> Cell {
    let mut body = CellBuilder::new();
    body.store_u32(u32::MAX).unwrap();
    body.store_u32(PAYOUT_OP).unwrap();
    body.store_u32(0).unwrap();
    body.build().unwrap()
}
