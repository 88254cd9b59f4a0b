//! What the log of decisions comes to: the treasury as it stands. It is made of the log alone, and says no to a log
//! that cannot have been written by this program.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cocoon_receipts::{AccountId, NanoTon, OperatorId, RequestId};

use crate::decision::{Batch, Begun, Call, Class, Decision, Entry, Number, Opened, Owed, Payee, Place};

/// A record that does not follow from those before it: the log is damaged, or of another program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    #[error("the log begins with something else than whose it is, or says it twice")]
    Opened,
    #[error("a batch is decided while another one is on its way")]
    TwoBatches,
    #[error("a batch has a payout id that was given before, or none at all")]
    PayoutId,
    #[error("a batch pays a withdrawal that is on its way or was paid")]
    Withdrawal,
    #[error("a channel is told two things at once, or anything once it is closed")]
    Channel,
    #[error("a batch has not the number that the one before it has left")]
    Seqno,
    #[error("a batch ends that is not on its way")]
    OtherBatch,
    #[error("an executed batch does not have its payouts, each once")]
    Payouts,
    #[error("a transaction is booked that is not after the one before it")]
    Order,
    #[error("a payout comes back that was not made, or more of it than was sent")]
    Returned,
    #[error("a channel answers what it was not told")]
    Redeemed,
    #[error("what is explained was explained before, or needed no explanation")]
    Explained,
    #[error("a payee is released that is not held")]
    Released,
    #[error("what a transaction took is less than nothing")]
    Fee,
    #[error("the amounts are larger than all there is")]
    Overflow,
}

/// How far a payout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    OnItsWay,
    Sent,
    /// Came back, with so much left of it.
    Returned(NanoTon),
    /// Told a channel something, which has answered.
    Answered,
    /// Was not made, and is owed under another id; unless it turns out that it was.
    Void,
}

#[derive(Debug, Clone)]
struct Payout {
    begun: Begun,
    stage: Stage,
}

/// Sums over all transactions, nanoTON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Credited to accounts, what came back of withdrawals included.
    pub credited: u128,
    pub float: u128,
    pub unclaimed: u128,
    pub to_operators: u128,
    /// Of what was sent to operators, what came back.
    pub from_operators: u128,
    pub withdrawn: u128,
    /// Paid by channels.
    pub redeemed: u128,
    /// Sent to channels for their fees.
    pub to_channels: u128,
    /// Of what was sent to channels, what came back.
    pub from_channels: u128,
    /// What the chain took.
    pub fees: u128,
    /// What unexplained transactions have changed; nothing more of it once they are explained.
    pub unexplained: i128,
    /// What explained ones have changed: the platform's.
    pub explained: i128,
}

/// The treasury.
#[derive(Debug, Clone, Default)]
pub struct Treasury {
    opened: Option<Opened>,
    read_to: Option<Place>,
    on_its_way: Option<Batch>,
    /// Batches that are taken for not executed and have the number of the next one: of all these the wallet takes one.
    lapsed: Vec<Batch>,
    /// The number that the next batch must have.
    seqno: u32,
    /// Whether somebody else may have used that number, so that the next one may be a later one.
    seqno_is_unsure: bool,
    payouts: BTreeMap<Number, Payout>,
    withdrawals: BTreeSet<RequestId>,
    operators: BTreeMap<OperatorId, Paid>,
    channels: BTreeMap<AccountId, ChannelBooks>,
    held: BTreeSet<Payee>,
    unexplained: BTreeMap<Place, i128>,
    /// When batches were decided, and what they were to pay: of the last day.
    recent: VecDeque<(u32, u128)>,
    balance: i128,
    sums: Sums,
}

/// What an operator was paid, nanoTON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paid {
    /// Sent and not come back.
    pub sent: u128,
    /// In the batch that is on its way.
    pub on_its_way: u128,
    /// Unix time of the last batch that was to pay it.
    pub last: u32,
}

/// What a channel was told, and what it has paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelBooks {
    /// What it was told and has not answered yet.
    pub asked: Option<Number>,
    /// NanoTON.
    pub redeemed: u128,
    /// Unix time of the last batch that told it anything.
    pub last: u32,
    /// For ever.
    pub closed: bool,
}

const DAY: u32 = 24 * 60 * 60;

fn add(one: i128, other: i128) -> Result<i128, Impossible> {
    one.checked_add(other).ok_or(Impossible::Overflow)
}

impl Treasury {
    /// Takes one more record.
    ///
    /// # Errors
    /// [`Impossible`], and then this is no treasury any more.
    pub fn apply(&mut self, decision: &Decision) -> Result<(), Impossible> {
        if self.opened.is_some() == matches!(decision, Decision::Opened(_)) {
            return Err(Impossible::Opened);
        }
        match decision {
            Decision::Opened(opened) => self.opened = Some(opened.clone()),
            Decision::Epoch(_) => {}
            Decision::Batch(batch) => self.begin(batch)?,
            Decision::Lapsed { seqno } => {
                let batch = self.on_its_way.take().filter(|batch| batch.seqno == *seqno);
                let batch = batch.ok_or(Impossible::OtherBatch)?;
                for begun in &batch.payouts {
                    self.void(begun.id)?;
                }
                self.lapsed.push(batch);
            }
            Decision::Read(read) => {
                for entry in &read.transactions {
                    self.book(entry)?;
                }
            }
            Decision::Explained { transaction } => {
                let change = self.unexplained.remove(transaction).ok_or(Impossible::Explained)?;
                self.sums.unexplained =
                    add(self.sums.unexplained, change.checked_neg().ok_or(Impossible::Overflow)?)?;
                self.sums.explained = add(self.sums.explained, change)?;
            }
            Decision::Released { payee } => {
                if !self.held.remove(payee) {
                    return Err(Impossible::Released);
                }
            }
        }
        Ok(())
    }

    /// Whose log it is; none for an empty one.
    #[must_use]
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// The last transaction of the wallet that is booked.
    #[must_use]
    pub fn read_to(&self) -> Option<Place> {
        self.read_to
    }

    /// The batch of which it is not known yet what became of it.
    #[must_use]
    pub fn on_its_way(&self) -> Option<&Batch> {
        self.on_its_way.as_ref()
    }

    /// The batches of which the wallet may have executed one: the one on its way, and those that lapsed under the same
    /// number. A block may turn up that an endpoint had not known.
    pub fn may_be_executed(&self) -> impl Iterator<Item = &Batch> {
        self.on_its_way.iter().chain(&self.lapsed)
    }

    /// Whether somebody else may have used the number of the batch on its way, so that it never is executed.
    #[must_use]
    pub fn seqno_is_unsure(&self) -> bool {
        self.seqno_is_unsure
    }

    /// What the wallet holds by its transactions, nanoTON.
    #[must_use]
    pub fn balance(&self) -> i128 {
        self.balance
    }

    #[must_use]
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    #[must_use]
    pub fn paid(&self, operator: &OperatorId) -> Paid {
        self.operators.get(operator).copied().unwrap_or_default()
    }

    /// All operators that ever were to be paid.
    pub fn operators(&self) -> impl Iterator<Item = (&OperatorId, &Paid)> {
        self.operators.iter()
    }

    #[must_use]
    pub fn channel(&self, account: &AccountId) -> ChannelBooks {
        self.channels.get(account).copied().unwrap_or_default()
    }

    /// What was sent to channels that have not answered yet, nanoTON.
    #[must_use]
    pub fn at_channels(&self) -> u128 {
        let asked = self.channels.values().filter_map(|channel| channel.asked);
        asked.filter_map(|id| self.sent_payout(id)).map(|begun| u128::from(begun.amount.0)).sum()
    }

    /// Whether a withdrawal is on its way or was paid.
    #[must_use]
    pub fn has_withdrawal(&self, intent: &RequestId) -> bool {
        self.withdrawals.contains(intent)
    }

    /// Payees that sent money back, and are not paid until a person has looked.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<Payee> {
        &self.held
    }

    /// Transactions that stop payouts.
    pub fn unexplained(&self) -> impl Iterator<Item = &Place> {
        self.unexplained.keys()
    }

    /// The first id that was never given.
    #[must_use]
    pub fn next_payout(&self) -> Number {
        Number(self.payouts.last_key_value().map_or(1, |(id, _)| id.0.saturating_add(1)))
    }

    /// A payout of any batch.
    #[must_use]
    pub fn payout(&self, id: Number) -> Option<&Begun> {
        self.payouts.get(&id).map(|payout| &payout.begun)
    }

    /// What came back of it; none for one that was sent and did not.
    ///
    /// A payout that is only on its way, or void, is not there for this.
    pub(crate) fn sent_payout(&self, id: Number) -> Option<&Begun> {
        self.payouts.get(&id).filter(|payout| payout.stage == Stage::Sent).map(|payout| &payout.begun)
    }

    /// What batches of the 24 hours before `now` were to pay, nanoTON.
    #[must_use]
    pub fn paid_since_a_day(&self, now: u32) -> u128 {
        let since = now.saturating_sub(DAY);
        self.recent.iter().filter(|(at, _)| *at > since).map(|(_, total)| total).sum()
    }

    fn begin(&mut self, batch: &Batch) -> Result<(), Impossible> {
        if self.on_its_way.is_some() {
            return Err(Impossible::TwoBatches);
        }
        // Two batches that may both pay the same have one number, of which the wallet takes one: only what a transaction
        // says moves it, and never an endpoint's word.
        let is_later = self.seqno_is_unsure && batch.seqno > self.seqno;
        if batch.seqno != self.seqno && !is_later {
            return Err(Impossible::Seqno);
        }
        if is_later {
            self.lapsed.clear();
        }
        (self.seqno, self.seqno_is_unsure) = (batch.seqno, false);
        let mut total = 0;
        for begun in &batch.payouts {
            if begun.id < self.next_payout() || self.payouts.contains_key(&begun.id) {
                return Err(Impossible::PayoutId);
            }
            match &begun.of {
                Owed::Withdrawal { intent, .. } => {
                    total += u128::from(begun.amount.0);
                    if !self.withdrawals.insert(*intent) {
                        return Err(Impossible::Withdrawal);
                    }
                }
                Owed::Channel { account, .. } => {
                    let channel = self.channels.entry(account.clone()).or_default();
                    if channel.closed || channel.asked.is_some() {
                        return Err(Impossible::Channel);
                    }
                    (channel.asked, channel.last) = (Some(begun.id), batch.at);
                }
                Owed::Operator(operator) => {
                    total += u128::from(begun.amount.0);
                    let paid = self.operators.entry(operator.clone()).or_default();
                    paid.on_its_way += u128::from(begun.amount.0);
                    paid.last = paid.last.max(batch.at);
                }
            }
            self.payouts.insert(begun.id, Payout { begun: begun.clone(), stage: Stage::OnItsWay });
        }
        // The wallet's first message may be for nobody.
        if batch.payouts.is_empty() && !batch.deploy {
            return Err(Impossible::PayoutId);
        }
        while self.recent.front().is_some_and(|(at, _)| *at <= batch.at.saturating_sub(DAY)) {
            self.recent.pop_front();
        }
        self.recent.push_back((batch.at, total));
        self.on_its_way = Some(batch.clone());
        Ok(())
    }

    /// From one stage to another.
    fn leave(&mut self, id: Number, from: Stage, stage: Stage) -> Result<Begun, Impossible> {
        let payout = self.payouts.get_mut(&id).filter(|payout| payout.stage == from);
        let payout = payout.ok_or(Impossible::Payouts)?;
        payout.stage = stage;
        let begun = payout.begun.clone();
        if let (Stage::OnItsWay, Owed::Operator(operator)) = (from, &begun.of) {
            let paid = self.operators.entry(operator.clone()).or_default();
            paid.on_its_way =
                paid.on_its_way.checked_sub(begun.amount.0.into()).ok_or(Impossible::Payouts)?;
        }
        Ok(begun)
    }

    fn void(&mut self, id: Number) -> Result<(), Impossible> {
        match self.leave(id, Stage::OnItsWay, Stage::Void)?.of {
            Owed::Withdrawal { intent, .. } => drop(self.withdrawals.remove(&intent)),
            Owed::Channel { account, .. } => self.is_answered(&account, id)?,
            Owed::Operator(_) => {}
        }
        Ok(())
    }

    /// The channel waits for nothing any more.
    fn is_answered(&mut self, account: &AccountId, id: Number) -> Result<(), Impossible> {
        let channel = self.channels.get_mut(account).filter(|channel| channel.asked == Some(id));
        channel.ok_or(Impossible::Channel)?.asked = None;
        Ok(())
    }

    fn sent(&mut self, id: Number, from: Stage) -> Result<u128, Impossible> {
        let begun = self.leave(id, from, Stage::Sent)?;
        let amount = u128::from(begun.amount.0);
        match begun.of {
            Owed::Withdrawal { intent, .. } => {
                // One that is void has left it to the next, which is void by now as well.
                let was_there = !self.withdrawals.insert(intent);
                if was_there != (from == Stage::OnItsWay) {
                    return Err(Impossible::Withdrawal);
                }
                self.sums.withdrawn += amount;
            }
            Owed::Channel { account, .. } => {
                let channel = self.channels.entry(account).or_default();
                // One that was void has left its place, and what took it is void by now as well.
                let expected = if from == Stage::OnItsWay { Some(id) } else { None };
                if channel.asked != expected {
                    return Err(Impossible::Channel);
                }
                channel.asked = Some(id);
                self.sums.to_channels += amount;
            }
            Owed::Operator(operator) => {
                self.operators.entry(operator).or_default().sent += amount;
                self.sums.to_operators += amount;
            }
        }
        Ok(amount)
    }

    fn book(&mut self, entry: &Entry) -> Result<(), Impossible> {
        if self.read_to.is_some_and(|before| entry.transaction.lt <= before.lt) {
            return Err(Impossible::Order);
        }
        self.read_to = Some(entry.transaction);
        self.balance = add(self.balance, entry.change)?;
        // What came in, or, below zero, what was sent; the rest of the change is what the chain took.
        let moved: i128 = match &entry.class {
            Class::Deposit { amount, .. } => {
                self.sums.credited += u128::from(amount.0);
                amount.0.into()
            }
            Class::Float { amount } => {
                self.sums.float += u128::from(amount.0);
                amount.0.into()
            }
            Class::Unclaimed { amount, .. } => {
                self.sums.unclaimed += u128::from(amount.0);
                amount.0.into()
            }
            Class::Paid { seqno, sent, skipped } => self.paid_batch(*seqno, sent, skipped)?,
            Class::Returned { payout, amount } => {
                self.returned(*payout, *amount)?;
                amount.0.into()
            }
            Class::Redeemed { payout, paid, value } => {
                self.redeemed(*payout, *paid, *value)?;
                value.0.into()
            }
            Class::Nothing => 0,
            Class::Unexplained { .. } => {
                self.unexplained.insert(entry.transaction, entry.change);
                self.sums.unexplained = add(self.sums.unexplained, entry.change)?;
                self.seqno_is_unsure = true;
                entry.change
            }
        };
        let fee = moved.checked_sub(entry.change).ok_or(Impossible::Overflow)?;
        self.sums.fees += u128::try_from(fee).map_err(|_| Impossible::Fee)?;
        Ok(())
    }

    /// The batch of this number with these payouts was executed: the one on its way, or one that had lapsed by mistake,
    /// and then the one on its way never is.
    fn paid_batch(&mut self, seqno: u32, sent: &[Number], skipped: &[Number]) -> Result<i128, Impossible> {
        if self.may_be_executed().all(|batch| batch.seqno != seqno) {
            return Err(Impossible::OtherBatch);
        }
        let mut ids: Vec<Number> = sent.iter().chain(skipped).copied().collect();
        ids.sort_unstable();
        let is_it = |batch: &Batch| batch.payouts.iter().map(|begun| begun.id).eq(ids.iter().copied());
        let from = if self.on_its_way.as_ref().is_some_and(is_it) {
            Stage::OnItsWay
        } else if self.lapsed.iter().any(is_it) {
            for begun in self.on_its_way.iter().flat_map(|batch| batch.payouts.clone()).collect::<Vec<_>>() {
                self.void(begun.id)?;
            }
            Stage::Void
        } else {
            return Err(Impossible::Payouts);
        };
        self.on_its_way = None;
        self.lapsed.clear();
        (self.seqno, self.seqno_is_unsure) = (seqno.checked_add(1).ok_or(Impossible::Overflow)?, false);
        let mut total = 0;
        for id in sent {
            total += self.sent(*id, from)?;
        }
        for id in skipped.iter().filter(|_| from == Stage::OnItsWay) {
            self.void(*id)?;
        }
        i128::try_from(total).map(|total| -total).map_err(|_| Impossible::Overflow)
    }

    fn returned(&mut self, id: Number, amount: NanoTon) -> Result<(), Impossible> {
        let payout = self.payouts.get_mut(&id).filter(|payout| payout.stage == Stage::Sent);
        let payout = payout.filter(|payout| amount <= payout.begun.amount).ok_or(Impossible::Returned)?;
        payout.stage = Stage::Returned(amount);
        let back = u128::from(amount.0);
        self.held.insert(payout.begun.to);
        match payout.begun.of.clone() {
            // To the account's balance, as if it had been sent by its owner.
            Owed::Withdrawal { .. } => self.sums.credited += back,
            Owed::Channel { account, .. } => {
                self.is_answered(&account, id)?;
                self.sums.from_channels += back;
            }
            Owed::Operator(operator) => {
                let paid = self.operators.entry(operator).or_default();
                paid.sent = paid.sent.checked_sub(back).ok_or(Impossible::Returned)?;
                self.sums.from_operators += back;
            }
        }
        Ok(())
    }

    fn redeemed(&mut self, id: Number, paid: NanoTon, value: NanoTon) -> Result<(), Impossible> {
        let Begun { of: Owed::Channel { account, call }, .. } =
            self.leave(id, Stage::Sent, Stage::Answered).map_err(|_| Impossible::Redeemed)?
        else {
            return Err(Impossible::Redeemed);
        };
        self.is_answered(&account, id)?;
        let rest = value.0.checked_sub(paid.0).ok_or(Impossible::Redeemed)?;
        let channel = self.channels.entry(account).or_default();
        channel.redeemed += u128::from(paid.0);
        channel.closed = matches!(call, Call::RedeemAndClose(_) | Call::Close);
        self.sums.redeemed += u128::from(paid.0);
        self.sums.from_channels += u128::from(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
