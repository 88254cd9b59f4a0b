//! A user of Redis who may do what a ledger needs and nothing else. Its rule is the one in `docs/OPERATIONS.md`; the
//! conformance suite on Redis runs under it, and here it is shown that nothing of it can be left out.

use std::collections::BTreeSet;
use std::path::Path;

use cocoon_ledger::redis::{Access, RedisLedger};
use cocoon_ledger::{Ledger, LedgerError};
use cocoon_receipts::RequestId;
use redis::cmd;

use crate::bench::{name, options, release};
use crate::redis_server::{RedisServer, SECRET, USER};

/// For an operator, who reads how to make the user there.
const OPERATIONS: &str = include_str!("../../../../docs/OPERATIONS.md");

/// The rule's words after the user's name and password.
fn rule() -> Vec<&'static str> {
    let line = OPERATIONS
        .lines()
        .find_map(|line| line.strip_prefix("user cocoon on >PASSWORD "))
        .expect("docs/OPERATIONS.md has the rule");
    line.split_whitespace().collect()
}

/// What a server of its kind needs beside it.
fn more(program: &Path, settings: &[String]) -> Vec<&'static str> {
    let is_set = |setting: &str| settings.iter().any(|set| set == setting);
    let mut more = Vec::new();
    if is_set("--min-replicas-to-write") {
        more.extend(["+wait", "+role"]);
    }
    if is_set("--cluster-enabled") {
        more.extend(["+cluster|slots", "+asking"]);
    }
    // Debian's Redis does not know it, and a rule with an unknown command is refused.
    if is_set("everysec") && program.ends_with("valkey-server") {
        more.extend(["+waitaof", "+command|list"]);
    }
    more
}

/// The user as a setting of such a server.
pub(crate) fn user(program: &Path, settings: &[String]) -> Vec<String> {
    let password = format!(">{SECRET}");
    let words = ["--user", USER, "on", &password].into_iter().chain(rule()).chain(more(program, settings));
    words.map(str::to_owned).collect()
}

/// What the rule allows, as Redis counts calls.
fn commands() -> BTreeSet<String> {
    rule().into_iter().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

/// Guards against: a rule that has grown, or that allows what nobody calls any more. That it is enough is shown by the
/// conformance suite, which runs under it.
#[tokio::test]
async fn every_command_that_is_allowed_is_used() {
    let server = RedisServer::start();
    cmd("CONFIG").arg("RESETSTAT").exec(&mut server.client()).unwrap();
    crate::conformance::on_one_server(&server).await;
    let stats: String = cmd("INFO").arg("commandstats").query(&mut server.client()).unwrap();
    let called: BTreeSet<&str> =
        stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next()).collect();
    let unused: Vec<_> =
        commands().into_iter().filter(|command| !called.contains(command.as_str())).collect();
    assert!(unused.is_empty(), "{unused:?} are allowed and not used:\n{stats}");
}

#[tokio::test]
async fn a_user_who_may_do_less_is_told_so() {
    let server = RedisServer::start();
    RedisLedger::connect(&server.url_of_user(), options()).await.unwrap();
    for (command, at_start) in
        [("fcall", true), ("function|load", true), ("config|get", true), ("hset", false)]
    {
        let less = format!("-{command}");
        cmd("ACL").arg(&["SETUSER", USER, &less]).exec(&mut server.client()).unwrap();
        let opened = RedisLedger::connect(&server.url_of_user(), options()).await;
        let refused = match (at_start, opened) {
            (false, Ok(ledger)) => ledger.release(&release("alice", RequestId::generate())).await.map(drop),
            (_, opened) => opened.map(drop),
        };
        let Err(LedgerError::Configuration(reason)) = refused else { panic!("{command}: {refused:?}") };
        assert!(!reason.contains(SECRET), "{command}: {reason}");
        let again = format!("+{command}");
        cmd("ACL").arg(&["SETUSER", USER, &again]).exec(&mut server.client()).unwrap();
    }
}

#[tokio::test]
async fn a_password_is_read_from_its_file() {
    let server = RedisServer::start();
    let url = format!("redis://{USER}@127.0.0.1:{}", server.port());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let access = Access { password_file: Some(file.clone()), ..Access::default() };
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let ledger = RedisLedger::connect_with(&url, options(), &access).await.unwrap();
    ledger.account(&name("alice")).await.unwrap();
    let refused = |url: String, access: Access| async move {
        match RedisLedger::connect_with(&url, options(), &access).await {
            Err(LedgerError::Configuration(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    std::fs::write(&file, "hunter2").unwrap();
    let reason = refused(url.clone(), access.clone()).await;
    assert!(!reason.contains("hunter2"), "{reason}");
    std::fs::write(&file, SECRET).unwrap();
    refused(url.replace(USER, "nobody"), access.clone()).await;
    let reason = refused(url.replace(USER, &format!("{USER}:{SECRET}")), access.clone()).await;
    assert!(reason.contains("one of them") && !reason.contains(SECRET), "{reason}");
    std::fs::write(&file, "").unwrap();
    let reason = refused(url, access).await;
    assert!(reason.contains("password"), "{reason}");
}
