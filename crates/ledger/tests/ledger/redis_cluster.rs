//! A Redis Cluster of the test's own: three primaries, and a replica of each.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use redis::{Connection, cmd};

use crate::redis_server::{DURABLE, RedisServer};

pub(crate) const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct RedisCluster {
    /// The primaries it began with, then the replica of each.
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Ready when it returns. A shard whose primary is gone takes nothing with it.
    pub(crate) fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..2 * PRIMARIES).map(|_| node()).collect();
        let cluster = Self { nodes };
        let first = &cluster.nodes[0];
        let ids: Vec<String> = cluster.nodes.iter().map(|node| ask(node, &["MYID"])).collect();
        for (index, node) in cluster.nodes.iter().enumerate() {
            ask::<String>(node, &["SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index > 0 {
                let (port, bus) = (node.port().to_string(), bus_of(node));
                ask::<String>(first, &["MEET", "127.0.0.1", &port, &bus]);
            }
        }
        for (index, node) in cluster.nodes[..PRIMARIES].iter().enumerate() {
            let (from, to) = (index * SLOTS / PRIMARIES, (index + 1) * SLOTS / PRIMARIES - 1);
            ask::<String>(node, &["ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        cluster.until("everyone knows everyone", |cluster| {
            cluster.nodes.iter().all(|node| {
                let info: String = ask(node, &["INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            })
        });
        for (primary, replica) in ids.iter().zip(&cluster.nodes[PRIMARIES..]) {
            ask::<String>(replica, &["REPLICATE", primary]);
        }
        for replica in &cluster.nodes[PRIMARIES..] {
            cluster.until("a replica follows", |_| is_replica_in_step(replica));
        }
        for primary in &cluster.nodes[..PRIMARIES] {
            cluster.until("a primary counts on its replica", |_| has_good_replica(primary));
        }
        cluster
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }

    /// Makes the replica of `pair` the primary, without asking anyone.
    pub(crate) fn take_over(&self, node: usize) {
        ask::<String>(&self.nodes[node], &["FAILOVER", "TAKEOVER"]);
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub(crate) fn is_replica_in_step(node: &RedisServer) -> bool {
    let info: String = cmd("INFO").arg("replication").query(&mut node.client()).unwrap();
    info.contains("role:slave") && info.contains("master_link_status:up")
}

/// Whether it takes writes again: `min-replicas-to-write` are in step.
fn has_good_replica(node: &RedisServer) -> bool {
    let info: String = cmd("INFO").arg("replication").query(&mut node.client()).unwrap();
    info.contains("min_slaves_good_slaves:1")
}

fn node() -> RedisServer {
    let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let more = [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        bus.as_str(),
        "--cluster-node-timeout",
        "2000",
        "--cluster-require-full-coverage",
        "no",
        "--min-replicas-to-write",
        "1",
        "--repl-diskless-sync-delay",
        "0",
    ];
    RedisServer::with(&[&DURABLE[..], &more].concat())
}

fn bus_of(node: &RedisServer) -> String {
    let (_, port): (String, String) =
        cmd("CONFIG").arg("GET").arg("cluster-port").query(&mut node.client()).unwrap();
    port
}

fn ask<Answer: redis::FromRedisValue>(node: &RedisServer, words: &[&str]) -> Answer {
    let mut connection: Connection = node.client();
    cmd("CLUSTER").arg(words).query(&mut connection).unwrap()
}
