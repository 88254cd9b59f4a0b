//! A Redis Cluster of the test's own: three primaries, and a replica of each.

use redis::{Connection, cmd};

use crate::redis_server::{
    DURABLE, RedisServer, SECRET, USER, free_port, has_good_replica, is_replica_in_step, until,
};

pub(crate) const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

pub(crate) struct RedisCluster {
    /// The primaries it began with, then the replica of each.
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Ready when it returns. A shard whose primary is gone takes nothing with it.
    pub(crate) async fn start() -> Self {
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
        until("everyone knows everyone", || {
            cluster.nodes.iter().all(|node| {
                let info: String = ask(node, &["INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            })
        })
        .await;
        for (primary, replica) in ids.iter().zip(&cluster.nodes[PRIMARIES..]) {
            ask::<String>(replica, &["REPLICATE", primary]);
        }
        for replica in &cluster.nodes[PRIMARIES..] {
            until("a replica follows", || is_replica_in_step(replica)).await;
        }
        for primary in &cluster.nodes[..PRIMARIES] {
            until("a primary counts on its replica", || has_good_replica(primary)).await;
        }
        cluster
    }

    /// For [`USER`].
    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{USER}:{SECRET}@{}", nodes.join(","))
    }

    /// Makes the replica `node` the primary, without asking anyone, while its primary is gone; ready when all others know.
    pub(crate) async fn take_over(&self, node: usize, gone: usize) {
        let id: String = ask(&self.nodes[node], &["MYID"]);
        ask::<String>(&self.nodes[node], &["FAILOVER", "TAKEOVER"]);
        let others = || self.nodes.iter().enumerate().filter(|(index, _)| *index != gone);
        until("everyone knows the new primary", || others().all(|(_, other)| is_primary_to(other, &id)))
            .await;
    }
}

/// Whether `node` takes the node `id` for a primary.
fn is_primary_to(node: &RedisServer, id: &str) -> bool {
    let known: String = ask(node, &["NODES"]);
    let flags = known.lines().find_map(|line| line.strip_prefix(id)?.split_whitespace().nth(1));
    flags.is_some_and(|flags| flags.split(',').any(|flag| flag == "master"))
}

fn node() -> RedisServer {
    let bus = free_port().to_string();
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
