//! Calls that carry a request on its way.

use cocoon_ledger::{Bind, Checkpoint, Estimate, Release, ReleaseReason, Reserve, Settlement, Work};
use cocoon_receipts::{BasisPoints, Digest, NanoTon};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::sample::select;

use super::keys::{a_key, limits};
use super::manner::Manner;
use super::some_time;
use crate::bench::*;
use crate::calls::Call;
use crate::world::{Whose, World};

fn work() -> impl Strategy<Value = Work> {
    select(vec![Work::Completions, Work::Embeddings])
}

fn a_share() -> impl Strategy<Value = BasisPoints> {
    select(vec![0, 3333, 9000, 10_000]).prop_map(|share| BasisPoints::new(share).unwrap())
}

pub(super) fn reserve(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    let useful_minimum = option::of((0..300_u64).prop_map(NanoTon));
    let lease_and_limits = (manner.lease(), limits(), 0..60_u64);
    (whose, a_key(), manner.amount(), useful_minimum, any::<bool>(), work(), lease_and_limits)
        .prop_map(
            |(
                (account, request),
                key,
                worst_case,
                useful_minimum,
                project,
                work,
                (lease, limits, tokens),
            )| {
                Call::Reserve(Reserve {
                    request,
                    account,
                    key,
                    project: project.then(|| name("project")),
                    model: MODEL.to_owned(),
                    work,
                    limits,
                    estimate: Estimate { worst_case: NanoTon(worst_case), useful_minimum, tokens },
                    lease,
                })
            },
        )
        .boxed()
}

pub(super) fn bind(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    (whose, manner.attempt(), manner.backend(), manner.lease())
        .prop_map(|((account, request), attempt, (keyset, _), lease)| {
            Call::Bind(Bind { account, request, attempt, keyset, lease })
        })
        .boxed()
}

pub(super) fn extend(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
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

pub(super) fn settle(world: &World, whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
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

pub(super) fn release(whose: BoxedStrategy<Whose>) -> BoxedStrategy<Call> {
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
