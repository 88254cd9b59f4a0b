//! Where the commands work: the wallet, the chain as its endpoints show it, and the gateway.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cocoon_receipts::NanoTon;
use cocoon_ton::chain::{Account, Chain, Status};
use cocoon_ton::{
    Address, CellHash, ChannelMessage, ChannelStorage, Compute, Direction, Internal, Network, Outgoing,
    OutgoingValue, PAY_CHANNEL_HASH, SignedRequest, StackValue, Transaction, TransactionId, WalletState,
    amount_from_stack,
};
use tokio::time::Instant;

use super::file::{Channel, Stage};
use super::order::{self, Kind, Order, Outcome, Signed};
use super::ton;
use super::wallet::OwnWallet;
use crate::gateway::Gateway;
use crate::state::StateDir;

/// How long a signed request may run, seconds of the chain.
const VALID_FOR: u32 = 120;
/// A block of the wallet's own shard may be this much behind the time that an endpoint gives with an account, seconds.
const SHARD_LAG: u64 = 60;
/// What the wallet must have beside what it sends, for its own gas and messages, nanoTON. Not more than a third of it
/// is used, also at the prices until April 2026, with the wallet's and the channel's code.
const WALLET_FEES: NanoTon = NanoTon(50_000_000);
/// What a wallet has at least that is emptied, nanoTON.
const LEAST_WITHDRAWN: NanoTon = NanoTon(20_000_000);
/// How often a request that did not run yet is sent, in looks.
const LOOKS_PER_SENDING: u32 = 5;
/// Most transactions of an account that are looked through for one.
const MOST_LOOKED_AT: usize = 10_000;
const PAGE: u8 = 50;

/// Everything a command needs.
pub struct Desk {
    pub chain: Arc<dyn Chain>,
    pub network: Network,
    pub gateway: Gateway,
    pub state: StateDir,
    pub own: OwnWallet,
    /// Between two looks at the chain.
    pub poll: Duration,
    /// How long a command waits for the chain before it leaves the rest to the next one.
    pub patience: Duration,
}

/// How far an order has come.
enum Progress {
    Ended(Outcome),
    /// It has run; what it sent is on its way.
    OnItsWay,
    /// It may still run.
    Waits,
    /// It can never run.
    Lapsed,
}

/// What an order is to send.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub kind: Kind,
    pub to: Address,
    pub amount: NanoTon,
    /// None for all that there is.
    pub value: Option<NanoTon>,
}

impl Desk {
    #[must_use]
    pub fn wallet(&self) -> Address {
        self.own.wallet.address()
    }

    /// An address as people are shown it.
    #[must_use]
    pub fn show(&self, address: &Address, bounceable: bool) -> String {
        address.show(bounceable, self.network != Network::Mainnet)
    }

    /// The channel that is kept, whatever its stage.
    ///
    /// # Errors
    /// Where it cannot be read, or is of another network.
    pub fn channel(&self) -> anyhow::Result<Option<Channel>> {
        let channel = Channel::load(&self.state)?;
        if let Some(channel) = &channel
            && channel.global_id != self.network.global_id()
        {
            bail!("the channel in this folder is on network {}: name it with --network", channel.global_id);
        }
        Ok(channel)
    }

    /// What the wallet was asked to send and is not dealt with.
    ///
    /// # Errors
    /// As [`Order::load`].
    pub fn order(&self) -> anyhow::Result<Option<Order>> {
        Ok(Order::load(&self.state, self.network.global_id())?)
    }

    /// All that follows from the order is done, or it can never run.
    ///
    /// # Errors
    /// As [`Order::clear`].
    pub fn clear_order(&self) -> anyhow::Result<()> {
        Ok(Order::clear(&self.state, self.network.global_id())?)
    }

    /// The channel that requests can be paid from.
    ///
    /// # Errors
    /// As [`Self::channel`], and where there is none.
    pub fn open_channel(&self) -> anyhow::Result<Channel> {
        let channel = self.channel()?.filter(|channel| channel.stage == Stage::Open);
        channel.context("there is no open channel: `cocoon-connect channel open --deposit TON` opens one")
    }

    /// # Errors
    /// Where no endpoint answers.
    pub async fn account(&self, address: &Address) -> anyhow::Result<Account> {
        self.chain.account(address).await.context("the chain cannot be asked")
    }

    /// The channel's storage as the chain has it; none before it is deployed.
    ///
    /// # Errors
    /// Where no endpoint answers, or it is no channel.
    pub async fn storage(&self, channel: &Channel) -> anyhow::Result<Option<ChannelStorage>> {
        Ok(self.storage_at(channel).await?.0)
    }

    async fn storage_at(
        &self,
        channel: &Channel,
    ) -> anyhow::Result<(Option<ChannelStorage>, Option<TransactionId>)> {
        let account = self.account(&channel.address()).await?;
        let storage = match &account.status {
            Status::Uninitialized => None,
            Status::Frozen => bail!("the channel {} is frozen: its rent was not paid", channel.shown()),
            Status::Active { code, data } if CellHash::of(code) == PAY_CHANNEL_HASH => {
                Some(ChannelStorage::parse(data).context("an endpoint shows a channel's data that is none")?)
            }
            Status::Active { .. } => bail!("an endpoint shows other code than a channel's"),
        };
        Ok((storage, account.last_transaction))
    }

    /// The same once the chain shows the transaction at `lt`, and `is_so` holds.
    ///
    /// # Errors
    /// As [`Self::storage`], and where it is not so in time.
    pub async fn storage_once(
        &self,
        channel: &Channel,
        lt: u64,
        what: &str,
        is_so: impl Fn(&ChannelStorage) -> bool,
    ) -> anyhow::Result<ChannelStorage> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let (Some(storage), Some(last)) = self.storage_at(channel).await?
                && last.lt >= lt
                && is_so(&storage)
            {
                return Ok(storage);
            }
            self.wait(deadline, what).await?;
        }
    }

    /// Until the next look at the chain.
    ///
    /// # Errors
    /// Where the command has waited long enough.
    pub async fn wait(&self, deadline: Instant, what: &str) -> anyhow::Result<()> {
        if Instant::now() >= deadline {
            bail!("{what} is not there yet. Run the command again: it goes on where it is");
        }
        tokio::time::sleep(self.poll).await;
        Ok(())
    }

    /// NanoTON that a message to a deployed channel must bring for its fees and the channel's rent reserve, and what
    /// may fall due until it arrives. All but a deposit sends back what it does not need.
    ///
    /// # Errors
    /// Where no endpoint answers.
    pub async fn required(&self, channel: &Channel, message: &ChannelMessage) -> anyhow::Result<NanoTon> {
        /// More than a year's rent, also at the prices until April 2026.
        const RENT: u64 = 20_000_000;
        let op = StackValue::Number(message.op().into());
        let values = self
            .chain
            .run_get_method(&channel.address(), "required_value", &[op])
            .await
            .context("the chain cannot be asked")?;
        Ok(NanoTon(amount_from_stack(&values)?.0.saturating_add(RENT)))
    }

    /// The newest transaction of `address` that `pick` takes, from `from` back to Unix time `since`.
    ///
    /// # Errors
    /// Where no endpoint answers, or there are more than anybody looks through.
    pub async fn find<T>(
        &self,
        address: &Address,
        from: Option<TransactionId>,
        since: u32,
        pick: impl Fn(&Transaction) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let (mut next, mut looked_at) = (from, 0);
        while let Some(from) = next {
            let page = self.chain.transactions(address, Some(from), PAGE).await;
            let page = page.context("the chain cannot be asked")?;
            if page.is_empty() || looked_at > MOST_LOOKED_AT {
                bail!("the transactions of {address} cannot be looked through");
            }
            for transaction in page {
                if let Some(found) = pick(&transaction) {
                    return Ok(Some(found));
                }
                if transaction.now < since {
                    return Ok(None);
                }
                next = transaction.previous;
                looked_at += 1;
            }
        }
        Ok(None)
    }

    /// The wallet's number, and whether it is deployed.
    fn seqno(&self, account: &Account) -> anyhow::Result<(u32, bool)> {
        match &account.status {
            Status::Uninitialized => Ok((0, false)),
            Status::Frozen => bail!("the wallet is frozen: its rent was not paid"),
            Status::Active { data, .. } => {
                let state = WalletState::parse(data).context("the account is not this wallet")?;
                if state.key != self.own.key.public() {
                    bail!("the account is not this wallet");
                }
                Ok((state.seqno, true))
            }
        }
    }

    /// Signs an order and writes it down. It is not sent yet.
    ///
    /// # Errors
    /// Also where the wallet has too little.
    pub async fn place(&self, wanted: Wanted) -> anyhow::Result<Order> {
        let mut query_id = [0; 8];
        cocoon_receipts::random(&mut query_id)?;
        self.sign(wanted, u64::from_be_bytes(query_id)).await
    }

    async fn sign(&self, wanted: Wanted, query_id: u64) -> anyhow::Result<Order> {
        let Wanted { kind, to, amount, value } = wanted;
        let account = self.account(&self.wallet()).await?;
        let (seqno, deployed) = self.seqno(&account)?;
        let needed = value.map_or(LEAST_WITHDRAWN, |value| NanoTon(value.0.saturating_add(WALLET_FEES.0)));
        if account.balance < needed {
            let missing = NanoTon(needed.0 - account.balance.0);
            bail!(
                "the wallet has {}, and {} are needed, fees included: send it {} or more at {}",
                ton::shown(account.balance),
                ton::shown(needed),
                ton::shown(missing),
                self.show(&self.wallet(), false)
            );
        }
        let init = match kind {
            Kind::Open => {
                let channel = self.channel()?.context("the channel's file is gone")?;
                Some(channel.terms.state_init()?)
            }
            _ => None,
        };
        let outgoing = Outgoing {
            to,
            value: value.map_or(OutgoingValue::All, OutgoingValue::Exactly),
            // What a channel refuses comes back; to the user it goes as it is.
            bounce: kind != Kind::Withdraw,
            init,
            body: order::body(kind, query_id)?,
        };
        let valid_until = u32::try_from(account.at)?.saturating_add(VALID_FOR);
        let OwnWallet { key, wallet } = &self.own;
        let SignedRequest { boc, body_hash } =
            wallet.request(key, &[outgoing], seqno, valid_until, !deployed)?;
        let signed = Signed { boc, body: body_hash, seqno, valid_until };
        let order = Order { kind, to, amount, value, query_id, signed };
        order.store(&self.state, self.network.global_id())?;
        Ok(order)
    }

    /// Sends an order until its end is known. One that can never run any more is signed anew, with the number that is
    /// next then.
    ///
    /// # Errors
    /// Also where its end is not known in time: the order stays, and the next command goes on with it.
    pub async fn settle(&self, mut order: Order) -> anyhow::Result<Outcome> {
        let deadline = Instant::now() + self.patience;
        let mut looks = 0;
        loop {
            match self.progress(&order).await? {
                Progress::Ended(outcome) => return Ok(outcome),
                Progress::OnItsWay => {}
                Progress::Waits => {
                    if looks % LOOKS_PER_SENDING == 0 {
                        self.send(&order).await?;
                    }
                }
                Progress::Lapsed => {
                    tracing::info!("a signed request has lapsed unused and is signed anew");
                    let Order { kind, to, amount, value, query_id, .. } = order;
                    self.clear_order()?;
                    order = self.sign(Wanted { kind, to, amount, value }, query_id).await?;
                    self.send(&order).await?;
                }
            }
            looks += 1;
            self.wait(deadline, "the wallet's request").await?;
        }
    }

    async fn send(&self, order: &Order) -> anyhow::Result<()> {
        use cocoon_ton::chain::ChainError;
        match self.chain.send_boc(&order.signed.boc).await {
            Ok(()) => Ok(()),
            // It may have run meanwhile, or be from before a lag: the next look tells.
            Err(ChainError::NotAccepted(_)) => {
                tracing::debug!("the wallet does not take the request now");
                Ok(())
            }
            Err(error) => Err(error).context("the chain cannot be asked"),
        }
    }

    /// By what the chain shows, and nothing else.
    async fn progress(&self, order: &Order) -> anyhow::Result<Progress> {
        let account = self.account(&self.wallet()).await?;
        let (seqno, _) = self.seqno(&account)?;
        let signed = &order.signed;
        if seqno <= signed.seqno {
            let over = account.at >= u64::from(signed.valid_until) + SHARD_LAG;
            return Ok(if over { Progress::Lapsed } else { Progress::Waits });
        }
        // From the transaction that this account's state is of: an endpoint that is behind cannot hide it.
        let since = signed.valid_until.saturating_sub(VALID_FOR + 3600);
        let ran = |transaction: &Transaction| {
            let message = transaction.in_message.as_ref()?;
            let is_it =
                matches!(message.direction, Direction::In { .. }) && message.body_hash() == signed.body;
            is_it.then(|| (transaction.id.lt, sent_to(transaction, &order.to)))
        };
        let found = self.find(&self.wallet(), account.last_transaction, since, ran).await?;
        let (lt, sent) = match found {
            // Its number was used by another request of the same key.
            None => return Ok(Progress::Lapsed),
            Some((_, None)) => return Ok(Progress::Ended(Outcome::Skipped)),
            Some((lt, Some(sent))) => (lt, sent),
        };
        if order.kind == Kind::Withdraw {
            return Ok(Progress::Ended(Outcome::Done { value: sent.value, lt }));
        }
        let last = self.account(&order.to).await?.last_transaction;
        let took = |transaction: &Transaction| {
            let came = internal(transaction)?;
            let is_it = came.from == self.wallet() && came.created_lt == sent.created_lt;
            is_it.then_some(match (transaction.aborted, transaction.compute) {
                (false, _) => Outcome::Done { value: came.value, lt: transaction.id.lt },
                (true, Compute::Ran { exit_code, .. }) => Outcome::Refused { exit_code: Some(exit_code) },
                (true, Compute::Skipped) => Outcome::Refused { exit_code: None },
            })
        };
        let outcome = self.find(&order.to, last, since, took).await?;
        Ok(outcome.map_or(Progress::OnItsWay, Progress::Ended))
    }

    /// Brings to an end what an earlier command has begun. The order is still kept: [`Self::clear_order`] once
    /// all that follows from it is done.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn finish_pending(&self) -> anyhow::Result<Option<(Order, Outcome)>> {
        let Some(order) = self.order()? else { return Ok(None) };
        tracing::info!(kind = ?order.kind, "going on with what an earlier command has begun");
        let outcome = self.settle(order.clone()).await?;
        Ok(Some((order, outcome)))
    }

    /// Places an order, sends it and waits for its end. It is still kept.
    ///
    /// # Errors
    /// Also where it had no effect: then it is not kept.
    pub async fn carry_out(&self, wanted: Wanted) -> anyhow::Result<Outcome> {
        let order = self.place(wanted).await?;
        let outcome = self.settle(order).await?;
        self.check(outcome)?;
        Ok(outcome)
    }

    /// # Errors
    /// Where the order had no effect: then it is not kept.
    pub fn check(&self, outcome: Outcome) -> anyhow::Result<()> {
        if outcome.check().is_err() {
            self.clear_order()?;
        }
        outcome.check()
    }
}

/// The message from another account that a transaction is about.
#[must_use]
pub fn internal(transaction: &Transaction) -> Option<Internal> {
    match transaction.in_message.as_ref()?.direction {
        Direction::Internal(internal) => Some(internal),
        _ => None,
    }
}

/// The message that a transaction has sent to `to`.
fn sent_to(transaction: &Transaction, to: &Address) -> Option<Internal> {
    transaction.out_messages.iter().find_map(|message| match &message.direction {
        Direction::Internal(internal) if internal.to == *to => Some(*internal),
        _ => None,
    })
}
