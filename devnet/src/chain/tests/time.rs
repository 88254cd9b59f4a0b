use tycho_types::cell::{Cell, CellBuilder, CellFamily};
use tycho_types::models::{AccountStatusChange, StdAddr};

use crate::testing::*;
use crate::{Chain, ChainError, Clock, Fees, Network};

const YEAR: u32 = 365 * 24 * 3_600;

#[test]
fn standing_time_stays_until_it_is_moved() {
    let mut chain = chain();
    chain.produce().unwrap();
    chain.produce().unwrap();
    assert_eq!((chain.head().time, chain.now()), (START, START));
    chain.advance(90).unwrap();
    assert_eq!((chain.head().time, chain.now()), (START, START + 90));
    chain.produce().unwrap();
    assert_eq!(chain.head().time, START + 90);
}

#[test]
fn running_time_is_the_machines_and_what_it_is_ahead() {
    let mut chain = Chain::in_memory(network(), Clock::REAL);
    let begun = chain.head().time;
    chain.set_clock(Clock::Running { ahead: 10_000 }).unwrap();
    chain.produce().unwrap();
    assert!((begun + 10_000..begun + 10_060).contains(&chain.head().time));
    chain.advance(5_000).unwrap();
    assert_eq!(chain.clock(), Clock::Running { ahead: 15_000 });
}

#[test]
fn time_never_goes_back() {
    let mut chain = chain();
    chain.advance(100).unwrap();
    chain.produce().unwrap();
    let error = chain.set_clock(Clock::Standing { at: START + 99 }).unwrap_err();
    assert!(matches!(error, ChainError::TimeGoesBack(at) if at == START + 100), "{error}");
    assert!(chain.set_clock(Clock::Running { ahead: -100 * i64::from(YEAR) }).is_err());
    chain.set_clock(Clock::Standing { at: START + 100 }).unwrap();
}

#[test]
fn a_clock_that_falls_behind_the_newest_block_makes_no_earlier_one() {
    let mut chain = chain();
    chain.advance(100).unwrap();
    chain.produce().unwrap();
    // As when the machine's own clock is set back.
    chain.clock = Clock::Standing { at: START };
    assert_eq!(chain.now(), START + 100);
    chain.produce().unwrap();
    assert_eq!(chain.head().time, START + 100);
}

#[test]
fn time_ends_where_the_seconds_of_a_block_do() {
    let mut chain = chain();
    assert!(matches!(chain.advance(u32::MAX), Err(ChainError::TimeEnds)));
    let far = Clock::Running { ahead: i64::from(u32::MAX) };
    assert!(matches!(chain.set_clock(far), Err(ChainError::TimeEnds)));
    assert_eq!(chain.clock(), Clock::Standing { at: START });
    chain.set_clock(Clock::Standing { at: u32::MAX }).unwrap();
    chain.produce().unwrap();
    chain.give(&nobody(1), TON).unwrap();
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &nobody(1)), u128::from(TON));
}

#[test]
fn a_batch_is_taken_until_it_is_no_longer_valid() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let batch = purse.batch(1, START + 60, &[(nobody(9), TON, false)]);
    chain.advance(60).unwrap();
    assert!(matches!(chain.send_external(&batch.boc), Err(ChainError::Execution(_))));
    let longer = purse.batch(1, START + 61, &[(nobody(9), TON, false)]);
    chain.send_external(&longer.boc).unwrap();
    chain.produce_until_idle(10).unwrap();
    assert_eq!(balance(&chain, &nobody(9)), u128::from(TON));
}

#[test]
fn rent_is_charged_by_the_cell_and_the_second() {
    let mut chain = chain();
    let address = deploy(&mut chain, SINK, large(1_000), 10 * TON);
    let account = chain.state().account(&address).unwrap().load_account().unwrap().unwrap();
    let cells = u128::from(account.storage_stat.used.cells.into_inner());
    assert!(cells > 990, "{cells}");
    chain.advance(YEAR).unwrap();
    chain.give(&address, TON).unwrap();
    chain.produce().unwrap();
    let (_, info) = parsed(&history(&chain, &address)[1]);
    let rent = info.storage_phase.unwrap().storage_fees_collected.into_inner();
    // 135/65536 nanoTON, rounded up.
    assert_eq!(rent, (cells * 135 * u128::from(YEAR)).div_ceil(1 << 16));
}

/// Puts its data into a cell of its own, and with every message into one more: it is frozen under another hash
/// than its address, without which it would count as never deployed.
const WRAP: &str = "ed44c8ccc9ed54";

fn wrapped(data: Cell) -> Cell {
    CellBuilder::build_from(data).unwrap()
}

/// A contract of 4000 cells, and the seconds in which its rent is this much above what it has.
fn indebted(chain: &mut Chain, debt: u128) -> (StdAddr, u32) {
    let address = deploy(chain, WRAP, large(4_000), TON);
    let account = chain.state().account(&address).unwrap().load_account().unwrap().unwrap();
    let used = account.storage_stat.used;
    let prices = u128::from(used.cells.into_inner()) * 500 + u128::from(used.bits.into_inner());
    let seconds = ((account.balance.tokens.into_inner() + debt) << 16) / prices;
    (address, u32::try_from(seconds).unwrap())
}

fn old_fees() -> Chain {
    Chain::in_memory(Network::new(Fees::Old, -3).unwrap(), Clock::Standing { at: START })
}

#[test]
fn an_account_freezes_once_it_owes_more_than_a_tenth_of_a_ton() {
    for (over, expected) in [(-1_000_000, "active"), (1_000_000, "frozen")] {
        let mut chain = old_fees();
        let (address, seconds) = indebted(&mut chain, 100_000_000_u128.saturating_add_signed(over));
        chain.advance(seconds).unwrap();
        // A message that bounces pays nothing of the debt.
        chain.send_internal(Letter::new(&nobody(1), &address, 1).cell()).unwrap();
        chain.produce().unwrap();
        assert_eq!(status(&chain, &address), expected);
        crate::audit::audit(chain.network(), chain.state()).unwrap();
    }
}

#[test]
fn a_frozen_account_is_deleted_once_it_owes_more_than_one_ton() {
    // Deleted, it is an account that was never deployed, as the nano that came has not enough for its way back.
    for (over, expected) in [(-10_000_000, "frozen"), (10_000_000, "uninit")] {
        let mut chain = old_fees();
        let (address, seconds) = indebted(&mut chain, 1_000_000_000_u128.saturating_add_signed(over));
        chain.advance(seconds).unwrap();
        for expected in ["frozen", expected] {
            chain.send_internal(Letter::new(&nobody(1), &address, 1).cell()).unwrap();
            chain.produce().unwrap();
            assert_eq!(status(&chain, &address), expected);
        }
        let change = parsed(history(&chain, &address).last().unwrap()).1.storage_phase.unwrap().status_change;
        assert_eq!(change == AccountStatusChange::Deleted, expected == "uninit");
        crate::audit::audit(chain.network(), chain.state()).unwrap();
    }
}

#[test]
fn a_frozen_account_thaws_with_its_state_and_enough_to_pay_its_debt() {
    let mut chain = old_fees();
    let (address, seconds) = indebted(&mut chain, 200_000_000);
    chain.advance(seconds).unwrap();
    chain.send_internal(Letter::new(&nobody(1), &address, 1).cell()).unwrap();
    chain.produce().unwrap();
    assert_eq!(status(&chain, &address), "frozen");
    let mut letter = Letter::new(&nobody(1), &address, TON);
    letter.init = Some(contract(WRAP, wrapped(large(4_000))).0);
    letter.bounce = false;
    chain.send_internal(letter.cell()).unwrap();
    chain.produce().unwrap();
    assert_eq!(status(&chain, &address), "active");
}

#[test]
fn both_lists_of_prices_are_charged_as_they_are_published() {
    // Gas of ACCEPT and nothing else, by hand: 10 + 16 bits, and the implicit RET's 5. Below 100 a flat price
    // holds.
    for (fees, flat) in [(Fees::Old, 40_000), (Fees::Current, 6_667)] {
        let mut chain = Chain::in_memory(Network::new(fees, -3).unwrap(), Clock::Standing { at: START });
        let address = deploy(&mut chain, "f800", Cell::empty_cell(), TON);
        let taken = parsed(&history(&chain, &address)[0]).0.total_fees.tokens.into_inner();
        assert_eq!(taken, flat, "{fees:?}");
    }
}

#[test]
fn a_message_of_one_cell_costs_what_is_published_for_it_to_either_chain() {
    for (fees, basechain) in [(Fees::Old, 400_000), (Fees::Current, 66_667)] {
        let mut chain = Chain::in_memory(Network::new(fees, -3).unwrap(), Clock::Standing { at: START });
        let purse = funded(&mut chain, 1);
        let masterchain = StdAddr::new(-1, nobody(9).address);
        for (seqno, to, price) in [(1, nobody(9), basechain), (2, masterchain, 10_000_000)] {
            chain.send_external(&purse.pay(seqno, &to, TON)).unwrap();
            chain.produce().unwrap();
            let info = parsed(history(&chain, &purse.address()).last().unwrap()).1;
            let paid = info.action_phase.unwrap().total_fwd_fees.unwrap().into_inner();
            assert_eq!(paid, price, "{fees:?} {to}");
        }
    }
}
