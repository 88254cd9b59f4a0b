//! What goes out.

use cocoon_receipts::NanoTon;
use cocoon_settler::decision::{Begun, Decision, Number, Owed, Payee};
use cocoon_settler::plan::Held;
use cocoon_settler::{SettlerError, Step};

use crate::world::{TON, World, address, operator};

#[tokio::test]
async fn an_operator_is_paid_what_it_has_earned_and_no_more() {
    let world = World::open().await;
    world.deposit("acme", 5 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON)]);
    let steps = world.run(&mut settler).await;
    assert!(matches!(steps.as_slice(), [Step::Idle(_)]), "{steps:?}");
}

/// The day is the chain's as well: what others have paid in it is not forgotten by a clock that is ahead.
#[tokio::test]
async fn a_clock_that_is_ahead_pays_nothing_above_the_daily_cap() {
    let mut world = World::open().await;
    world.payouts.daily_cap = Some(NanoTon(3 * TON));
    world.deposit("acme", 9 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    const DAY: u32 = 24 * 60 * 60;
    let ahead = world.now() + 2 * DAY;
    let held = vec![Held::DailyCap { cap: u128::from(3 * TON) }];
    assert_eq!(settler.step(ahead).await.unwrap(), Step::Idle(held));
    world.pass(DAY).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON), (2, 2 * TON)]);
    world.assert_closes(&settler).await;
}

/// Else the wallet would not take what it decides.
#[tokio::test]
async fn a_clock_that_is_behind_decides_batches_that_can_be_executed() {
    let world = World::open().await;
    world.deposit("acme", 9 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    let step = settler.step(world.now() - 100_000).await.unwrap();
    assert!(matches!(step, Step::Began { payouts: 1, .. }), "{step:?}");
    let batch = settler.treasury().on_its_way().unwrap();
    assert_eq!(batch.valid_until, world.now() + world.payouts.valid_for_s);
    world.settle_chain();
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON)]);
    world.assert_closes(&settler).await;
}

/// The log has a batch's body as another program or another key has signed it.
#[tokio::test]
async fn a_batch_that_is_not_what_this_key_signs_is_not_sent_and_lapses() {
    let world = World::open().await;
    world.deposit("acme", 9 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    let (to, of) = (Payee(address(7)), Owed::Operator(operator(7)));
    let begun = Begun { id: Number(1), to, amount: NanoTon(2 * TON), of };
    let mut batch = world.batch_of(&settler, vec![begun]).await;
    batch.body = cocoon_ton::CellHash([1; 32]);
    let until = batch.valid_until;
    assert!(settler.decide(&Decision::Batch(batch)).await.unwrap());
    for _ in 0..2 {
        let refused = settler.step(world.now()).await;
        assert!(matches!(refused, Err(SettlerError::OtherKey)), "{refused:?}");
        assert_eq!(world.devnet().waiting(), 0);
    }
    world.pass(until + 61 - world.now()).await;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Lapsed);
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(2, 2 * TON)]);
    world.assert_closes(&settler).await;
}
