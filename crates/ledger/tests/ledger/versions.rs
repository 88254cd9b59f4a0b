//! Gateways of two versions on one Redis.

use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{Ledger, LedgerError};
use redis::{Connection, Value, cmd};
use tokio::task::JoinSet;

use crate::bench::{options, release};
use crate::redis_server::RedisServer;

/// Name and text of every library on the server, by name.
fn libraries(client: &mut Connection) -> Vec<(String, String)> {
    let list: Vec<std::collections::HashMap<String, Value>> =
        cmd("FUNCTION").arg("LIST").arg("WITHCODE").query(client).unwrap();
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).unwrap();
    let mut found: Vec<(String, String)> =
        list.iter().map(|one| (text(&one["library_name"]), text(&one["library_code"]))).collect();
    found.sort();
    found
}

/// What an older gateway put there: the same functions under another name.
fn older(client: &mut Connection) -> String {
    let (ours, text) = libraries(client).remove(0);
    let older = "cocoon1_0a1b2c3d".to_owned();
    cmd("FUNCTION").arg("LOAD").arg(text.replace(&ours, &older)).exec(client).unwrap();
    older
}

/// A call of that gateway.
fn expired(client: &mut Connection, library: &str) -> Vec<String> {
    let keys = ["cocoon:{s00}:clock", "cocoon:{s00}:leases", "cocoon:{s00}:days"];
    cmd("FCALL").arg(format!("{library}_expired")).arg(3).arg(&keys).arg("10").query(client).unwrap()
}

#[tokio::test]
async fn an_older_gateway_goes_on_beside_a_newer_one() {
    let server = RedisServer::start();
    let mut client = server.client();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    let older = older(&mut client);
    expired(&mut client, &older);
    // Another of the newer starts, and one of them is used.
    let another = RedisLedger::connect(&server.url(), options()).await.unwrap();
    for ledger in [&ledger, &another] {
        ledger.release(&release("alice", cocoon_receipts::RequestId::generate())).await.unwrap();
    }
    expired(&mut client, &older);
    let names: Vec<String> = libraries(&mut client).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0] == older && names[1].starts_with("cocoon2_"), "{names:?}");
}

#[tokio::test]
async fn another_build_of_the_same_version_is_not_replaced() {
    let server = RedisServer::start();
    let mut client = server.client();
    RedisLedger::connect(&server.url(), options()).await.unwrap();
    let (ours, text) = libraries(&mut client).remove(0);
    // It differs in a line, so its name does.
    let other = "cocoon2_ffffffff";
    let changed = text.replace(&ours, other).replace("local DAY_MS = 86400000", "local DAY_MS = 86400001");
    cmd("FUNCTION").arg("LOAD").arg(&changed).exec(&mut client).unwrap();
    RedisLedger::connect(&server.url(), options()).await.unwrap();
    let kept = libraries(&mut client);
    assert!(kept.contains(&(other.to_owned(), changed)) && kept.contains(&(ours, text)));
}

#[tokio::test]
async fn many_gateways_may_start_at_once() {
    let server = RedisServer::start();
    let mut starting = JoinSet::new();
    for _ in 0..12 {
        let url = server.url();
        starting.spawn(async move {
            let ledger = RedisLedger::connect(&url, options()).await.unwrap();
            ledger.release(&release("alice", cocoon_receipts::RequestId::generate())).await.unwrap();
        });
    }
    starting.join_all().await;
    assert_eq!(libraries(&mut server.client()).len(), 1);
}

#[tokio::test]
async fn a_newer_ledger_makes_an_older_gateway_refuse_to_start() {
    let server = RedisServer::start();
    RedisLedger::connect(&server.url(), options()).await.unwrap();
    cmd("HSET").arg("cocoon:schema").arg("schema").arg("3").exec(&mut server.client()).unwrap();
    let refused = RedisLedger::connect(&server.url(), options()).await;
    let Err(LedgerError::Schema(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("\"3\"") && reason.contains("knows 2"), "{reason}");
    let keys: Vec<String> = cmd("KEYS").arg("*").query(&mut server.client()).unwrap();
    assert_eq!(keys, ["cocoon:schema"], "it has touched nothing");
}
