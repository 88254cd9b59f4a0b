//! The connection: every command has a deadline, and an outage is an error within it, never a wait.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use ::redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use crate::LedgerError;

/// How long the server may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer a command; one that waits for the disk may take twice as long.
    pub response: Duration,
}

impl Default for Timeouts {
    /// 1 s and 2 s.
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(2) }
    }
}

/// How a reply is known to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// `appendfsync always`: no write is answered before.
    Always,
    /// WAITAOF, on a connection of its own: it makes what follows on the same one wait.
    WaitAof,
}

#[derive(Clone)]
pub(super) struct Link {
    manager: ConnectionManager,
    /// The deadline of a command, a reconnection included.
    deadline: Duration,
}

impl Link {
    pub(super) async fn connect(url: &str, timeouts: Timeouts) -> Result<Self, LedgerError> {
        let client =
            ::redis::Client::open(url).map_err(|error| LedgerError::Configuration(error.to_string()))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(200));
        let deadline = timeouts.connect + timeouts.response;
        let connecting = ConnectionManager::new_with_config(client, config);
        let manager = within(deadline, connecting).await.map_err(redis_error)?;
        Ok(Self { manager, deadline })
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

    /// Once more where the connection turned out to be dead: every call is idempotent, and the server may have
    /// been back for long.
    pub(super) async fn query<Answer: FromRedisValue>(&self, command: &Cmd) -> RedisResult<Answer> {
        let mut manager = self.manager.clone();
        within(self.deadline, async move {
            match command.query_async(&mut manager).await {
                Err(error) if error.is_connection_dropped() => command.query_async(&mut manager).await,
                result => result,
            }
        })
        .await
    }

    /// The same for several commands at once.
    pub(super) async fn query_all<Answer: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<Answer> {
        let mut manager = self.manager.clone();
        within(self.deadline, async move {
            match pipeline.query_async(&mut manager).await {
                Err(error) if error.is_connection_dropped() => pipeline.query_async(&mut manager).await,
                result => result,
            }
        })
        .await
    }
}

impl std::fmt::Debug for Link {
    /// Without the URL, which may carry a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("database", &self.manager.get_db()).finish_non_exhaustive()
    }
}

async fn within<Answer>(
    deadline: Duration,
    answer: impl Future<Output = RedisResult<Answer>>,
) -> RedisResult<Answer> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// A failing function or an unreadable reply means the server holds something else than we put there; what another
/// try may get past is `Unavailable`.
pub(super) fn redis_error(error: RedisError) -> LedgerError {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => LedgerError::Corrupt(message),
        ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed => {
            LedgerError::Configuration(message)
        }
        _ if error.code() == Some("WRONGTYPE") || message.contains("@user_function") => {
            LedgerError::Corrupt(message)
        }
        _ => LedgerError::Unavailable(message),
    }
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
    ::redis::from_redis_value(value).map_err(|error| LedgerError::Corrupt(error.to_string()))
}
