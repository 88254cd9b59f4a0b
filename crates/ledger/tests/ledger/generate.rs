//! Which calls come next: mostly such that carry a request on its way, many of any kind at any time, and some that
//! were made before. Each is answered in every state, so that a failing case shrinks by leaving calls out.

use std::time::Duration;

use cocoon_ledger::{
    Bind, Checkpoint, Credit, Estimate, Grant, Limits, Release, ReleaseReason, Reserve, Settlement, Work,
};
use cocoon_receipts::{AccountId, BasisPoints, Digest, NanoTon};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::Union;

use crate::bench::*;
use crate::calls::Call;
use crate::model::Stage;
use crate::world::{Whose, World};

/// The first amount that is too much for a ledger.
const TOO_MUCH: u64 = 1 << 53;

/// Below this an account gets test credit before it goes on.
const POOR: NanoTon = NanoTon(1000);

pub(crate) fn next(world: &World) -> BoxedStrategy<Call> {
    let mut choices = vec![(5, onward(world)), (4, anything(world))];
    if !world.recent_calls().is_empty() {
        choices.push((2, select(world.recent_calls().to_vec()).boxed()));
    }
    Union::new_weighted(choices).boxed()
}

/// By chance alone hardly any request would come to its correction.
fn onward(world: &World) -> BoxedStrategy<Call> {
    let begun = world.recent_requests().iter().map(|whose| {
        let ended = world.model.stage(&whose.0, whose.1) == Stage::Ended;
        (if ended { 1 } else { 6 }, next_step(world, whose))
    });
    let mut steps: Vec<_> = begun.collect();
    steps.push((6, first_step(world)));
    Union::new_weighted(steps).boxed()
}

fn first_step(world: &World) -> BoxedStrategy<Call> {
    let each = accounts().take(3).map(|account| {
        let whose = Just((account.clone(), request_made_at(world.model.now_ms(), world.made()))).boxed();
        let account = world.model.account(&account);
        if account.available() < POOR { grant(whose, USUAL) } else { reserve(whose, USUAL) }
    });
    Union::new(each).boxed()
}

fn next_step(world: &World, (account, request): &Whose) -> BoxedStrategy<Call> {
    let whose = || Just((account.clone(), *request)).boxed();
    let shard = world.model.shards().of(account);
    let settle = || settle(world, whose(), USUAL);
    match world.model.stage(account, *request) {
        Stage::New => reserve(whose(), USUAL),
        Stage::Held => prop_oneof![5 => bind(whose(), USUAL), 1 => release(whose())].boxed(),
        Stage::Bound => prop_oneof![3 => extend(whose(), USUAL), 1 => settle()].boxed(),
        Stage::Reported => {
            let over = Just(Call::Pass(world.model.behind() + LEASE + GRACE));
            prop_oneof![1 => extend(whose(), USUAL), 2 => settle(), 3 => over].boxed()
        }
        Stage::Over => prop_oneof![4 => Just(Call::Expire(shard, *request)), 1 => settle()].boxed(),
        Stage::Expired => settle(),
        Stage::Ended => prop_oneof![settle(), reserve(whose(), USUAL), release(whose())].boxed(),
    }
}

/// Whatever a caller might do, however mistaken. The weights are parts of 20.
fn anything(world: &World) -> BoxedStrategy<Call> {
    let shards: Vec<_> = world.model.shards().all().collect();
    let shards = || select(shards.clone());
    let whose = || somebodys(world);
    let of_its_shard = world.model.shards();
    prop_oneof![
        4 => reserve(whose(), ANY),
        3 => bind(whose(), ANY),
        2 => extend(whose(), ANY),
        4 => settle(world, whose(), ANY),
        1 => release(whose()),
        1 => (shards(), 0..4_u32).prop_map(|(shard, limit)| Call::Expired(shard, limit)),
        2 => whose().prop_map(move |(account, request)| Call::Expire(of_its_shard.of(&account), request)),
        1 => credit(world, whose()),
        1 => grant(whose(), ANY),
        1 => select(vec![Duration::from_secs(20), LEASE, GRACE, DAY, 9 * DAY]).prop_map(Call::Pass),
        1 => select(vec![LEASE, GRACE, DAY]).prop_map(Call::SetClockBack),
    ]
    .boxed()
}

/// One of the last few requests, or a new one; sometimes with another's account.
fn somebodys(world: &World) -> BoxedStrategy<Whose> {
    let made = world.made();
    let new = (an_account(), some_time(world))
        .prop_map(move |(account, at_ms)| (account, request_made_at(at_ms, made)))
        .boxed();
    let known = world.recent_requests().to_vec();
    if known.is_empty() {
        return new;
    }
    let mistaken =
        (an_account(), select(known.clone())).prop_map(|(account, (_, request))| (account, request));
    prop_oneof![19 => select(known), 5 => new, 1 => mistaken].boxed()
}

fn an_account() -> impl Strategy<Value = AccountId> {
    select(accounts().take(3).collect::<Vec<_>>())
}

/// Mostly now.
fn some_time(world: &World) -> BoxedStrategy<u64> {
    let now_ms = world.model.now_ms();
    prop_oneof![11 => Just(0), 1 => 0..9_u64].prop_map(move |days| now_ms - days * DAY_MS).boxed()
}

/// How a caller means it, so that it meets the calls before it; or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner {
    usual: bool,
}

const USUAL: Manner = Manner { usual: true };
const ANY: Manner = Manner { usual: false };

impl Manner {
    fn amount(self) -> BoxedStrategy<u64> {
        if self.usual {
            return (0..1500_u64).boxed();
        }
        prop_oneof![19 => 0..1500_u64, 1 => TOO_MUCH - 3..=TOO_MUCH].boxed()
    }

    /// The most there can be leaves even a rich account short.
    fn cost(self) -> BoxedStrategy<u64> {
        prop_oneof![18 => 0..500_u64, 1 => self.amount(), 1 => TOO_MUCH - 1..=TOO_MUCH].boxed()
    }

    fn lease(self) -> BoxedStrategy<Duration> {
        if self.usual { Just(LEASE).boxed() } else { (0..120_u64).prop_map(Duration::from_secs).boxed() }
    }

    fn attempt(self) -> BoxedStrategy<u32> {
        if self.usual { Just(1).boxed() } else { (1..3_u32).boxed() }
    }

    /// A backend's keyset, and its operator.
    fn backend(self) -> BoxedStrategy<(Digest, &'static str)> {
        let backend = if self.usual { Just("a").boxed() } else { select(vec!["a", "a", "b"]).boxed() };
        let operator = |backend| if backend == "a" { "operator-a" } else { "operator-b" };
        let strange = prop_oneof![29 => Just(false), 1 => Just(true)];
        (backend, strange)
            .prop_map(move |(backend, strange)| {
                (keyset(backend), if strange { "operator-z" } else { operator(backend) })
            })
            .boxed()
    }
}

fn work() -> impl Strategy<Value = Work> {
    select(vec![Work::Completions, Work::Embeddings])
}

fn a_share() -> impl Strategy<Value = BasisPoints> {
    select(vec![0, 3333, 9000, 10_000]).prop_map(|share| BasisPoints::new(share).unwrap())
}

fn reserve(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    let useful_minimum = option::of((0..300_u64).prop_map(NanoTon));
    (whose, manner.amount(), useful_minimum, any::<bool>(), work(), manner.lease())
        .prop_map(|((account, request), worst_case, useful_minimum, project, work, lease)| {
            Call::Reserve(Reserve {
                request,
                account,
                key: name("key"),
                project: project.then(|| name("project")),
                model: MODEL.to_owned(),
                work,
                limits: Limits::default(),
                estimate: Estimate { worst_case: NanoTon(worst_case), useful_minimum, tokens: 0 },
                lease,
            })
        })
        .boxed()
}

fn bind(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    (whose, manner.attempt(), manner.backend(), manner.lease())
        .prop_map(|((account, request), attempt, (keyset, _), lease)| {
            Call::Bind(Bind { account, request, attempt, keyset, lease })
        })
        .boxed()
}

fn extend(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    (whose, manner.attempt(), manner.backend(), a_share(), 0..20_u64, 0..400_u64, manner.lease())
        .prop_map(|((account, request), attempt, (keyset, operator), operator_share, tokens, cost, lease)| {
            Call::Extend(Checkpoint {
                account,
                request,
                attempt,
                keyset,
                operator: name(operator),
                operator_share,
                usage: usage(tokens),
                cost: NanoTon(cost),
                lease,
            })
        })
        .boxed()
}

fn settle(world: &World, whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    let made = world.made();
    let made_at = if manner.usual { Just(world.model.now_ms()).boxed() } else { some_time(world) };
    let cost = (manner.cost(), 0..20_u64);
    (whose, manner.attempt(), manner.backend(), a_share(), made_at, cost, work())
        .prop_map(
            move |((account, request), attempt, backend, operator_share, made_at, (cost, tokens), work)| {
                let receipt = receipt_made_at(made_at, made);
                Call::Settle(Box::new(Settlement {
                    account,
                    key: name("key"),
                    project: None,
                    request,
                    attempt,
                    keyset: backend.0,
                    operator: name(backend.1),
                    operator_share,
                    receipt,
                    receipt_digest: Digest::of(&[receipt.to_string().as_bytes()]),
                    receipt_jws: receipt.to_string(),
                    model: "model".to_owned(),
                    work,
                    usage: usage(tokens),
                    cost: NanoTon(cost),
                    max_cost: NanoTon(cost),
                }))
            },
        )
        .boxed()
}

fn release(whose: BoxedStrategy<Whose>) -> BoxedStrategy<Call> {
    (whose, any::<bool>())
        .prop_map(|((account, request), project)| {
            Call::Release(Release {
                account,
                key: name("key"),
                project: project.then(|| name("project")),
                request,
                reason: ReleaseReason::Rejected,
            })
        })
        .boxed()
}

fn credit(world: &World, whose: BoxedStrategy<Whose>) -> BoxedStrategy<Call> {
    let lt = world.made();
    (whose, ANY.amount())
        .prop_map(move |((account, _), amount)| {
            Call::Credit(Credit { account, amount: NanoTon(amount), lt, tx_hash: Digest::of(&[]) })
        })
        .boxed()
}

fn grant(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    (whose, manner.amount())
        .prop_map(|((account, id), amount)| Call::Grant(Grant { id, account, amount: NanoTon(amount) }))
        .boxed()
}
