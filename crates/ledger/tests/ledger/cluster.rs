//! A cluster that loses primaries while it is written to, each time with writes that it had acknowledged: what a replica
//! did not have yet comes back with the outboxes, and what had to be durable was never lost.

use std::sync::Arc;
use std::time::Duration;

use cocoon_ledger::redis::{Access, RedisLedger, Timeouts};
use cocoon_ledger::{Options, ShardCount};

use crate::redis_cluster::{PRIMARIES, RedisCluster};
use crate::redis_server::{is_replica_in_step, offset, until};
use crate::writers::Writers;

/// Bytes of the replication stream that a replica is kept from: the writes of some requests.
const LOST: u64 = 16 * 1024;

fn options() -> Options {
    Options { shards: ShardCount::new(16).unwrap(), ..Options::default() }
}

/// Cuts a pair's replica off, lets writes go on for a moment, kills the primary and makes the replica the primary; then
/// the killed node comes back as its replica.
async fn lose_a_primary(cluster: &mut RedisCluster, primary: usize) {
    let replica = (primary + PRIMARIES) % (2 * PRIMARIES);
    // So that there is something to lose: otherwise a primary that has lost its replica takes no more writes.
    let mut client = cluster.nodes[primary].client();
    redis::cmd("CONFIG").arg(&["SET", "min-replicas-to-write", "0"]).exec(&mut client).unwrap();
    cluster.nodes[replica].signal("STOP");
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).exec(&mut client).unwrap();
    let cut_off = offset(&cluster.nodes[primary]);
    until("writes that the replica has not", || offset(&cluster.nodes[primary]) > cut_off + LOST).await;
    cluster.nodes[primary].kill();
    cluster.nodes[replica].signal("CONT");
    cluster.take_over(replica, primary).await;
    cluster.nodes[primary].restart();
    until("the killed node follows its replica", || is_replica_in_step(&cluster.nodes[primary])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primaries_lost_under_load_cost_nothing() {
    let rounds = if std::env::var_os("COCOON_TEST_FULL").is_some() { 8 } else { 2 };
    let mut cluster = RedisCluster::start().await;
    let access = Access {
        timeouts: Timeouts { connect: Duration::from_millis(500), response: Duration::from_secs(1) },
        ..Access::default()
    };
    let ledger = RedisLedger::connect_with(&cluster.url(), options(), &access).await.unwrap();
    let writers = Writers::begin(Arc::new(ledger)).await;
    for round in 0..rounds {
        // The second time a pair is hit, it is the other of the two.
        lose_a_primary(&mut cluster, round % (2 * PRIMARIES)).await;
    }
    println!("primaries lost        {rounds}");
    assert!(writers.end().await.lost > 0, "nothing was lost: the run shows nothing");
}
