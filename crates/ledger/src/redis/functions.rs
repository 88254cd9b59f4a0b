//! Calls of our function library.

use ::redis::{Cmd, RedisError, Value, cmd};

use super::access::Access;
use super::durable::Durable;
use super::library::{self, load_command};
use super::link::{Link, lacks_function, redis_error, strings, unless_refused};
use super::start::Durability;
use super::wire::Route;
use crate::LedgerError;

/// Functions of the library, by the name after its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Create,
    Reserve,
    Bind,
    Extend,
    Settle,
    Release,
    Expired,
    Expire,
    Forget,
    Credit,
    Grant,
    SetTime,
    BeginAnswer,
    RenewAnswer,
    EndAnswer,
    AbandonAnswer,
    SetPayout,
    WithdrawBegin,
    WithdrawDone,
    WithdrawUndo,
    OpenWithdrawals,
    AppendDecisions,
    Decisions,
    HoldLease,
    GiveUpLease,
    OpenChannel,
    RaiseCeiling,
    CloseChannel,
    Standing,
    PutKey,
    RevokeKey,
    ForgetKeys,
    IsRevoked,
    SetLimits,
    PutHead,
    PutCursor,
    Trim,
    FillUsage,
    FillSlot,
}

impl Function {
    /// As the sources call it.
    fn name(self) -> &'static str {
        match self {
            Self::Create => "cocoon2_create",
            Self::Reserve => "cocoon2_reserve",
            Self::Bind => "cocoon2_bind",
            Self::Extend => "cocoon2_extend",
            Self::Settle => "cocoon2_settle",
            Self::Release => "cocoon2_release",
            Self::Expired => "cocoon2_expired",
            Self::Expire => "cocoon2_expire",
            Self::Forget => "cocoon2_forget",
            Self::Credit => "cocoon2_credit",
            Self::Grant => "cocoon2_grant",
            Self::SetTime => "cocoon2_set_time",
            Self::BeginAnswer => "cocoon2_begin_answer",
            Self::RenewAnswer => "cocoon2_renew_answer",
            Self::EndAnswer => "cocoon2_end_answer",
            Self::AbandonAnswer => "cocoon2_abandon_answer",
            Self::SetPayout => "cocoon2_set_payout",
            Self::WithdrawBegin => "cocoon2_withdraw_begin",
            Self::WithdrawDone => "cocoon2_withdraw_done",
            Self::WithdrawUndo => "cocoon2_withdraw_undo",
            Self::OpenWithdrawals => "cocoon2_open_withdrawals",
            Self::AppendDecisions => "cocoon2_append_decisions",
            Self::Decisions => "cocoon2_decisions",
            Self::HoldLease => "cocoon2_hold_lease",
            Self::GiveUpLease => "cocoon2_give_up_lease",
            Self::OpenChannel => "cocoon2_open_channel",
            Self::RaiseCeiling => "cocoon2_raise_ceiling",
            Self::CloseChannel => "cocoon2_close_channel",
            Self::Standing => "cocoon2_standing",
            Self::PutKey => "cocoon2_put_key",
            Self::RevokeKey => "cocoon2_revoke_key",
            Self::ForgetKeys => "cocoon2_forget_keys",
            Self::IsRevoked => "cocoon2_is_revoked",
            Self::SetLimits => "cocoon2_set_limits",
            Self::PutHead => "cocoon2_put_head",
            Self::PutCursor => "cocoon2_put_cursor",
            Self::Trim => "cocoon2_trim",
            Self::FillUsage => "cocoon2_fill_usage",
            Self::FillSlot => "cocoon2_fill_slot",
        }
    }
}

#[derive(Debug)]
pub(super) struct Functions {
    link: Link,
    /// Where replies are awaited until they are durable; none where every reply is.
    durable: Option<Durable>,
}

impl Functions {
    pub(super) async fn load(url: &str, access: &Access) -> Result<Self, LedgerError> {
        let (route, timeouts) = (Route::new(url, access).await?, access.timeouts);
        let link = Link::connect(&route, timeouts).await?;
        let durability = super::start::check(&link).await?;
        let durable = match durability {
            Durability { waits_for_disk: false, replicas: 0 } => None,
            _ => Some(Durable::beside(&link, &route, timeouts, durability).await?),
        };
        let functions = Self { link, durable };
        let load = load_command();
        functions.link.everywhere(&load).await.map_err(not_loaded)?;
        Ok(functions)
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The reply's strings; a function that refuses a number as too large has done nothing.
    pub(super) async fn call(
        &self,
        function: Function,
        keys: &[String],
        args: &[String],
    ) -> Result<Vec<String>, LedgerError> {
        let reply = self.once_loaded(&fcall(function, keys, args)).await?;
        unless_overflow(strings(reply)?)
    }

    /// The same, answered only once it is durable. A repetition waits too: its first try may not have got there.
    pub(super) async fn call_durably(
        &self,
        function: Function,
        keys: &[String],
        args: &[String],
    ) -> Result<Vec<String>, LedgerError> {
        let reply = self.durably(&fcall(function, keys, args)).await?;
        unless_overflow(strings(reply)?)
    }

    pub(super) async fn durably(&self, command: &Cmd) -> Result<Value, LedgerError> {
        match &self.durable {
            Some(durable) => durable.call(command).await,
            None => self.once_loaded(command).await,
        }
    }

    async fn once_loaded(&self, command: &Cmd) -> Result<Value, LedgerError> {
        match self.link.query(command).await {
            Err(error) if lacks_function(&error) => {
                self.reload(command).await?;
                self.link.command(command).await
            }
            reply => reply.map_err(redis_error),
        }
    }

    /// Where `command` goes: the other primaries may well have it, and one of them may be gone.
    async fn reload(&self, command: &Cmd) -> Result<(), LedgerError> {
        self.link.beside_of(command, &load_command()).await.map(drop).map_err(not_loaded)
    }
}

fn not_loaded(error: RedisError) -> LedgerError {
    unless_refused(error, "Redis 7 with its functions is needed, and FUNCTION LOAD must be allowed")
}

pub(super) fn fcall(function: Function, keys: &[String], args: &[String]) -> Cmd {
    let mut command = cmd("FCALL");
    command.arg(library::name_of(function.name())).arg(keys.len()).arg(keys).arg(args);
    command
}

fn unless_overflow(reply: Vec<String>) -> Result<Vec<String>, LedgerError> {
    if reply.first().is_some_and(|word| word == "overflow") { Err(LedgerError::Overflow) } else { Ok(reply) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_registered_under_its_name() {
        let all = [
            Function::Create,
            Function::Reserve,
            Function::Bind,
            Function::Extend,
            Function::Settle,
            Function::Release,
            Function::Expired,
            Function::Expire,
            Function::Forget,
            Function::Credit,
            Function::Grant,
            Function::SetTime,
            Function::BeginAnswer,
            Function::RenewAnswer,
            Function::EndAnswer,
            Function::AbandonAnswer,
            Function::SetPayout,
            Function::WithdrawBegin,
            Function::WithdrawDone,
            Function::WithdrawUndo,
            Function::OpenWithdrawals,
            Function::AppendDecisions,
            Function::Decisions,
            Function::HoldLease,
            Function::GiveUpLease,
            Function::OpenChannel,
            Function::RaiseCeiling,
            Function::CloseChannel,
            Function::Standing,
            Function::PutKey,
            Function::RevokeKey,
            Function::IsRevoked,
            Function::SetLimits,
            Function::PutHead,
            Function::PutCursor,
            Function::Trim,
            Function::FillUsage,
            Function::FillSlot,
        ];
        for function in all {
            assert!(
                library::text()
                    .contains(&format!("redis.register_function('{}',", library::name_of(function.name()))),
                "{function:?}"
            );
        }
    }
}
