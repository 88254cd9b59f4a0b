//! Payment channels.

use cocoon_ledger::{
    Account, Channel, ChannelOpened, ChannelOpening, JournalKind, KeptVoucher, Raised, Shard, is_channel,
};
use cocoon_receipts::{AccountId, NanoTon};

use super::{Model, Overflow, TOO_MUCH, nano};

/// A call that moves nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Overflow,
    /// Not for an account of that name.
    Configuration,
}

impl From<Overflow> for Refused {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl Model {
    pub(crate) fn open_channel(&mut self, opening: &ChannelOpening) -> Result<ChannelOpened, Refused> {
        if !is_channel(&opening.account) {
            return Err(Refused::Configuration);
        }
        let amounts = [opening.deposited, opening.settled];
        if amounts.iter().any(|amount| i128::from(amount.0) >= TOO_MUCH) {
            return Err(Refused::Overflow);
        }
        if opening.settled > opening.deposited {
            return Err(Refused::Configuration);
        }
        let ChannelOpening { account, payer_key, deposited, settled } = opening.clone();
        let new = Channel {
            account,
            payer_key,
            deposited: NanoTon(0),
            base: settled,
            voucher: None,
            closed: false,
        };
        let channel = self.channels.entry(new.account.clone()).or_insert(new);
        if channel.payer_key != payer_key {
            return Ok(ChannelOpened::OtherKey);
        }
        if channel.closed {
            return Ok(ChannelOpened::Closed);
        }
        channel.deposited = channel.deposited.max(deposited);
        Ok(ChannelOpened::Open)
    }

    pub(crate) fn raise(&mut self, name: &AccountId, voucher: &KeptVoucher) -> Result<Raised, Refused> {
        if !is_channel(name) {
            return Err(Refused::Configuration);
        }
        let cumulative = voucher.cumulative;
        if i128::from(cumulative.0) >= TOO_MUCH {
            return Err(Refused::Overflow);
        }
        let mut account = self.account(name);
        let Some(channel) = self.channels.get_mut(name) else { return Ok(Raised::Unknown) };
        if channel.closed {
            return Ok(Raised::Closed);
        }
        let newest = channel.voucher.as_ref().map_or(0, |voucher| i128::from(voucher.cumulative.0));
        let by = i128::from(cumulative.0) - newest.max(i128::from(channel.base.0));
        if by <= 0 {
            return Ok(Raised::Known);
        }
        if cumulative > channel.deposited {
            return Ok(Raised::AboveDeposit { deposited: channel.deposited });
        }
        channel.voucher = Some(voucher.clone());
        account.balance.0 += nano(by).0;
        account.deposited.0 += nano(by).0;
        self.accounts.insert(name.clone(), account);
        let entry = self.entry(JournalKind::Voucher, name, cumulative.to_string(), [by, 0, 0]);
        self.journal.push((self.shards.of(name), entry));
        Ok(Raised::Raised { by: nano(by) })
    }

    pub(crate) fn close_channel(&mut self, name: &AccountId) -> Result<bool, Refused> {
        if !is_channel(name) {
            return Err(Refused::Configuration);
        }
        let Some(channel) = self.channels.get_mut(name) else { return Ok(false) };
        channel.closed = true;
        Ok(true)
    }

    pub(crate) fn channel(&self, name: &AccountId) -> Option<Channel> {
        self.channels.get(name).cloned()
    }

    /// Of a shard, by name.
    pub(crate) fn channels(&self, shard: Shard) -> Vec<(Channel, Account)> {
        let of_shard = self.channels.iter().filter(|(name, _)| self.shards.of(name) == shard);
        of_shard.map(|(name, channel)| (channel.clone(), self.account(name))).collect()
    }
}
