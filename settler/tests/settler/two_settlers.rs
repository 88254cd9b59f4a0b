//! Several settlers at once on one ledger and one chain.

use std::collections::BTreeSet;
use std::sync::Arc;

use cocoon_devnet::NetworkFaults;
use cocoon_settler::{Settler, Step};
use cocoon_ton::chain::Chain;

use crate::chains::Scripted;
use crate::mortal::{Fate, WHENS, born_among};
use crate::turns::{Present, Turns};
use crate::world::{TON, World, address, full, operator};

const OPERATORS: [u8; 4] = [1, 2, 3, 4];
const WITHDREW: u8 = 9;

/// What happened on the chain.
#[derive(Default)]
struct Count {
    runs: u64,
    kills: u64,
    lapsed: u64,
    transfers: u64,
}

impl Count {
    fn add(&mut self, kills: u64, lapsed: u64, transfers: u64) {
        self.runs += 1;
        self.kills += kills;
        self.lapsed += lapsed;
        self.transfers += transfers;
    }

    fn print(&self, what: &str) {
        let Self { runs, kills, lapsed, transfers } = self;
        println!(
            "{what}: {runs} runs, {kills} kills, {lapsed} batches lapsed, {transfers} transfers on the chain"
        );
    }
}

async fn world() -> World {
    let world = World::open().await;
    world.deposit("acme", 20 * TON);
    world.deposit("bob", 5 * TON);
    world.run(&mut world.settler()).await;
    world.withdraw("bob", WITHDREW, TON + 1).await;
    world
}

/// What each operator has earned after the story, and bob has withdrawn.
async fn earn(world: &World, round: u64) {
    for payee in OPERATORS {
        let nano = TON + u64::from(payee) * 1000 + round;
        world.earn("acme", &operator(payee), nano).await;
    }
}

/// Everybody has got what is theirs to the nano, under ids that were used once; how many transfers and lapses it took.
async fn assert_all_is_paid(world: &World, rounds: u64) -> (u64, u64) {
    world.devnet().set_faults(NetworkFaults::default());
    world.settle_chain();
    let mut settler = world.settler();
    // What was dropped last lapses first.
    for _ in 0..20 {
        world.run_or_wait(&mut settler).await;
        world.pass(200).await;
        let step = settler.step(world.now()).await.unwrap();
        world.settle_chain();
        if matches!(step, Step::Idle(_)) {
            break;
        }
    }
    let (mut ids, mut transfers) = (BTreeSet::new(), 0);
    for payee in OPERATORS.into_iter().chain([WITHDREW]) {
        let payouts = world.payouts_to(&address(payee)).await;
        let sum: u64 = payouts.iter().map(|(_, nano)| nano).sum();
        let earned = (0..rounds).map(|round| TON + u64::from(payee) * 1000 + round).sum();
        assert_eq!(sum, if payee == WITHDREW { TON + 1 } else { earned }, "{payee}: {payouts:?}");
        transfers += payouts.len() as u64;
        ids.extend(payouts.into_iter().map(|(id, _)| id));
    }
    assert_eq!(ids.len() as u64, transfers, "an id was used twice");
    assert_eq!(world.user("bob").await.withdrawing.0, 0);
    assert_eq!(settler.treasury().unexplained().count(), 0);
    world.assert_closes(&settler).await;
    let log = world.ledger.decisions(0, 1000).await.unwrap();
    let lapsed = log.iter().filter(|record| record.contains(r#""decision":"lapsed""#)).count();
    (transfers, lapsed as u64)
}

/// Every call of every settler in an order that is drawn, with blocks, time, losses and kills in between.
async fn interleaved(seed: u64) -> (u64, u64, u64) {
    const ROUNDS: u64 = 3;
    let mut random = fastrand::Rng::with_seed(seed);
    let world = Arc::new(world().await);
    let settlers = 2 + random.usize(..2);
    let turns = Arc::new(Turns::new(settlers + 1, random.u64(..)));
    let kills: Vec<_> = (0..4).map(|_| (random.u64(..250), WHENS[random.usize(..2)])).collect();
    let fate = Fate::new(&kills);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..settlers {
        let (world, fate, turns) = (Arc::clone(&world), Arc::clone(&fate), Arc::clone(&turns));
        all.spawn(async move {
            let _present = Present(Arc::clone(&turns));
            let (mut settler, mut life) = born_among(&world, &fate, Some(Arc::clone(&turns)));
            for _ in 0..20 {
                turns.wait().await;
                let step = settler.step(world.now()).await;
                if life.is_over() {
                    (settler, life) = born_among(&world, &fate, Some(Arc::clone(&turns)));
                } else if let Err(error) = step {
                    assert!(is_late(&error), "{error}");
                }
            }
        });
    }
    // The rest of the world.
    let present = Present(Arc::clone(&turns));
    for round in 0..ROUNDS {
        turns.wait().await;
        earn(&world, round).await;
        for _ in 0..25 {
            turns.wait().await;
            match random.u8(..10) {
                0 => {
                    let drop_externals = random.u32(..3);
                    let delay_externals = random.u32(..3);
                    let duplicate_externals = random.u32(..2);
                    world.devnet().set_faults(NetworkFaults {
                        drop_externals,
                        duplicate_externals,
                        delay_externals,
                        delay_messages: random.u32(..3),
                        shuffle: Some(random.u64(..)),
                    });
                }
                1 => world.pass(random.u32(1..100)).await,
                2 => world.pass(200).await,
                3 => world.deposit("acme", TON / 10),
                _ => world.block(),
            }
        }
    }
    drop(present);
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    let (transfers, lapsed) = assert_all_is_paid(&world, ROUNDS).await;
    (fate.killed(), lapsed, transfers)
}

/// An answer that was true and is not any more, as blocks were made between two calls.
fn is_late(error: &cocoon_settler::SettlerError) -> bool {
    matches!(error, cocoon_settler::SettlerError::Chain(_))
}

#[tokio::test]
async fn settlers_whose_calls_come_in_any_order_pay_everybody_once() {
    let mut count = Count::default();
    for seed in 0..if full() { 1000 } else { 60 } {
        let (kills, lapsed, transfers) = interleaved(seed).await;
        count.add(kills, lapsed, transfers);
    }
    count.print("several settlers, call by call");
}

/// The same on several threads, where nobody chooses the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn settlers_that_run_at_the_same_time_pay_everybody_once() {
    const ROUNDS: u64 = 3;
    let mut count = Count::default();
    for _ in 0..if full() { 100 } else { 30 } {
        let world = Arc::new(world().await);
        for round in 0..ROUNDS {
            earn(&world, round).await;
            let mut all = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let world = Arc::clone(&world);
                all.spawn(async move {
                    let mut settler = world.settler();
                    for _ in 0..40 {
                        let step = settler.step(world.now()).await;
                        if matches!(&step, Ok(Step::Idle(_))) {
                            return;
                        }
                        world.block();
                        if let Err(error) = step {
                            assert!(is_late(&error), "{error}");
                        }
                    }
                });
            }
            while let Some(done) = all.join_next().await {
                done.unwrap();
            }
        }
        let (transfers, lapsed) = assert_all_is_paid(&world, ROUNDS).await;
        count.add(0, lapsed, transfers);
    }
    count.print("several settlers, at the same time");
}

#[tokio::test]
async fn a_settler_that_sends_what_has_lapsed_and_was_paid_anew_pays_nobody() {
    for paid_before_it_wakes in [false, true] {
        let world = Arc::new(world().await);
        earn(&world, 0).await;
        let slow =
            Arc::new(Scripted { may_send: tokio::sync::Semaphore::new(0), ..Scripted::new(world.chain()) });
        let mut all = tokio::task::JoinSet::new();
        let (its_world, its_chain) = (Arc::clone(&world), Arc::clone(&slow));
        all.spawn(async move {
            let mut settler: Settler = its_world.settler_of(its_world.books(), its_chain as Arc<dyn Chain>);
            settler.step(its_world.now()).await.unwrap()
        });
        // It has decided, and is about to send.
        let mut other = world.settler();
        while other.treasury().on_its_way().is_none() {
            tokio::task::yield_now().await;
            other.catch_up().await.unwrap();
        }
        let first = other.treasury().on_its_way().unwrap().clone();
        world.pass(first.valid_until + 61 - world.now()).await;
        assert_eq!(other.step(world.now()).await.unwrap(), Step::Lapsed);
        assert!(matches!(other.step(world.now()).await.unwrap(), Step::Began { payouts: 5, .. }));
        if paid_before_it_wakes {
            world.run(&mut other).await;
        }
        slow.may_send.add_permits(1);
        let step = all.join_next().await.unwrap().unwrap();
        assert!(matches!(step, Step::Began { payouts: 5, .. }), "{step:?}");
        assert_eq!(slow.sent.lock().unwrap().len(), 1);
        let (transfers, lapsed) = assert_all_is_paid(&world, 1).await;
        assert_eq!((transfers, lapsed), (5, 1));
    }
}
