use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Store, StoreError};
use crate::testing::*;
use crate::{Chain, ChainError, Clock, Fees, Network};

fn open(file: &Path) -> Result<Chain, StoreError> {
    Chain::kept(network(), Clock::Standing { at: START }, Store::open(file)?)
}

/// The file of a chain with a wallet, a gift on its way and some blocks.
fn kept(dir: &tempfile::TempDir) -> PathBuf {
    let file = dir.path().join("chain");
    let mut chain = open(&file).unwrap();
    let purse = funded(&mut chain, 1);
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    chain.produce().unwrap();
    chain.give(&nobody(8), TON).unwrap();
    file
}

fn damaged(sql: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = kept(&dir);
    let connection = Connection::open(&file).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
    drop(connection);
    open(&file).err().unwrap().to_string()
}

#[test]
fn a_kept_chain_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = kept(&dir);
    let mut chain = open(&file).unwrap();
    assert_eq!(chain.state().queue.len(), 2);
    let seqno = chain.head().seqno;
    chain.produce_until_idle(10).unwrap();
    assert_eq!(balance(&chain, &nobody(8)), u128::from(TON));
    assert_eq!(balance(&chain, &nobody(9)), u128::from(TON));
    chain.advance(77).unwrap();
    drop(chain);
    let chain = open(&file).unwrap();
    assert_eq!(chain.head().seqno, seqno + 1);
    assert_eq!(chain.clock(), Clock::Standing { at: START + 77 });
}

#[test]
fn an_account_that_is_gone_is_gone_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chain");
    let mut chain = open(&file).unwrap();
    chain.give(&nobody(2), 1).unwrap();
    chain.give(&nobody(3), TON).unwrap();
    chain.produce().unwrap();
    assert_eq!(status(&chain, &nobody(2)), "uninit");
    // All that it has is its rent, and what it gets it sends back.
    chain.advance(1_000).unwrap();
    chain.send_internal(Letter::new(&nobody(1), &nobody(2), TON).cell()).unwrap();
    chain.produce().unwrap();
    assert_eq!(status(&chain, &nobody(2)), "none");
    drop(chain);
    let chain = open(&file).unwrap();
    assert_eq!((status(&chain, &nobody(2)), status(&chain, &nobody(3))), ("none", "uninit"));
}

#[test]
fn a_file_has_one_chain_and_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let file = kept(&dir);
    let chain = open(&file).unwrap();
    assert_eq!(open(&file).err().unwrap().to_string(), "another process has the file");
    drop(chain);
    open(&file).unwrap();
    let with = |fees, global_id| {
        let network = Network::new(fees, global_id).unwrap();
        let opened = Chain::kept(network, Clock::REAL, Store::open(&file).unwrap());
        opened.err().unwrap().to_string()
    };
    let error = "the file has a chain with Current fees and number -3, which is another one";
    assert_eq!(with(Fees::Old, -3), error);
    assert_eq!(with(Fees::Current, -4), error);
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (text, database) = (dir.path().join("text"), dir.path().join("database"));
    std::fs::write(&text, "a".repeat(8192)).unwrap();
    assert_eq!(Store::open(&text).err().unwrap().to_string(), "the file: file is not a database");
    Connection::open(&database).unwrap().execute("CREATE TABLE other (a)", []).unwrap();
    let before = std::fs::read(&database).unwrap();
    assert!(matches!(Store::open(&database), Err(StoreError::NotOurs)));
    assert_eq!(std::fs::read(&database).unwrap(), before);
    let newer = kept(&dir);
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(Store::open(&newer), Err(StoreError::NotOurs)));
    assert!(Store::open(&dir.path().join("nowhere/chain")).is_err());
}

#[test]
fn a_damaged_file_is_refused() {
    for (sql, error) in [
        ("DELETE FROM block WHERE seqno = 1", "the file is damaged: "),
        ("DELETE FROM block", "the file is damaged: a transaction of no block"),
        ("UPDATE block SET block = '{}' WHERE seqno = 1", "the file is damaged, a text in it: "),
        (
            "UPDATE block SET block = replace(block, '\"time\":17', '\"time\":16') WHERE seqno = 1",
            "the file is damaged: block 1 does not follow the one before it",
        ),
        ("DELETE FROM recorded WHERE seqno = 1", "the file is damaged: block 1 and the history"),
        (
            "UPDATE recorded SET place = 9 WHERE seqno = 1",
            "the file is damaged: a transaction that its block does not have",
        ),
        (
            "UPDATE recorded SET cell = (SELECT cell FROM recorded WHERE seqno = 1) WHERE seqno = 2",
            "the file is damaged: a transaction that is not the block's",
        ),
        ("UPDATE recorded SET cell = x'00' WHERE seqno = 1", "the file is damaged: a bag of cells"),
        ("UPDATE account SET account = x'00'", "the file is damaged: a bag of cells"),
        ("UPDATE account SET address = 'x'", "the file is damaged: an address"),
        ("DELETE FROM account", "the file is damaged: account 0:"),
        ("DELETE FROM delivery", "the file is damaged: coins are missing"),
        ("UPDATE delivery SET due = 1", "the file is damaged: a message on its way should have arrived"),
        ("UPDATE delivery SET message = (SELECT cell FROM recorded)", "the file is damaged"),
        ("UPDATE about SET supply = '{}'", "the file is damaged, a text in it: "),
        ("UPDATE about SET clock = '{}'", "the file is damaged, a text in it: "),
        ("UPDATE about SET network = '{}'", "the file is damaged, a text in it: "),
        (
            "UPDATE about SET supply = '{\"minted\":1,\"fees\":0,\"burned\":0}'",
            "the file is damaged: coins are missing, or more than were given",
        ),
    ] {
        let found = damaged(sql);
        assert!(found.starts_with(error), "{sql}: {found}");
    }
}

#[test]
fn a_block_that_cannot_be_written_is_not_made_and_what_waited_for_it_waits_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chain");
    let mut chain = open(&file).unwrap();
    let purse = funded(&mut chain, 1);
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    let (seqno, supply) = (chain.head().seqno, chain.supply());
    chain.break_store("DROP TABLE recorded");
    assert!(matches!(chain.produce(), Err(ChainError::Store(_))));
    assert_eq!((chain.head().seqno, chain.waiting(), chain.supply()), (seqno, 1, supply));
    chain.break_store("DROP TABLE delivery; DROP TABLE about");
    assert!(matches!(chain.give(&nobody(1), 1), Err(ChainError::Store(_))));
    assert!(matches!(chain.advance(1), Err(ChainError::Store(_))));
    chain.snapshot("a").unwrap();
    assert!(matches!(chain.restore("a"), Err(ChainError::Store(_))));
    assert_eq!((chain.supply(), chain.clock()), (supply, Clock::Standing { at: START }));
}

impl Chain {
    pub(crate) fn break_store(&self, sql: &str) {
        self.store().unwrap().sql.execute_batch(sql).unwrap();
    }
}
