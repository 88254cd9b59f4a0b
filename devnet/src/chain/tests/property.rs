//! What is always true, after any sequence of what can be done to a chain.

use std::collections::BTreeMap;

use cocoon_receipts::NanoTon;
use cocoon_ton::{ChannelMessage, GlobalId, Voucher};
use proptest::prelude::*;
use tycho_types::cell::Cell;
use tycho_types::models::{AccountState, AccountStatus, MsgInfo, OwnedMessage, StdAddr};

use crate::audit::audit;
use crate::testing::*;
use crate::{Chain, NetworkFaults};

/// How many wallets there are; accounts after them belong to nobody.
const PURSES: u8 = 3;

#[derive(Debug, Clone)]
enum Step {
    Give {
        to: u8,
        amount: u64,
    },
    Pay {
        from: u8,
        to: Vec<(u8, u64, bool)>,
        valid_for: u32,
    },
    /// The message that was last sent, once more.
    Again,
    Skip {
        from: u8,
    },
    Open {
        value: u64,
    },
    Redeem {
        cumulative: u64,
        amount: u64,
        signed_by_payer: bool,
    },
    Close {
        by_payer: bool,
    },
    Block,
    Advance(u32),
    Standing(u32),
    Snapshot(u8),
    Restore(u8),
    Faults(NetworkFaults),
}

fn step() -> impl Strategy<Value = Step> {
    let account = || 0..PURSES + 2;
    let payouts = proptest::collection::vec((account(), 1..5 * TON, any::<bool>()), 1..4);
    let faults = (0..2_u32, 0..2_u32, 0..3_u32, 0..3_u32, proptest::option::of(any::<u64>()));
    prop_oneof![
        3 => (account(), 1..50 * TON).prop_map(|(to, amount)| Step::Give { to, amount }),
        8 => (0..PURSES, payouts, 0..100_u32)
            .prop_map(|(from, to, valid_for)| Step::Pay { from, to, valid_for }),
        1 => Just(Step::Again),
        1 => (0..PURSES).prop_map(|from| Step::Skip { from }),
        2 => (1..5 * TON).prop_map(|value| Step::Open { value }),
        3 => (1..3 * TON, 1..3 * TON, any::<bool>()).prop_map(|(cumulative, amount, signed_by_payer)| {
            Step::Redeem { cumulative, amount, signed_by_payer }
        }),
        1 => any::<bool>().prop_map(|by_payer| Step::Close { by_payer }),
        14 => Just(Step::Block),
        2 => prop_oneof![0..60_u32, 0..100_000_000_u32].prop_map(Step::Advance),
        1 => any::<u32>().prop_map(Step::Standing),
        1 => (0..2_u8).prop_map(Step::Snapshot),
        1 => (0..2_u8).prop_map(Step::Restore),
        2 => faults.prop_map(|(drop, double, late, slow, shuffle)| Step::Faults(NetworkFaults {
            drop_externals: drop,
            duplicate_externals: double,
            delay_externals: late,
            delay_messages: slow,
            shuffle,
        })),
    ]
}

/// A chain, and what was put into it.
struct World {
    chain: Chain,
    purses: Vec<Purse>,
    given: Messages,
    last: Vec<u8>,
    snapshots: BTreeMap<u8, Messages>,
}

impl World {
    fn new() -> Self {
        let purses = (1..=PURSES).map(Purse::new).collect();
        let (given, last, snapshots) = (Messages::default(), Vec::new(), BTreeMap::new());
        Self { chain: chain(), purses, given, last, snapshots }
    }

    fn account(&self, number: u8) -> StdAddr {
        self.purses.get(usize::from(number)).map_or_else(|| nobody(number), Purse::address)
    }

    /// What the last message given to the chain is.
    fn note_given(&mut self) {
        let delivery = self.chain.state().queue.last().unwrap();
        self.given.add(&delivery.message);
    }

    fn send(&mut self, boc: Vec<u8>) {
        // Many are refused: that a refusal changes nothing is what the checks see.
        drop(self.chain.send_external(&boc));
        self.last = boc;
    }

    fn seqno(&self, purse: &Purse) -> u32 {
        let account = self.chain.state().account(&purse.address()).unwrap().load_account().unwrap();
        match account.map(|account| account.state) {
            Some(AccountState::Active(state)) => {
                let data = state.data.unwrap();
                let mut slice = data.as_slice().unwrap();
                slice.load_bit().unwrap();
                slice.load_u32().unwrap()
            }
            _ => 0,
        }
    }

    fn operate(&mut self, from_payer: bool, value: u64, message: ChannelMessage) {
        let channel = Channel::between(&self.purses[0], &self.purses[1], 1);
        self.chain.send_internal(channel.letter(from_payer, value, message)).unwrap();
        self.note_given();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Give { to, amount } => {
                self.chain.give(&self.account(to), amount).unwrap();
                self.note_given();
            }
            Step::Pay { from, to, valid_for } => {
                let purse = &self.purses[usize::from(from)];
                let to: Vec<_> =
                    to.into_iter().map(|(to, amount, bounce)| (self.account(to), amount, bounce)).collect();
                let until = self.chain.now().saturating_add(valid_for);
                self.send(purse.batch(self.seqno(purse), until, &to).boc);
            }
            Step::Again => self.send(self.last.clone()),
            Step::Skip { from } => {
                let purse = &self.purses[usize::from(from)];
                self.send(purse.pay(self.seqno(purse) + 1, &self.account(0), 1));
            }
            Step::Open { value } => self.operate(true, value, ChannelMessage::Deposit),
            Step::Redeem { cumulative, amount, signed_by_payer } => {
                let channel = Channel::between(&self.purses[0], &self.purses[1], 1);
                let (cumulative, amount) = (NanoTon(cumulative), NanoTon(amount));
                let channel = channel.terms.address().unwrap();
                let voucher = Voucher { global_id: GlobalId::TESTNET, channel, cumulative };
                let signer = if signed_by_payer { &self.purses[0].key } else { &self.purses[1].key };
                let signature = *voucher.sign(signer).unwrap().signature();
                self.operate(false, TON / 10, ChannelMessage::Redeem { amount, cumulative, signature });
            }
            Step::Close { by_payer: true } => self.operate(true, TON / 10, ChannelMessage::StartClose),
            Step::Close { by_payer: false } => self.operate(false, TON / 10, ChannelMessage::ReceiverClose),
            Step::Block => self.chain.produce().unwrap(),
            Step::Advance(seconds) => drop(self.chain.advance(seconds)),
            Step::Standing(at) => {
                let earlier = at < self.chain.head().time;
                let set = self.chain.set_clock(crate::Clock::Standing { at: at.min(START * 2) });
                assert!(set.is_ok() || earlier || at > START * 2);
            }
            Step::Snapshot(name) => {
                self.chain.snapshot(&name.to_string()).unwrap();
                self.snapshots.insert(name, Messages(self.given.0.clone()));
            }
            Step::Restore(name) => {
                let restored = self.chain.restore(&name.to_string());
                assert_eq!(restored.is_ok(), self.snapshots.contains_key(&name));
                if let Some(given) = self.snapshots.get(&name) {
                    self.given = Messages(given.0.clone());
                }
            }
            Step::Faults(faults) => self.chain.set_faults(faults),
        }
    }

    /// As little as possible is asked of the code under test: balances, histories and messages are read from
    /// cells.
    fn check(&self) {
        let state = self.chain.state();
        let supply = self.chain.supply();
        let balances: u128 = state.accounts.keys().map(|account| balance(&self.chain, account)).sum();
        let (mut sent, mut arrived) = (Messages(self.given.0.clone()), Messages::default());
        for (account, history) in &state.history {
            let mut before: Option<(u64, tycho_types::models::Transaction)> = None;
            for recorded in history {
                let (transaction, _) = parsed(recorded);
                let (lt, link) = (transaction.lt, transaction.prev_trans_lt);
                if let Some((last, previous)) = &before {
                    assert!(lt > *last, "{account}: {lt} after {last}");
                    assert!(link == *last || link == 0 && previous.end_status == AccountStatus::NotExists);
                } else {
                    assert_eq!((link, transaction.prev_trans_hash), (0, Default::default()));
                }
                arrived_of(&transaction.in_msg, &mut arrived);
                for message in transaction.out_msgs.values() {
                    arrived_of(&Some(message.unwrap()), &mut sent);
                }
                before = Some((lt, transaction));
            }
        }
        let mut way = 0;
        for delivery in &state.queue {
            arrived.add(&delivery.message);
            let MsgInfo::Int(info) = delivery.message.parse::<OwnedMessage>().unwrap().info else { panic!() };
            way += info.value.tokens.into_inner() + info.fwd_fee.into_inner();
        }
        assert_eq!(sent, arrived);
        assert_eq!(supply.minted, balances + way + supply.fees + supply.burned);
        let times: Vec<u32> = state.blocks().map(|block| block.time).collect();
        assert!(times.is_sorted(), "{times:?}");
        audit(self.chain.network(), state).unwrap();
    }
}

fn arrived_of(message: &Option<Cell>, messages: &mut Messages) {
    let Some(message) = message else { return };
    if matches!(message.parse::<OwnedMessage>().unwrap().info, MsgInfo::Int(_)) {
        messages.add(message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn coins_links_and_times_are_right_after_every_block_and_every_message_arrives_once(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for number in 0..PURSES {
            world.take(Step::Give { to: number, amount: 100 * TON });
        }
        world.take(Step::Block);
        for step in steps {
            let looked = matches!(step, Step::Block | Step::Restore(_));
            world.take(step);
            if looked {
                world.check();
            }
        }
        world.chain.set_faults(NetworkFaults::default());
        world.chain.produce_until_idle(50).unwrap();
        world.check();
        prop_assert_eq!(world.chain.state().on_the_way(), 0);
    }
}

#[test]
fn the_steps_do_what_they_are_for() {
    let mut world = World::new();
    world.take(Step::Give { to: 0, amount: 100 * TON });
    world.take(Step::Block);
    world.take(Step::Pay { from: 0, to: vec![(4, TON, true), (1, TON, false)], valid_for: 50 });
    world.take(Step::Block);
    world.take(Step::Open { value: 4 * TON });
    world.take(Step::Block);
    world.take(Step::Redeem { cumulative: TON, amount: TON, signed_by_payer: true });
    world.take(Step::Block);
    world.take(Step::Redeem { cumulative: TON, amount: TON, signed_by_payer: false });
    for _ in 0..3 {
        world.take(Step::Block);
    }
    world.check();
    let channel = Channel::between(&world.purses[0], &world.purses[1], 1);
    let codes: Vec<_> = history(&world.chain, &channel.address).iter().map(|one| exit_code(one)).collect();
    assert_eq!(codes[..2], [Some(0), Some(0)]);
    assert!(codes[2].is_some_and(|code| code > 1), "{codes:?}");
    assert_eq!(world.seqno(&world.purses[0]), 1);
    assert!(balance(&world.chain, &world.account(1)) > 2 * u128::from(TON) * 9 / 10);
}
