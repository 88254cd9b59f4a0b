//! The chain and its endpoints fail: messages are lost, doubled, late and out of order, answers are old or missing.

use std::sync::Arc;
use std::time::Duration;

use cocoon_devnet::{EndpointFaults, NetworkFaults};
use cocoon_receipts::NanoTon;
use cocoon_settler::decision::Batch;
use cocoon_settler::{Settler, SettlerError, Step};
use cocoon_ton::chain::{Account, Chain, ChainError, Status};

use crate::chains::Scripted;
use crate::world::{TON, World, address, operator};

const PAYEE: u8 = 7;

/// With two TON owed to one operator, and nothing done about it yet.
async fn owing(endpoints: usize) -> World {
    let world = World::with_endpoints(endpoints).await;
    world.float(TON);
    world.run(&mut world.settler()).await;
    world.deposit("acme", 9 * TON);
    world.run(&mut world.settler()).await;
    world.earn("acme", &operator(PAYEE), 2 * TON).await;
    world
}

async fn begin(world: &World, settler: &mut Settler) -> Batch {
    let step = settler.step(world.now()).await.unwrap();
    assert_eq!(step, Step::Began { payouts: 1, total: u128::from(2 * TON) });
    settler.treasury().on_its_way().unwrap().clone()
}

/// The end of every story here: the operator got it once, with this id, and more is paid as ever.
async fn assert_paid_once(world: &World, settler: &mut Settler, id: u64) {
    world.settle_chain();
    world.run(settler).await;
    assert_eq!(world.payouts_to(&address(PAYEE)).await, [(id, 2 * TON)]);
    world.assert_closes(settler).await;
    world.earn("acme", &operator(PAYEE), TON).await;
    world.run(settler).await;
    let payouts = world.payouts_to(&address(PAYEE)).await;
    assert_eq!(payouts.iter().map(|(_, nano)| *nano).collect::<Vec<_>>(), [2 * TON, TON]);
    world.assert_closes(settler).await;
}

fn network(world: &World, faults: NetworkFaults) {
    world.devnet().set_faults(faults);
}

#[tokio::test]
async fn a_batch_that_reached_no_block_is_paid_by_another_one_after_its_time_and_never_by_itself() {
    let world = owing(1).await;
    network(&world, NetworkFaults { drop_externals: u32::MAX, ..NetworkFaults::default() });
    let mut settler = world.settler();
    let batch = begin(&world, &mut settler).await;
    let boc = World::signed(&batch).boc;
    world.block();
    for _ in 0..3 {
        assert_eq!(settler.step(world.now()).await.unwrap(), Step::SentAgain);
        world.block();
    }
    let left = batch.valid_until - world.now();
    world.pass(left - 1).await;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::SentAgain);
    // From here on the wallet does not take it; but a block may be there that is not known yet.
    for seconds in [1, 59, 1] {
        world.pass(seconds).await;
        assert_eq!(settler.step(world.now()).await.unwrap(), Step::Waits, "{}", world.now());
    }
    world.pass(1).await;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Lapsed);
    network(&world, NetworkFaults::default());
    // Whoever has kept it may send it before the next batch, ...
    world.devnet().send_external(&boc).unwrap_err();
    let next = begin(&world, &mut settler).await;
    assert_eq!((next.seqno, next.payouts[0].id.0), (batch.seqno, batch.payouts[0].id.0 + 1));
    // ... after it was sent, ...
    world.devnet().send_external(&boc).unwrap_err();
    world.block();
    // ... and after it was executed.
    world.devnet().send_external(&boc).unwrap_err();
    assert_paid_once(&world, &mut settler, 2).await;
}

#[tokio::test]
async fn a_batch_that_comes_to_many_blocks_is_executed_in_one() {
    let world = owing(1).await;
    network(&world, NetworkFaults { duplicate_externals: u32::MAX, ..NetworkFaults::default() });
    let mut settler = world.settler();
    let boc = World::signed(&begin(&world, &mut settler).await).boc;
    world.block();
    world.devnet().send_external(&boc).unwrap_err();
    assert_paid_once(&world, &mut settler, 1).await;
}

#[tokio::test]
async fn a_batch_that_comes_to_a_block_after_its_time_pays_nobody() {
    let world = owing(1).await;
    network(&world, NetworkFaults { delay_externals: 8, ..NetworkFaults::default() });
    let mut settler = world.settler();
    let batch = begin(&world, &mut settler).await;
    network(&world, NetworkFaults::default());
    world.pass(batch.valid_until + 61 - world.now()).await;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Lapsed);
    assert_eq!(world.devnet().waiting(), 1, "it is still on its way to a block");
    let next = begin(&world, &mut settler).await;
    assert_eq!(next.seqno, batch.seqno);
    assert_eq!(world.devnet().waiting(), 2);
    for _ in 0..10 {
        world.block();
    }
    assert_eq!(world.devnet().waiting(), 0);
    assert_paid_once(&world, &mut settler, 2).await;
}

#[tokio::test]
async fn messages_that_are_late_and_out_of_order_are_booked_once_each() {
    for seed in 0..6 {
        let world = owing(1).await;
        let faults = NetworkFaults { delay_messages: 3, shuffle: Some(seed), ..NetworkFaults::default() };
        network(&world, faults);
        let mut settler = world.settler();
        begin(&world, &mut settler).await;
        for payer in 1..=20_u8 {
            let text = cocoon_ton::deposit_comment(&format!("user-{payer}").parse().unwrap());
            let body = crate::world::comment(text.as_bytes());
            world.put(crate::world::Sending::new(payer, TON / 10 + u64::from(payer), body));
            if payer % 5 == 0 {
                world.block();
                settler.step(world.now()).await.unwrap();
            }
        }
        assert_paid_once(&world, &mut settler, 1).await;
        for payer in 1..=20_u64 {
            let user = world.user(&format!("user-{payer}")).await;
            assert_eq!(user.deposited, NanoTon(TON / 10 + payer), "{payer} of {seed}");
        }
    }
}

fn on(method: &str, faults: EndpointFaults) -> EndpointFaults {
    EndpointFaults { methods: Some(vec![method.to_owned()]), ..faults }
}

/// Of each kind as many as fail a call with all its tries, and one.
#[tokio::test]
async fn a_call_that_fails_in_any_way_is_made_again_and_pays_once() {
    let refuse =
        |status| EndpointFaults { refuse: 4, refuse_with: Some(status), ..EndpointFaults::default() };
    let cases = [
        ("sendBoc", EndpointFaults { lose_answers: 4, ..EndpointFaults::default() }),
        ("sendBoc", EndpointFaults { hang: 4, ..EndpointFaults::default() }),
        ("sendBoc", refuse(500)),
        ("getTransactions", EndpointFaults { lose_answers: 4, ..EndpointFaults::default() }),
        ("getAddressInformation", refuse(429)),
    ];
    let mut all = tokio::task::JoinSet::new();
    for (method, faults) in cases {
        all.spawn(async move {
            let mut world = owing(1).await;
            if faults.hang > 0 {
                world.timeout = Duration::from_millis(500);
            }
            let mut settler = world.settler();
            world.set_faults(0, &on(method, faults.clone())).await;
            let mut failed = 0;
            // A busy machine may be too slow for that time, too: that is one more call that fails.
            for _ in 0..200 {
                match settler.step(world.now()).await {
                    Ok(Step::Idle(_)) => break,
                    Ok(_) => {}
                    Err(SettlerError::Chain(error)) => {
                        assert!(error.is_the_endpoints(), "{error}");
                        failed += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
                world.block();
            }
            assert!(failed >= 1, "{method} {faults:?}");
            world.timeout = Duration::from_secs(60);
            assert_paid_once(&world, &mut world.settler(), 1).await;
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

fn stale() -> EndpointFaults {
    EndpointFaults { stale: true, ..EndpointFaults::default() }
}

fn down() -> EndpointFaults {
    EndpointFaults { refuse: u32::MAX, refuse_with: Some(503), ..EndpointFaults::default() }
}

#[tokio::test]
async fn an_endpoint_that_stands_still_never_makes_a_batch_lapse_that_was_executed() {
    let world = owing(2).await;
    let mut settler = world.settler();
    world.set_faults(0, &stale()).await;
    let batch = begin(&world, &mut settler).await;
    world.block();
    assert_eq!(world.payouts_to(&address(PAYEE)).await.len(), 0, "the first endpoint does not know");
    for _ in 0..3 {
        world.pass(600).await;
        assert_eq!(settler.step(world.now()).await.unwrap(), Step::Waits);
    }
    assert_eq!(settler.treasury().on_its_way(), Some(&batch));
    // The other one knows.
    world.set_faults(0, &down()).await;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    world.set_faults(0, &EndpointFaults::default()).await;
    assert_paid_once(&world, &mut settler, 1).await;
}

#[tokio::test]
async fn an_endpoint_that_is_behind_what_is_booked_books_nothing_and_begins_nothing() {
    let world = owing(2).await;
    world.set_faults(0, &stale()).await;
    world.deposit("acme", TON);
    let mut settler = world.settler();
    let other = cocoon_ton::chain::Failover::new(world.endpoints().split_off(1)).unwrap();
    let mut ahead = world.settler_of(world.books(), Arc::new(other));
    assert_eq!(ahead.step(world.now()).await.unwrap(), Step::Booked(1));
    let before = world.ledger.decisions(0, 100).await.unwrap().len();
    for _ in 0..3 {
        let refused = settler.step(world.now()).await;
        assert!(matches!(refused, Err(SettlerError::Chain(ChainError::Broken(_)))), "{refused:?}");
        world.pass(600).await;
    }
    assert_eq!(world.ledger.decisions(0, 100).await.unwrap().len(), before);
    assert_eq!(world.user("acme").await.deposited, NanoTon(10 * TON));
    world.set_faults(0, &EndpointFaults::default()).await;
    assert_paid_once(&world, &mut settler, 1).await;
}

/// An endpoint that follows the chain, but always so many seconds late.
#[tokio::test]
async fn an_endpoint_that_lags_across_the_end_of_a_batch_sees_it_executed_before_it_sees_its_end() {
    let world = owing(2).await;
    let mut settler = world.settler();
    let batch = begin(&world, &mut settler).await;
    // The last block that may have it, seen from one second before.
    world.pass(batch.valid_until - 1 - world.now() - 1).await;
    assert_eq!(world.devnet().waiting(), 0);
    world.set_faults(0, &stale()).await;
    let mut late = world.settler();
    world.pass(300).await;
    // What the endpoint knew at valid_until - 2: the batch is executed.
    assert_eq!(late.step(world.now()).await.unwrap(), Step::Booked(1));
    world.set_faults(0, &EndpointFaults::default()).await;
    assert_paid_once(&world, &mut late, 1).await;
}

/// What no endpoint should say: an account as it was before the batch, at a time long after it.
async fn lapse_by_mistake(world: &World, chain: &Arc<Scripted>) -> Settler {
    let mut settler = world.settler_of(world.books(), Arc::clone(chain) as Arc<dyn Chain>);
    let before = world.chain().account(&World::treasury()).await.unwrap();
    let batch = begin(world, &mut settler).await;
    world.settle_chain();
    assert_eq!(world.payouts_to(&address(PAYEE)).await, [(1, 2 * TON)]);
    let later = Account { at: u64::from(batch.valid_until) + 1000, ..before };
    *chain.account.lock().unwrap() = Some(later);
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Lapsed);
    settler
}

#[tokio::test]
async fn a_batch_that_lapsed_by_mistake_is_known_when_it_turns_out_to_be_executed() {
    let world = owing(1).await;
    let chain = Arc::new(Scripted::new(world.chain()));
    let mut settler = lapse_by_mistake(&world, &chain).await;
    // The chain is seen again before anything else was decided.
    *chain.account.lock().unwrap() = None;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    assert_eq!(settler.treasury().unexplained().count(), 0);
    assert_paid_once(&world, &mut settler, 1).await;
}

#[tokio::test]
async fn the_batch_after_one_that_lapsed_by_mistake_is_void_once_that_is_known() {
    let world = owing(1).await;
    let chain = Arc::new(Scripted::new(world.chain()));
    let mut settler = lapse_by_mistake(&world, &chain).await;
    let second = begin(&world, &mut settler).await;
    assert_eq!(second.payouts[0].id.0, 2);
    // And once more, so that there are two to choose from.
    let until = u64::from(second.valid_until) + 1000;
    chain.account.lock().unwrap().as_mut().unwrap().at = until;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Lapsed);
    let third = begin(&world, &mut settler).await;
    assert_eq!((third.seqno, third.payouts[0].id.0), (second.seqno, 3));
    world.settle_chain();
    assert_eq!(world.payouts_to(&address(PAYEE)).await, [(1, 2 * TON)], "one number, one batch");
    *chain.account.lock().unwrap() = None;
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    assert_eq!(settler.treasury().on_its_way(), None, "its number is used");
    assert_eq!(settler.treasury().unexplained().count(), 0);
    assert_paid_once(&world, &mut settler, 1).await;
}

/// The same for a withdrawal, whose end the ledger has to know.
#[tokio::test]
async fn a_withdrawal_that_lapsed_by_mistake_is_done_once() {
    let world = World::open().await;
    world.deposit("bob", 5 * TON);
    let chain = Arc::new(Scripted::new(world.chain()));
    let mut settler = world.settler_of(world.books(), Arc::clone(&chain) as Arc<dyn Chain>);
    world.run(&mut settler).await;
    world.withdraw("bob", PAYEE, 2 * TON).await;
    let mut settler = lapse_by_mistake(&world, &chain).await;
    begin(&world, &mut settler).await;
    *chain.account.lock().unwrap() = None;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(PAYEE)).await, [(1, 2 * TON)]);
    let bob = world.user("bob").await;
    assert_eq!((bob.balance.0, bob.withdrawing.0), (3 * TON, 0));
    world.assert_closes(&settler).await;
}

/// One number, one batch: whatever an endpoint says of the number, two batches for the same money share it.
#[tokio::test]
async fn a_number_that_no_transaction_explains_neither_begins_a_batch_nor_ends_one() {
    let world = owing(1).await;
    let chain = Arc::new(Scripted::new(world.chain()));
    let mut settler = world.settler_of(world.books(), Arc::clone(&chain) as Arc<dyn Chain>);
    let account = world.chain().account(&World::treasury()).await.unwrap();
    let Status::Active { code, data } = account.status.clone() else { panic!("not deployed") };
    let seqno = cocoon_ton::WalletState::parse(&data).unwrap().seqno;
    let key = *World::key().public().as_bytes();
    // Long after any batch's time, so that only the number keeps one from its end.
    let at = account.at + 100_000;
    let say = |seqno, key| {
        let status = Status::Active { code: code.clone(), data: wallet_data(&data, seqno, key) };
        *chain.account.lock().unwrap() = Some(Account { status, at, ..account.clone() });
    };
    for is_on_its_way in [false, true] {
        if is_on_its_way {
            *chain.account.lock().unwrap() = None;
            begin(&world, &mut settler).await;
        }
        let before = world.log().await;
        for other in [seqno + 1, seqno + 2, seqno - 1] {
            say(other, key);
            settler.step(world.now()).await.unwrap_err();
        }
        // Nor does a wallet with another key.
        say(seqno, [9; 32]);
        let refused = settler.step(world.now()).await;
        assert!(matches!(refused, Err(SettlerError::Wallet(_))), "{refused:?}");
        assert_eq!(world.log().await, before);
    }
    *chain.account.lock().unwrap() = None;
    assert_paid_once(&world, &mut settler, 1).await;
}

/// A wallet's data with another number and key.
fn wallet_data(data: &cocoon_ton::ArcCell, seqno: u32, key: [u8; 32]) -> cocoon_ton::ArcCell {
    use tycho_types::boc::Boc;
    use tycho_types::cell::CellBuilder;
    let cell = Boc::decode_base64(cocoon_ton::boc::encode_base64(data).unwrap()).unwrap();
    let mut slice = cell.as_slice().unwrap();
    let mut builder = CellBuilder::new();
    builder.store_bit(slice.load_bit().unwrap()).unwrap();
    slice.load_u32().unwrap();
    builder.store_u32(seqno).unwrap();
    builder.store_u32(slice.load_u32().unwrap()).unwrap();
    slice.skip_first(256, 0).unwrap();
    builder.store_raw(&key, 256).unwrap();
    builder.store_slice(slice).unwrap();
    cocoon_ton::boc::decode_base64(&Boc::encode_base64(builder.build().unwrap())).unwrap()
}
