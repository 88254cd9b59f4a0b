//! Calls of our function library. Its name carries its version; older ones stay on the server until nobody calls
//! them.

use ::redis::{Cmd, Value, cmd};

use crate::LedgerError;
use crate::redis::link::{Durability, Link, Timeouts, lacks_function, redis_error, strings, unless_refused};

/// The library: its parts in the order in which they need each other.
const LIBRARY: &str = concat!(
    include_str!("functions/books.lua"),
    include_str!("functions/limits.lua"),
    include_str!("functions/create.lua"),
    include_str!("functions/holds.lua"),
    include_str!("functions/settle.lua"),
    include_str!("functions/endings.lua"),
    include_str!("functions/booking.lua"),
    include_str!("functions/answers.lua"),
    include_str!("functions/key_registry.lua"),
);

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
    Standing,
    PutKey,
    RevokeKey,
    IsRevoked,
    SetLimits,
}

impl Function {
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
            Self::Standing => "cocoon2_standing",
            Self::PutKey => "cocoon2_put_key",
            Self::RevokeKey => "cocoon2_revoke_key",
            Self::IsRevoked => "cocoon2_is_revoked",
            Self::SetLimits => "cocoon2_set_limits",
        }
    }
}

#[derive(Debug)]
pub(super) struct Functions {
    link: Link,
    /// Where replies are awaited until they are on disk; none where every reply is.
    durable: Option<(Link, u64)>,
}

impl Functions {
    pub(super) async fn load(url: &str, timeouts: Timeouts) -> Result<Self, LedgerError> {
        let link = Link::connect(url, timeouts).await?;
        let durable = match super::start::check(&link).await? {
            Durability::Always => None,
            Durability::WaitAof => {
                // `everysec` flushes once a second, and a second time where the first is under way.
                let patient = Timeouts { response: timeouts.response * 2, ..timeouts };
                let wait_ms = u64::try_from(timeouts.response.as_millis()).unwrap_or(u64::MAX).max(1);
                Some((Link::connect(url, patient).await?, wait_ms))
            }
        };
        let functions = Self { link, durable };
        functions.reload().await?;
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
        let command = fcall(function, keys, args);
        let reply = match self.link.query(&command).await {
            Err(error) if lacks_function(&error) => {
                self.reload().await?;
                self.link.command(&command).await?
            }
            reply => reply.map_err(redis_error)?,
        };
        unless_overflow(strings(reply)?)
    }

    /// The same, answered only once it is on disk. A repetition waits too: its first try may not have got there.
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
        let Some((link, wait_ms)) = &self.durable else {
            return match self.link.query(command).await {
                Err(error) if lacks_function(&error) => {
                    self.reload().await?;
                    self.link.command(command).await
                }
                reply => reply.map_err(redis_error),
            };
        };
        let mut both = ::redis::pipe();
        both.add_command(command.clone()).cmd("WAITAOF").arg(1).arg(0).arg(*wait_ms);
        let (reply, (local, _)): (Value, (i64, i64)) = match link.query_all(&both).await {
            Err(error) if lacks_function(&error) => {
                self.reload().await?;
                link.pipeline(&both).await?
            }
            reply => reply.map_err(redis_error)?,
        };
        if local < 1 {
            return Err(LedgerError::Unavailable("the write is not on disk yet".to_owned()));
        }
        Ok(reply)
    }

    async fn reload(&self) -> Result<(), LedgerError> {
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(LIBRARY);
        let loaded: Result<Value, _> = self.link.query(&load).await;
        loaded.map(drop).map_err(|error| unless_refused(error, "Redis 7 with its functions is needed"))
    }
}

fn fcall(function: Function, keys: &[String], args: &[String]) -> Cmd {
    let mut command = cmd("FCALL");
    command.arg(function.name()).arg(keys.len()).arg(keys).arg(args);
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
            Function::Standing,
            Function::PutKey,
            Function::RevokeKey,
            Function::IsRevoked,
            Function::SetLimits,
        ];
        for function in all {
            assert!(
                LIBRARY.contains(&format!("redis.register_function('{}',", function.name())),
                "{function:?}"
            );
        }
        assert!(LIBRARY.starts_with("#!lua name=cocoon2\n"));
    }
}
