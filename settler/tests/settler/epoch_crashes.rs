//! Epochs of settlers that are killed at every call, and of several at once: each root is published once, and the same.

use std::sync::Arc;

use cocoon_devnet::NetworkFaults;
use cocoon_settler::epochs::{EpochError, EpochStep, Epochs, Publishing};

use crate::epoch_world::{EVERY, EpochWorld, SETTLED};
use crate::mortal::{Fate, Life, WHENS, When, born_epochs};
use crate::turns::{Present, Turns};
use crate::world::full;

const ROUNDS: usize = 3;

struct Story {
    world: EpochWorld,
    fate: Arc<Fate>,
    epochs: Epochs,
    life: Arc<Life>,
}

impl Story {
    async fn begin(kills: &[(u64, When)]) -> Self {
        let (world, fate) = (EpochWorld::open().await, Fate::new(kills));
        let (epochs, life) = born_epochs(&world, &fate, None);
        Self { world, fate, epochs, life }
    }

    /// Steps with a block after each until all is published; whoever has ended is followed by another one.
    async fn run(&mut self) {
        for _ in 0..100 {
            let step = self.epochs.step(self.world.world.now(), true).await;
            self.world.world.block();
            match step {
                Ok(EpochStep::Idle | EpochStep::Published(Publishing::Complete { .. })) => return,
                Ok(_) => {}
                Err(error) => {
                    assert!(self.life.is_over(), "{error}");
                    (self.epochs, self.life) = born_epochs(&self.world, &self.fate, None);
                }
            }
        }
        panic!("it does not come to an end");
    }

    async fn live(&mut self) -> Vec<String> {
        let mut receipts = Vec::new();
        for round in 0..ROUNDS {
            receipts.extend(self.world.receipts(round + 2).await);
            self.world.world.pass(EVERY + SETTLED).await;
            self.run().await;
        }
        receipts
    }
}

#[tokio::test]
async fn whoever_is_killed_at_any_call_has_published_each_root_once_when_another_one_goes_on() {
    let mut story = Story::begin(&[]).await;
    let receipts = story.live().await;
    assert_eq!(story.world.assert_all_is_published(&receipts).await, 0);
    let calls = story.fate.calls();
    let (mut runs, mut refused) = (0, 0);
    for call in 0..calls {
        for when in WHENS {
            let mut story = Story::begin(&[(call, when)]).await;
            let receipts = story.live().await;
            assert_eq!(story.fate.killed(), 1);
            story.world.world.settle_chain();
            refused += story.world.assert_all_is_published(&receipts).await;
            runs += 1;
        }
    }
    println!("{runs} kills at {calls} calls: each root once; {refused} messages were sent twice and refused");
}

/// Every call of every settler in an order that is drawn, with blocks, losses and kills in between.
async fn interleaved(seed: u64) -> (u64, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = Arc::new(EpochWorld::open().await);
    let settlers = 2 + random.usize(..2);
    let turns = Arc::new(Turns::new(settlers + 1, random.u64(..)));
    let kills: Vec<_> = (0..4).map(|_| (random.u64(..300), WHENS[random.usize(..2)])).collect();
    let fate = Fate::new(&kills);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..settlers {
        let (world, fate, turns) = (Arc::clone(&world), Arc::clone(&fate), Arc::clone(&turns));
        all.spawn(async move {
            let _present = Present(Arc::clone(&turns));
            let (mut epochs, mut life) = born_epochs(&world, &fate, Some(Arc::clone(&turns)));
            for _ in 0..25 {
                turns.wait().await;
                let step = epochs.step(world.world.now(), true).await;
                if life.is_over() {
                    (epochs, life) = born_epochs(&world, &fate, Some(Arc::clone(&turns)));
                } else if let Err(error) = step {
                    // What the chain said a moment ago.
                    assert!(matches!(error, EpochError::Chain(_) | EpochError::Ahead { .. }), "{error}");
                }
            }
        });
    }
    let present = Present(Arc::clone(&turns));
    let mut receipts = Vec::new();
    for round in 0..ROUNDS {
        turns.wait().await;
        receipts.extend(world.receipts(round + 2).await);
        world.world.pass(EVERY + SETTLED).await;
        for _ in 0..60 {
            turns.wait().await;
            match random.u8(..10) {
                0 => world.world.devnet().set_faults(NetworkFaults {
                    drop_externals: random.u32(..2),
                    duplicate_externals: random.u32(..2),
                    delay_externals: random.u32(..3),
                    delay_messages: random.u32(..3),
                    shuffle: Some(random.u64(..)),
                }),
                1 => world.world.pass(random.u32(1..100)).await,
                _ => world.world.block(),
            }
        }
    }
    drop(present);
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    world.world.devnet().set_faults(NetworkFaults::default());
    world.world.settle_chain();
    world.world.pass(EVERY).await;
    world.run(&mut world.epochs()).await;
    (fate.killed(), world.assert_all_is_published(&receipts).await)
}

#[tokio::test]
async fn settlers_whose_calls_come_in_any_order_publish_each_root_once() {
    let (mut runs, mut kills, mut refused) = (0, 0, 0);
    for seed in 0..if full() { 200 } else { 10 } {
        let (killed, sent_twice) = interleaved(seed).await;
        (runs, kills, refused) = (runs + 1, kills + killed, refused + sent_twice);
    }
    println!("{runs} runs, {kills} kills: each root once; {refused} messages were sent twice and refused");
}

#[tokio::test]
async fn one_that_stands_by_keeps_the_files_and_does_nothing_else() {
    let (world, folder) = (EpochWorld::open().await, tempfile::tempdir().unwrap());
    let mut other =
        world.epochs_in(folder.path(), world.world.books(), world.journals(), world.world.chain());
    let receipts = world.receipts(3).await;
    world.world.pass(SETTLED).await;
    assert_eq!(other.step(world.world.now(), false).await.unwrap(), EpochStep::StandsBy);
    assert_eq!(other.log().last(), 1, "it has decided");
    world.run(&mut world.epochs()).await;
    assert_eq!(other.step(world.world.now(), false).await.unwrap(), EpochStep::StandsBy);
    let file = |folder: &std::path::Path| std::fs::read(folder.join("00000002.json")).unwrap();
    assert_eq!(file(folder.path()), file(world.folder()));
    world.assert_all_is_published(&receipts).await;
}
