//! Who is to be paid is not always somebody who can be.

use cocoon_devnet::Fees;
use cocoon_ledger::{TonAddress, Withdrawal, WithdrawalBegun};
use cocoon_receipts::{NanoTon, OperatorId, RequestId};
use cocoon_settler::decision::{Begun, Decision, Number, Owed, Payee};
use cocoon_settler::plan::Held;
use cocoon_settler::{Settler, SettlerError, Step};
use cocoon_ton::chain::Status;
use cocoon_ton::{Address, Workchain};
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::StateInit;

use crate::world::{Sending, TON, World, account, address, comment, operator};

async fn owing(payees: &[OperatorId], nano: u64) -> (World, Settler) {
    let world = World::open().await;
    world.deposit("acme", 100 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    for payee in payees {
        world.earn("acme", payee, nano).await;
    }
    (world, settler)
}

/// What is said of the last step.
async fn held(world: &World, settler: &mut Settler) -> Vec<Held> {
    match world.run(settler).await.pop() {
        Some(Step::Idle(held)) => held,
        other => panic!("{other:?}"),
    }
}

/// A contract that stores so much that its rent is never paid.
fn large_contract() -> (StateInit, Address) {
    let mut data = Cell::default();
    for number in 0..400_u32 {
        let mut builder = CellBuilder::new();
        builder.store_raw(&[number.to_be_bytes(); 30].concat(), 960).unwrap();
        builder.store_reference(data).unwrap();
        data = builder.build().unwrap();
    }
    let mut code = CellBuilder::new();
    // c4 PUSHCTR, NEWC, STREF, ENDC, c4 POPCTR: what is stored is not what its address is made of any more. Else it would
    // not be frozen but become what it was before it was deployed.
    code.store_raw(&[0xed, 0x44, 0xc8, 0xcc, 0xc9, 0xed, 0x54], 56).unwrap();
    let init = StateInit { code: Some(code.build().unwrap()), data: Some(data), ..StateInit::default() };
    let hash = CellBuilder::build_from(&init).unwrap();
    (init, Address::new(Workchain::Basechain, hash.repr_hash().0))
}

#[tokio::test]
async fn a_frozen_payee_is_paid_once_and_sends_nothing_back() {
    let (init, frozen) = large_contract();
    let payee: OperatorId = frozen.to_string().parse().unwrap();
    let (world, mut settler) = owing(&[payee], 2 * TON).await;
    let from_nobody = Sending { to: frozen, ..Sending::new(0xaa, 10_000_000, Cell::default()) };
    world.put_with(from_nobody.clone(), Some(init));
    world.settle_chain();
    let status = world.chain().account(&frozen).await.unwrap().status;
    assert!(matches!(status, Status::Active { .. }), "{status:?}");
    // Until it owes more than a tenth of a TON.
    for _ in 0..8 {
        world.pass(365 * 24 * 60 * 60).await;
    }
    world.put(Sending { bounce: true, nano: 1, ..from_nobody });
    world.settle_chain();
    let status = world.chain().account(&frozen).await.unwrap().status;
    assert!(matches!(status, Status::Frozen), "{status:?}");
    // The treasury has paid its own rent meanwhile.
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&frozen).await, [(1, 2 * TON)]);
    assert_eq!(held(&world, &mut settler).await, []);
    assert_eq!(settler.treasury().sums().from_operators, 0);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn a_payee_that_is_not_deployed_has_what_it_was_paid() {
    let (world, mut settler) = owing(&[operator(7)], 2 * TON).await;
    world.run(&mut settler).await;
    let payee = world.chain().account(&address(7)).await.unwrap();
    assert!(matches!(payee.status, Status::Uninitialized));
    assert_eq!(payee.balance, NanoTon(2 * TON));
    world.assert_closes(&settler).await;
}

/// Of a platform that has little: what the others own is not spent on fees, whatever the chain takes.
#[tokio::test]
async fn what_a_batch_costs_is_within_its_plan_at_all_prices_and_in_both_workchains() {
    for (fees, workchain) in [
        (Fees::Current, Workchain::Basechain),
        (Fees::Old, Workchain::Basechain),
        (Fees::Current, Workchain::Masterchain),
        (Fees::Old, Workchain::Masterchain),
    ] {
        let payees: Vec<Address> = (1..=40).map(|byte| Address::new(workchain, [byte; 32])).collect();
        let world = World::with(1, fees).await;
        world.float(TON / 5);
        let mut settler = world.settler();
        world.run(&mut settler).await;
        world.deposit("acme", 100 * TON);
        world.run(&mut settler).await;
        for payee in &payees {
            world.earn("acme", &payee.to_string().parse().unwrap(), TON).await;
        }
        loop {
            let step = settler.step(world.now()).await.unwrap();
            world.settle_chain();
            world.run_or_wait(&mut settler).await;
            let owing = world.books().owing().await.unwrap();
            let platform = cocoon_settler::plan::platform(&owing, settler.treasury());
            assert!(platform > 0, "{fees:?} {workchain:?}: {platform} after {step:?}");
            if matches!(step, Step::Idle(_)) {
                break;
            }
        }
        world.float(5 * TON);
        assert_eq!(held(&world, &mut settler).await, []);
        for payee in payees {
            let payouts = world.payouts_to(&payee).await;
            assert_eq!(payouts.iter().map(|(_, nano)| *nano).collect::<Vec<_>>(), [TON]);
        }
        world.assert_closes(&settler).await;
    }
}

#[tokio::test]
async fn an_operator_that_is_no_address_is_named_and_the_others_are_paid() {
    let bad = ["somebody", "0:12", "1:", "-2:", "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c"];
    let mut names: Vec<OperatorId> = bad.iter().map(|name| name.parse().unwrap()).collect();
    names.push(operator(7));
    names.push(format!("1:{}", "07".repeat(32)).parse().unwrap());
    let (world, mut settler) = owing(&names, TON).await;
    let held = held(&world, &mut settler).await;
    assert_eq!(held.len(), 6, "{held:?}");
    assert!(held.iter().all(|held| matches!(held, Held::NotAnAddress(_))), "{held:?}");
    assert_eq!(world.payouts_to(&address(7)).await, [(1, TON)]);
    world.assert_closes(&settler).await;
}

/// Money to oneself is no payout, and would be made again and again.
#[tokio::test]
async fn the_treasury_never_pays_itself() {
    let itself: OperatorId = World::treasury().to_string().parse().unwrap();
    let (world, mut settler) = owing(&[itself.clone(), operator(7)], 2 * TON).await;
    let to: TonAddress = World::treasury().show(false, false).parse().unwrap();
    world.deposit("bob", 5 * TON);
    let intent = begin_withdrawal(&world, &to, TON).await;
    let said = held(&world, &mut settler).await;
    let to = Payee(World::treasury());
    assert!(said.contains(&Held::Itself { of: Owed::Operator(itself) }), "{said:?}");
    let of = Owed::Withdrawal { account: account("bob"), intent };
    assert!(said.contains(&Held::Itself { of }), "{said:?}");
    assert_eq!(said.len(), 2);
    assert_eq!(world.payouts_to(&to.0).await, []);
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON)]);
    let before = world.log().await.len();
    held(&world, &mut settler).await;
    assert_eq!(world.log().await.len(), before);
    assert_eq!(settler.treasury().sums().unclaimed, 0);
    world.assert_closes(&settler).await;
}

async fn begin_withdrawal(world: &World, to: &TonAddress, nano: u64) -> RequestId {
    let bob = account("bob");
    world.run(&mut world.settler()).await;
    world.ledger.set_payout_address(&bob, to).await.unwrap();
    world.pass(24 * 60 * 60).await;
    let intent = RequestId::generate();
    let begun = Withdrawal { account: bob, intent, amount: NanoTon(nano) };
    let begun = world.ledger.withdraw_begin(&begun).await.unwrap();
    assert_eq!(begun, WithdrawalBegun::Begun { address: to.clone() });
    intent
}

/// The ledger checks an address's letters, not whether its chain exists: such a withdrawal is not forgotten.
#[tokio::test]
async fn a_withdrawal_to_an_address_of_no_chain_is_named_and_the_others_are_paid() {
    let (world, mut settler) = owing(&[operator(7)], TON).await;
    world.deposit("bob", 5 * TON);
    // Of workchain 5.
    let to: TonAddress = "UQUHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwVK".parse().unwrap();
    let intent = begin_withdrawal(&world, &to, TON).await;
    let said = held(&world, &mut settler).await;
    assert_eq!(said, [Held::NoSuchAddress { intent, to: to.to_string() }]);
    assert_eq!(world.payouts_to(&address(7)).await, [(1, TON)]);
    world.assert_closes(&settler).await;
}

/// Decided by nobody, but it is what a batch may say: it is not made, or passed over, and stops nothing for ever.
#[tokio::test]
async fn amounts_above_all_there_is_are_not_sent_and_owed_as_before() {
    let (world, mut settler) = owing(&[operator(7)], TON).await;
    let begun = |id: u64, payee: u8, nano: u64| Begun {
        id: Number(id),
        to: Payee(address(payee)),
        amount: NanoTon(nano),
        of: Owed::Operator(operator(payee)),
    };
    let batch = world.batch_of(&settler, vec![begun(1, 7, u64::MAX)]).await;
    assert!(settler.decide(&Decision::Batch(batch)).await.unwrap());
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::SentAgain);
    world.settle_chain();
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    world.assert_closes(&settler).await;
    // Together above what 64 bits hold: no wallet can sign it, and it lapses.
    let mut batch = world.batch_of(&settler, vec![begun(2, 7, TON)]).await;
    batch.payouts = vec![begun(2, 7, u64::MAX), begun(3, 8, u64::MAX)];
    let until = batch.valid_until;
    assert!(settler.decide(&Decision::Batch(batch)).await.unwrap());
    // What comes in meanwhile is booked.
    world.deposit("acme", TON);
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    let refused = settler.step(world.now()).await;
    assert!(matches!(refused, Err(SettlerError::Batch(_))), "{refused:?}");
    world.pass(until + 61 - world.now()).await;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Lapsed);
    world.pass(2 * 60 * 60).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(4, TON)]);
    assert_eq!(world.payouts_to(&address(8)).await, []);
    world.assert_closes(&settler).await;
}

/// No ledger takes 2^53 nanoTON, nine million TON, at once: the deposit waits for a person and nobody is paid wrongly.
#[tokio::test]
async fn a_deposit_that_no_ledger_can_hold_is_not_credited_in_part() {
    let (world, mut settler) = owing(&[operator(7)], TON).await;
    let text = cocoon_ton::deposit_comment(&account("acme"));
    world.put(Sending::new(0xdd, 1 << 53, comment(text.as_bytes())));
    world.settle_chain();
    world.run(&mut settler).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(100 * TON));
    assert_eq!(settler.treasury().sums().unclaimed, 1 << 53);
    assert_eq!(world.payouts_to(&address(7)).await, [(1, TON)]);
    world.assert_closes(&settler).await;
}
