//! The settler: it reads what happened to the wallet, books it, and pays what is due. It may end at any moment, and
//! any number of them may run: what one does is done by another as well, once.
//!
//! The order is always the same. What the chain did is booked in the ledger first, where every call is idempotent, and
//! then in the log of decisions; what is to be done to the chain is in the log first, and then done, as often as it
//! takes. The log takes a record only from who knows all records before it.

mod channels;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cocoon_ledger::{Appending, Booked, Credit, LedgerError, WithdrawalEnded};
use cocoon_receipts::{AccountId, Digest, NanoTon};
use cocoon_ton::chain::{Account, Chain, ChainError, Disagreement, Failover, MAX_PAGE, Status};
use cocoon_ton::{BatchError, CellError, KeyPair, Network, Transaction, TransactionId, Wallet, WalletState};

use crate::books::Books;
use crate::config::{ChannelConfig, DepositConfig, PayoutConfig};
use crate::decision::{Batch, Class, Decision, Entry, Opened, Owed, Payee, Place, Read};
use crate::plan::{Held, Owing, Plan, plan};
use crate::read;
use crate::treasury::{Impossible, Treasury};

/// Transactions that are booked with one record.
const AT_ONCE: usize = 50;

/// With so much the wallet is deployed and has its rent for years.
const ENOUGH_TO_DEPLOY: NanoTon = NanoTon(50_000_000);

/// A batch is over when a block of the masterchain is so much later than its time, seconds: blocks of the basechain that
/// it does not have yet may be a little earlier.
const LAPSE_MARGIN: u64 = 60;

#[derive(Debug, thiserror::Error)]
pub enum SettlerError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the log of decisions, record {at}: {source}")]
    Log { at: u64, source: Impossible },
    #[error("the log of decisions, record {0}: not a record of this program")]
    Record(u64),
    #[error("the log of decisions is that of wallet {wallet} on the network {global_id}")]
    OtherWallet { wallet: Payee, global_id: i32 },
    #[error(
        "the chain does not have the transaction up to which all is booked: it is another chain, or an endpoint lies"
    )]
    OtherChain,
    #[error("a deposit that is large is not confirmed by a second endpoint: {0}")]
    Unconfirmed(Disagreement),
    #[error("the wallet's account is not that of our wallet: {0}")]
    Wallet(&'static str),
    #[error("the wallet's transactions come to {booked} nanoTON, and the chain says it has {found}")]
    Balance { booked: i128, found: NanoTon },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Cell(#[from] CellError),
    #[error("the batch of the log is not what this key signs")]
    OtherKey,
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The log was moved by another settler: the next step begins with it.
    Overtaken,
    /// So many transactions were booked.
    Booked(usize),
    /// A batch was decided, and sent.
    Began { payouts: usize, total: u128 },
    /// The batch on its way was sent once more.
    SentAgain,
    /// The batch on its way is over without having been executed.
    Lapsed,
    /// The batch on its way may still be executed.
    Waits,
    /// Nothing is due; and what is held back.
    Idle(Vec<Held>),
}

/// What all settlers of a treasury have in common.
pub struct Settings {
    pub network: Network,
    pub deposits: DepositConfig,
    pub payouts: PayoutConfig,
    pub channels: ChannelConfig,
}

/// One settler.
pub struct Settler {
    books: Arc<dyn Books>,
    chain: Arc<dyn Chain>,
    /// For what needs two endpoints.
    endpoints: Option<Arc<Failover>>,
    wallet: Wallet,
    key: KeyPair,
    settings: Settings,
    treasury: Treasury,
    /// Records that `treasury` is made of.
    records: u64,
    round: channels::Round,
    /// Channels that the chain had closed, which nothing can be told, and when that was seen.
    closed: BTreeMap<AccountId, u32>,
    /// Transactions that are asked for at once: fewer where they are so large that no answer holds more.
    page: u8,
}

impl Settler {
    /// # Errors
    /// [`SettlerError::Cell`] never comes of a key.
    pub fn new(
        books: Arc<dyn Books>,
        chain: Arc<dyn Chain>,
        endpoints: Option<Arc<Failover>>,
        key: KeyPair,
        settings: Settings,
    ) -> Result<Self, SettlerError> {
        let wallet = Wallet::new(key.public(), settings.network.global_id())?;
        let treasury = Treasury::default();
        let round = channels::Round::default();
        Ok(Self {
            books,
            chain,
            endpoints,
            wallet,
            key,
            settings,
            treasury,
            records: 0,
            round,
            closed: BTreeMap::new(),
            page: MAX_PAGE,
        })
    }

    #[must_use]
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    #[must_use]
    pub fn treasury(&self) -> &Treasury {
        &self.treasury
    }

    #[must_use]
    pub fn books(&self) -> &Arc<dyn Books> {
        &self.books
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads the log to its end.
    ///
    /// # Errors
    /// [`SettlerError`], for a log that is not this wallet's too.
    pub async fn catch_up(&mut self) -> Result<(), SettlerError> {
        loop {
            let records = self.books.decisions(self.records).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                let decision =
                    serde_json::from_str(&record).map_err(|_| SettlerError::Record(self.records))?;
                self.take(&decision)?;
            }
        }
        match self.treasury.opened() {
            Some(opened) if *opened != self.ours() => {
                Err(SettlerError::OtherWallet { wallet: opened.wallet, global_id: opened.global_id })
            }
            _ => Ok(()),
        }
    }

    fn ours(&self) -> Opened {
        Opened { wallet: Payee(self.wallet.address()), global_id: self.settings.network.global_id().0 }
    }

    fn take(&mut self, decision: &Decision) -> Result<(), SettlerError> {
        let at = self.records;
        if let Err(source) = self.treasury.apply(decision) {
            // What has taken half of a record is no treasury any more: the next try begins with the first one.
            (self.treasury, self.records) = (Treasury::default(), 0);
            return Err(SettlerError::Log { at, source });
        }
        self.records += 1;
        Ok(())
    }

    /// Adds a decision to the log; false where others were there first, and then nothing was decided.
    ///
    /// # Errors
    /// [`SettlerError`]; the decision may have been added then, and the log tells.
    pub async fn decide(&mut self, decision: &Decision) -> Result<bool, SettlerError> {
        let mut after = self.treasury.clone();
        after.apply(decision).map_err(|source| SettlerError::Log { at: self.records, source })?;
        let record = serde_json::to_string(decision).map_err(|_| SettlerError::Record(self.records))?;
        match self.books.append(self.records, record).await? {
            Appending::Appended { .. } => {
                self.treasury = after;
                self.records += 1;
                Ok(true)
            }
            Appending::Moved { .. } => Ok(false),
        }
    }

    /// Does the next thing that is to be done. To be called again and again.
    ///
    /// # Errors
    /// [`SettlerError`]; the same step is to be tried again later.
    pub async fn step(&mut self, now: u32) -> Result<Step, SettlerError> {
        self.catch_up().await?;
        if self.treasury.opened().is_none() {
            let opened = self.ours();
            return Ok(match self.decide(&Decision::Opened(opened)).await? {
                true => Step::Booked(0),
                false => Step::Overtaken,
            });
        }
        let account = self.chain.account(&self.wallet.address()).await?;
        let unread = self.unread(&account).await?;
        if !unread.is_empty() {
            return self.book(&unread).await;
        }
        self.check_balance(&account)?;
        let state = self.wallet_state(&account)?;
        if self.treasury.on_its_way().is_some() {
            return self.follow(&account, state).await;
        }
        self.begin(&account, state, now).await
    }

    /// The wallet's transactions after the last one that is booked, the oldest first: their places alone, as there may
    /// be very many.
    async fn unread(&mut self, account: &Account) -> Result<Vec<TransactionId>, SettlerError> {
        let read_to: Option<TransactionId> = self.treasury.read_to().map(Into::into);
        let mut unread = Vec::new();
        let mut next = account.last_transaction;
        // An endpoint that is behind knows less than is booked.
        if let (Some(read_to), Some(newest)) = (read_to, next)
            && newest.lt <= read_to.lt
        {
            self.page = MAX_PAGE;
            return if newest == read_to {
                Ok(unread)
            } else {
                Err(ChainError::Broken("an endpoint is behind").into())
            };
        }
        while let Some(from) = next {
            if Some(from) == read_to {
                unread.reverse();
                return Ok(unread);
            }
            let page = self.page(from, MAX_PAGE).await?;
            for transaction in page {
                if Some(transaction.id) == read_to {
                    unread.reverse();
                    return Ok(unread);
                }
                unread.push(transaction.id);
                next = transaction.previous;
            }
        }
        if read_to.is_some() {
            return Err(SettlerError::OtherChain);
        }
        unread.reverse();
        Ok(unread)
    }

    /// What the chain says that the wallet has; none where a transaction is not booked yet.
    ///
    /// # Errors
    /// [`SettlerError::Chain`].
    pub async fn balance_if_all_is_booked(&self) -> Result<Option<NanoTon>, SettlerError> {
        let account = self.chain.account(&self.wallet.address()).await?;
        let read_to: Option<TransactionId> = self.treasury.read_to().map(Into::into);
        Ok((account.last_transaction == read_to).then_some(account.balance))
    }

    /// At most `limit` of the wallet's transactions from this one on to older ones.
    async fn page(&mut self, from: TransactionId, limit: u8) -> Result<Vec<Transaction>, ChainError> {
        loop {
            let limit = limit.min(self.page);
            match self.chain.transactions(&self.wallet.address(), Some(from), limit).await {
                // Anybody can send messages of a quarter of a megabyte.
                Err(ChainError::TooLarge) if limit > 1 => self.page = limit / 2,
                other => return other,
            }
        }
    }

    async fn book(&mut self, unread: &[TransactionId]) -> Result<Step, SettlerError> {
        let batch = &unread[..unread.len().min(AT_ONCE)];
        let Some(newest) = batch.last() else { return Ok(Step::Booked(0)) };
        let (mut transactions, mut next) = (Vec::new(), Some(*newest));
        while let Some(from) = next
            && transactions.len() < batch.len()
        {
            let left = u8::try_from(batch.len() - transactions.len()).unwrap_or(MAX_PAGE);
            let page = self.page(from, left).await?;
            next = page.last().and_then(|transaction| transaction.previous);
            transactions.extend(page);
        }
        transactions.reverse();
        if transactions.iter().map(|transaction| transaction.id).ne(batch.iter().copied()) {
            return Err(ChainError::Broken("a page that does not have what another one had").into());
        }
        let mut after = self.treasury.clone();
        let mut entries = Vec::new();
        for transaction in &transactions {
            let entry =
                read::entry(transaction, &self.wallet.address(), self.settings.deposits.minimum, &after);
            let read = Decision::Read(Read { transactions: vec![entry.clone()] });
            after.apply(&read).map_err(|source| SettlerError::Log { at: self.records, source })?;
            entries.push(entry);
        }
        for (entry, transaction) in entries.iter().zip(&transactions) {
            self.book_in_ledger(entry, transaction).await?;
        }
        let count = entries.len();
        Ok(match self.decide(&Decision::Read(Read { transactions: entries })).await? {
            true => Step::Booked(count),
            false => Step::Overtaken,
        })
    }

    /// Before it is in the log: what is done twice here counts once.
    async fn book_in_ledger(&self, entry: &Entry, transaction: &Transaction) -> Result<(), SettlerError> {
        match &entry.class {
            Class::Deposit { account, amount } => {
                self.confirm(*amount, transaction.id).await?;
                self.credit(account.clone(), *amount, transaction.id).await?;
            }
            Class::Returned { payout, amount } => {
                if let Some(begun) = self.treasury.payout(*payout)
                    && let Owed::Withdrawal { account, .. } = &begun.of
                {
                    self.credit(account.clone(), *amount, transaction.id).await?;
                }
            }
            Class::Paid { sent, .. } => {
                for id in sent {
                    let Some(begun) = self.treasury.payout(*id) else { continue };
                    if let Owed::Withdrawal { account, intent } = &begun.of
                        && self.books.withdraw_done(account, *intent).await? != WithdrawalEnded::Ended
                    {
                        // It is paid, whatever the ledger makes of it: a person has to look.
                        tracing::error!(%intent, "the ledger does not know a withdrawal that was paid");
                    }
                }
            }
            Class::Unexplained { why } => {
                tracing::error!(transaction = %entry.transaction, why, "a transaction of the wallet is unexplained: payouts are stopped");
            }
            Class::Unclaimed { amount, why } => {
                tracing::warn!(transaction = %entry.transaction, %amount, why, "money came that nobody claims");
            }
            Class::Float { .. } | Class::Redeemed { .. } | Class::Nothing => {}
        }
        Ok(())
    }

    async fn credit(
        &self,
        account: AccountId,
        amount: NanoTon,
        id: TransactionId,
    ) -> Result<(), SettlerError> {
        let credit = Credit { account, amount, lt: id.lt, tx_hash: Digest(id.hash.0) };
        match self.books.credit(&credit).await? {
            Booked::Booked { .. } | Booked::Already => Ok(()),
        }
    }

    /// What is large is believed only if two endpoints of different operators have it.
    async fn confirm(&self, amount: NanoTon, id: TransactionId) -> Result<(), SettlerError> {
        let (Some(from), Some(endpoints)) = (self.settings.deposits.confirm_from, &self.endpoints) else {
            return Ok(());
        };
        if amount < from {
            return Ok(());
        }
        let wallet = self.wallet.address();
        // Each hashes what it was given: the same place is the same transaction.
        let found = endpoints.agreed(|endpoint| async move {
            let found = endpoint.transactions(&wallet, Some(id), 1).await?;
            Ok(found.first().map(|transaction| transaction.id))
        });
        match found.await {
            Ok(Some(found)) if found == id => Ok(()),
            Ok(_) => Err(SettlerError::Unconfirmed(Disagreement::Differ)),
            Err(error) => Err(SettlerError::Unconfirmed(error)),
        }
    }

    /// All transactions are booked: they must come to what the wallet has.
    fn check_balance(&self, account: &Account) -> Result<(), SettlerError> {
        let booked = self.treasury.balance();
        if booked == i128::from(account.balance.0) {
            return Ok(());
        }
        Err(SettlerError::Balance { booked, found: account.balance })
    }

    /// None before the first batch.
    fn wallet_state(&self, account: &Account) -> Result<Option<WalletState>, SettlerError> {
        match &account.status {
            Status::Uninitialized => Ok(None),
            Status::Frozen => Err(SettlerError::Wallet("it is frozen")),
            Status::Active { data, .. } => {
                let state = WalletState::parse(data)?;
                if state.key != self.key.public() {
                    return Err(SettlerError::Wallet("another key"));
                }
                Ok(Some(state))
            }
        }
    }

    /// Of the batch on its way: over, or sent once more.
    async fn follow(&mut self, account: &Account, state: Option<WalletState>) -> Result<Step, SettlerError> {
        let Some(batch) = self.treasury.on_its_way().cloned() else { return Ok(Step::Waits) };
        let seqno = state.map_or(0, |state| state.seqno);
        // Only somebody else with the key can have used its number, as what the wallet did is all booked; and then there
        // is a transaction of that.
        let is_used = seqno > batch.seqno && self.treasury.seqno_is_unsure();
        if seqno != batch.seqno && !is_used {
            return Err(SettlerError::Wallet("its number has moved, and no transaction says why"));
        }
        // The chain has come to an end of it without having executed it.
        if account.at > u64::from(batch.valid_until) + LAPSE_MARGIN {
            return Ok(match self.decide(&Decision::Lapsed { seqno: batch.seqno }).await? {
                true => Step::Lapsed,
                false => Step::Overtaken,
            });
        }
        self.send(&batch).await
    }

    async fn begin(
        &mut self,
        account: &Account,
        state: Option<WalletState>,
        now: u32,
    ) -> Result<Step, SettlerError> {
        let chain_now = u32::try_from(account.at).unwrap_or(u32::MAX);
        // A day is over when both say so: neither a clock nor an endpoint that is ahead makes room under the daily cap.
        let at = now.min(chain_now);
        let payouts = if state.is_some() {
            let mut owing = self.books.owing().await?;
            if self.watch_channels(&owing, at).await? {
                owing = self.books.owing().await?;
            }
            let Plan { payouts, held } = self.plan(owing, at).await?;
            if payouts.is_empty() {
                return Ok(Step::Idle(held));
            }
            payouts
        } else if account.balance >= ENOUGH_TO_DEPLOY {
            Vec::new()
        } else {
            return Ok(Step::Idle(vec![Held::NotDeployed { needs: ENOUGH_TO_DEPLOY }]));
        };
        // The chain judges it, by a time that an endpoint which is behind does not know.
        let valid_from = now.max(chain_now);
        let mut batch = Batch {
            seqno: state.map_or(0, |state| state.seqno),
            valid_until: valid_from.saturating_add(self.settings.payouts.valid_for_s),
            at,
            deploy: state.is_none(),
            body: cocoon_ton::CellHash([0; 32]),
            payouts,
        };
        batch.body = self.sign(&batch)?.body_hash;
        if !self.decide(&Decision::Batch(batch.clone())).await? {
            return Ok(Step::Overtaken);
        }
        let total = batch.payouts.iter().map(|begun| u128::from(begun.amount.0)).sum();
        tracing::info!(seqno = batch.seqno, payouts = batch.payouts.len(), total, "a batch is decided");
        let payouts = batch.payouts.len();
        self.send(&batch).await?;
        Ok(Step::Began { payouts, total })
    }

    /// What would be sent next, and what is held back; nothing is decided by it.
    ///
    /// # Errors
    /// [`SettlerError`], where the chain cannot be asked about a channel.
    pub async fn plan(&mut self, mut owing: Owing, now: u32) -> Result<Plan, SettlerError> {
        self.find_calls(&mut owing, now).await?;
        Ok(plan(&owing, &self.treasury, self.settings.network, &self.settings.payouts, now))
    }

    fn sign(&self, batch: &Batch) -> Result<cocoon_ton::Batch, SettlerError> {
        let payouts = read::payouts(batch);
        if payouts.is_empty() {
            return Ok(self.wallet.deployment(&self.key, batch.valid_until)?);
        }
        Ok(self.wallet.batch(&self.key, payouts, batch.seqno, batch.valid_until, batch.deploy)?)
    }

    /// Sends what the log has decided: always the same bytes.
    async fn send(&self, batch: &Batch) -> Result<Step, SettlerError> {
        let signed = self.sign(batch)?;
        if signed.body_hash != batch.body {
            return Err(SettlerError::OtherKey);
        }
        match self.chain.send_boc(&signed.boc).await {
            Ok(()) => Ok(Step::SentAgain),
            // It may have been executed a moment ago, or never will be: the chain will tell.
            Err(ChainError::NotAccepted(why)) => {
                tracing::debug!(why, "the batch is not accepted");
                Ok(Step::Waits)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the log is read to the end and every transaction booked, and what stands in a log's way.
    #[must_use]
    pub fn read_to(&self) -> Option<Place> {
        self.treasury.read_to()
    }

    /// How long to wait before the next step.
    #[must_use]
    pub fn pause(step: &Step, poll: Duration) -> Duration {
        match step {
            Step::Overtaken | Step::Booked(_) | Step::Lapsed => Duration::ZERO,
            Step::Began { .. } | Step::SentAgain | Step::Waits | Step::Idle(_) => poll,
        }
    }
}
