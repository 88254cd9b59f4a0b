//! What a settler does.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, prop_oneof};
use proptest::sample::select;

use crate::bench::*;
use crate::calls::Call;
use crate::world::World;

/// Mostly at the log's end; few texts, so that another's are met.
pub(super) fn any_treasury_call(world: &World) -> BoxedStrategy<Call> {
    let count = world.model.decisions().len() as u64;
    let places = prop_oneof![4 => Just(count), 1 => Just(count.saturating_sub(1)), 1 => Just(count + 1)];
    let records = vec(select(vec!["a", "b"]).prop_map(str::to_owned), 0..3);
    let holders = || select(vec!["first", "second"]).prop_map(str::to_owned);
    let lasts = select(vec![Duration::ZERO, LEASE / 2, LEASE]);
    prop_oneof![
        4 => (places, records).prop_map(|(after, records)| Call::AppendDecisions(after, records)),
        3 => (holders(), lasts).prop_map(|(holder, lasts)| Call::HoldLease(holder, lasts)),
        1 => holders().prop_map(Call::GiveUpLease),
    ]
    .boxed()
}
