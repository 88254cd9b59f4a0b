//! What users pay by vouchers is collected from their channels: by a real wallet, from the real contract.

use cocoon_ledger::{ChannelOpening, KeptVoucher, Raised};
use cocoon_receipts::NanoTon;
use cocoon_settler::decision::{Begun, Call, Claim, Class, Decision, Number, Owed, Payee, VoucherSignature};
use cocoon_settler::plan::{CHANNEL_VALUE, Held};
use cocoon_settler::{Settler, Statement, Step};
use cocoon_ton::chain::Status;
use cocoon_ton::{
    Address, ChannelMessage, ChannelState, ChannelStorage, ChannelTerms, GlobalId, KeyPair, Outgoing,
    OutgoingValue, Phase, Voucher, Wallet, WalletState,
};

use crate::mortal::{Fate, WHENS, When, born};
use crate::world::{TON, World, account, full, operator};

const DELAY: u32 = 3600;
/// How long a channel that was seen closed is not asked about, seconds.
const CLOSED_FOR: u32 = 3600;
const DEPOSIT: u64 = 5 * TON;

/// Who pays by a channel: a wallet and the key of its vouchers.
pub(crate) struct Payer {
    key: KeyPair,
    pub(crate) wallet: Wallet,
    vouchers: KeyPair,
    pub(crate) terms: ChannelTerms,
    /// The channel.
    pub(crate) address: Address,
    pub(crate) name: String,
}

impl Payer {
    pub(crate) fn new(seed: u8) -> Self {
        let key = KeyPair::from_seed(&[seed; 32]).unwrap();
        let vouchers = KeyPair::from_seed(&[seed + 100; 32]).unwrap();
        let wallet = Wallet::new(key.public(), GlobalId::TESTNET).unwrap();
        let terms = ChannelTerms {
            payer: wallet.address(),
            payer_key: vouchers.public(),
            receiver: World::treasury(),
            close_delay: DELAY,
            salt: 1,
        };
        let address = terms.address().unwrap();
        let name = format!("channel:{}", hex::encode(address.hash()));
        Self { key, wallet, vouchers, terms, address, name }
    }

    /// The wallet sends one message.
    pub(crate) async fn send(&self, world: &World, value: u64, message: ChannelMessage) {
        let status = world.chain().account(&self.wallet.address()).await.unwrap().status;
        let (seqno, deploy) = match status {
            Status::Active { data, .. } => (WalletState::parse(&data).unwrap().seqno, false),
            _ => (0, true),
        };
        let init = matches!(message, ChannelMessage::Deposit).then(|| self.terms.state_init().unwrap());
        let body = message.body(7).unwrap();
        let outgoing = Outgoing {
            to: self.address,
            value: OutgoingValue::Exactly(NanoTon(value)),
            bounce: true,
            init,
            body,
        };
        let until = world.now() + 60;
        let signed = self.wallet.request(&self.key, &[outgoing], seqno, until, deploy).unwrap();
        world.chain().send_boc(&signed.boc).await.unwrap();
        world.settle_chain();
    }

    /// Deposits, and the gateway has seen it.
    pub(crate) async fn open(&self, world: &World) {
        world.give(&self.wallet.address(), 20 * TON);
        self.send(world, DEPOSIT + TON / 10, ChannelMessage::Deposit).await;
        let opening = ChannelOpening {
            account: account(&self.name),
            payer_key: *self.vouchers.public().as_bytes(),
            deposited: self.state(world).await.deposited,
            settled: NanoTon::ZERO,
        };
        world.ledger.open_channel(&opening).await.unwrap();
    }

    pub(crate) async fn state(&self, world: &World) -> ChannelState {
        match world.chain().account(&self.address).await.unwrap().status {
            Status::Active { data, .. } => ChannelStorage::parse(&data).unwrap().state,
            status => panic!("{status:?}"),
        }
    }

    fn voucher(&self, cumulative: u64) -> KeptVoucher {
        let cumulative = NanoTon(cumulative);
        let voucher = Voucher { global_id: GlobalId::TESTNET, channel: self.address, cumulative };
        KeptVoucher { cumulative, signature: *voucher.sign(&self.vouchers).unwrap().signature() }
    }

    /// A request that costs `nano`, all of it the operator's, under a voucher for `ceiling`.
    pub(crate) async fn pay(&self, world: &World, ceiling: u64, nano: u64) {
        let raised = world.ledger.raise_ceiling(&account(&self.name), &self.voucher(ceiling)).await.unwrap();
        assert!(matches!(raised, Raised::Raised { .. }), "{raised:?}");
        world.earn(&self.name, &operator(1), nano).await;
    }

    fn claim(&self, amount: u64, cumulative: u64) -> Claim {
        let KeptVoucher { cumulative, signature } = self.voucher(cumulative);
        Claim { amount: NanoTon(amount), cumulative, signature: VoucherSignature(signature) }
    }
}

async fn statement(world: &World, settler: &mut Settler) -> Statement {
    let (owing, sums) = (world.books().owing().await.unwrap(), world.books().sums().await.unwrap());
    let on_chain = settler.balance_if_all_is_booked().await.unwrap();
    assert!(on_chain.is_some());
    Statement::new(settler.treasury(), &owing, &sums, on_chain)
}

/// What the table does not account for.
fn difference(statement: &Statement) -> String {
    let table = statement.to_string();
    let line = table.lines().find(|line| line.starts_with("? difference")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

async fn redeemed(world: &World) -> Vec<(u64, u64)> {
    let of = |class| match class {
        Class::Redeemed { payout, paid, .. } => Some((payout.0, paid.0)),
        _ => None,
    };
    world.classes().await.into_iter().filter_map(of).collect()
}

#[tokio::test]
async fn what_was_charged_is_redeemed_and_pays_the_operator() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, 4 * TON, 2 * TON).await;
    settler.catch_up().await.unwrap();
    // The platform has less than it owes, and would never pay anybody from it; what channels owe makes up for it.
    let before = statement(&world, &mut settler).await;
    assert_eq!((before.findings, before.to_redeem.0), (Vec::new(), (2 * TON).into()));
    assert!(before.platform.0 < 0);
    assert!(matches!(settler.step(world.now()).await.unwrap(), Step::Began { .. }));
    // The wallet has run it, and the channel has not answered.
    world.block();
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    let between = statement(&world, &mut settler).await;
    assert_eq!(between.at_channels.0, i128::from(CHANNEL_VALUE.0));
    assert!(between.fees.0 < i128::from(CHANNEL_VALUE.0) / 10, "what comes back is no fee: {between}");
    assert_eq!(difference(&between), "0.000000000");
    world.settle_chain();
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await.iter().map(|(_, paid)| *paid).collect::<Vec<_>>(), [2 * TON]);
    let state = payer.state(&world).await;
    assert_eq!((state.phase, state.settled.0), (Phase::Open, 2 * TON));
    let paid = world.payouts_to(&crate::world::address(1)).await;
    assert_eq!(paid.iter().map(|(_, nano)| *nano).collect::<Vec<_>>(), [2 * TON]);
    let statement = statement(&world, &mut settler).await;
    assert_eq!(statement.findings, Vec::<String>::new());
    assert_eq!((statement.redeemed.0, statement.to_redeem.0), ((2 * TON).into(), 0));
    assert_eq!(statement.balances.0, 0, "what vouchers allow is not the treasury's");
    assert_eq!((statement.at_channels.0, difference(&statement).as_str()), (0, "0.000000000"));
    world.assert_closes(&settler).await;
}

/// Nothing is claimed that was not charged, and what is little waits a day.
#[tokio::test]
async fn a_voucher_alone_is_no_claim_and_little_is_not_worth_its_fee() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, 4 * TON, TON / 2).await;
    let just_now = world.payouts.small_after_s;
    assert!(just_now > 60);
    payer.pay(&world, 4 * TON + 1, TON * 3 / 4).await;
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await, [(1, TON * 5 / 4)]);
    payer.pay(&world, 4 * TON + 2, TON / 4).await;
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await.len(), 1);
    let before = statement(&world, &mut settler).await;
    assert_eq!((before.findings, before.to_redeem.0), (Vec::new(), (TON / 4).into()));
    world.pass(7200).await;
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await.last().map(|(_, paid)| *paid), Some(TON / 4));
    assert_eq!(payer.state(&world).await.settled.0, TON * 3 / 2);
}

#[tokio::test]
async fn a_channel_that_its_client_closes_pays_and_gives_the_rest_back() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, TON, TON / 1000).await;
    let before = world.balance_of(&payer.wallet.address()).await;
    let deposited = payer.state(&world).await.deposited.0;
    assert!(world.ledger.close_channel(&account(&payer.name)).await.unwrap());
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await.iter().map(|(_, paid)| *paid).collect::<Vec<_>>(), [TON / 1000]);
    assert_eq!(payer.state(&world).await.phase, Phase::Closed);
    let back = world.balance_of(&payer.wallet.address()).await - before;
    assert!(deposited - TON / 1000 - back < TON / 1000, "{back} of {deposited} came back");
    assert_eq!(statement(&world, &mut settler).await.findings, Vec::<String>::new());
    world.assert_closes(&settler).await;
    // Nothing is asked of it again.
    world.pass(100_000).await;
    let log = world.log().await.len();
    world.run(&mut settler).await;
    assert_eq!(world.log().await.len(), log);
}

#[tokio::test]
async fn an_unused_channel_is_closed_without_a_voucher() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    world.ledger.close_channel(&account(&payer.name)).await.unwrap();
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await, [(1, 0)]);
    assert_eq!(payer.state(&world).await.phase, Phase::Closed);
    world.assert_closes(&settler).await;
}

/// The payer may leave at any time; what was charged is claimed before the close delay is over.
#[tokio::test]
async fn a_payer_that_starts_to_close_is_given_no_more_credit_and_pays_what_it_owes() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, 3 * TON, TON / 2).await;
    world.run(&mut settler).await;
    world.pass(60).await;
    payer.send(&world, TON / 10, ChannelMessage::StartClose).await;
    assert_eq!(payer.state(&world).await.phase, Phase::Closing);
    world.pass(60).await;
    world.run(&mut settler).await;
    let late = world.ledger.raise_ceiling(&account(&payer.name), &payer.voucher(4 * TON)).await.unwrap();
    assert_eq!(late, Raised::Closed);
    assert_eq!(redeemed(&world).await.iter().map(|(_, paid)| *paid).sum::<u64>(), TON / 2);
    assert_eq!(payer.state(&world).await.phase, Phase::Closed);
    world.assert_closes(&settler).await;
}

/// The settler was away for longer than the close delay: there is nothing to claim any more, and a person is told.
#[tokio::test]
async fn a_channel_that_was_closed_before_it_paid_is_named() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, 3 * TON, 2 * TON).await;
    payer.send(&world, TON / 10, ChannelMessage::StartClose).await;
    world.pass(DELAY).await;
    payer.send(&world, TON / 10, ChannelMessage::Finalize).await;
    assert_eq!(payer.state(&world).await.phase, Phase::Closed);
    let steps = world.run(&mut settler).await;
    let Some(Step::Idle(held)) = steps.last() else { panic!("{steps:?}") };
    assert!(held.contains(&Held::Lost { channel: payer.address, lost: 2 * TON }), "{held:?}");
    assert_eq!(redeemed(&world).await, []);
    world.assert_closes(&settler).await;
}

/// Anybody can open a channel and close it alone. The chain is not asked about it for ever.
#[tokio::test]
async fn a_channel_that_its_payer_closed_alone_costs_no_more_calls() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let fate = Fate::new(&[]);
    let (mut settler, _life) = born(&world, &fate);
    world.run(&mut settler).await;
    let calls = async |settler: &mut Settler| {
        let before = fate.calls();
        assert_eq!(settler.step(world.now()).await.unwrap(), Step::Idle(Vec::new()));
        fate.calls() - before
    };
    let without = calls(&mut settler).await;
    payer.open(&world).await;
    payer.send(&world, TON / 10, ChannelMessage::StartClose).await;
    world.pass(DELAY).await;
    payer.send(&world, TON / 10, ChannelMessage::Finalize).await;
    assert_eq!(payer.state(&world).await.phase, Phase::Closed);
    assert!(calls(&mut settler).await > without, "it is looked at, and taken for closed");
    assert_eq!(calls(&mut settler).await, without);
    world.pass(CLOSED_FOR - 1).await;
    assert_eq!(calls(&mut settler).await, without);
    world.pass(1).await;
    assert_eq!(calls(&mut settler).await, without + 1, "an endpoint may have lied");
}

/// What a settler sends that asks for less than was paid: the contract refuses it, and the fees come back.
#[tokio::test]
async fn an_old_voucher_or_too_high_a_claim_brings_nothing() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, 2 * TON, 2 * TON).await;
    world.run(&mut settler).await;
    let settled = payer.state(&world).await.settled;
    for (id, claim) in [
        payer.claim(TON, TON),
        payer.claim(2 * TON, 2 * TON),
        // More than the voucher, and another amount under its signature.
        payer.claim(3 * TON, 2 * TON),
        Claim { cumulative: NanoTon(4 * TON), amount: NanoTon(4 * TON), ..payer.claim(0, 2 * TON) },
    ]
    .into_iter()
    .enumerate()
    {
        let call = if id == 0 { Call::RedeemAndClose(claim) } else { Call::Redeem(claim) };
        let begun = Begun {
            id: Number(settler.treasury().next_payout().0),
            to: Payee(payer.address),
            amount: CHANNEL_VALUE,
            of: Owed::Channel { account: account(&payer.name), call },
        };
        let batch = world.batch_of(&settler, vec![begun]).await;
        assert!(settler.decide(&Decision::Batch(batch)).await.unwrap());
        world.run(&mut settler).await;
        assert_eq!(payer.state(&world).await.settled, settled, "{call:?}");
        assert_eq!(payer.state(&world).await.phase, Phase::Open);
        let last = world.classes().await.pop().unwrap();
        let Class::Returned { amount, .. } = last else { panic!("{last:?}") };
        assert!(amount.0 > CHANNEL_VALUE.0 - TON / 1000, "{amount}");
        // Nobody tells it anything until a person has looked.
        assert!(settler.treasury().held().contains(&Payee(payer.address)));
        settler.decide(&Decision::Released { payee: Payee(payer.address) }).await.unwrap();
        world.assert_closes(&settler).await;
    }
}

/// Anybody can write an answer's body. Only the channel that was told something is believed, and only once.
#[tokio::test]
async fn what_only_looks_like_an_answer_is_unclaimed() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    payer.pay(&world, 2 * TON, TON).await;
    let forged = ChannelMessage::Paid { amount: NanoTon(TON / 2) };
    let stranger = Payer::new(51);
    world.give(&stranger.wallet.address(), 5 * TON);
    // The batch is decided and sent; its answer is not here yet, and a stranger, who is nearer, says it first.
    assert!(matches!(settler.step(world.now()).await.unwrap(), Step::Began { .. }));
    let body = forged.body(1).unwrap();
    let outgoing = Outgoing {
        to: World::treasury(),
        value: OutgoingValue::Exactly(NanoTon(TON)),
        bounce: false,
        init: None,
        body,
    };
    let signed = stranger.wallet.request(&stranger.key, &[outgoing], 0, world.now() + 60, true).unwrap();
    world.chain().send_boc(&signed.boc).await.unwrap();
    world.run(&mut settler).await;
    assert_eq!(redeemed(&world).await, [(1, TON)]);
    let unclaimed = |class: &Class| matches!(class, Class::Unclaimed { amount, .. } if amount.0 == TON);
    assert!(world.classes().await.iter().any(unclaimed));
    assert_eq!(settler.treasury().sums().redeemed, u128::from(TON));
    world.assert_closes(&settler).await;
}

/// Deposits are made in the contract; a comment that names the channel's account is no credit of it.
#[tokio::test]
async fn a_transfer_for_a_channels_account_is_unclaimed() {
    let (world, payer) = (World::open().await, Payer::new(50));
    let mut settler = world.settler();
    payer.open(&world).await;
    world.deposit(&payer.name, TON);
    world.run(&mut settler).await;
    assert_eq!(settler.treasury().sums().unclaimed, u128::from(TON));
    assert_eq!(world.user(&payer.name).await.deposited.0, 0);
}

/// Two channels, one of which closes; kills at every call.
struct Story {
    world: World,
    payers: [Payer; 2],
}

impl Story {
    async fn live(kills: &[(u64, When)]) -> (Self, u64) {
        let story = Self { world: World::open().await, payers: [Payer::new(50), Payer::new(51)] };
        let (world, [one, two]) = (&story.world, &story.payers);
        one.open(world).await;
        two.open(world).await;
        let fate = Fate::new(kills);
        let (mut settler, mut life) = born(world, &fate);
        for round in 0..3 {
            match round {
                0 => {
                    one.pay(world, 3 * TON, 2 * TON).await;
                    two.pay(world, 3 * TON, TON).await;
                }
                1 => {
                    one.pay(world, 4 * TON, TON + 5).await;
                    two.send(world, TON / 10, ChannelMessage::StartClose).await;
                    world.pass(60).await;
                }
                _ => drop(world.ledger.close_channel(&account(&one.name)).await.unwrap()),
            }
            for _ in 0..200 {
                let step = settler.step(world.now()).await;
                world.block();
                match step {
                    Ok(Step::Idle(_)) => break,
                    Ok(_) => {}
                    Err(error) => {
                        assert!(life.is_over(), "{error}");
                        (settler, life) = born(world, &fate);
                    }
                }
            }
            world.settle_chain();
        }
        let calls = fate.calls();
        (story, calls)
    }

    async fn check(&self) {
        let (world, [one, two]) = (&self.world, &self.payers);
        let mut settler = world.settler();
        world.run(&mut settler).await;
        assert_eq!(settler.treasury().channel(&account(&one.name)).redeemed, u128::from(3 * TON + 5));
        assert_eq!(settler.treasury().channel(&account(&two.name)).redeemed, u128::from(TON));
        for payer in &self.payers {
            assert_eq!(payer.state(world).await.phase, Phase::Closed);
            assert!(settler.treasury().channel(&account(&payer.name)).closed);
        }
        let paid = world.payouts_to(&crate::world::address(1)).await;
        assert_eq!(paid.iter().map(|(_, nano)| *nano).sum::<u64>(), 4 * TON + 5);
        assert_eq!(statement(world, &mut settler).await.findings, Vec::<String>::new());
        world.assert_closes(&settler).await;
    }
}

#[tokio::test]
async fn a_settler_that_is_killed_at_any_call_redeems_each_channel_once() {
    let (story, calls) = Story::live(&[]).await;
    story.check().await;
    let step = if full() { 1 } else { 5 };
    let mut kills = 0;
    for (at, when) in (0..calls).step_by(step).flat_map(|at| WHENS.map(|when| (at, when))) {
        let (story, _) = Story::live(&[(at, when)]).await;
        story.check().await;
        kills += 1;
    }
    println!("{kills} kills at {calls} calls");
    assert!(calls > 20);
}
