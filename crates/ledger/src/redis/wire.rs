//! Connections of the three kinds: to one server, to the primary that sentinels name, to a cluster.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, Route as Slots, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisConnectionInfo, RedisError,
    RedisResult, ServerErrorKind, TlsMode, Value, cmd,
};
use tokio::sync::Mutex;

use super::access::{Access, Timeouts, password};
use super::address::{Address, Kind};
use crate::LedgerError;

/// Tries of one call in a cluster: redirections, and a shard whose primary is being replaced. The deadline of the call
/// ends them first.
const CLUSTER_TRIES: u32 = 64;
/// Between them, milliseconds.
const CLUSTER_WAIT_MS: (u64, u64) = (10, 200);

/// Arguments of a command among which its first key is.
const KEY_WITHIN: usize = 4;

/// What is sent at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'a> {
    One(&'a Cmd),
    All(&'a Pipeline),
}

impl Ask<'_> {
    async fn on(self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::All(pipeline) => pipeline.query_async(connection).await,
        }
    }
}

/// How connections are made; makes them for any [`Timeouts`].
pub(super) struct Route {
    address: Address,
    access: Access,
    settings: RedisConnectionInfo,
}

impl Route {
    pub(super) async fn new(url: &str, access: &Access) -> Result<Self, LedgerError> {
        let address = Address::parse(url)?;
        if access.names_certificates() && !address.tls {
            return Err(configuration(
                "certificates are of no use without TLS: the URL's scheme must be rediss",
            ));
        }
        if access.names_sentinels() && !matches!(address.kind, Kind::Sentinel { .. }) {
            return Err(configuration("a password for sentinels is of no use without them"));
        }
        let secret = match (&access.password_file, &address.password) {
            (Some(_), Some(_)) => {
                return Err(configuration("the password is in the URL and in a file: one of them must go"));
            }
            (Some(path), None) => Some(password(path).await?),
            (None, in_url) => in_url.clone(),
        };
        let mut settings = RedisConnectionInfo::default().set_db(address.database);
        if let Some(user) = &address.user {
            settings = settings.set_username(user);
        }
        if let Some(secret) = &secret {
            settings = settings.set_password(secret);
        }
        Ok(Self { address, access: access.clone(), settings })
    }

    /// Connects. Later connections are made where they are needed.
    pub(super) async fn wire(&self, timeouts: Timeouts) -> Result<Wire, LedgerError> {
        let invalid = |error: RedisError| LedgerError::Configuration(error.to_string());
        let wire = match &self.address.kind {
            Kind::Server => {
                Wire::Line(Box::new(Line::new(Source::Server(Box::new(self.server().await?)), timeouts)))
            }
            Kind::Sentinel { service } => {
                let sentinels = Box::new(self.sentinels(service).await?);
                Wire::Line(Box::new(Line::new(Source::Sentinels(sentinels), timeouts)))
            }
            Kind::Cluster => {
                let client = self.cluster(timeouts).await?;
                let connecting = Box::pin(client.get_async_connection());
                let connected = tokio::time::timeout(timeouts.deadline(), connecting).await;
                let connection = connected.unwrap_or_else(|_| Err(timed_out()));
                Wire::Cluster(connection.map_err(|error| match error.kind() {
                    ErrorKind::InvalidClientConfig => invalid(error),
                    _ => super::link::redis_error(error),
                })?)
            }
        };
        Ok(wire)
    }

    async fn server(&self) -> Result<Client, LedgerError> {
        let Some(node) = self.address.nodes.first() else { return Err(configuration("no server is named")) };
        let node = node.clone().set_redis_settings(self.settings.clone());
        let client = match self.address.tls {
            true => Client::build_with_tls(node, self.access.certificates().await?),
            false => Client::open(node),
        };
        client.map_err(|error| LedgerError::Configuration(error.to_string()))
    }

    async fn sentinels(&self, service: &str) -> Result<SentinelClient, LedgerError> {
        let invalid = |error: RedisError| LedgerError::Configuration(error.to_string());
        let nodes = self.address.nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(nodes, service, SentinelServerType::Master)
            .map_err(invalid)?
            .set_client_to_redis_db(self.settings.db());
        if let Some(user) = self.settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(secret) = self.settings.password() {
            builder = builder.set_client_to_redis_password(secret);
        }
        if let Some(user) = &self.access.sentinel_user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(path) = &self.access.sentinel_password_file {
            builder = builder.set_client_to_sentinel_password(password(path).await?);
        }
        if self.address.tls {
            let certificates = self.access.certificates().await?;
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(certificates);
        }
        builder.build().map_err(invalid)
    }

    async fn cluster(&self, timeouts: Timeouts) -> Result<ClusterClient, LedgerError> {
        let mut builder = ClusterClient::builder(self.address.nodes.clone())
            .retries(CLUSTER_TRIES)
            .min_retry_wait(CLUSTER_WAIT_MS.0)
            .max_retry_wait(CLUSTER_WAIT_MS.1)
            .connection_timeout(timeouts.connect)
            .response_timeout(timeouts.response);
        if let Some(user) = self.settings.username() {
            builder = builder.username(user);
        }
        if let Some(secret) = self.settings.password() {
            builder = builder.password(secret);
        }
        if self.address.tls {
            builder = builder.tls(TlsMode::Secure).certs(self.access.certificates().await?);
        }
        builder.build().map_err(|error| LedgerError::Configuration(error.to_string()))
    }
}

/// A way to the servers that lasts longer than one connection.
pub(super) enum Wire {
    Line(Box<Line>),
    Cluster(ClusterConnection),
}

impl Wire {
    pub(super) async fn ask(&self, ask: Ask<'_>) -> RedisResult<Value> {
        match self {
            Self::Line(line) => line.ask(ask).await,
            Self::Cluster(connection) => ask.on(&mut connection.clone()).await,
        }
    }

    /// Sends `command` to the primary that has the first key of `like`.
    pub(super) async fn ask_where(&self, like: &Cmd, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Line(line) => line.ask(Ask::One(command)).await,
            Self::Cluster(connection) => {
                let there = match first_key(like) {
                    Some(key) => SingleNodeRoutingInfo::SpecificNode(Slots::with_key(key, SlotAddr::Master)),
                    None => SingleNodeRoutingInfo::RandomPrimary,
                };
                let there = RoutingInfo::SingleNode(there);
                connection.clone().route_command(command.clone(), there).await?.extract_error()
            }
        }
    }

    /// What every primary answers.
    pub(super) async fn ask_primaries(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        match self {
            Self::Line(line) => Ok(vec![line.ask(Ask::One(command)).await?]),
            Self::Cluster(connection) => {
                let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match connection.clone().route_command(command.clone(), everywhere).await?.extract_error()? {
                    Value::Map(answers) => Ok(answers.into_iter().map(|(_, answer)| answer).collect()),
                    other => Ok(vec![other]),
                }
            }
        }
    }

    /// Whether anything is there that answers: in a cluster one primary, as the others may well serve.
    pub(super) async fn ping(&self) -> RedisResult<()> {
        match self {
            Self::Line(line) => line.ask(Ask::One(&cmd("PING"))).await.map(drop),
            Self::Cluster(connection) => {
                let one = ResponsePolicy::OneSucceeded;
                let anywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, Some(one)));
                connection.clone().route_command(cmd("PING"), anywhere).await.map(drop)
            }
        }
    }

    /// Whether parts of it fail by themselves.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// Where a connection comes from.
enum Source {
    Server(Box<Client>),
    Sentinels(Box<SentinelClient>),
}

/// One connection at a time, made anew by whoever finds it broken while the others wait for that.
pub(super) struct Line {
    current: RwLock<Option<(u64, MultiplexedConnection)>>,
    maker: Mutex<Maker>,
    /// Tries to connect so far.
    tries: AtomicU64,
    config: AsyncConnectionConfig,
}

struct Maker {
    source: Source,
    last_error: Option<RedisError>,
}

impl Line {
    fn new(source: Source, timeouts: Timeouts) -> Self {
        Self {
            current: RwLock::default(),
            maker: Mutex::new(Maker { source, last_error: None }),
            tries: AtomicU64::new(0),
            config: AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeouts.connect))
                .set_response_timeout(Some(timeouts.response)),
        }
    }

    /// Once more where the connection turned out to be dead: every call is idempotent, and the server may have been
    /// back for long.
    async fn ask(&self, ask: Ask<'_>) -> RedisResult<Value> {
        match self.ask_once(ask).await {
            Err(error) if error.is_connection_dropped() || is_demoted(&error) => self.ask_once(ask).await,
            answer => answer,
        }
    }

    async fn ask_once(&self, ask: Ask<'_>) -> RedisResult<Value> {
        let (number, mut connection) = self.connection().await?;
        let answer = ask.on(&mut connection).await;
        if answer.as_ref().is_err_and(|error| error.is_io_error() || is_demoted(error)) {
            self.forget(number);
        }
        answer
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let tries = self.tries.load(Ordering::SeqCst);
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut maker = self.maker.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if self.tries.load(Ordering::SeqCst) != tries {
            // Another one has just tried: a hundred callers do not knock a hundred times.
            return Err(maker.last_error.clone().unwrap_or_else(timed_out));
        }
        let number = self.tries.fetch_add(1, Ordering::SeqCst) + 1;
        maker.last_error = None;
        // Boxed: connecting is rare, and all that calls would otherwise be as large as it.
        let made = match &mut maker.source {
            Source::Server(client) => {
                Box::pin(client.get_multiplexed_async_connection_with_config(&self.config)).await
            }
            Source::Sentinels(sentinels) => {
                Box::pin(sentinels.get_async_connection_with_config(&self.config)).await
            }
        };
        match made {
            Ok(connection) => {
                let current = (number, connection);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(current.clone());
                Ok(current)
            }
            Err(error) => {
                maker.last_error = Some(error.clone());
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops the connection, unless another has taken its place.
    fn forget(&self, number: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|(kept, _)| *kept == number) {
            *current = None;
        }
    }
}

/// The first argument of a command that is a key of ours.
pub(super) fn first_key(command: &Cmd) -> Option<&str> {
    command.args_iter().take(KEY_WITHIN).find_map(|argument| {
        let Arg::Simple(bytes) = argument else { return None };
        std::str::from_utf8(bytes).ok().filter(|key| key.starts_with("cocoon:"))
    })
}

/// It was the primary and is a replica now.
fn is_demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) || error.code() == Some("UNBLOCKED")
}

pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

fn configuration(reason: &str) -> LedgerError {
    LedgerError::Configuration(reason.to_owned())
}
