//! Keys and limits.

use std::time::Duration;

use cocoon_ledger::{Budget, KeyOrder, KeyQuery, KeyRecord, KeyScope, KeySet, Limits, Period};
use cocoon_receipts::{AccountId, KeyId, NanoTon, ProjectId};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::Union;

use super::manner::TOO_MUCH;
use super::{an_account, players};
use crate::bench::*;
use crate::calls::Call;
use crate::world::World;

/// The one that requests are made with, and that comes to an end.
const ENDED: &str = "ended";

/// What brings the key that comes to an end there.
pub(super) fn key_step(world: &World) -> BoxedStrategy<Call> {
    let each = players().map(|account| {
        let now_ms = world.model.now_ms();
        match world.model.key(&account, &name(ENDED)).map(|record| record.revoked_at_ms) {
            None => put_key(Just(account), Just(ENDED)),
            Some(Some(at_ms)) if at_ms > now_ms => {
                let left = Duration::from_millis(at_ms - now_ms - 1) + world.model.behind();
                let passes = select(vec![left, left + Duration::from_millis(1)]).prop_map(Call::Pass);
                prop_oneof![passes, revoke(Just(account), Just(ENDED))].boxed()
            }
            Some(None) => revoke(Just(account), Just(ENDED)),
            Some(Some(_)) => Just(Call::IsRevoked(account, name(ENDED))).boxed(),
        }
    });
    Union::new(each).boxed()
}

/// Whatever is done with keys.
pub(super) fn any_key_call() -> BoxedStrategy<Call> {
    prop_oneof![
        2 => set_limits(),
        1 => put_key(an_account(), any_key()),
        1 => revoke(an_account(), prop_oneof![8 => Just(ENDED), 1 => any_key()]),
        1 => (an_account(), any_key()).prop_map(|(account, key)| Call::IsRevoked(account, name(key))),
        2 => keys(),
    ]
    .boxed()
}

/// Mostly none, else such as are met and paid off within a few calls.
pub(super) fn limits() -> BoxedStrategy<Limits> {
    let period = select(vec![Period::Day, Period::Week, Period::Month, Period::Total]);
    let budget =
        (300..4000_u64, period).prop_map(|(amount, period)| Budget { amount: NanoTon(amount), period });
    let some = (option::of(0..6_u32), option::of(0..90_u32), option::of(0..5_u32), option::of(budget))
        .prop_map(|(rpm, tpm, concurrency, budget)| Limits { rpm, tpm, concurrency, budget });
    prop_oneof![3 => Just(Limits::default()), 2 => some].boxed()
}

/// Such as are kept, or refused for a budget that no balance reaches.
fn kept_limits() -> BoxedStrategy<Limits> {
    let too_much = Budget { amount: NanoTon(TOO_MUCH), period: Period::Day };
    let refused = Limits { budget: Some(too_much), ..Limits::default() };
    prop_oneof![15 => limits(), 1 => Just(refused)].boxed()
}

/// Of a request.
pub(super) fn a_key() -> impl Strategy<Value = KeyId> {
    prop_oneof![6 => Just("key"), 2 => Just("other"), 1 => Just(ENDED)].prop_map(name)
}

fn any_key() -> impl Strategy<Value = &'static str> {
    select(vec!["a-first", "ended", "key", "other", "z-last"])
}

fn a_project() -> BoxedStrategy<Option<ProjectId>> {
    option::of(select(vec!["project", "beside"])).prop_map(|project| project.map(name)).boxed()
}

fn set_limits() -> BoxedStrategy<Call> {
    (an_account(), a_project(), kept_limits())
        .prop_map(|(account, project, limits)| Call::SetLimits(account, project, limits))
        .boxed()
}

fn put_key(
    account: impl Strategy<Value = AccountId> + 'static,
    id: impl Strategy<Value = &'static str> + 'static,
) -> BoxedStrategy<Call> {
    let scope = prop_oneof![3 => Just(KeyScope::Inference), 1 => Just(KeyScope::Admin)];
    (account, id, a_project(), scope, kept_limits(), 0..3_u64)
        .prop_map(|(account, id, project, scope, limits, created)| {
            Call::PutKey(Box::new(KeyRecord {
                id: name(id),
                account,
                project,
                name: String::new(),
                hint: String::new(),
                created,
                expires: None,
                scope,
                models: None,
                limits,
                sealed_only: false,
                revoked_at_ms: None,
            }))
        })
        .boxed()
}

/// At once, or ahead as for a key that another one takes the place of.
fn revoke(
    account: impl Strategy<Value = AccountId> + 'static,
    id: impl Strategy<Value = &'static str> + 'static,
) -> BoxedStrategy<Call> {
    (account, id, select(vec![Duration::ZERO, LEASE, GRACE, DAY]))
        .prop_map(|(account, id, after)| Call::Revoke(account, name(id), after))
        .boxed()
}

fn keys() -> BoxedStrategy<Call> {
    let set = prop_oneof![
        Just(KeySet::All),
        select(vec![KeyScope::Inference, KeyScope::Admin]).prop_map(KeySet::OfScope),
        a_project().prop_map(KeySet::OfProject),
    ];
    let after = option::of(any_key()).prop_map(|after| after.map(name));
    (an_account(), set, any::<bool>(), after, 0..4_u32)
        .prop_map(|(account, set, newest_first, after, limit)| {
            let order = if newest_first { KeyOrder::NewestFirst } else { KeyOrder::OldestFirst };
            Call::Keys(KeyQuery { account, set, order, after, limit })
        })
        .boxed()
}
