//! Calls of our function library.

use ::redis::{Cmd, RedisError, Value, cmd, from_redis_value};

use super::access::{Access, Timeouts};
use super::library;
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
    patient: Option<Patient>,
}

/// A connection of its own, as waiting on it makes what follows wait too.
#[derive(Debug)]
struct Patient {
    link: Link,
    durability: Durability,
    wait_ms: u64,
}

impl Functions {
    pub(super) async fn load(url: &str, access: &Access) -> Result<Self, LedgerError> {
        let (route, timeouts) = (Route::new(url, access).await?, access.timeouts);
        let link = Link::connect(&route, timeouts).await?;
        let durability = super::start::check(&link).await?;
        let patient = match durability {
            Durability { waits_for_disk: false, replicas: 0 } => None,
            _ => {
                // `everysec` flushes once a second, and a second time where the first is under way.
                let longer = Timeouts { response: timeouts.response * 2, ..timeouts };
                let wait_ms = u64::try_from(timeouts.response.as_millis()).unwrap_or(u64::MAX).max(1);
                Some(Patient { link: link.beside(&route, longer).await?, durability, wait_ms })
            }
        };
        let functions = Self { link, patient };
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
        let Some(Patient { link, durability, wait_ms }) = &self.patient else {
            return self.once_loaded(command).await;
        };
        let replicas = durability.replicas;
        let mut both = ::redis::pipe();
        both.add_command(command.clone());
        if durability.waits_for_disk {
            both.cmd("WAITAOF").arg(1).arg(replicas).arg(*wait_ms);
        } else {
            both.cmd("WAIT").arg(replicas).arg(*wait_ms);
        }
        let (reply, waited): (Value, Value) = match link.query_all(&both).await {
            Err(error) if lacks_function(&error) => {
                self.reload(command).await?;
                link.pipeline(&both).await?
            }
            reply => reply.map_err(redis_error)?,
        };
        let (on_disk, on_replicas): (u32, u32) = match durability.waits_for_disk {
            true => from_redis_value(waited),
            false => from_redis_value(waited).map(|replicas: u32| (1, replicas)),
        }
        .map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        if on_disk < 1 {
            return Err(LedgerError::Unavailable("the write is not on disk yet".to_owned()));
        }
        if on_replicas < replicas {
            return Err(LedgerError::Unavailable(format!(
                "the write is on {on_replicas} of {replicas} replicas yet"
            )));
        }
        Ok(reply)
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

fn load_command() -> Cmd {
    let mut load = cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(library::text());
    load
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
