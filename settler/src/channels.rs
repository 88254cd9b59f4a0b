//! Payment channels: what they have to pay, and when they are told to.

use cocoon_ledger::{
    Account, CHANNEL_PREFIX, Channel, KeptVoucher, Ledger, LedgerError, MAX_CHANNELS, Shard,
};
use cocoon_receipts::{AccountId, NanoTon};
use cocoon_ton::{Address, Workchain};

use crate::config::PayoutConfig;
use crate::decision::{Call, Claim, VoucherSignature};
use crate::plan::is_due;
use crate::treasury::ChannelBooks;

/// A channel as the ledger has it. Amounts are nanoTON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub account: AccountId,
    /// The contract.
    pub address: Address,
    /// What it had paid before this ledger knew it.
    pub base: NanoTon,
    /// The newest.
    pub voucher: Option<KeptVoucher>,
    /// What it was charged since.
    pub charged: NanoTon,
    /// What running requests may still cost.
    pub held: NanoTon,
    /// What its vouchers allow and nothing was charged for.
    pub balance: NanoTon,
    /// Takes no voucher any more.
    pub closed: bool,
}

impl Standing {
    fn new((channel, account): (Channel, Account)) -> Result<Self, LedgerError> {
        let mut hash = [0; 32];
        let digits = channel.account.as_str().strip_prefix(CHANNEL_PREFIX).unwrap_or_default();
        hex::decode_to_slice(digits, &mut hash)
            .map_err(|_| LedgerError::Corrupt("a channel's name has no address".to_owned()))?;
        Ok(Self {
            account: channel.account,
            address: Address::new(Workchain::Basechain, hash),
            base: channel.base,
            voucher: channel.voucher,
            charged: account.charged,
            held: account.held,
            balance: account.balance,
            closed: channel.closed,
        })
    }

    /// What its vouchers were credited for.
    #[must_use]
    pub fn credited(&self) -> u128 {
        let ceiling = self.voucher.as_ref().map_or(0, |voucher| voucher.cumulative.0);
        u128::from(ceiling.saturating_sub(self.base.0))
    }

    /// What it has to pay in all: what was charged, of which each nano had a voucher before it was held.
    #[must_use]
    pub fn claim(&self) -> NanoTon {
        let charged = self.base.0.saturating_add(self.charged.0);
        let ceiling = self.voucher.as_ref().map_or(self.base.0, |voucher| voucher.cumulative.0);
        NanoTon(charged.min(ceiling))
    }

    /// What it has still to pay.
    #[must_use]
    pub fn owes(&self, books: &ChannelBooks) -> u64 {
        let paid = u64::try_from(u128::from(self.base.0) + books.redeemed).unwrap_or(u64::MAX);
        self.claim().0.saturating_sub(paid)
    }

    /// What it is to be told at Unix time `now`; nothing as long as it has not answered the last one.
    #[must_use]
    pub fn call(&self, books: &ChannelBooks, config: &PayoutConfig, now: u32) -> Option<Call> {
        if books.closed || books.asked.is_some() {
            return None;
        }
        let owes = self.owes(books);
        let claim = self.voucher.as_ref().filter(|_| owes > 0).map(|voucher| Claim {
            amount: self.claim(),
            cumulative: voucher.cumulative,
            signature: VoucherSignature(voucher.signature),
        });
        match claim {
            // What still runs will be charged.
            _ if self.closed && self.held > NanoTon::ZERO => None,
            Some(claim) if self.closed => Some(Call::RedeemAndClose(claim)),
            None if self.closed => Some(Call::Close),
            Some(claim) if is_due(owes, books.last, config, now) => Some(Call::Redeem(claim)),
            _ => None,
        }
    }
}

/// All channels of a shard.
///
/// # Errors
/// [`LedgerError`].
pub(crate) async fn of_shard(ledger: &dyn Ledger, shard: Shard) -> Result<Vec<Standing>, LedgerError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.channels(shard, after.as_ref(), MAX_CHANNELS).await?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(last.account.clone());
        for one in page {
            all.push(Standing::new(one)?);
        }
    }
}

#[cfg(test)]
mod tests;
