//! Into a cluster, between two, and back: keys are on several servers.

use std::time::Duration;

use cocoon_ledger::redis::Access;
use cocoon_ledger::transfer::{self, Place};
use cocoon_ledger::{Appending, Grant, KeptDocument, Options, Raised, ShardCount};
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use super::{To, empty, lines};
use crate::bench::{CHANNELS, name, opening, voucher};
use crate::redis_cluster::RedisCluster;

fn place(url: String) -> Place {
    let options = Options { shards: ShardCount::new(16).unwrap(), ..Options::default() };
    Place { url, options, access: Access::default() }
}

#[tokio::test]
async fn a_ledger_is_carried_into_a_cluster_and_back() {
    let (cluster, files) = (RedisCluster::start().await, tempfile::tempdir().unwrap());
    let ((first, _first), (last, _last)) = (empty(To::Embedded), empty(To::Embedded));
    let (first, within, last) = (place(first), place(cluster.url()), place(last));
    let ledger = cocoon_ledger::open(&first.url, first.options.clone()).await.unwrap();
    for number in 0..40_u32 {
        let account: AccountId = name(&format!("account-{number}"));
        let grant = Grant { id: RequestId::generate(), account, amount: NanoTon(u64::from(number) + 1) };
        ledger.grant(&grant).await.unwrap();
        // On whichever server their digest says.
        let keyset = ledger.put_keyset(&number.to_be_bytes()).await.unwrap();
        let document = KeptDocument { nonce: [1; 32], verified_at: 1, bytes: number.to_be_bytes().to_vec() };
        ledger.put_document(keyset, &document).await.unwrap();
    }
    for channel in CHANNELS {
        ledger.open_channel(&opening(channel, 100, 0)).await.unwrap();
        ledger.raise_ceiling(&name(channel), &voucher(60)).await.unwrap();
    }
    let decided = ["first", "second", "third"].map(str::to_owned);
    ledger.append_decisions(0, &decided).await.unwrap();
    let file = |number: usize| files.path().join(number.to_string());
    for (number, to) in [&first, &within, &last].into_iter().enumerate() {
        if number > 0 {
            transfer::import(to, &file(number - 1), None, &mut |_| ()).await.unwrap();
        }
        let exported = transfer::export(to, &file(number), &mut |_| ()).await.unwrap();
        assert_eq!((exported.records, exported.entries), (40 * 5 + 16 + 3 + 4 * 3, 40 + 4));
        assert_eq!(lines(&file(number)), lines(&file(0)));
    }
    let ledger = cocoon_ledger::open(&within.url, within.options.clone()).await.unwrap();
    assert_eq!(ledger.decisions(0, 10).await.unwrap(), decided);
    let moved = ledger.append_decisions(2, &["fourth".to_owned()]).await.unwrap();
    assert_eq!(moved, Appending::Moved { count: 3 });
    assert_eq!(ledger.hold_lease("settler", Duration::from_secs(60)).await.unwrap().holder, "settler");
    for channel in CHANNELS {
        let raised = ledger.raise_ceiling(&name(channel), &voucher(100)).await.unwrap();
        assert_eq!(raised, Raised::Raised { by: NanoTon(40) });
        let shard = ledger.shards().of(&name(channel));
        let listed = ledger.channels(shard, None, 10).await.unwrap();
        let (known, account) = listed.iter().find(|(known, _)| known.account.as_str() == channel).unwrap();
        assert_eq!((&known.voucher, account.balance), (&Some(voucher(100)), NanoTon(100)));
        assert!(ledger.close_channel(&name(channel)).await.unwrap());
    }
    for shard in ledger.shards().all() {
        assert_eq!(ledger.open_withdrawals(shard, None, 10).await.unwrap(), []);
    }
    let full = transfer::import(&within, &file(0), None, &mut |_| ()).await;
    assert!(full.unwrap_err().to_string().contains("not empty"));
}
