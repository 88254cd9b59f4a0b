//! What the settler cannot place: somebody else has the key, or the log is not what this program wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cocoon_ledger::{Appending, Booked, Credit, Lease, LedgerError, WithdrawalEnded};
use cocoon_receipts::{AccountId, NanoTon, RequestId};
use cocoon_settler::decision::{Class, Decision, Payee};
use cocoon_settler::plan::{Held, Owing};
use cocoon_settler::{Books, LedgerSums, Settings, Settler, SettlerError, Step};
use cocoon_ton::{GlobalId, KeyPair, Network, Payout, PayoutId};

use tycho_types::boc::Boc;
use tycho_types::cell::CellBuilder;

use crate::chains::Scripted;
use crate::world::{SEED, Sending, TON, World, address, comment, operator};

/// Somebody with the key sends so much to `payee` by the batch of this number.
fn steal(world: &World, seqno: u32, payee: u8, nano: u64) {
    let payout = Payout {
        id: PayoutId(u64::MAX),
        to: address(payee),
        amount: NanoTon(nano),
        bounce: false,
        call: None,
    };
    let until = world.now() + 60;
    let batch = World::wallet().batch(&World::key(), vec![payout], seqno, until, false).unwrap();
    world.devnet().send_external(&batch.boc).unwrap();
    world.settle_chain();
}

async fn owing() -> (World, Settler) {
    let world = World::open().await;
    world.deposit("acme", 9 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    (world, settler)
}

async fn explain(settler: &mut Settler) {
    let transaction = *settler.treasury().unexplained().next().unwrap();
    assert!(settler.decide(&Decision::Explained { transaction }).await.unwrap());
    let again = settler.decide(&Decision::Explained { transaction }).await;
    assert!(matches!(again, Err(SettlerError::Log { .. })), "{again:?}");
}

/// Deposits come in as ever, payouts stop until it is explained, and then each is made once.
async fn assert_goes_on_once_explained(world: &World, settler: &mut Settler, payouts: &[(u64, u64)]) {
    world.deposit("acme", TON);
    let step = world.run(settler).await.pop().unwrap();
    assert_eq!(step, Step::Idle(vec![Held::Unexplained(1)]));
    assert_eq!(world.user("acme").await.deposited, NanoTon(10 * TON));
    assert_eq!(world.payouts_to(&address(7)).await, []);
    assert!(settler.treasury().sums().unexplained < -i128::from(TON / 2));
    // Nor later, nor by another one.
    world.pass(24 * 60 * 60).await;
    let step = world.run(&mut world.settler()).await.pop().unwrap();
    assert_eq!(step, Step::Idle(vec![Held::Unexplained(1)]));
    explain(settler).await;
    // The platform pays for it, and has nothing left.
    world.float(5 * TON);
    world.run(settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, payouts);
    let sums = settler.treasury().sums();
    assert_eq!(sums.unexplained, 0);
    assert!(sums.explained < -i128::from(TON / 2));
    world.assert_closes(settler).await;
}

#[tokio::test]
async fn a_transfer_by_somebody_with_the_key_stops_payouts_until_it_is_explained() {
    let (world, mut settler) = owing().await;
    steal(&world, 1, 66, TON);
    assert_goes_on_once_explained(&world, &mut settler, &[(1, 2 * TON)]).await;
    assert_eq!(world.payouts_to(&address(66)).await, [(u64::MAX, TON)]);
}

/// It takes the number of the batch on its way, which therefore never is executed.
#[tokio::test]
async fn a_transfer_by_somebody_with_the_key_in_the_place_of_a_batch_stops_payouts_until_it_is_explained() {
    let (world, mut settler) = owing().await;
    world.devnet().set_faults(cocoon_devnet::NetworkFaults { drop_externals: 1, ..Default::default() });
    let step = settler.step(world.now()).await.unwrap();
    assert!(matches!(step, Step::Began { payouts: 1, .. }), "{step:?}");
    let batch = settler.treasury().on_its_way().unwrap().clone();
    steal(&world, batch.seqno, 66, TON);
    // Its time is over as any batch's.
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(1));
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Waits);
    world.pass(batch.valid_until + 61 - world.now()).await;
    assert_goes_on_once_explained(&world, &mut settler, &[(2, 2 * TON)]).await;
    world.devnet().send_external(&World::signed(&batch).boc).unwrap_err();
}

/// W5 takes an order that is signed for it by a message as well, and whoever carries it pays the gas.
#[tokio::test]
async fn an_order_of_somebody_with_the_key_that_a_message_brings_stops_payouts_until_it_is_explained() {
    let (world, mut settler) = owing().await;
    let payout =
        Payout { id: PayoutId(u64::MAX), to: address(66), amount: NanoTon(TON), bounce: false, call: None };
    let batch = World::wallet().batch(&World::key(), vec![payout], 1, world.now() + 60, false).unwrap();
    // The same actions, under the mark of an order that comes by a message.
    let message = Boc::decode(&batch.boc).unwrap();
    let external = message.reference_cloned(0).unwrap();
    let mut order = CellBuilder::new();
    order.store_u32(u32::from_be_bytes(*b"sint")).unwrap();
    order.store_u32((GlobalId::TESTNET.0 ^ i32::MIN).cast_unsigned()).unwrap();
    order.store_u32(world.now() + 60).unwrap();
    order.store_u32(1).unwrap();
    order.store_bit_one().unwrap();
    order.store_reference(external.reference_cloned(0).unwrap()).unwrap();
    order.store_bit_zero().unwrap();
    let unsigned = order.clone().build().unwrap();
    let key = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let signature = key.sign(unsigned.repr_hash().as_array());
    order.store_raw(signature.as_ref(), 512).unwrap();
    world.put(Sending::new(0xdd, TON / 10, order.build().unwrap()));
    world.settle_chain();
    assert_goes_on_once_explained(&world, &mut settler, &[(1, 2 * TON)]).await;
    assert_eq!(world.payouts_to(&address(66)).await, [(u64::MAX, TON)]);
}

/// It comes after the batch on its way was executed, before anybody looked.
#[tokio::test]
async fn a_transfer_by_somebody_with_the_key_after_a_batch_does_not_hide_what_that_has_paid() {
    let (world, mut settler) = owing().await;
    settler.step(world.now()).await.unwrap();
    world.settle_chain();
    steal(&world, 2, 66, TON);
    assert_eq!(settler.step(world.now()).await.unwrap(), Step::Booked(2));
    assert_eq!(settler.treasury().on_its_way(), None);
    world.earn("acme", &operator(7), 2 * TON).await;
    let step = world.run(&mut settler).await.pop().unwrap();
    assert_eq!(step, Step::Idle(vec![Held::Unexplained(1)]));
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON)]);
    explain(&mut settler).await;
    world.float(5 * TON);
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON), (2, 2 * TON)]);
    world.assert_closes(&settler).await;
}

#[tokio::test]
async fn the_log_of_another_wallet_or_network_is_refused() {
    let (world, _) = owing().await;
    let before = world.log().await;
    let other_key = KeyPair::from_seed(&[43; 32]).unwrap();
    let other_network = Settings { network: Network::test(GlobalId(-4)).unwrap(), ..world.settings() };
    for (key, settings) in [(other_key, world.settings()), (World::key(), other_network)] {
        let mut settler = Settler::new(world.books(), world.chain(), None, key, settings).unwrap();
        let refused = settler.step(world.now()).await;
        assert!(matches!(refused, Err(SettlerError::OtherWallet { .. })), "{refused:?}");
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn the_log_of_another_chain_is_refused() {
    let (world, _) = owing().await;
    // The same wallet on a chain that begins anew.
    let other = World::open().await;
    other.deposit("acme", TON);
    other.deposit("acme", TON);
    other.deposit("acme", TON);
    let mut settler = world.settler_of(world.books(), other.chain());
    let before = world.log().await;
    let refused = settler.step(world.now()).await;
    assert!(matches!(refused, Err(SettlerError::OtherChain | SettlerError::Chain(_))), "{refused:?}");
    assert_eq!(world.log().await, before);
}

/// A log that cannot be added to.
struct Kept {
    log: Vec<String>,
    changes: AtomicU64,
}

impl Kept {
    fn changed<T>(&self) -> Result<T, LedgerError> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        Err(LedgerError::Unavailable("it is kept as it is".to_owned()))
    }
}

#[async_trait]
impl Books for Kept {
    async fn decisions(&self, after: u64) -> Result<Vec<String>, LedgerError> {
        Ok(self.log.iter().skip(usize::try_from(after).unwrap()).take(3).cloned().collect())
    }

    async fn append(&self, _: u64, _: String) -> Result<Appending, LedgerError> {
        self.changed()
    }

    async fn credit(&self, _: &Credit) -> Result<Booked, LedgerError> {
        self.changed()
    }

    async fn withdraw_done(&self, _: &AccountId, _: RequestId) -> Result<WithdrawalEnded, LedgerError> {
        self.changed()
    }

    async fn close_channel(&self, _: &AccountId) -> Result<bool, LedgerError> {
        self.changed()
    }

    async fn owing(&self) -> Result<Owing, LedgerError> {
        Ok(Owing::default())
    }

    async fn sums(&self) -> Result<LedgerSums, LedgerError> {
        Ok(LedgerSums::default())
    }

    async fn hold_lease(&self, _: &str, _: Duration) -> Result<Lease, LedgerError> {
        self.changed()
    }

    async fn give_up_lease(&self, _: &str) -> Result<(), LedgerError> {
        self.changed()
    }
}

/// A log with every kind of record and every class of transaction, and nothing on its way.
async fn rich() -> World {
    let (world, mut settler) = owing().await;
    world.run(&mut settler).await;
    let mut bounced = CellBuilder::new();
    bounced.store_u32(u32::MAX).unwrap();
    bounced.store_u32(cocoon_ton::PAYOUT_OP).unwrap();
    bounced.store_u64(1).unwrap();
    world.put(Sending { bounced: true, ..Sending::new(7, TON, bounced.build().unwrap()) });
    world.put(Sending::new(8, TON, comment(b"for whom?")));
    world.settle_chain();
    world.run(&mut settler).await;
    steal(&world, 2, 66, TON);
    world.run(&mut settler).await;
    explain(&mut settler).await;
    settler.decide(&Decision::Released { payee: Payee(address(7)) }).await.unwrap();
    world.float(5 * TON);
    world.run(&mut settler).await;
    world.devnet().set_faults(cocoon_devnet::NetworkFaults { drop_externals: 1, ..Default::default() });
    world.earn("acme", &operator(8), TON).await;
    settler.step(world.now()).await.unwrap();
    world.pass(1000).await;
    world.run(&mut settler).await;
    world.assert_closes(&settler).await;
    world
}

/// What a settler makes of a log: what it refuses it with; none where it takes it for whole and finds nothing to do.
async fn refusal(world: &World, log: Vec<String>) -> (Option<SettlerError>, Settler) {
    let books = Arc::new(Kept { log, changes: AtomicU64::new(0) });
    let chain = Arc::new(Scripted::new(world.chain()));
    let mut settler = world.settler_of(Arc::clone(&books) as Arc<dyn Books>, Arc::clone(&chain) as _);
    let refused = match settler.step(world.now()).await {
        Ok(Step::Idle(_)) => None,
        Ok(step) => panic!("{step:?}"),
        Err(error) => {
            // And once more with the same words: a record that was refused has left nothing behind.
            let again = settler.step(world.now()).await.unwrap_err();
            assert_eq!(error.to_string(), again.to_string());
            Some(error)
        }
    };
    assert_eq!(chain.sent.lock().unwrap().len(), 0, "something was sent");
    let changed = books.changes.load(Ordering::SeqCst);
    assert!(changed == 0 || matches!(refused, Some(SettlerError::Ledger(_))), "{refused:?}");
    (refused, settler)
}

fn kind(record: &str) -> String {
    serde_json::from_str::<serde_json::Value>(record).unwrap()["decision"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_damaged_log_is_refused_and_nothing_is_paid() {
    let world = rich().await;
    let log = world.log().await;
    let (whole, settler) = refusal(&world, log.clone()).await;
    assert!(whole.is_none(), "{whole:?}");
    let kinds: std::collections::BTreeSet<_> = log.iter().map(|record| kind(record)).collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    let last = log.len() - 1;
    let mut found = std::collections::BTreeMap::<_, u32>::new();
    for at in 0..=last {
        let of = kind(&log[at]);
        // Not whole: in the middle of a record.
        let mut cut = log.clone();
        cut[at].truncate(log[at].len() / 2);
        assert!(
            matches!(refusal(&world, cut).await.0, Some(SettlerError::Record(n)) if n == at as u64),
            "{of}"
        );
        let mut unknown = log.clone();
        unknown[at] = unknown[at].replacen("decision", "decisions", 1);
        assert!(matches!(refusal(&world, unknown).await.0, Some(SettlerError::Record(_))), "{of}");
        let mut doubled = log.clone();
        doubled.insert(at, log[at].clone());
        let refused = refusal(&world, doubled).await.0;
        assert!(matches!(refused, Some(SettlerError::Log { .. })), "{of} doubled at {at}: {refused:?}");
        let mut missing = log.clone();
        missing.remove(at);
        let refused = refusal(&world, missing).await.0;
        match of.as_str() {
            // What a person has decided, and payouts stop without it.
            "explained" | "released" => {}
            // The last of all is what any settler would decide again.
            _ if at == last => {}
            _ => assert!(
                matches!(refused, Some(SettlerError::Log { .. } | SettlerError::Balance { .. })),
                "{of} missing at {at}: {refused:?}"
            ),
        }
        *found.entry(of.clone()).or_default() += 1;
        if at == last {
            continue;
        }
        let mut swapped = log.clone();
        swapped.swap(at, at + 1);
        let (refused, other) = refusal(&world, swapped).await;
        match refused {
            Some(SettlerError::Log { .. }) => {}
            // They have nothing to do with one another: it comes to the same.
            None => {
                let (one, two) = (settler.treasury(), other.treasury());
                assert_eq!((one.sums(), one.balance()), (two.sums(), two.balance()), "{of} at {at}");
                assert_eq!((one.held(), one.read_to()), (two.held(), two.read_to()), "{of} at {at}");
                assert_eq!(one.next_payout(), two.next_payout(), "{of} at {at}");
            }
            other => panic!("{of} swapped at {at}: {other:?}"),
        }
    }
    println!("a log of {} records was damaged at each: {found:?}", log.len());
}

/// Numbers that no chain has.
#[tokio::test]
async fn a_log_with_amounts_beyond_all_there_is_is_refused() {
    let world = rich().await;
    let log = world.log().await;
    let most = i128::MAX.to_string();
    for at in 0..log.len() {
        let mut decision: Decision = serde_json::from_str(&log[at]).unwrap();
        let Decision::Read(read) = &mut decision else { continue };
        for (change, class) in [(i128::MAX, None), (i128::MIN, None), (0, Some(NanoTon(u64::MAX)))] {
            let entry = &mut read.transactions[0];
            entry.change = change;
            if let Some(amount) = class {
                entry.class = Class::Unclaimed { amount, why: most.clone() };
            }
            let mut damaged = log.clone();
            damaged[at] = serde_json::to_string(&Decision::Read(read.clone())).unwrap();
            let refused = refusal(&world, damaged).await.0;
            assert!(
                matches!(refused, Some(SettlerError::Log { .. } | SettlerError::Balance { .. })),
                "{at}: {refused:?}"
            );
        }
    }
}
