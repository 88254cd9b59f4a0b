//! The wallet has not enough for a batch. No planner decides such a one; but money can leave the wallet after it did.

use cocoon_receipts::{NanoTon, RequestId};
use cocoon_settler::decision::{Begun, Decision, Number, Owed, Payee};
use cocoon_settler::plan::Held;
use cocoon_settler::{Settler, Step};

use crate::world::{TON, World, account, address, operator};

fn to_operator(payee: u8, nano: u64) -> (u8, u64, Owed) {
    (payee, nano, Owed::Operator(operator(payee)))
}

/// Decides a batch of these payouts and lets it be executed.
async fn pay_by_hand(world: &World, settler: &mut Settler, payouts: Vec<(u8, u64, Owed)>) {
    let first = settler.treasury().next_payout().0;
    let begun = (first..).zip(payouts).map(|(id, (payee, nano, of))| {
        let to = Payee(address(payee));
        Begun { id: Number(id), to, amount: NanoTon(nano), of }
    });
    let batch = world.batch_of(settler, begun.collect()).await;
    assert!(settler.decide(&Decision::Batch(batch)).await.unwrap());
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::SentAgain);
    world.settle_chain();
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    assert_eq!(settler.treasury().on_its_way(), None);
}

#[tokio::test]
async fn what_the_wallet_has_not_is_owed_again_and_paid_once_when_it_has() {
    let world = World::open().await;
    world.deposit("acme", 5 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    // More than acme has: the platform owes the rest all the same.
    for (payee, nano) in [(1, 2 * TON), (2, 5 * TON), (3, 2 * TON), (4, 3 * TON)] {
        world.earn("acme", &operator(payee), nano).await;
    }
    let planned = settler.step(world.now()).await.unwrap();
    assert!(matches!(&planned, Step::Idle(held) if matches!(held[0], Held::NoFloat { .. })), "{planned:?}");
    let all = vec![
        to_operator(1, 2 * TON),
        to_operator(2, 5 * TON),
        to_operator(3, 2 * TON),
        to_operator(4, 3 * TON),
    ];
    pay_by_hand(&world, &mut settler, all).await;
    // 6 TON were there: for the first and the third.
    assert_eq!(world.payouts_to(&address(1)).await, [(1, 2 * TON)]);
    assert_eq!(world.payouts_to(&address(2)).await, []);
    assert_eq!(world.payouts_to(&address(3)).await, [(3, 2 * TON)]);
    assert_eq!(world.payouts_to(&address(4)).await, []);
    world.assert_closes(&settler).await;
    let idle = settler.step(world.now()).await.unwrap();
    assert!(matches!(idle, Step::Idle(_)), "{idle:?}");
    world.float(20 * TON);
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(1)).await, [(1, 2 * TON)]);
    assert_eq!(world.payouts_to(&address(2)).await, [(5, 5 * TON)]);
    assert_eq!(world.payouts_to(&address(3)).await, [(3, 2 * TON)]);
    assert_eq!(world.payouts_to(&address(4)).await, [(6, 3 * TON)]);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn a_withdrawal_that_was_passed_over_is_still_begun_and_paid_once() {
    let world = World::open().await;
    world.deposit("acme", 3 * TON);
    world.deposit("bob", 5 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    let intent: RequestId = world.withdraw("bob", 9, 2 * TON).await;
    world.earn("acme", &operator(1), 8 * TON).await;
    let withdrawal = (9, 2 * TON, Owed::Withdrawal { account: account("bob"), intent });
    pay_by_hand(&world, &mut settler, vec![to_operator(1, 8 * TON), withdrawal]).await;
    assert_eq!(world.payouts_to(&address(1)).await, [(1, 8 * TON)]);
    assert_eq!(world.payouts_to(&address(9)).await, []);
    assert_eq!(world.user("bob").await.withdrawing.0, 2 * TON, "it is not done");
    world.assert_closes(&settler).await;
    world.float(20 * TON);
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(9)).await, [(3, 2 * TON)]);
    let bob = world.user("bob").await;
    assert_eq!((bob.balance.0, bob.withdrawing.0), (3 * TON, 0));
    world.assert_closes(&settler).await;
}

/// Two payouts, of which the second one leaves `left` nanoTON for all fees; whether it went out.
async fn at_the_edge(left: u64) -> bool {
    let world = World::open().await;
    let mut settler = world.settler();
    world.run(&mut settler).await;
    let wallet = u64::try_from(settler.treasury().balance()).unwrap();
    let (first, second) = (TON / 10, wallet - TON / 10 - left);
    world.earn("acme", &operator(1), first).await;
    world.earn("acme", &operator(2), second).await;
    pay_by_hand(&world, &mut settler, vec![to_operator(1, first), to_operator(2, second)]).await;
    let went_out = !world.payouts_to(&address(2)).await.is_empty();
    world.assert_closes(&settler).await;
    let owed = world.books().owing().await.unwrap().owed(&operator(2), settler.treasury());
    assert_eq!(owed, if went_out { 0 } else { i128::from(second) });
    world.float(20 * TON);
    world.pass(7200).await;
    world.run(&mut settler).await;
    let paid = |payouts: Vec<(u64, u64)>| payouts.into_iter().map(|(_, nano)| nano).collect::<Vec<_>>();
    assert_eq!(paid(world.payouts_to(&address(1)).await), [first]);
    assert_eq!(paid(world.payouts_to(&address(2)).await), [second]);
    world.assert_closes(&settler).await;
    went_out
}

#[tokio::test]
async fn to_the_nano_at_the_edge_of_fees_what_went_out_is_paid_and_what_did_not_is_owed() {
    // Nothing is left for fees; more than enough is.
    let (mut short, mut enough) = (0, 3_000_000);
    assert!(!at_the_edge(short).await);
    assert!(at_the_edge(enough).await);
    while enough - short > 1 {
        let middle = u64::midpoint(short, enough);
        if at_the_edge(middle).await { enough = middle } else { short = middle }
    }
    println!("two payouts cost {enough} nanoTON; with one less the second one is passed over");
    assert!((500_000..1_500_000).contains(&enough), "{enough}");
}
