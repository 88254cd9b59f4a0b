//! An export of a ledger that is used meanwhile: SQLite's is of one moment, Redis's is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cocoon_ledger::transfer::{self, Place, TransferError};
use cocoon_ledger::{Grant, Ledger, Options};
use cocoon_receipts::{NanoTon, RequestId};
use tokio::task::JoinSet;

use super::{To, empty, place};
use crate::bench::{ACCOUNTS, name, options};
use crate::redis_server::RedisServer;

/// On real time: whoever sets a clock does not use the ledger.
fn real(url: &str) -> Place {
    Place { options: Options { test_clock: false, ..options() }, ..place(url) }
}

/// Grants until `done`.
async fn use_it(ledger: Arc<dyn Ledger>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        for account in ACCOUNTS {
            let grant = Grant { id: RequestId::generate(), account: name(account), amount: NanoTon(1) };
            ledger.grant(&grant).await.unwrap();
        }
    }
}

async fn export_in_use(url: &str, file: &std::path::Path) -> Result<transfer::Transferred, TransferError> {
    let ledger = cocoon_ledger::open(url, real(url).options).await.unwrap();
    let (done, mut users) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..4 {
        users.spawn(use_it(Arc::clone(&ledger), Arc::clone(&done)));
    }
    // Every account has something by then.
    for account in ACCOUNTS {
        while ledger.account(&name(account)).await.unwrap().granted.0 < 5 {
            tokio::task::yield_now().await;
        }
    }
    let exported = transfer::export(&real(url), file, &mut |_| ()).await;
    done.store(true, Ordering::SeqCst);
    users.join_all().await;
    exported
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_exported_as_it_was_at_one_moment() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("export");
    let ((from, _from), (to, _to)) = (empty(To::Embedded), empty(To::Embedded));
    let exported = export_in_use(&from, &file).await.unwrap();
    assert!(exported.entries >= 25);
    // Its books fit its journal, or it would be refused.
    assert_eq!(transfer::import(&real(&to), &file, None, &mut |_| ()).await.unwrap(), exported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_in_use_is_not_exported_and_no_file_is_left() {
    let (server, files) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let (url, _) = empty(To::Redis(&server));
    let refused = export_in_use(&url, &files.path().join("export")).await;
    assert!(matches!(refused, Err(TransferError::InUse(_))), "{refused:?}");
    assert_eq!(std::fs::read_dir(files.path()).unwrap().count(), 0);
    // At rest it is.
    transfer::export(&real(&url), &files.path().join("export"), &mut |_| ()).await.unwrap();
}
