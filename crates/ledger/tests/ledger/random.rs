//! Random interleavings of all calls, duplicates and clock steps: each store answers what the model answers, and the
//! invariants hold after each step.
//!
//! A case that fails is made as small as it can be and printed; `proptest-regressions` keeps it to be tried first from
//! then on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cocoon_ledger::{
    JournalEntry, JournalId, KeyOrder, KeyQuery, KeySet, MAX_KEY_PAGE, Shard, Whose, is_channel,
};
use cocoon_receipts::AccountId;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use proptest::{prop_assert, prop_assert_eq};
use proptest_state_machine::ReferenceStateMachine;

use crate::bench::*;
use crate::calls::Call;
use crate::coverage::Coverage;
use crate::redis_server::RedisServer;
use crate::world::World;
use crate::{archived, invariants};

/// More than there are holds.
const MANY: u32 = 1000;

/// A ledger under test, and how far its journal was read.
pub(crate) struct Subject {
    pub(crate) bench: Bench,
    pub(crate) read: BTreeMap<Shard, JournalId>,
    pub(crate) entries: BTreeMap<Shard, usize>,
}

impl Subject {
    pub(crate) fn new(bench: Bench) -> Self {
        Self { bench, read: BTreeMap::new(), entries: BTreeMap::new() }
    }

    /// What it answers is what the model answered, and the shard it touched is as the model's.
    pub(crate) async fn step(
        &mut self,
        call: &Call,
        world: &World,
        coverage: &Coverage,
    ) -> Result<(), TestCaseError> {
        let ledger = Arc::clone(&self.bench.ledger);
        let shortfall = match call.account() {
            Some(account) => ledger.account(account).await.unwrap().shortfall,
            None => Default::default(),
        };
        prop_assert_eq!(&call.on(&self.bench).await, &world.said);
        coverage.answered(call, &world.said);
        if let Call::Settle(settlement) = call
            && world.held_before.is_some_and(|held| settlement.cost <= held)
        {
            let after = ledger.account(&settlement.account).await.unwrap().shortfall;
            prop_assert_eq!(after, shortfall, "a hold was not enough for what it covers");
        }
        if let Some(account) = call.account() {
            self.account(account, world).await?;
        }
        match call.shard(world.model.shards()) {
            Some(shard) => self.shard(shard, world, coverage).await,
            None => self.shards(world, coverage).await,
        }
    }

    /// What is kept of an account beside its money.
    async fn account(&self, account: &AccountId, world: &World) -> Result<(), TestCaseError> {
        let (ledger, model) = (self.bench.ledger.as_ref(), &world.model);
        let (key, project) = (|id| Whose::Key(name(id)), Whose::Project(name("project")));
        for whose in [key("key"), key("other"), project, Whose::Account] {
            let found = ledger.standing(account, &whose).await.unwrap();
            prop_assert_eq!(found, model.standing(account, &whose), "{:?} of {}", whose, account);
        }
        for project in [None, Some(name("project")), Some(name("beside"))] {
            let found = ledger.limits(account, project.as_ref()).await.unwrap();
            prop_assert_eq!(found, model.limits(account, project.as_ref()), "{:?} of {}", project, account);
        }
        let keys = KeyQuery {
            account: account.clone(),
            set: KeySet::All,
            order: KeyOrder::OldestFirst,
            after: None,
            limit: MAX_KEY_PAGE,
        };
        prop_assert_eq!(ledger.keys(&keys).await.unwrap(), model.keys(&keys));
        prop_assert_eq!(ledger.projects(account).await.unwrap(), model.projects(account));
        prop_assert_eq!(ledger.payout(account).await.unwrap(), model.payout(account));
        if is_channel(account) {
            prop_assert_eq!(ledger.channel(account).await.unwrap(), model.channel(account));
        }
        Ok(())
    }

    async fn shards(&mut self, world: &World, coverage: &Coverage) -> Result<(), TestCaseError> {
        for shard in world.model.shards().all() {
            self.shard(shard, world, coverage).await?;
        }
        Ok(())
    }

    async fn shard(&mut self, shard: Shard, world: &World, coverage: &Coverage) -> Result<(), TestCaseError> {
        let ledger = self.bench.ledger.as_ref();
        let totals = ledger.totals(shard).await.unwrap();
        prop_assert_eq!(&totals, &world.model.totals(shard));
        invariants::books_balance(&totals);
        for account in accounts().filter(|account| ledger.shards().of(account) == shard) {
            let found = ledger.account(&account).await.unwrap();
            prop_assert_eq!(found, world.model.account(&account), "{}", account);
            prop_assert!(found.held <= found.balance, "{:?}", found);
        }
        let stopped = ledger.withdrawals_stopped(shard).await.unwrap();
        prop_assert_eq!(stopped, world.model.withdrawals_stopped(shard));
        let open = ledger.open_withdrawals(shard, None, MANY).await.unwrap();
        prop_assert_eq!(open, world.model.open_withdrawals(shard));
        prop_assert_eq!(ledger.channels(shard, None, MANY).await.unwrap(), world.model.channels(shard));
        if shard == Shard(0) {
            prop_assert_eq!(ledger.decisions(0, MANY).await.unwrap(), world.model.decisions());
        }
        prop_assert_eq!(
            ledger.expired(shard, MANY).await.unwrap(),
            world.model.expired(shard, MANY as usize)
        );
        let mut new = ledger.journal(shard, self.read.get(&shard), 100).await.unwrap();
        if let Some(last) = new.last() {
            self.read.insert(shard, last.id.clone());
        }
        new.iter().for_each(|entry| coverage.journaled(entry));
        // Every store has journal ids of its own kind.
        new.iter_mut().for_each(|entry| entry.id.0.clear());
        let known = self.entries.entry(shard).or_default();
        let expected: Vec<JournalEntry> = world.model.journal(shard).split_off(*known);
        *known += expected.len();
        prop_assert_eq!(new, expected);
        Ok(())
    }

    /// After the last call.
    pub(crate) async fn end(mut self, world: &World, coverage: &Coverage) -> Result<(), TestCaseError> {
        self.shards(world, coverage).await?;
        let everyone: Vec<AccountId> = accounts().collect();
        // The machine's clock may be behind.
        let at_ms = |bench: &Bench| bench.now_ms().max(world.model.now_ms());
        invariants::check(self.bench.ledger.as_ref(), &everyone, at_ms(&self.bench)).await;
        self.sweep().await?;
        invariants::check(self.bench.ledger.as_ref(), &everyone, at_ms(&self.bench)).await;
        archived::check(self.bench.ledger.as_ref()).await;
        Ok(())
    }

    /// Nothing is held for longer than its lease and grace, and one sweep.
    async fn sweep(&self) -> Result<(), TestCaseError> {
        // Leases are below three minutes. The clock may have been set back by days.
        self.bench.pass(40 * DAY).await;
        let ledger = self.bench.ledger.as_ref();
        for shard in ledger.shards().all() {
            for request in ledger.expired(shard, MANY).await.unwrap() {
                ledger.expire(shard, request).await.unwrap();
            }
            let totals = ledger.totals(shard).await.unwrap();
            prop_assert_eq!((totals.held.0, totals.open_holds), (0, 0), "after a sweep");
        }
        Ok(())
    }
}

async fn run(
    bench: Bench,
    mut world: World,
    calls: Vec<Call>,
    seen: Option<Arc<AtomicUsize>>,
    coverage: &Coverage,
) -> Result<(), TestCaseError> {
    let mut subject = Subject::new(bench);
    for call in calls {
        // Shrinking begins with leaving out what was not reached.
        if let Some(seen) = &seen {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        world = World::apply(world, &call);
        subject.step(&call, &world, coverage).await?;
    }
    subject.end(&world, coverage).await
}

/// The same cases each time; with `COCOON_TEST_FULL=1` more, and others each time.
fn config() -> Config {
    let full = std::env::var_os("COCOON_TEST_FULL").is_some();
    Config {
        cases: if full { 600 } else { 80 },
        rng_seed: if full { RngSeed::Random } else { RngSeed::Fixed(1) },
        max_shrink_iters: 5000,
        source_file: Some(file!()),
        ..Config::default()
    }
}

fn hold_to_the_model(fresh: impl AsyncFn() -> Bench) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let coverage = Coverage::default();
    let cases = World::sequential_strategy(1..=150);
    let outcome = TestRunner::new(config()).run(&cases, |(world, calls, seen)| {
        runtime.block_on(async { run(fresh().await, world, calls, seen, &coverage).await })
    });
    match outcome {
        Ok(()) => coverage.check(),
        Err(TestError::Fail(why, (_, calls, _))) => {
            let calls: Vec<String> = calls.iter().map(|call| format!("\n  {call:?}")).collect();
            panic!("{why}\nafter {} calls:{}", calls.len(), calls.concat());
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_embedded_store_answers_as_the_model() {
    hold_to_the_model(async || Bench::embedded().await);
}

#[test]
fn redis_answers_as_the_model() {
    let server = RedisServer::start();
    hold_to_the_model(async || Bench::redis_on(&server).await);
}
