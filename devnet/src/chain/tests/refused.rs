use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes};
use tycho_types::models::{IntMsgInfo, MsgInfo, OwnedMessage, StdAddr};

use crate::chain::{MOST_GIVEN, MOST_ON_THE_WAY, MOST_WAITING};
use crate::execution::execute;
use crate::testing::*;
use crate::{Chain, ChainError, Inbound, NotExecuted};

fn refused(chain: &mut Chain, boc: &[u8]) -> String {
    chain.send_external(boc).unwrap_err().to_string()
}

#[test]
fn what_is_no_message_from_outside_is_refused() {
    let mut chain = chain();
    for (boc, reason) in [
        (vec![1, 2, 3], "not a bag of cells"),
        (Vec::new(), "not a bag of cells"),
        (Boc::encode(bits("80")), "not a message"),
        (Boc::encode(Letter::new(&nobody(1), &nobody(2), TON).cell()), "not from outside"),
        (external(&StdAddr::new(3, HashBytes::ZERO), Cell::empty_cell()), "its receiver is on no chain here"),
        (vec![0; 65_536], "it is too large"),
    ] {
        let error = refused(&mut chain, &boc);
        assert_eq!(error, format!("not a message from outside: {reason}"));
    }
    assert!(chain.is_idle());
}

#[test]
fn an_external_of_exactly_the_largest_size_is_looked_at() {
    assert_eq!(refused(&mut chain(), &[0; 65_535]), "not a message from outside: not a bag of cells");
}

#[test]
fn an_account_that_is_not_there_accepts_nothing() {
    let mut chain = chain();
    let error = chain.send_external(&Purse::new(1).pay(0, &nobody(9), TON)).unwrap_err();
    assert!(matches!(error, ChainError::Execution(NotExecuted::NotAccepted(None))), "{error}");
}

#[test]
fn a_wallet_refuses_with_its_exit_code_and_pays_nothing() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let before = balance(&chain, &purse.address());
    // As `wallet_v5r1` has them: 133 seqno, 136 validity, 135 signature.
    let late = purse.batch(1, START, &[(nobody(9), TON, false)]).boc;
    let forged = Purse { key: Purse::new(2).key, wallet: Purse::new(2).wallet };
    let elsewhere = forged.pay(1, &nobody(9), TON);
    for (boc, expected) in [(purse.pay(2, &nobody(9), TON), Some(133)), (late, Some(136)), (elsewhere, None)]
    {
        let error = chain.send_external(&boc).unwrap_err();
        let ChainError::Execution(NotExecuted::NotAccepted(code)) = error else { panic!("{error}") };
        assert_eq!(code, expected);
    }
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &purse.address()), before);
}

#[test]
fn what_is_no_message_between_accounts_is_refused() {
    let mut chain = chain();
    let far = StdAddr::new(5, HashBytes::ZERO);
    let future = Letter { lt: 1, ..Letter::new(&nobody(1), &nobody(2), TON) };
    let nameless = CellBuilder::build_from(OwnedMessage {
        info: MsgInfo::Int(IntMsgInfo {
            dst: nobody(1).into(),
            src: far.clone().into(),
            ..Default::default()
        }),
        init: None,
        body: Cell::empty_cell().into(),
        layout: None,
    });
    let outside = Boc::decode(external(&nobody(1), Cell::empty_cell())).unwrap();
    for (message, reason) in [
        (bits("ff"), "it is not a message"),
        (outside, "it is from outside, or to there"),
        (Letter::new(&nobody(1), &far, TON).cell(), "its addresses"),
        (nameless.unwrap(), "its addresses"),
        (future.cell(), "its logical time is after the newest block"),
    ] {
        let error = chain.send_internal(message).unwrap_err().to_string();
        assert_eq!(error, format!("not a message between accounts of this chain: {reason}"));
    }
    assert!(chain.is_idle());
    assert_eq!(chain.supply().minted, 0);
}

#[test]
fn nothing_and_more_than_there_ever_was_cannot_be_given() {
    let mut chain = chain();
    for amount in [0, MOST_GIVEN + 1] {
        assert!(matches!(chain.give(&nobody(1), amount), Err(ChainError::Amount)));
    }
    let much = Letter::new(&nobody(1), &nobody(2), MOST_GIVEN + 1);
    assert!(matches!(chain.send_internal(much.cell()), Err(ChainError::Amount)));
    chain.give(&nobody(1), MOST_GIVEN).unwrap();
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &nobody(1)), u128::from(MOST_GIVEN));
}

#[test]
fn only_so_many_externals_wait() {
    let mut chain = chain();
    let address = deploy(&mut chain, "f800", Cell::empty_cell(), 1_000 * TON);
    let message = |number: usize| external(&address, bits(&format!("{number:08x}")));
    for number in 0..MOST_WAITING {
        chain.send_external(&message(number)).unwrap();
    }
    let error = chain.send_external(&message(MOST_WAITING)).unwrap_err();
    assert!(matches!(error, ChainError::TooMany(_)), "{error}");
    // One that waits already takes no room.
    chain.send_external(&message(7)).unwrap();
    chain.produce().unwrap();
    assert_eq!(history(&chain, &address).len(), MOST_WAITING + 1);
    chain.send_external(&message(MOST_WAITING)).unwrap();
}

#[test]
fn only_so_many_gifts_are_on_their_way() {
    let mut chain = chain();
    let message = Letter::new(&nobody(1), &nobody(2), 1).cell();
    for _ in 0..MOST_ON_THE_WAY {
        chain.send_internal(message.clone()).unwrap();
    }
    assert!(matches!(chain.send_internal(message), Err(ChainError::TooMany(_))));
    assert_eq!(chain.supply().minted, MOST_ON_THE_WAY as u128);
}

#[test]
fn a_panic_of_the_executor_ends_only_the_message() {
    let chain = chain();
    let message = Letter { lt: u64::MAX, ..Letter::new(&nobody(1), &nobody(2), TON) }.cell();
    let moment = crate::production::next_moment(chain.state(), START);
    let account = chain.state().account(&nobody(2)).unwrap();
    let inbound = Inbound { to: nobody(2), message, external: false };
    let error = execute(chain.network(), &moment, &account, &inbound).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn a_contract_that_never_ends_runs_out_of_gas() {
    let mut chain = chain();
    // AGAIN with nothing in it.
    let address = deploy(&mut chain, "90ea", Cell::empty_cell(), 10 * TON);
    let recorded = &history(&chain, &address)[0];
    assert_eq!(exit_code(recorded), Some(-14));
}

#[test]
fn tuples_in_tuples_as_deep_as_gas_goes_end_nothing() {
    let mut chain = chain();
    // PUSHINT 0, then AGAIN { SINGLE }: a tuple of one, of the one before.
    let address = deploy(&mut chain, "7092 6f01 ea".replace(' ', "").as_str(), Cell::empty_cell(), 100 * TON);
    assert_eq!(exit_code(&history(&chain, &address)[0]), Some(-14));
}

#[test]
fn a_chain_that_never_comes_to_rest_is_given_up_after_so_many_blocks() {
    let mut chain = chain();
    chain.set_faults(crate::NetworkFaults { delay_messages: 100, ..Default::default() });
    let purse = Purse::new(1);
    chain.give(&purse.address(), 10 * TON).unwrap();
    chain.produce().unwrap();
    chain.send_external(&purse.pay(0, &nobody(1), TON)).unwrap();
    let seqno = chain.head().seqno;
    assert!(matches!(chain.produce_until_idle(5), Err(ChainError::NotIdle(5))));
    assert_eq!(chain.head().seqno, seqno + 5);
    chain.produce_until_idle(200).unwrap();
}
