//! What the settler's batches cost, against what was measured before anything was built, and against `fees.txt`.

use std::fmt::Write as _;

use cocoon_devnet::Fees;
use cocoon_receipts::NanoTon;
use cocoon_ton::{Address, Payout, PayoutId, Workchain};

use crate::channels::Payer;
use crate::world::{TON, World, operator};

/// Measured with `@ton/sandbox` under today's prices, nanoTON: a payout of a W5 batch of 250, and a redeem with the
/// wallet's part of it.
const PROTOTYPE_PAYOUT: u64 = 166_020;
const PROTOTYPE_REDEEM: u64 = 979_672;

/// Of each payout in a batch to accounts that are not deployed.
async fn payout(fees: Fees, count: u64) -> u64 {
    let world = World::with(1, fees).await;
    world.float(TON);
    world.run(&mut world.settler()).await;
    world.give(&World::treasury(), 100 * TON);
    let payouts: Vec<Payout> = (1..=count)
        .map(|id| {
            let mut hash = [7; 32];
            hash[..8].copy_from_slice(&id.to_be_bytes());
            let to = Address::new(Workchain::Basechain, hash);
            Payout { id: PayoutId(id), to, amount: NanoTon(TON / 10), bounce: false, call: None }
        })
        .collect();
    let before = world.balance_of(&World::treasury()).await;
    let batch = World::wallet().batch(&World::key(), payouts, 1, world.now() + 60, false).unwrap();
    world.chain().send_boc(&batch.boc).await.unwrap();
    world.settle_chain();
    let after = world.balance_of(&World::treasury()).await;
    (before - after - batch.total.0).div_ceil(count)
}

/// Of a redeem that the settler sends alone, all in: what the wallet has less than was redeemed.
async fn redeem(fees: Fees) -> u64 {
    let (world, payer) = (World::with(1, fees).await, Payer::new(50));
    world.float(TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    payer.open(&world).await;
    payer.pay(&world, 4 * TON, TON).await;
    let before = world.balance_of(&World::treasury()).await;
    settler.step(world.now()).await.unwrap();
    world.settle_chain();
    let after = world.balance_of(&World::treasury()).await;
    assert_eq!(payer.state(&world).await.settled.0, TON);
    assert_eq!(
        world.payouts_to(&crate::world::address(1)).await,
        [],
        "the operator {} is not paid yet",
        operator(1)
    );
    before + TON - after
}

/// One line of the table; what was measured before must be near.
fn line(table: &mut String, what: &str, old: u64, current: u64, prototype: Option<u64>) {
    write!(table, "{what:<28}{old:>12}{current:>12}").unwrap();
    if let Some(prototype) = prototype {
        let percent = current.cast_signed() * 100 / prototype.cast_signed() - 100;
        assert!(percent.abs() < 25, "{what}: {current} and not {prototype}");
        write!(table, "{prototype:>12}  {percent:+} %").unwrap();
    }
    table.push('\n');
}

#[tokio::test]
async fn fees_txt_says_what_batches_cost_and_all_is_near_what_was_measured_before() {
    let mut table = String::from(
        "nanoTON under the prices until April 2026 (old) and those since (current), of each payout of a W5 batch\n\n",
    );
    writeln!(table, "{:<28}{:>12}{:>12}{:>12}", "", "old", "current", "prototype").unwrap();
    for count in [1, 10, 100, 200, 250] {
        let (old, current) = (payout(Fees::Old, count).await, payout(Fees::Current, count).await);
        let prototype = (count == 250).then_some(PROTOTYPE_PAYOUT);
        line(&mut table, &format!("payout, batch of {count}"), old, current, prototype);
    }
    let (old, current) = (redeem(Fees::Old).await, redeem(Fees::Current).await);
    line(&mut table, "redeem, all in, alone", old, current, Some(PROTOTYPE_REDEEM));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fees.txt");
    if std::env::var_os("COCOON_WRITE_FEES").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    println!("{table}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), table, "to write it anew: COCOON_WRITE_FEES=1");
}
