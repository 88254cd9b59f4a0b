//! What a gateway does with channels, and what payers send.

use cocoon_ledger::{ChannelOpening, KeptVoucher};
use cocoon_receipts::{AccountId, NanoTon};
use proptest::prelude::{BoxedStrategy, Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::strategy::Union;

use super::manner::{ANY, TOO_MUCH};
use crate::bench::*;
use crate::calls::Call;
use crate::world::World;

pub(super) fn channels() -> impl Iterator<Item = AccountId> {
    CHANNELS.into_iter().map(name)
}

/// What lets somebody spend more.
pub(super) fn channel_step(world: &World) -> BoxedStrategy<Call> {
    Union::new(channels().map(|account| towards_spending(world, &account))).boxed()
}

/// Opens it, deposits more, or raises it about as far as that goes.
pub(super) fn towards_spending(world: &World, account: &AccountId) -> BoxedStrategy<Call> {
    let Some(channel) = world.model.channel(account) else {
        return (0..3000_u64, 0..500_u64).prop_map(opens(account, [7; 32])).boxed();
    };
    let (deposited, ceiling) = (channel.deposited.0, channel.ceiling().0);
    if deposited < ceiling + 100 {
        return (deposited..deposited + 3000, Just(0)).prop_map(opens(account, [7; 32])).boxed();
    }
    let raises = prop_oneof![
        4 => ceiling..=deposited,
        1 => Just(deposited),
        1 => Just(deposited + 1),
        1 => Just(ceiling),
    ];
    raise(Just(account.clone()).boxed(), raises.boxed())
}

/// Whatever is done with channels, or with what is none.
pub(super) fn any_channel_call(world: &World) -> BoxedStrategy<Call> {
    let account =
        || prop_oneof![9 => select(channels().collect::<Vec<_>>()), 1 => Just(name("alice"))].boxed();
    let amounts = || prop_oneof![9 => ANY.amount(), 1 => Just(TOO_MUCH)];
    let open = (account(), amounts(), amounts(), prop_oneof![9 => Just([7; 32]), 1 => Just([8; 32])])
        .prop_map(|(account, deposited, settled, key)| opens(&account, key)((deposited, settled)));
    let known: Vec<u64> = channels()
        .filter_map(|account| world.model.channel(&account)?.voucher)
        .map(|voucher| voucher.cumulative.0)
        .chain([0])
        .collect();
    let near = (select(known), 0..3_u64).prop_map(|(known, more)| (known + more).saturating_sub(1));
    prop_oneof![
        3 => open,
        4 => raise(account(), prop_oneof![amounts(), near].boxed()),
        1 => account().prop_map(Call::CloseChannel),
    ]
    .boxed()
}

fn opens(account: &AccountId, payer_key: [u8; 32]) -> impl Fn((u64, u64)) -> Call + use<> {
    let account = account.clone();
    move |(deposited, settled)| {
        let (deposited, settled) = (NanoTon(deposited), NanoTon(settled));
        Call::OpenChannel(ChannelOpening { account: account.clone(), payer_key, deposited, settled })
    }
}

/// Two vouchers of one amount may differ.
fn raise(account: BoxedStrategy<AccountId>, cumulative: BoxedStrategy<u64>) -> BoxedStrategy<Call> {
    (account, cumulative, 0..2_u8)
        .prop_map(|(account, cumulative, signature)| {
            let voucher = KeptVoucher { cumulative: NanoTon(cumulative), signature: [signature; 64] };
            Call::Raise(account, voucher)
        })
        .boxed()
}
