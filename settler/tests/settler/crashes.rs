//! A settler is killed at every step, and the next one goes on from the ledger and the chain alone.

use std::sync::Arc;

use cocoon_devnet::NetworkFaults;
use cocoon_settler::{Settler, Step};

use crate::mortal::{Fate, Life, WHENS, When, born};
use crate::world::{TON, World, account, address, full, operator};

/// Who is paid in the story, each by the last byte of its address.
const OPERATORS: [u8; 3] = [1, 2, 3];
const WITHDREW: u8 = 9;

/// What came to each payee, in order.
type Transfers = Vec<(u8, Vec<u64>)>;

/// Without a kill: one transfer for everything that is owed at a time.
fn expected() -> Transfers {
    vec![
        (1, vec![2 * TON, TON + TON / 5]),
        (2, vec![TON + TON / 2]),
        (3, vec![TON / 2 + TON / 50]),
        (WITHDREW, vec![TON]),
    ]
}

struct Story {
    world: World,
    fate: Arc<Fate>,
    settler: Settler,
    life: Arc<Life>,
    /// Whether the first messages of every batch reach no block, so that it lapses.
    loses: bool,
}

impl Story {
    async fn begin(kills: &[(u64, When)], loses: bool) -> Self {
        let (world, fate) = (World::new().await, Fate::new(kills));
        let (settler, life) = born(&world, &fate);
        Self { world, fate, settler, life, loses }
    }

    /// Steps with a block after each; whoever has ended is followed by another one.
    async fn run(&mut self) {
        if self.loses {
            self.world.devnet().set_faults(NetworkFaults { drop_externals: 3, ..NetworkFaults::default() });
        }
        for _ in 0..200 {
            let step = self.settler.step(self.world.now()).await;
            self.world.block();
            match step {
                Ok(Step::Idle(_)) => {
                    // What is still on its way to others is none of the settler's business.
                    self.world.settle_chain();
                    return;
                }
                Ok(Step::SentAgain | Step::Waits) if self.loses => self.world.pass(70).await,
                Ok(_) => {}
                Err(error) => {
                    assert!(self.life.is_over(), "{error}");
                    (self.settler, self.life) = born(&self.world, &self.fate);
                }
            }
        }
        panic!("it does not come to an end");
    }

    async fn live(&mut self) {
        self.world.float(TON);
        self.run().await;
        self.world.deposit("acme", 9 * TON);
        self.world.deposit("bob", 3 * TON);
        self.world.send(0xcc, TON / 2 + 7, None);
        self.run().await;
        self.world.withdraw("bob", WITHDREW, TON).await;
        for (payee, nano) in OPERATORS.into_iter().zip([2 * TON, TON + TON / 2, TON / 50]) {
            self.world.earn("acme", &operator(payee), nano).await;
        }
        self.run().await;
        self.world.pass(7200).await;
        self.world.earn("acme", &operator(1), TON + TON / 5).await;
        self.world.earn("bob", &operator(3), TON / 2).await;
        self.run().await;
        // Of a batch that lapsed, what is little waits anew.
        self.loses = false;
        self.world.devnet().set_faults(NetworkFaults::default());
        self.world.pass(7200).await;
        self.run().await;
    }

    /// What came to everybody, after it was checked that all of it was owed.
    async fn end(mut self) -> u64 {
        // One that was not there looks at what the others left.
        self.settler = self.world.settler();
        let steps = self.world.run(&mut self.settler).await;
        assert!(matches!(steps.as_slice(), [Step::Idle(held)] if held.is_empty()), "{steps:?}");
        let (mut found, mut ids) = (Transfers::new(), std::collections::BTreeSet::new());
        for payee in OPERATORS.into_iter().chain([WITHDREW]) {
            let payouts = self.world.payouts_to(&address(payee)).await;
            ids.extend(payouts.iter().map(|(id, _)| *id));
            found.push((payee, payouts.iter().map(|(_, nano)| *nano).collect()));
        }
        assert_eq!(found, expected());
        let transfers: usize = found.iter().map(|(_, each)| each.len()).sum();
        assert_eq!(ids.len(), transfers, "an id was used twice");
        for (name, deposited, left) in
            [("acme", 9 * TON, 9 * TON - TON * 472 / 100), ("bob", 3 * TON, TON * 3 / 2)]
        {
            let user = self.world.user(name).await;
            assert_eq!(
                (user.deposited.0, user.balance.0, user.withdrawing.0),
                (deposited, left, 0),
                "{name}"
            );
        }
        let sums = self.settler.treasury().sums();
        assert_eq!((sums.unclaimed, sums.float), (u128::from(TON / 2 + 7), u128::from(TON)));
        for payee in OPERATORS {
            let owed = self.world.books().owing().await.unwrap();
            assert_eq!(owed.owed(&operator(payee), self.settler.treasury()), 0);
        }
        self.world.assert_closes(&self.settler).await;
        assert_eq!(self.world.ledger.account(&account("acme")).await.unwrap().held.0, 0);
        transfers as u64
    }
}

#[derive(Default)]
struct Count {
    runs: u64,
    kills: u64,
    transfers: u64,
    lapsed: u64,
}

impl Count {
    /// One story with these kills; how many calls it took.
    async fn run(&mut self, kills: &[(u64, When)], loses: bool) -> u64 {
        let mut story = Story::begin(kills, loses).await;
        story.live().await;
        let (calls, killed) = (story.fate.calls(), story.fate.killed());
        // The second kill of two may come after the end.
        assert!(killed == kills.len() as u64 || killed == 1, "{kills:?}: the story ended before");
        self.runs += 1;
        self.kills += killed;
        let lapsed = |record: &&String| record.contains(r#""decision":"lapsed""#);
        self.lapsed += story.world.log().await.iter().filter(lapsed).count() as u64;
        self.transfers += story.end().await;
        calls
    }

    fn print(&self, what: &str) {
        let Self { runs, kills, transfers, lapsed } = self;
        println!(
            "{what}: {runs} runs, {kills} kills, {lapsed} batches lapsed, {transfers} transfers on the chain, none twice and none missing"
        );
    }
}

#[tokio::test]
async fn whoever_is_killed_at_any_call_has_paid_everybody_once_when_another_one_goes_on() {
    let mut count = Count::default();
    let calls = count.run(&[], false).await;
    for call in 0..calls {
        for when in WHENS {
            count.run(&[(call, when)], false).await;
        }
    }
    assert_eq!(count.lapsed, 0);
    count.print("one kill");
}

#[tokio::test]
async fn whoever_is_killed_while_batches_lapse_has_paid_everybody_once_when_another_one_goes_on() {
    let mut count = Count::default();
    let calls = count.run(&[], true).await;
    assert!(count.lapsed >= 3, "of deployment and of both payouts");
    for call in (0..calls).step_by(if full() { 1 } else { 3 }) {
        for when in WHENS {
            count.run(&[(call, when)], true).await;
        }
    }
    count.print("one kill, of each batch the first messages are lost");
}

/// All pairs where there is time; else a part of them, the same each time.
#[tokio::test]
async fn whoever_is_killed_twice_has_paid_everybody_once_all_the_same() {
    let mut count = Count::default();
    let calls = count.run(&[], false).await;
    let mut random = fastrand::Rng::with_seed(0x5e77_1e55);
    // The second life begins with the calls of the first one's end.
    let mut pairs: Vec<_> =
        (0..calls).flat_map(|first| (first + 1..calls + 12).map(move |second| (first, second))).collect();
    random.shuffle(&mut pairs);
    if !full() {
        pairs.truncate(60);
    }
    for (first, second) in pairs {
        let [one, other] = [(); 2].map(|()| WHENS[random.usize(..2)]);
        count.run(&[(first, one), (second, other)], false).await;
    }
    count.print("two kills");
}
