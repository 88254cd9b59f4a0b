//! Which calls come next: mostly such that carry a request on its way, many of any kind at any time, and some that
//! were made before. Each is answered in every state, so that a failing case shrinks by leaving calls out.

mod channels;
mod holds;
mod keys;
mod manner;
mod money;
mod treasury;

use std::time::Duration;

use cocoon_receipts::{AccountId, NanoTon};
use proptest::prelude::{BoxedStrategy, Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::strategy::Union;

use self::channels::{any_channel_call, channel_step, channels, towards_spending};
use self::holds::{bind, extend, release, reserve, settle};
use self::keys::{any_key_call, key_step};
use self::manner::{ANY, USUAL};
use self::money::{any_withdrawal_call, credit, grant, withdrawal_step};
use self::treasury::any_treasury_call;
use crate::bench::*;
use crate::calls::Call;
use crate::model::Stage;
use crate::world::{Whose, World};

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
    steps.extend([
        (6, first_step(world)),
        (4, withdrawal_step(world)),
        (2, key_step(world)),
        (3, channel_step(world)),
    ]);
    Union::new_weighted(steps).boxed()
}

fn first_step(world: &World) -> BoxedStrategy<Call> {
    let each = players().map(|account| {
        let whose = Just((account.clone(), request_made_at(world.model.now_ms(), world.made()))).boxed();
        let account = world.model.account(&account);
        if account.available() < POOR { grant(whose, USUAL) } else { reserve(whose, USUAL) }
    });
    let of_channels = channels().map(|account| {
        let whose = Just((account.clone(), request_made_at(world.model.now_ms(), world.made()))).boxed();
        // One that has nothing more to spend is good for a refusal too.
        let spends = reserve(whose, USUAL);
        prop_oneof![towards_spending(world, &account), spends].boxed()
    });
    Union::new_weighted(each.map(|step| (4, step)).chain(of_channels.map(|step| (1, step))).collect()).boxed()
}

fn next_step(world: &World, (account, request): &Whose) -> BoxedStrategy<Call> {
    let whose = || Just((account.clone(), *request)).boxed();
    let shard = world.model.shards().of(account);
    let settle = || settle(world, whose(), USUAL);
    match world.model.stage(account, *request) {
        Stage::New => reserve(whose(), USUAL),
        Stage::Held => prop_oneof![5 => bind(whose(), USUAL), 1 => release(whose())].boxed(),
        Stage::Bound => {
            prop_oneof![4 => extend(whose(), USUAL), 1 => settle(), 2 => passes(world, LEASE / 2)].boxed()
        }
        Stage::Reported => {
            // Beyond what the bind alone would have allowed, and beyond all.
            let late = prop_oneof![passes(world, GRACE + LEASE / 2), passes(world, GRACE + LEASE)];
            prop_oneof![2 => extend(whose(), USUAL), 2 => settle(), 4 => late].boxed()
        }
        Stage::Over => prop_oneof![4 => Just(Call::Expire(shard, *request)), 1 => settle()].boxed(),
        Stage::Expired => settle(),
        Stage::Ended => prop_oneof![settle(), reserve(whose(), USUAL), release(whose())].boxed(),
    }
}

/// From the ledger's time on.
fn passes(world: &World, time: Duration) -> BoxedStrategy<Call> {
    Just(Call::Pass(world.model.behind() + time)).boxed()
}

/// Whatever a caller might do, however mistaken.
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
        2 => credit(world, an_account().boxed(), ANY),
        1 => grant(whose(), ANY),
        3 => any_withdrawal_call(world),
        3 => any_key_call(),
        2 => any_treasury_call(world),
        3 => any_channel_call(world),
        1 => steps().prop_map(Call::Pass),
        1 => select(vec![LEASE / 2, LEASE, GRACE, DAY]).prop_map(Call::SetClockBack),
    ]
    .boxed()
}

/// To both sides of what the ledger counts in: leases, graces, days, what was seen, who was not there for long.
fn steps() -> impl Strategy<Value = Duration> {
    let short = vec![LEASE / 3, LEASE / 2, LEASE, GRACE, GRACE + LEASE / 2];
    prop_oneof![6 => select(short), 2 => Just(DAY), 1 => Just(9 * DAY), 1 => Just(61 * DAY)]
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

/// Two of one shard, and one of another.
fn players() -> impl Iterator<Item = AccountId> {
    ["alice", "bob", "dave"].into_iter().map(name)
}

fn an_account() -> impl Strategy<Value = AccountId> {
    let channels = select(channels().collect::<Vec<_>>());
    prop_oneof![6 => select(players().collect::<Vec<_>>()), 1 => channels]
}

/// Mostly now.
fn some_time(world: &World) -> BoxedStrategy<u64> {
    let now_ms = world.model.now_ms();
    prop_oneof![11 => Just(0), 1 => 0..9_u64].prop_map(move |days| now_ms - days * DAY_MS).boxed()
}
