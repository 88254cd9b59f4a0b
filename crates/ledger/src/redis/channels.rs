//! Payment channels (`functions/channels.lua`).

use ::redis::cmd;
use async_trait::async_trait;
use cocoon_receipts::AccountId;

use super::RedisLedger;
use super::functions::Function;
use super::names::ShardKeys;
use super::reply::{self, parse};
use crate::channels::{check_name, check_opening, check_voucher, from_hex};
use crate::{
    Account, Channel, ChannelOpened, ChannelOpening, Channels, KeptVoucher, LedgerError, MAX_CHANNELS,
    Raised, Shard,
};

/// What [`channel`] reads.
const FIELDS: [&str; 6] = ["key", "deposited", "base", "cumulative", "signature", "closed"];

#[async_trait]
impl Channels for RedisLedger {
    async fn open_channel(&self, opening: &ChannelOpening) -> Result<ChannelOpened, LedgerError> {
        check_opening(opening)?;
        let ChannelOpening { account, payer_key, deposited, settled } = opening;
        let k = self.keys_of(account);
        let keys = [k.clock(), k.channel(account), k.channels()];
        let args = [account.to_string(), hex::encode(payer_key), deposited.to_string(), settled.to_string()];
        let reply = self.durable(Function::OpenChannel, &keys, &args).await?;
        match reply.word() {
            "open" => Ok(ChannelOpened::Open),
            "closed" => Ok(ChannelOpened::Closed),
            "other_key" => Ok(ChannelOpened::OtherKey),
            _ => Err(reply.unexpected()),
        }
    }

    async fn channel(&self, account: &AccountId) -> Result<Option<Channel>, LedgerError> {
        check_name(account)?;
        let mut get = cmd("HMGET");
        get.arg(self.keys_of(account).channel(account)).arg(&FIELDS);
        channel(account, &self.functions.link().command::<Vec<Option<String>>>(&get).await?)
    }

    async fn raise_ceiling(&self, account: &AccountId, voucher: &KeptVoucher) -> Result<Raised, LedgerError> {
        check_voucher(account, voucher)?;
        let k = self.keys_of(account);
        let keys = [k.clock(), k.totals(), k.account(account), k.journal(), k.channel(account), k.accounts()];
        let args = [account.to_string(), voucher.cumulative.to_string(), hex::encode(voucher.signature)];
        let reply = self.call(Function::RaiseCeiling, &keys, &args).await?;
        match reply.word() {
            "raised" => Ok(Raised::Raised { by: reply.amount(1)? }),
            "known" => Ok(Raised::Known),
            "above_deposit" => Ok(Raised::AboveDeposit { deposited: reply.amount(1)? }),
            "closed" => Ok(Raised::Closed),
            "unknown" => Ok(Raised::Unknown),
            _ => Err(reply.unexpected()),
        }
    }

    async fn close_channel(&self, account: &AccountId) -> Result<bool, LedgerError> {
        check_name(account)?;
        let k = self.keys_of(account);
        let reply = self.durable(Function::CloseChannel, &[k.clock(), k.channel(account)], &[]).await?;
        match reply.word() {
            "closed" => Ok(true),
            "unknown" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn channels(
        &self,
        shard: Shard,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<(Channel, Account)>, LedgerError> {
        let (k, link) = (ShardKeys(shard), self.functions.link());
        let start = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut range = cmd("ZRANGEBYLEX");
        range.arg(k.channels()).arg(start).arg("+").arg("LIMIT").arg(0).arg(limit.min(MAX_CHANNELS));
        let names: Vec<String> = link.command(&range).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names = names.iter().map(|name| parse(name)).collect::<Result<Vec<AccountId>, _>>()?;
        // None is ever taken away, so that what is listed is there.
        let mut all = ::redis::pipe();
        all.atomic();
        for name in &names {
            all.cmd("HMGET").arg(k.channel(name)).arg(&FIELDS);
            all.cmd("HMGET").arg(k.account(name)).arg(&reply::ACCOUNT_FIELDS);
        }
        let replies: Vec<Vec<Option<String>>> = link.pipeline(&all).await?;
        let mut found = Vec::with_capacity(names.len());
        for (name, of) in names.iter().zip(replies.chunks(2)) {
            let missing = || LedgerError::Corrupt(format!("{name} is listed and not there"));
            let [kept, account] = of else { return Err(missing()) };
            found.push((channel(name, kept)?.ok_or_else(missing)?, reply::account(account)?));
        }
        Ok(found)
    }
}

/// From the values of [`FIELDS`].
fn channel(account: &AccountId, values: &[Option<String>]) -> Result<Option<Channel>, LedgerError> {
    let [Some(key), deposited, base, cumulative, signature, closed] = values else { return Ok(None) };
    let lacks = || LedgerError::Corrupt(format!("{account} lacks a field"));
    let (Some(deposited), Some(base), Some(closed)) = (deposited, base, closed) else { return Err(lacks()) };
    let voucher = match (cumulative, signature) {
        (None, None) => None,
        (Some(cumulative), Some(signature)) => {
            Some(KeptVoucher { cumulative: parse(cumulative)?, signature: from_hex(signature)? })
        }
        _ => return Err(lacks()),
    };
    Ok(Some(Channel {
        account: account.clone(),
        payer_key: from_hex(key)?,
        deposited: parse(deposited)?,
        base: parse(base)?,
        voucher,
        closed: closed == "1",
    }))
}

/// The inverse of [`channel`].
pub(super) fn fields(channel: &Channel) -> Vec<(&'static str, String)> {
    let Channel { account: _, payer_key, deposited, base, voucher, closed } = channel;
    let mut fields = vec![
        ("key", hex::encode(payer_key)),
        ("deposited", deposited.to_string()),
        ("base", base.to_string()),
        ("closed", u8::from(*closed).to_string()),
    ];
    if let Some(KeptVoucher { cumulative, signature }) = voucher {
        fields.extend([("cumulative", cumulative.to_string()), ("signature", hex::encode(signature))]);
    }
    fields
}
