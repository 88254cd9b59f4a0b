//! Random interleavings of all calls, in the midst of which the ledger is carried into another store: there it answers as
//! the model goes on answering.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::sample::Index;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use super::{To, moved};
use crate::bench::*;
use crate::calls::Call;
use crate::coverage::Coverage;
use crate::random::Subject;
use crate::redis_server::RedisServer;
use crate::world::World;

/// The same cases each time; with `COCOON_TEST_FULL=1` more, and others each time.
fn config() -> Config {
    let full = std::env::var_os("COCOON_TEST_FULL").is_some();
    Config {
        cases: if full { 200 } else { 16 },
        rng_seed: if full { RngSeed::Random } else { RngSeed::Fixed(7) },
        max_shrink_iters: 500,
        source_file: Some(file!()),
        ..Config::default()
    }
}

/// Goes on in another store, having read as much of every journal as before.
async fn carried(subject: Subject, to: To<'_>) -> Subject {
    let mut next = Subject::new(moved(&subject.bench, to).await);
    for (shard, known) in subject.entries {
        let entries = next.bench.ledger.journal(shard, None, 10_000).await.unwrap();
        if let Some(last) = known.checked_sub(1).and_then(|last| entries.get(last)) {
            next.read.insert(shard, last.id.clone());
        }
        next.entries.insert(shard, known);
    }
    next
}

async fn run(
    bench: Bench,
    mut world: World,
    calls: &[Call],
    moves: &[(usize, To<'_>)],
    seen: Option<Arc<AtomicUsize>>,
) -> Result<(), TestCaseError> {
    let (mut subject, coverage) = (Subject::new(bench), Coverage::default());
    for (number, call) in calls.iter().enumerate() {
        for (_, to) in moves.iter().filter(|(at, _)| *at == number) {
            subject = carried(subject, *to).await;
        }
        if let Some(seen) = &seen {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        world = World::apply(world, call);
        subject.step(call, &world, &coverage).await?;
    }
    subject.end(&world, &coverage).await
}

/// Begins in the first of `stores` and goes on to each of the others.
fn hold_to_the_model(stores: [To<'_>; 3]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases =
        (World::sequential_strategy(30..=120), proptest::array::uniform2(proptest::prelude::any::<Index>()))
            .prop_map(|((world, calls, seen), moves)| {
                let mut moves = moves.map(|place| place.index(calls.len().max(1)));
                moves.sort_unstable();
                (world, calls, seen, moves)
            });
    let outcome = TestRunner::new(config()).run(&cases, |(world, calls, seen, moves)| {
        let [first, second, third] = stores;
        let moves = [(moves[0], second), (moves[1], third)];
        runtime.block_on(async {
            let bench = match first {
                To::Embedded => Bench::embedded().await,
                To::Redis(server) => Bench::redis_on(server).await,
            };
            run(bench, world, &calls, &moves, seen).await
        })
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, (_, calls, _, moves))) => {
            let calls: Vec<String> = calls.iter().map(|call| format!("\n  {call:?}")).collect();
            panic!("{why}\nmoved before calls {moves:?} of {}:{}", calls.len(), calls.concat());
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn from_sqlite_to_redis_and_on_to_another_redis() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    hold_to_the_model([To::Embedded, To::Redis(&first), To::Redis(&second)]);
}

#[test]
fn from_redis_to_sqlite_and_on_to_another_file() {
    let server = RedisServer::start();
    hold_to_the_model([To::Redis(&server), To::Embedded, To::Embedded]);
}
