//! Who is to be paid next. Everything that it depends on is passed in.

use std::collections::BTreeMap;

use cocoon_ledger::OpenWithdrawal;
use cocoon_receipts::{AccountId, NanoTon, OperatorId, RequestId};
use cocoon_ton::{Address, Network, Workchain};

use crate::channels::Standing;
use crate::config::PayoutConfig;
use crate::decision::{Begun, Call, Number, Owed, Payee};
use crate::treasury::Treasury;

/// Most payouts of a batch: with more, its record would be longer than the log takes.
pub const MOST_PAYOUTS: usize = 200;

/// Upper bound of what a batch costs, nanoTON, under the old prices, which were six times those of today
/// (`docs/SETTLEMENT.md` has what is measured: 0.52 million for one, 0.17 million each for 250).
const BATCH_COST: u128 = 5_000_000;
const PAYOUT_COST: u128 = 1_500_000;

/// The same of a payout to the masterchain, where a message alone is 10 million.
const MASTERCHAIN_COST: u128 = 15_000_000;

/// Sent to a channel that is told something, nanoTON: its fees, and what its rent reserve may lack, under the old prices
/// (`contracts/fees.txt`: 4 million, and 16 million a year). What it does not need comes back.
pub const CHANNEL_VALUE: NanoTon = NanoTon(50_000_000);

/// Most channels that are told something in one batch: their part of its record is twice that of a payout.
const MOST_CALLS: usize = 50;

/// Left on the wallet for its rent, nanoTON.
pub const RESERVE: u128 = 50_000_000;

/// What the ledger says, nanoTON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owing {
    /// What operators have earned since the beginning, corrections taken off.
    pub earned: BTreeMap<OperatorId, i128>,
    /// In the order in which they began.
    pub withdrawals: Vec<OpenWithdrawal>,
    /// What users have, without test credit that they have not used, and without what vouchers allow: that is in channels.
    pub balances: u128,
    pub withdrawing: u128,
    pub channels: Vec<Standing>,
    /// What channels are to be told, of those that the chain says can do it.
    pub calls: Vec<Calling>,
    /// Channels that were closed before they paid what they owe, and how much that was, nanoTON.
    pub lost: Vec<(Address, u64)>,
}

/// A channel that is to be told something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calling {
    pub account: AccountId,
    pub address: Address,
    pub call: Call,
    /// What it pays then, nanoTON.
    pub brings: u64,
}

impl Owing {
    /// What an operator has still to get.
    #[must_use]
    pub fn owed(&self, operator: &OperatorId, treasury: &Treasury) -> i128 {
        let paid = treasury.paid(operator);
        let gone = i128::try_from(paid.sent + paid.on_its_way).unwrap_or(i128::MAX);
        self.earned.get(operator).copied().unwrap_or(0) - gone
    }

    /// What channels have still to pay, nanoTON: the platform's, as what was charged is owed to operators or its own.
    #[must_use]
    pub fn to_redeem(&self, treasury: &Treasury) -> u128 {
        let owes = |one: &Standing| u128::from(one.owes(&treasury.channel(&one.account)));
        self.channels.iter().map(owes).sum()
    }

    /// What all operators have still to get. One that was paid more than it has earned owes nothing to the others.
    #[must_use]
    pub fn owed_to_all(&self, treasury: &Treasury) -> u128 {
        self.earned.keys().map(|operator| self.owed(operator, treasury).max(0).unsigned_abs()).sum()
    }
}

/// Why nobody is paid, or not everybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    #[error("payouts are stopped: {0} transaction(s) of the wallet are unexplained")]
    Unexplained(usize),
    #[error("the daily cap of {cap} nanoTON is reached")]
    DailyCap { cap: u128 },
    #[error("the wallet has {has} nanoTON and would need {needs}: top it up, or collect what is on its way")]
    Short { has: i128, needs: u128 },
    #[error(
        "the platform has {has} nanoTON of its own for fees, and this would cost up to {needs}: send it some with the comment `cocoon-float`"
    )]
    NoFloat { has: i128, needs: u128 },
    #[error("{to} sent a payout back and is not paid until it is released")]
    SentBack { to: Payee },
    #[error(
        "the wallet is not deployed yet: send it {needs} nanoTON or more, to its non-bounceable address, with the comment `cocoon-float`"
    )]
    NotDeployed { needs: NanoTon },
    #[error("operator {0} is no address that can be paid")]
    NotAnAddress(OperatorId),
    #[error("withdrawal {intent} goes to {to}, which is no address of this network: a person has to undo it")]
    NoSuchAddress { intent: RequestId, to: String },
    #[error("channel {channel} was closed before it paid {lost} nanoTON that it owes")]
    Lost { channel: Address, lost: u64 },
    #[error("{of:?} would be paid to the treasury itself")]
    Itself { of: Owed },
}

/// The next batch's payouts, none where nobody is due, and what was held back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub payouts: Vec<Begun>,
    pub held: Vec<Held>,
}

/// What is left of the wallet for the platform once everybody had what is theirs, nanoTON.
#[must_use]
pub fn platform(owing: &Owing, treasury: &Treasury) -> i128 {
    let on_its_way = treasury.on_its_way().map_or(0, |batch| {
        let to_operators = batch.payouts.iter().filter(|begun| matches!(begun.of, Owed::Operator(_)));
        to_operators.map(|begun| u128::from(begun.amount.0)).sum()
    });
    let theirs = owing.balances
        + owing.withdrawing
        + owing.owed_to_all(treasury)
        + on_its_way
        + treasury.sums().unclaimed;
    let theirs = i128::try_from(theirs).unwrap_or(i128::MAX);
    treasury.balance() - treasury.sums().unexplained - theirs
}

/// Plans the next batch at Unix time `now`; none while one is on its way.
#[must_use]
pub fn plan(owing: &Owing, treasury: &Treasury, network: Network, config: &PayoutConfig, now: u32) -> Plan {
    let mut plan = Plan::default();
    if treasury.on_its_way().is_some() {
        return plan;
    }
    let unexplained = treasury.unexplained().count();
    let mut due = if unexplained > 0 {
        // Money that comes in can be nobody's loss, and channels do not wait for ever.
        plan.held.push(Held::Unexplained(unexplained));
        Vec::new()
    } else {
        due(owing, treasury, network, config, now, &mut plan.held)
    };
    let most = config.most_payouts.clamp(1, MOST_PAYOUTS);
    let mut purse = Purse {
        wallet: treasury.balance(),
        platform: platform(owing, treasury),
        today: config.daily_cap.map(|cap| u128::from(cap.0).saturating_sub(treasury.paid_since_a_day(now))),
        total: 0,
        cost: BATCH_COST,
        lent: 0,
    };
    plan.held.extend(owing.lost.iter().map(|(channel, lost)| Held::Lost { channel: *channel, lost: *lost }));
    let mut id = treasury.next_payout();
    for Calling { account, address, call, brings } in &owing.calls {
        if plan.payouts.len() == MOST_CALLS.min(most) {
            break;
        }
        let to = Payee(*address);
        if treasury.held().contains(&to) {
            plan.held.push(Held::SentBack { to });
            continue;
        }
        if let Err(held) = purse.lend(*brings) {
            plan.held.push(held);
            continue;
        }
        let of = Owed::Channel { account: account.clone(), call: *call };
        plan.payouts.push(Begun { id, to, amount: CHANNEL_VALUE, of });
        id = Number(id.0.saturating_add(1));
    }
    // Only what is really told to channels takes the place of others.
    due.truncate(most.saturating_sub(2 * plan.payouts.len()));
    for (to, amount, of) in due {
        if let Err(held) = purse.take(&to, amount, config) {
            // Time makes room under the cap, and money under what a user waits for: nobody else takes it before.
            let keeps_its_place = match held {
                Held::DailyCap { cap } => u128::from(amount.0) <= cap,
                Held::Short { .. } => matches!(of, Owed::Withdrawal { .. }),
                _ => false,
            };
            plan.held.push(held);
            if keeps_its_place {
                break;
            }
            continue;
        }
        plan.payouts.push(Begun { id, to, amount, of });
        id = Number(id.0.saturating_add(1));
    }
    plan
}

/// What can be spent in one batch.
struct Purse {
    wallet: i128,
    platform: i128,
    today: Option<u128>,
    total: u128,
    cost: u128,
    /// To channels, which bring more.
    lent: u128,
}

impl Purse {
    /// For a channel that pays `brings`. Where that is more than what it costs, nobody's money is spent: then it may be
    /// the only way to have what operators are owed.
    fn lend(&mut self, brings: u64) -> Result<(), Held> {
        let value = u128::from(CHANNEL_VALUE.0) + PAYOUT_COST;
        let needs = self.total + self.cost + self.lent + value + RESERVE;
        if i128::try_from(needs).is_ok_and(|needs| needs > self.wallet) {
            return Err(Held::Short { has: self.wallet, needs });
        }
        if u128::from(brings) > value + BATCH_COST {
            self.lent += value;
            return Ok(());
        }
        let cost = self.cost + value;
        if i128::try_from(cost).is_ok_and(|cost| cost > self.platform) {
            return Err(Held::NoFloat { has: self.platform, needs: cost });
        }
        self.cost = cost;
        Ok(())
    }

    fn take(&mut self, to: &Payee, amount: NanoTon, config: &PayoutConfig) -> Result<(), Held> {
        let each = match to.0.workchain() {
            Workchain::Basechain => PAYOUT_COST,
            Workchain::Masterchain => MASTERCHAIN_COST,
        };
        let (total, cost) = (self.total + u128::from(amount.0), self.cost + each);
        if let (Some(today), Some(cap)) = (self.today, config.daily_cap)
            && total > today
        {
            return Err(Held::DailyCap { cap: cap.0.into() });
        }
        let needs = total + cost + self.lent + RESERVE;
        if i128::try_from(needs).is_ok_and(|needs| needs > self.wallet) {
            return Err(Held::Short { has: self.wallet, needs });
        }
        if i128::try_from(cost).is_ok_and(|cost| cost > self.platform) {
            return Err(Held::NoFloat { has: self.platform, needs: cost });
        }
        (self.total, self.cost) = (total, cost);
        Ok(())
    }
}

type Due = (Payee, NanoTon, Owed);

/// Withdrawals first, in the order in which they began; then operators, who is owed most first.
fn due(
    owing: &Owing,
    treasury: &Treasury,
    network: Network,
    config: &PayoutConfig,
    now: u32,
    held: &mut Vec<Held>,
) -> Vec<Due> {
    let mut due = Vec::new();
    let itself = treasury.opened().map(|opened| opened.wallet);
    let may_be_paid = |to: Payee, of: &Owed| {
        if treasury.held().contains(&to) {
            return Err(Held::SentBack { to });
        }
        // It would come in as nobody's.
        if Some(to) == itself { Err(Held::Itself { of: of.clone() }) } else { Ok(()) }
    };
    for withdrawal in &owing.withdrawals {
        if treasury.has_withdrawal(&withdrawal.intent) {
            continue;
        }
        // The ledger has checked the letters of the address, and not which network or chain it is of.
        let address = withdrawal.address.as_str();
        let Ok(to) = Address::parse_for(address, network).map(Payee) else {
            held.push(Held::NoSuchAddress { intent: withdrawal.intent, to: address.to_owned() });
            continue;
        };
        let of = Owed::Withdrawal { account: withdrawal.account.clone(), intent: withdrawal.intent };
        match may_be_paid(to, &of) {
            Ok(()) => due.push((to, withdrawal.amount, of)),
            Err(why) => held.push(why),
        }
    }
    let mut operators: Vec<(u64, &OperatorId)> = owing
        .earned
        .keys()
        .filter_map(|operator| {
            let owed = u64::try_from(owing.owed(operator, treasury)).ok()?;
            is_due(owed, treasury.paid(operator).last, config, now).then_some((owed, operator))
        })
        .collect();
    operators.sort_by(|a, b| b.cmp(a));
    for (owed, operator) in operators {
        let Ok(to) = Address::from_raw(operator.as_str()).map(Payee) else {
            held.push(Held::NotAnAddress(operator.clone()));
            continue;
        };
        let of = Owed::Operator(operator.clone());
        match may_be_paid(to, &of) {
            Ok(()) => due.push((to, NanoTon(owed), of)),
            Err(why) => held.push(why),
        }
    }
    due
}

/// Much is paid at once, little once a day.
pub(crate) fn is_due(owed: u64, last: u32, config: &PayoutConfig, now: u32) -> bool {
    let waited = u64::from(now.saturating_sub(last)) >= config.small_after_s;
    owed >= config.at_once.0 || (owed >= config.small.0 && waited)
}

#[cfg(test)]
mod tests;
