//! The servers that hold keys, one by one: a listing of keys is a server's own.

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, RedisResult, Value, cmd, from_redis_value};

use super::wire::{Ask, Wire};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Primary {
    /// There is no cluster.
    Only,
    Node {
        host: String,
        port: u16,
    },
}

impl Wire {
    pub(super) async fn primaries(&self) -> RedisResult<Vec<Primary>> {
        let Self::Cluster(connection) = self else { return Ok(vec![Primary::Only]) };
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = connection.clone().route_command(cmd("PING"), everywhere).await?.extract_error()?;
        let Value::Map(answers) = answers else { return Err(unnamed()) };
        answers.into_iter().map(|(address, _)| node(&from_redis_value::<String>(address)?)).collect()
    }

    pub(super) async fn ask_at(&self, primary: &Primary, command: &Cmd) -> RedisResult<Value> {
        match (self, primary) {
            (Self::Cluster(connection), Primary::Node { host, port }) => {
                let there = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let there = RoutingInfo::SingleNode(there);
                connection.clone().route_command(command.clone(), there).await?.extract_error()
            }
            _ => self.ask(Ask::One(command)).await,
        }
    }
}

fn node(address: &str) -> RedisResult<Primary> {
    let (host, port) = address.rsplit_once(':').ok_or_else(unnamed)?;
    let port = port.parse().map_err(|_| unnamed())?;
    Ok(Primary::Node { host: host.to_owned(), port })
}

fn unnamed() -> redis::RedisError {
    (ErrorKind::UnexpectedReturnType, "the cluster does not name its primaries").into()
}
