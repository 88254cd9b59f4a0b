//! Calls over a wire: every one has a deadline, an outage is an error within it and never a wait, and while the store is
//! known to be gone it is an error at once.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    from_redis_value,
};
use tokio::sync::Semaphore;

use super::access::Timeouts;
use super::breaker::{Breaker, Part};
use super::primaries::Primary;
use super::wire::{Ask, Route, Wire, first_key, timed_out};
use crate::LedgerError;

/// Calls under way at once; more wait within their deadline.
const MAX_CALLS: usize = 1024;

#[derive(Clone)]
pub(super) struct Link {
    wire: Arc<Wire>,
    breaker: Arc<Breaker>,
    calls: Arc<Semaphore>,
    /// The deadline of a call, a reconnection included.
    deadline: Duration,
}

impl Link {
    pub(super) async fn connect(route: &Route, timeouts: Timeouts) -> Result<Self, LedgerError> {
        Self::with(route, timeouts, Arc::default()).await
    }

    /// Another to the same place: what one finds gone is gone for both.
    pub(super) async fn beside(&self, route: &Route, timeouts: Timeouts) -> Result<Self, LedgerError> {
        Self::with(route, timeouts, Arc::clone(&self.breaker)).await
    }

    async fn with(route: &Route, timeouts: Timeouts, breaker: Arc<Breaker>) -> Result<Self, LedgerError> {
        let wire = Arc::new(route.wire(timeouts).await?);
        let link =
            Self { wire, breaker, calls: Arc::new(Semaphore::new(MAX_CALLS)), deadline: timeouts.deadline() };
        // Where there is nobody, and where the password is wrong, it shows now.
        within(link.deadline, link.wire.ping()).await.map_err(not_opened)?;
        Ok(link)
    }

    pub(super) async fn command<Answer: FromRedisValue>(&self, command: &Cmd) -> Result<Answer, LedgerError> {
        self.query(command).await.map_err(redis_error)
    }

    pub(super) async fn pipeline<Answer: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Answer, LedgerError> {
        self.query_all(pipeline).await.map_err(redis_error)
    }

    pub(super) async fn query<Answer: FromRedisValue>(&self, command: &Cmd) -> RedisResult<Answer> {
        self.ask(Ask::One(command), Some(command)).await
    }

    /// The same for several commands at once.
    pub(super) async fn query_all<Answer: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<Answer> {
        self.ask(Ask::All(pipeline), pipeline.cmd_iter().next()).await
    }

    /// What every primary answers.
    pub(super) async fn everywhere(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        within(self.deadline, self.wire.ask_primaries(command)).await
    }

    /// `command`, at the primary that has the first key of `like`.
    pub(super) async fn beside_of(&self, like: &Cmd, command: &Cmd) -> RedisResult<Value> {
        within(self.deadline, self.wire.ask_where(like, command)).await
    }

    /// Every server that holds keys.
    pub(super) async fn primaries(&self) -> Result<Vec<Primary>, LedgerError> {
        within(self.deadline, self.wire.primaries()).await.map_err(redis_error)
    }

    /// `command`, at one of them.
    pub(super) async fn at(&self, primary: &Primary, command: &Cmd) -> Result<Value, LedgerError> {
        within(self.deadline, self.wire.ask_at(primary, command)).await.map_err(redis_error)
    }

    /// Whether something answers.
    pub(super) async fn ping(&self) -> Result<(), LedgerError> {
        let pinged = match self.wire.is_cluster() {
            // One shard's outage is not the whole's.
            true => within(self.deadline, self.wire.ping()).await,
            false => self.guarded(Part(String::new()), self.wire.ping()).await,
        };
        pinged.map_err(redis_error)
    }

    /// The part with which `command` may be sent in one pipeline; none for a key of a cluster that is in no shard.
    pub(super) fn together(&self, command: &Cmd) -> Option<Part> {
        match self.wire.is_cluster() {
            true => tag_of(command).map(Part),
            false => Some(Part(String::new())),
        }
    }

    /// Whether everything answered when it was last asked.
    pub(super) fn is_up(&self) -> bool {
        self.breaker.is_closed()
    }

    async fn ask<Answer: FromRedisValue>(&self, ask: Ask<'_>, first: Option<&Cmd>) -> RedisResult<Answer> {
        let part = match first.filter(|_| self.wire.is_cluster()) {
            Some(command) => Part(tag_of(command).unwrap_or_default()),
            None => Part(String::new()),
        };
        let value = self.guarded(part, self.wire.ask(ask)).await?;
        Ok(from_redis_value(value)?)
    }

    async fn guarded<Answer>(
        &self,
        part: Part,
        call: impl Future<Output = RedisResult<Answer>>,
    ) -> RedisResult<Answer> {
        let Some(pass) = self.breaker.pass(part) else { return Err(known_gone()) };
        let answer = within(self.deadline, async {
            // Nobody closes it.
            let _place = self.calls.acquire().await.map_err(|_| timed_out())?;
            call.await
        })
        .await;
        match &answer {
            Err(error) if is_gone(error) => pass.failed(error),
            _ => pass.answered(),
        }
        answer
    }
}

impl std::fmt::Debug for Link {
    /// Without the route, which may have a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

async fn within<Answer>(
    deadline: Duration,
    answer: impl Future<Output = RedisResult<Answer>>,
) -> RedisResult<Answer> {
    tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| Err(timed_out()))
}

/// The hash tag of the command's first key: what is on one primary together.
fn tag_of(command: &Cmd) -> Option<String> {
    let (tag, _) = first_key(command)?.strip_prefix("cocoon:{")?.split_once('}')?;
    Some(tag.to_owned())
}

/// An error of the way to the server, or of one that has nothing to say yet.
pub(super) fn is_gone(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound | ErrorKind::MasterNameNotFoundBySentinel => {
            true
        }
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        _ => false,
    }
}

fn known_gone() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::NotConnected, "it was gone a moment ago").into()
}

/// States that a server gets out of by itself or by its operator's hand; it says so whether a command meets them or one that a
/// function calls.
const PASSING: [&str; 5] = ["NOREPLICAS", "MISCONF", "OOM", "READONLY", "MASTERDOWN"];

/// How a function fails whose user may not do what it does: Redis before 7.2 says the first, later ones and Valkey the other.
const NOT_ALLOWED: [&str; 2] = ["The user executing the script can't", "ACL failure in script"];

/// A failing function or an unreadable reply means the server holds something else than we put there; what another
/// try may get past is `Unavailable`.
pub(super) fn redis_error(error: RedisError) -> LedgerError {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => LedgerError::Corrupt(message),
        ErrorKind::InvalidClientConfig
        | ErrorKind::AuthenticationFailed
        | ErrorKind::Server(ServerErrorKind::NoPerm) => LedgerError::Configuration(message),
        _ if NOT_ALLOWED.iter().any(|words| message.contains(words)) => LedgerError::Configuration(message),
        // A function that was stopped by one of these has written nothing: it is refused before its first write.
        _ if error.code().is_some_and(|code| PASSING.contains(&code)) => LedgerError::Unavailable(message),
        _ if error.code() == Some("WRONGTYPE") || message.contains("@user_function") => {
            LedgerError::Corrupt(message)
        }
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => LedgerError::Configuration(message),
        _ => LedgerError::Unavailable(message),
    }
}

/// The same for the first words to a server. That TLS finds wrong with it, or it with us, stays wrong until somebody changes a
/// file; later it is no more than an outage, which certificates that are renewed get past.
pub(super) fn not_opened(error: RedisError) -> LedgerError {
    match io_kind(&error) {
        Some(std::io::ErrorKind::InvalidData) => LedgerError::Configuration(format!("TLS: {error}")),
        _ => redis_error(error),
    }
}

fn io_kind(error: &RedisError) -> Option<std::io::ErrorKind> {
    // As the client keeps it: an error that is shared.
    let shared =
        std::error::Error::source(error)?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    Some(shared.downcast_ref::<std::io::Error>()?.kind())
}

/// A command that this server does not have or does not allow, which no other try gets past.
pub(super) fn unless_refused(error: RedisError, needed: &str) -> LedgerError {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoPerm) => {
            LedgerError::Configuration(format!("{needed}: {error}"))
        }
        _ => redis_error(error),
    }
}

/// Whether the server lost our library (a restart without its file, `FUNCTION FLUSH`, another primary).
pub(super) fn lacks_function(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// Strings of a reply that is a list of them.
pub(super) fn strings(value: Value) -> Result<Vec<String>, LedgerError> {
    from_redis_value(value).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use ::redis::cmd;

    use super::*;

    #[test]
    fn a_server_that_takes_no_writes_now_is_unavailable_also_from_within_a_function() {
        let error = |code: &str, detail: &str| {
            let line = format!("-{code} {detail} script: cocoon2_grant, on @user_function:1.\r\n");
            let parsed = ::redis::parse_redis_value(line.as_bytes()).unwrap();
            redis_error(parsed.extract_error().unwrap_err())
        };
        for code in PASSING {
            assert!(matches!(error(code, "not now"), LedgerError::Unavailable(_)), "{code}");
        }
        assert!(matches!(error("ERR", "attempt to index a nil value"), LedgerError::Corrupt(_)));
        for denied in NOT_ALLOWED {
            assert!(matches!(error("ERR", denied), LedgerError::Configuration(_)), "{denied}");
        }
    }

    #[test]
    fn a_call_is_of_its_shards_part() {
        let mut call = cmd("FCALL");
        call.arg("cocoon2_bind").arg(2).arg("cocoon:{s07}:clock").arg("cocoon:{s07}:leases");
        assert_eq!(tag_of(&call).as_deref(), Some("s07"));
        assert_eq!(tag_of(cmd("GET").arg("cocoon:keyset:x")), None);
        assert_eq!(
            tag_of(cmd("SET").arg("cocoon:keyset:x").arg("cocoon:{s01}:value")),
            None,
            "a value is none"
        );
    }
}
