//! Payment channels: what vouchers raise.

use std::sync::Arc;

use cocoon_ledger::{
    ADDRESS_DELAY, Account, Channel, ChannelOpened, ChannelOpening, Grant, JournalKind, LedgerError,
    MAX_CHANNELS, Raised, Settled, Withdrawal, WithdrawalBegun, WithdrawalRefusal,
};
use cocoon_receipts::{AccountId, NanoTon};
use tokio::task::JoinSet;

use crate::bench::*;

/// One of alice's shard.
const FIRST: &str = CHANNELS[0];
/// Another of it.
const SECOND: &str = CHANNELS[1];
/// One of bob's.
const THIRD: &str = CHANNELS[2];

async fn open(bench: &Bench, opening: &ChannelOpening) -> ChannelOpened {
    bench.ledger.open_channel(opening).await.unwrap()
}

async fn opened(bench: &Bench, account: &str, deposited: u64, settled: u64) {
    assert_eq!(open(bench, &opening(account, deposited, settled)).await, ChannelOpened::Open);
}

async fn raise(bench: &Bench, account: &str, cumulative: u64) -> Raised {
    bench.ledger.raise_ceiling(&name(account), &voucher(cumulative)).await.unwrap()
}

fn raised(by: u64) -> Raised {
    Raised::Raised { by: NanoTon(by) }
}

fn above(deposited: u64) -> Raised {
    Raised::AboveDeposit { deposited: NanoTon(deposited) }
}

async fn known(bench: &Bench, account: &str) -> Channel {
    bench.ledger.channel(&name(account)).await.unwrap().unwrap()
}

async fn close(bench: &Bench, account: &str) -> bool {
    bench.ledger.close_channel(&name(account)).await.unwrap()
}

fn is_misnamed<T: std::fmt::Debug>(answer: &Result<T, LedgerError>) -> bool {
    matches!(answer, Err(LedgerError::Configuration(_)))
}

pub(super) async fn a_channel_is_opened_once_and_its_deposit_grows(bench: &Bench) {
    assert_eq!(bench.ledger.channel(&name(FIRST)).await.unwrap(), None);
    opened(bench, FIRST, 500, 120).await;
    let mut expected = Channel {
        account: name(FIRST),
        payer_key: [7; 32],
        deposited: NanoTon(500),
        base: NanoTon(120),
        voucher: None,
        closed: false,
    };
    assert_eq!(known(bench, FIRST).await, expected);
    // More was settled meanwhile: by us. Less was deposited: an older look at the chain.
    for (deposited, settled) in [(500, 120), (500, 0), (500, 300), (300, 300), (0, 0)] {
        opened(bench, FIRST, deposited, settled).await;
        assert_eq!(known(bench, FIRST).await, expected, "{deposited} and {settled}");
    }
    opened(bench, FIRST, 501, 500).await;
    expected.deposited = NanoTon(501);
    assert_eq!(known(bench, FIRST).await, expected);
    let other = ChannelOpening { payer_key: [8; 32], ..opening(FIRST, 900, 0) };
    assert_eq!(open(bench, &other).await, ChannelOpened::OtherKey);
    assert_eq!(known(bench, FIRST).await, expected);
    // It is no account before the first voucher.
    assert_eq!(bench.account(FIRST).await, Account::default());
    assert!(bench.journal(FIRST).await.is_empty());
    assert_eq!(bench.ledger.channel(&name(SECOND)).await.unwrap(), None);
}

pub(super) async fn a_voucher_credits_what_is_above_the_newest_and_the_base(bench: &Bench) {
    opened(bench, FIRST, 500, 120).await;
    for nothing in [0, 119, 120] {
        assert_eq!(raise(bench, FIRST, nothing).await, Raised::Known);
        assert_eq!(known(bench, FIRST).await.voucher, None);
    }
    assert_eq!(raise(bench, FIRST, 150).await, raised(30));
    let mut another = voucher(150);
    another.signature = [9; 64];
    let again = bench.ledger.raise_ceiling(&name(FIRST), &another).await.unwrap();
    assert_eq!(again, Raised::Known, "of one amount the first is kept");
    for nothing in [149, 120, 1] {
        assert_eq!(raise(bench, FIRST, nothing).await, Raised::Known);
    }
    assert_eq!(known(bench, FIRST).await.voucher, Some(voucher(150)));
    for _ in 0..2 {
        assert_eq!(raise(bench, FIRST, 501).await, above(500));
    }
    assert_eq!(known(bench, FIRST).await.voucher, Some(voucher(150)));
    assert_eq!(bench.account(FIRST).await.balance, NanoTon(30));
    assert_eq!(raise(bench, FIRST, 500).await, raised(350));
    opened(bench, FIRST, 900, 120).await;
    assert_eq!(raise(bench, FIRST, 501).await, raised(1));
    let channel = known(bench, FIRST).await;
    assert_eq!((channel.voucher.clone(), channel.ceiling()), (Some(voucher(501)), NanoTon(501)));
    let account = bench.account(FIRST).await;
    let expected = Account { balance: NanoTon(381), deposited: NanoTon(381), ..Account::default() };
    assert_eq!(account, expected);
    let totals = bench.ledger.totals(bench.shard(FIRST)).await.unwrap();
    assert_eq!((totals.deposits, totals.balances, totals.grants), (NanoTon(381), NanoTon(381), NanoTon(0)));
    let names = bench.ledger.account_names(bench.shard(FIRST), None, 10).await.unwrap();
    assert_eq!(names, [name(FIRST)]);
}

pub(super) async fn every_raise_is_one_entry_of_the_journal(bench: &Bench) {
    opened(bench, FIRST, 500, 120).await;
    for cumulative in [150, 150, 130, 501, 180] {
        raise(bench, FIRST, cumulative).await;
    }
    let shard = bench.shard(FIRST);
    let entries = bench.ledger.journal(shard, None, 10).await.unwrap();
    let json = |entry| {
        let mut json = serde_json::to_value(entry).unwrap();
        json["id"].take();
        json
    };
    let golden = |cumulative: u64, by: u64| {
        serde_json::json!({
            "id": null, "at_ms": START_MS, "kind": "voucher", "account": FIRST, "cause": cumulative.to_string(),
            "amount": by.to_string(), "shortfall": "0", "operator_amount": "0", "platform_amount": "0",
        })
    };
    let found: Vec<serde_json::Value> = entries.iter().map(json).collect();
    assert_eq!(found, [golden(150, 30), golden(180, 30)]);
    assert_eq!(bench.ledger.last_entry(shard).await.unwrap().as_ref(), entries.last());
}

pub(super) async fn what_a_voucher_credits_is_held_and_charged_as_any_credit(bench: &Bench) {
    opened(bench, FIRST, 500, 0).await;
    opened(bench, SECOND, 500, 0).await;
    raise(bench, FIRST, 100).await;
    let refused = bench.ledger.reserve(&reserve(FIRST, bench.request(), 101)).await.unwrap();
    assert_eq!(refused, insufficient(101, 100));
    let request = bench.bound(FIRST, 100).await;
    let refused = bench.ledger.reserve(&reserve(FIRST, bench.request(), 1)).await.unwrap();
    assert_eq!(refused, balance_held(1, 0));
    let refused = bench.ledger.reserve(&reserve(SECOND, bench.request(), 1)).await.unwrap();
    assert_eq!(refused, insufficient(1, 0), "another channel's voucher is not its own");
    assert_eq!(bench.settle(&bench.settlement(FIRST, request, 60)).await, charged(60));
    // What was left of the first voucher can be spent beside what the next one adds.
    assert_eq!(raise(bench, FIRST, 150).await, raised(50));
    assert_eq!(bench.balance(FIRST).await, (90, 0));
    bench.hold(FIRST, 90).await;
    let account = bench.account(FIRST).await;
    assert_eq!((account.deposited.0, account.charged.0, account.granted.0), (150, 60, 0));
    assert_eq!(bench.accruals(FIRST, "operator-a").await, (54, 0));
}

pub(super) async fn a_closed_channel_stays_closed_and_pays_what_it_held(bench: &Bench) {
    assert!(!close(bench, FIRST).await, "it was never opened");
    assert_eq!(bench.ledger.channel(&name(FIRST)).await.unwrap(), None);
    assert_eq!(raise(bench, FIRST, 1).await, Raised::Unknown);
    opened(bench, FIRST, 500, 0).await;
    opened(bench, SECOND, 500, 0).await;
    raise(bench, FIRST, 100).await;
    let (settling, held) = (bench.bound(FIRST, 60).await, bench.hold(FIRST, 30).await);
    for _ in 0..2 {
        assert!(close(bench, FIRST).await);
    }
    let closed = known(bench, FIRST).await;
    assert_eq!((closed.closed, closed.voucher.clone()), (true, Some(voucher(100))));
    for cumulative in [50, 100, 101, 501] {
        assert_eq!(raise(bench, FIRST, cumulative).await, Raised::Closed);
    }
    assert_eq!(open(bench, &opening(FIRST, 900, 0)).await, ChannelOpened::Closed);
    let other = ChannelOpening { payer_key: [8; 32], ..opening(FIRST, 900, 0) };
    assert_eq!(open(bench, &other).await, ChannelOpened::OtherKey);
    assert_eq!(known(bench, FIRST).await, closed, "nothing of it has changed");
    assert_eq!(bench.settle(&bench.settlement(FIRST, settling, 60)).await, charged(60));
    bench.ledger.release(&release(FIRST, held)).await.unwrap();
    assert_eq!(bench.balance(FIRST).await, (40, 0));
    assert_eq!(raise(bench, SECOND, 1).await, raised(1), "another one is open");
}

pub(super) async fn a_channels_account_takes_nothing_but_vouchers_and_pays_nothing_out(bench: &Bench) {
    opened(bench, FIRST, 500, 0).await;
    raise(bench, FIRST, 100).await;
    bench.fund("alice", 100).await;
    for account in [FIRST, SECOND, "channel:", "channel:of-any-name"] {
        let credited = bench.ledger.credit(&bench.deposit(account, 5)).await;
        assert!(is_misnamed(&credited), "{account}: {credited:?}");
        let grant = Grant { id: bench.request(), account: name(account), amount: NanoTon(5) };
        let granted = bench.ledger.grant(&grant).await;
        assert!(is_misnamed(&granted), "{account}: {granted:?}");
        bench.ledger.set_payout_address(&name(account), &name(ADDRESSES[0])).await.unwrap();
    }
    bench.ledger.set_payout_address(&name("alice"), &name(ADDRESSES[0])).await.unwrap();
    bench.pass(ADDRESS_DELAY).await;
    for account in [FIRST, SECOND, "channel:of-any-name", "alice"] {
        let withdrawal = Withdrawal { account: name(account), intent: bench.request(), amount: NanoTon(5) };
        let begun = bench.ledger.withdraw_begin(&withdrawal).await.unwrap();
        let refused = begun == WithdrawalBegun::Refused(WithdrawalRefusal::OfChannel);
        assert_eq!(refused, account != "alice", "{account}: {begun:?}");
    }
    assert_eq!(bench.balance(FIRST).await, (100, 0));
    assert_eq!(bench.balance(SECOND).await, (0, 0));
    assert!(bench.journal(FIRST).await.iter().all(|entry| entry.kind == JournalKind::Voucher));
    assert_eq!(bench.account("channel:").await, Account::default());
}

pub(super) async fn what_is_no_channels_name_or_no_amount_is_refused(bench: &Bench) {
    let ledger = bench.ledger.as_ref();
    let upper = FIRST.replace('a', "A");
    for account in ["alice", "channel:", "channel:00", upper.as_str(), &format!("{FIRST}0")] {
        let named: AccountId = name(account);
        assert!(is_misnamed(&ledger.open_channel(&opening(account, 1, 0)).await), "{account}");
        assert!(is_misnamed(&ledger.channel(&named).await), "{account}");
        assert!(is_misnamed(&ledger.raise_ceiling(&named, &voucher(1)).await), "{account}");
        assert!(is_misnamed(&ledger.close_channel(&named).await), "{account}");
    }
    let most = (1 << 53) - 1;
    for (deposited, settled) in [(most + 1, 0), (u64::MAX, u64::MAX), (most, most + 1)] {
        let refused = ledger.open_channel(&opening(FIRST, deposited, settled)).await;
        assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    }
    let refused = ledger.open_channel(&opening(FIRST, 10, 11)).await;
    assert!(matches!(refused, Err(LedgerError::Configuration(_))), "{refused:?}");
    assert_eq!(ledger.channel(&name(FIRST)).await.unwrap(), None);
    opened(bench, FIRST, most, 1).await;
    opened(bench, SECOND, 0, 0).await;
    assert_eq!(raise(bench, SECOND, 1).await, above(0));
    for cumulative in [most + 1, u64::MAX] {
        let refused = ledger.raise_ceiling(&name(FIRST), &voucher(cumulative)).await;
        assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    }
    assert_eq!(raise(bench, FIRST, most).await, raised(most - 1), "exact to the last nanoTON");
    assert_eq!(known(bench, FIRST).await.voucher, Some(voucher(most)));
    assert_eq!(bench.balance(FIRST).await, (most - 1, 0));
    assert_eq!(bench.settle(&bench.settlement(FIRST, bench.request(), 3)).await, charged(3));
}

pub(super) async fn channels_are_listed_by_name_in_pages_with_their_accounts(bench: &Bench) {
    const OPEN: usize = MAX_CHANNELS as usize + 3;

    let shard = bench.shard(FIRST);
    assert_ne!(bench.shard(THIRD), shard);
    assert_eq!(bench.ledger.channels(shard, None, 10).await.unwrap(), []);
    opened(bench, SECOND, 500, 20).await;
    opened(bench, FIRST, 500, 0).await;
    opened(bench, THIRD, 500, 0).await;
    raise(bench, FIRST, 100).await;
    let request = bench.bound(FIRST, 70).await;
    assert_eq!(bench.settle(&bench.settlement(FIRST, request, 60)).await, charged(60));
    bench.hold(FIRST, 30).await;
    close(bench, SECOND).await;
    let page = async |after: Option<&str>, limit| {
        let after = after.map(name);
        bench.ledger.channels(shard, after.as_ref(), limit).await.unwrap()
    };
    let mut all = Vec::new();
    for account in [FIRST, SECOND] {
        all.push((known(bench, account).await, bench.account(account).await));
    }
    let of_first = &all[0].1;
    assert_eq!((of_first.balance.0, of_first.held.0, of_first.charged.0), (40, 30, 60));
    assert_eq!(page(None, 10).await, all);
    assert_eq!(page(None, 1).await, all[..1]);
    assert_eq!(page(Some(FIRST), 10).await, all[1..]);
    assert_eq!(page(Some("channel:b"), 10).await, all[1..], "after what is no channel");
    assert_eq!(page(Some(SECOND), 10).await, []);
    assert_eq!(page(None, 0).await, []);
    let (other, _) = &bench.ledger.channels(bench.shard(THIRD), None, 10).await.unwrap()[0];
    assert_eq!(other, &known(bench, THIRD).await);

    let mut opening = JoinSet::new();
    let of_shard = (0_u64..).map(|number| format!("channel:c{number:063x}"));
    for account in of_shard.filter(|account| bench.shard(account) == shard).take(OPEN - 2) {
        let ledger = Arc::clone(&bench.ledger);
        opening.spawn(async move { ledger.open_channel(&self::opening(&account, 1, 0)).await.unwrap() });
    }
    opening.join_all().await;
    let first = page(None, u32::MAX).await;
    assert_eq!(first.len(), MAX_CHANNELS as usize);
    let rest = page(first.last().map(|(channel, _)| channel.account.as_str()), u32::MAX).await;
    assert_eq!(rest.len(), 3);
    let listed = first.iter().chain(&rest).map(|(channel, _)| &channel.account);
    assert!(listed.is_sorted_by(|one, next| one < next));
}

pub(super) async fn a_late_receipt_takes_no_more_than_a_channel_has(bench: &Bench) {
    opened(bench, FIRST, 1000, 0).await;
    raise(bench, FIRST, 600).await;
    let request = bench.expired(FIRST, Some(200)).await;
    close(bench, FIRST).await;
    assert_eq!(bench.settle(&bench.settlement(FIRST, request, 700)).await, short(600, 100));
    // Of a channel that is not known, and has nothing.
    let stranger = bench.settlement(SECOND, bench.request(), 5);
    assert_eq!(
        bench.settle(&stranger).await,
        Settled::Charged { charged: NanoTon(0), shortfall: NanoTon(5) }
    );
}
