//! A Redis URL: which servers, of which kind, for whom.

use percent_encoding::percent_decode_str;
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::LedgerError;

/// Nodes that a URL may name.
const MAX_NODES: usize = 64;

/// What kind of deployment the nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    /// The nodes are sentinels, which know the primary of this service.
    Sentinel {
        service: String,
    },
    Cluster,
}

/// A URL that was understood. Not `Debug`: it may have a password.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) kind: Kind,
    pub(super) tls: bool,
    /// At least one; without user, password and database.
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

/// Whether the scheme of `url` is one of a Redis.
pub(crate) fn is_redis(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme_of(scheme).is_some())
}

/// The kind's name and whether it is over TLS.
fn scheme_of(scheme: &str) -> Option<(&'static str, bool)> {
    match scheme {
        "redis" => Some(("server", false)),
        "rediss" => Some(("server", true)),
        "redis+sentinel" => Some(("sentinel", false)),
        "rediss+sentinel" => Some(("sentinel", true)),
        "redis-cluster" => Some(("cluster", false)),
        "rediss-cluster" => Some(("cluster", true)),
        _ => None,
    }
}

impl Address {
    /// # Errors
    /// [`LedgerError::Configuration`], which never repeats the URL: it may have a password.
    pub(super) fn parse(url: &str) -> Result<Self, LedgerError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("is none"))?;
        let (kind, tls) = scheme_of(scheme).ok_or_else(|| wrong("has an unknown scheme"))?;
        // `#insecure` would be one: a certificate is always checked.
        if rest.contains(['?', '#']) {
            return Err(wrong("must not have a query or a fragment"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (who, nodes) = match authority.rsplit_once('@') {
            Some((who, nodes)) => (who, nodes),
            None => ("", authority),
        };
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        let (user, password) = (decoded(user)?, decoded(password)?);
        let nodes: Vec<ConnectionInfo> =
            nodes.split(',').map(|node| node_at(node, tls)).collect::<Result<_, _>>()?;
        if nodes.len() > MAX_NODES {
            return Err(wrong("names too many servers"));
        }
        let (kind, database) = match kind {
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                let service = decoded(service)?
                    .ok_or_else(|| wrong("must end with /SERVICE, as the sentinels call it"))?;
                (Kind::Sentinel { service }, database)
            }
            "cluster" if !path.is_empty() => {
                return Err(wrong("must not name a database: a cluster has one"));
            }
            "cluster" => (Kind::Cluster, ""),
            _ if nodes.len() > 1 => {
                return Err(wrong("names several servers, which redis-cluster:// or redis+sentinel:// may"));
            }
            _ => (Kind::Server, path),
        };
        let database = match database {
            "" => 0,
            number => number.parse::<u16>().map_err(|_| wrong("has a database that is no number"))?.into(),
        };
        Ok(Self { kind, tls, nodes, user, password, database })
    }
}

fn node_at(node: &str, tls: bool) -> Result<ConnectionInfo, LedgerError> {
    if node.is_empty() {
        return Err(wrong("names no server"));
    }
    let scheme = if tls { "rediss" } else { "redis" };
    format!("{scheme}://{node}")
        .into_connection_info()
        .map_err(|_| wrong("has a server that is not HOST:PORT"))
}

/// Percent-decoded; none where there is nothing.
fn decoded(text: &str) -> Result<Option<String>, LedgerError> {
    let decoded =
        percent_decode_str(text).decode_utf8().map_err(|_| wrong("has an escape that is not UTF-8"))?;
    Ok(Some(decoded.into_owned()).filter(|text| !text.is_empty()))
}

fn wrong(reason: &str) -> LedgerError {
    LedgerError::Configuration(format!("the ledger's URL {reason}"))
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    fn hosts(address: &Address) -> Vec<String> {
        address
            .nodes
            .iter()
            .map(|node| match node.addr() {
                ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
                ConnectionAddr::TcpTls { host, port, insecure, .. } => format!("{host}:{port} {insecure}"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn every_kind_is_understood() {
        let one = Address::parse("redis://127.0.0.1/3").unwrap();
        assert_eq!((one.kind.clone(), one.tls, one.database), (Kind::Server, false, 3));
        assert_eq!(hosts(&one), ["127.0.0.1:6379"]);
        let secret = Address::parse("rediss://gate%40way:p%2Fw%3A@redis.test:7000").unwrap();
        assert_eq!(hosts(&secret), ["redis.test:7000 false"]);
        assert_eq!(secret.user.as_deref(), Some("gate@way"));
        assert_eq!(secret.password.as_deref(), Some("p/w:"));
        let sentinels = Address::parse("redis+sentinel://:pw@a:1,[::1]:2/mymaster/1").unwrap();
        assert_eq!(sentinels.kind, Kind::Sentinel { service: "mymaster".into() });
        assert_eq!((hosts(&sentinels), sentinels.database), (vec!["a:1".into(), "::1:2".to_owned()], 1));
        assert_eq!((sentinels.user, sentinels.password.as_deref()), (None, Some("pw")));
        let cluster = Address::parse("rediss-cluster://a:1,b:2").unwrap();
        assert_eq!((cluster.kind.clone(), cluster.tls), (Kind::Cluster, true));
        assert_eq!(hosts(&cluster), ["a:1 false", "b:2 false"]);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, reason) in [
            ("redis:hunter2@a", "is none"),
            ("redis://u:hunter2@a:1,b:2", "several servers"),
            ("redis://u:hunter2@", "names no server"),
            ("redis://u:hunter2@a:port", "not HOST:PORT"),
            ("redis://u:hunter2@a/x", "no number"),
            ("rediss://u:hunter2@a#insecure", "fragment"),
            ("redis://u:hunter2@a?protocol=resp3", "query"),
            ("redis+sentinel://u:hunter2@a:1", "/SERVICE"),
            ("redis-cluster://u:hunter2@a:1/2", "database"),
            ("redis://u:hunter2%ff@a:1", "UTF-8"),
        ] {
            let Err(LedgerError::Configuration(message)) = Address::parse(url) else { panic!("{url}") };
            assert!(message.contains(reason) && !message.contains("hunter2"), "{url}: {message}");
        }
    }
}
