//! Money that comes in, and money that goes out.

use std::time::Duration;

use cocoon_ledger::{Credit, Grant, Payout, Withdrawal};
use cocoon_receipts::{AccountId, Digest, NanoTon, RequestId};
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::Union;

use super::manner::{ANY, Manner, TOO_MUCH, USUAL};
use super::{an_account, players};
use crate::bench::*;
use crate::calls::Call;
use crate::model::WithdrawalEnd;
use crate::world::{Whose, World};

pub(super) fn credit(
    world: &World,
    account: BoxedStrategy<AccountId>,
    manner: Manner,
) -> BoxedStrategy<Call> {
    let lt = world.made();
    (account, manner.amount())
        .prop_map(move |(account, amount)| {
            Call::Credit(Credit { account, amount: NanoTon(amount), lt, tx_hash: Digest::of(&[]) })
        })
        .boxed()
}

pub(super) fn grant(whose: BoxedStrategy<Whose>, manner: Manner) -> BoxedStrategy<Call> {
    (whose, manner.amount())
        .prop_map(|((account, id), amount)| Call::Grant(Grant { id, account, amount: NanoTon(amount) }))
        .boxed()
}

/// What brings a withdrawal of somebody on its way.
pub(super) fn withdrawal_step(world: &World) -> BoxedStrategy<Call> {
    Union::new(players().map(|account| towards_payment(world, &account))).boxed()
}

fn towards_payment(world: &World, account: &AccountId) -> BoxedStrategy<Call> {
    let (model, whose) = (&world.model, || Just(account.clone()).boxed());
    let intents = world.recent_intents().iter().filter(|withdrawal| withdrawal.account == *account);
    let (begun, ended): (Vec<_>, Vec<_>) =
        intents.map(|known| known.intent).partition(|intent| model.is_under_way(account, *intent));
    if let Some(intent) = begun.first() {
        return end(whose(), *intent);
    }
    let shard = model.shards().of(account);
    if model.withdrawals_stopped(shard).is_some() {
        return prop_oneof![Just(Call::ResumeWithdrawals(shard)), begin(world, account)].boxed();
    }
    match model.payout(account) {
        Payout { current: Some(_), .. } if model.withdrawable(account) == NanoTon(0) => {
            credit(world, whose(), USUAL)
        }
        Payout { current: Some(_), .. } => {
            let again = ended.first().map_or_else(|| begin(world, account), |intent| end(whose(), *intent));
            prop_oneof![5 => begin(world, account), 2 => again, 1 => set_payout(whose())].boxed()
        }
        Payout { pending: Some(pending), .. } => {
            let left = Duration::from_millis(pending.from_ms - model.now_ms() - 1) + model.behind();
            let passes = select(vec![left, left + Duration::from_millis(1)]).prop_map(Call::Pass);
            prop_oneof![2 => passes, 1 => begin(world, account)].boxed()
        }
        _ => set_payout(whose()),
    }
}

/// Whatever is done with withdrawals.
pub(super) fn any_withdrawal_call(world: &World) -> BoxedStrategy<Call> {
    let shards: Vec<_> = world.model.shards().all().collect();
    let shards = || select(shards.clone());
    prop_oneof![
        2 => set_payout(an_account().boxed()),
        4 => some_withdrawal(world).prop_map(Call::WithdrawBegin),
        4 => some_withdrawal(world).prop_flat_map(|known| end(Just(known.account).boxed(), known.intent)),
        1 => shards().prop_map(|shard| Call::StopWithdrawals(shard, "the store went back".to_owned())),
        1 => shards().prop_map(Call::ResumeWithdrawals),
    ]
    .boxed()
}

/// One of the last few, sometimes with another's account or another amount; or a new one.
fn some_withdrawal(world: &World) -> BoxedStrategy<Withdrawal> {
    let intent = request_made_at(world.model.now_ms(), world.made());
    let withdrawal = move |(account, amount)| Withdrawal { account, intent, amount: NanoTon(amount) };
    let amount = prop_oneof![5 => ANY.amount(), 1 => Just(TOO_MUCH)];
    let new = (an_account(), amount).prop_map(withdrawal).boxed();
    let known = world.recent_intents().to_vec();
    if known.is_empty() {
        return new;
    }
    let mistaken =
        (new.clone(), select(known.clone()), any::<bool>()).prop_map(|(new, known, of_another)| {
            let account = if of_another { new.account } else { known.account };
            Withdrawal { account, intent: known.intent, amount: new.amount }
        });
    prop_oneof![4 => select(known), 3 => mistaken, 1 => new].boxed()
}

fn set_payout(account: BoxedStrategy<AccountId>) -> BoxedStrategy<Call> {
    (account, select(ADDRESSES.to_vec()))
        .prop_map(|(account, address)| Call::SetPayout(account, name(address)))
        .boxed()
}

/// About as much as there is.
fn begin(world: &World, account: &AccountId) -> BoxedStrategy<Call> {
    let (account, most) = (account.clone(), world.model.withdrawable(account).0);
    let intent = request_made_at(world.model.now_ms(), world.made());
    prop_oneof![4 => 0..=most, 2 => Just(most), 1 => Just(most + 1)]
        .prop_map(move |amount| {
            Call::WithdrawBegin(Withdrawal { account: account.clone(), intent, amount: NanoTon(amount) })
        })
        .boxed()
}

fn end(account: BoxedStrategy<AccountId>, intent: RequestId) -> BoxedStrategy<Call> {
    (account, select(vec![WithdrawalEnd::Done, WithdrawalEnd::Undone]))
        .prop_map(move |(account, end)| Call::WithdrawEnd(account, intent, end))
        .boxed()
}
