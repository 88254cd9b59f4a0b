//! Channels on the chain: whose payer wants its money back, and which can be told to pay.

use std::ops::Bound;

use cocoon_receipts::AccountId;
use cocoon_ton::chain::{ChainError, Status};
use cocoon_ton::{CellHash, ChannelState, ChannelStorage, PAY_CHANNEL_HASH, Phase};

use super::{Settler, SettlerError};
use crate::channels::Standing;
use crate::decision::Payee;
use crate::plan::{Calling, Owing};

/// Channels that are looked at in one step: an endpoint answers so many questions a second.
const AT_ONCE: usize = 20;

/// How long a channel that was seen closed is not asked about again, seconds.
const CLOSED_FOR: u32 = 3600;

/// How far the round is that looks at all channels, and when the next one begins.
#[derive(Debug, Default)]
pub(super) struct Round {
    after: Option<AccountId>,
    /// Unix time.
    next: u32,
}

impl Settler {
    /// Looks at some channels, and takes no voucher any more of those that are closed or about to be. Whether there was
    /// one, so that what is owed is to be read again.
    pub(super) async fn watch_channels(&mut self, owing: &Owing, now: u32) -> Result<bool, SettlerError> {
        if now < self.round.next {
            return Ok(false);
        }
        let mut open: Vec<&Standing> = owing.channels.iter().filter(|one| !one.closed).collect();
        open.sort_by(|a, b| a.account.cmp(&b.account));
        let after = self.round.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let begin = match after {
            Bound::Excluded(after) => open.partition_point(|one| one.account <= *after),
            _ => 0,
        };
        let some = &open[begin..open.len().min(begin + AT_ONCE)];
        let mut any = false;
        for one in some {
            if let Some(state) = self.look(one).await?
                && state.phase != Phase::Open
            {
                tracing::info!(channel = %one.address, phase = ?state.phase, "no voucher is taken any more");
                any |= self.books.close_channel(&one.account).await?;
            }
        }
        self.round = if begin + some.len() < open.len() {
            Round { after: some.last().map(|one| one.account.clone()), next: now }
        } else {
            Round { after: None, next: now.saturating_add(self.settings.channels.look_every_s) }
        };
        Ok(any)
    }

    /// Finds what channels are to be told that are due and, by what the chain says now, can do it. So many are looked
    /// at in one step; none that was seen closed a while ago, or that nothing is sent to until a person has looked.
    pub(super) async fn find_calls(&mut self, owing: &mut Owing, now: u32) -> Result<(), SettlerError> {
        self.closed.retain(|_, seen| now < seen.saturating_add(CLOSED_FOR));
        let mut looks = 0;
        for one in &owing.channels {
            let books = self.treasury.channel(&one.account);
            let Some(call) = one.call(&books, &self.settings.payouts, now) else { continue };
            let (account, address, brings) = (one.account.clone(), one.address, one.owes(&books));
            let calling = Calling { account, address, call, brings };
            if self.treasury.held().contains(&Payee(address)) {
                owing.calls.push(calling);
                continue;
            }
            if !self.closed.contains_key(&one.account) {
                if looks == AT_ONCE {
                    continue;
                }
                looks += 1;
                match self.look(one).await? {
                    // An endpoint that is behind, or rent that nobody has paid.
                    None => continue,
                    Some(state) if state.phase != Phase::Closed => {
                        owing.calls.push(calling);
                        continue;
                    }
                    Some(_) => drop(self.closed.insert(one.account.clone(), now)),
                }
            }
            // There may be nothing left that it owes.
            if brings > 0 {
                owing.lost.push((address, brings));
            }
        }
        Ok(())
    }

    /// A channel as the chain has it; none where there is no channel.
    async fn look(&self, one: &Standing) -> Result<Option<ChannelState>, SettlerError> {
        let account = self.chain.account(&one.address).await?;
        let Status::Active { code, data } = account.status else { return Ok(None) };
        if CellHash::of(&code) != PAY_CHANNEL_HASH {
            return Err(ChainError::Broken("a channel's account has other code").into());
        }
        Ok(Some(ChannelStorage::parse(&data)?.state))
    }
}
