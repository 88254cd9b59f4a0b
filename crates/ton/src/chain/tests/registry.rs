//! What a registry says, to who reads it again and again.

use super::*;
use crate::registry::{Policy, Published, RegistryRoles, RegistryStorage};
use crate::registry_code;

const NOW: u64 = 1_800_000_000;
const TWO_DAYS: u64 = 2 * 24 * 60 * 60;

fn address() -> Address {
    Address::new(Workchain::Basechain, [7; 32])
}

/// A registry's account in a block of this time.
fn account(version: u32, prices_number: u32, at: u64) -> Value {
    let roles = RegistryRoles { owner: address(), publisher: treasury() };
    let storage = RegistryStorage {
        policy: Policy { version, hash: [1; 32], pending: None },
        published: Published { prices_number, ..RegistryStorage::new(roles).published },
        ..RegistryStorage::new(roles)
    };
    let mut account = active(1);
    account["code"] = boc::encode_base64(&registry_code().unwrap()).unwrap().into();
    account["data"] = boc::encode_base64(&storage.cell().unwrap()).unwrap().into();
    account["sync_utime"] = at.into();
    account
}

async fn reader(script: impl IntoIterator<Item = Script>) -> (Scripted, RegistryReader) {
    let server = Scripted::start(-3, script).await;
    let chain = Failover::new(vec![server.endpoint("one")]).unwrap();
    (server, RegistryReader::new(chain, address(), false))
}

#[tokio::test]
async fn what_was_read_stands_until_its_time_is_over() {
    let (_server, reader) = reader([ok(&account(1, 2, NOW + 60)), error(500, "x")]).await;
    assert!(reader.word(NOW).is_none(), "nothing was read");
    reader.read(NOW).await.unwrap();
    for _ in 0..2 {
        assert_eq!(reader.word(NOW + TWO_DAYS - 1).unwrap().policy.version, 1);
        assert!(reader.word(NOW + TWO_DAYS).is_none());
        assert!(reader.read(NOW + 60).await.is_err(), "what fails takes nothing back and adds no time");
    }
}

#[tokio::test]
async fn an_old_block_is_believed_from_when_it_was_made() {
    let (_server, reader) = reader([ok(&account(1, 2, NOW - TWO_DAYS + 900))]).await;
    reader.read(NOW).await.unwrap();
    assert!(reader.word(NOW + 899).is_some());
    assert!(reader.word(NOW + 900).is_none());
}

#[tokio::test]
async fn what_only_goes_up_is_not_taken_back() {
    let accounts =
        [(2, 2), (1, 2), (2, 1), (2, 2), (3, 2)].map(|(policy, prices)| ok(&account(policy, prices, NOW)));
    let (_server, reader) = reader(accounts).await;
    reader.read(NOW).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(reader.read(NOW).await, Err(RegistryError::Behind { .. })));
    }
    reader.read(NOW).await.unwrap();
    assert_eq!(reader.read(NOW).await.unwrap().policy.version, 3);
}

#[tokio::test]
async fn where_two_must_agree_one_that_says_something_else_is_not_followed() {
    for (second, agree) in [(account(1, 2, NOW), true), (account(1, 3, NOW), false)] {
        let (one, two) =
            (Scripted::start(-3, [ok(&account(1, 2, NOW))]).await, Scripted::start(-3, [ok(&second)]).await);
        let chain = Failover::new(vec![one.endpoint("one"), two.endpoint("two")]).unwrap();
        let reader = RegistryReader::new(chain, address(), true);
        assert_eq!(reader.read(NOW).await.is_ok(), agree);
        assert_eq!(reader.word(NOW).is_some(), agree);
    }
}

#[tokio::test]
async fn what_is_no_registry_says_nothing() {
    let mut other = account(1, 2, NOW);
    other["code"] = active(1)["code"].clone();
    let (_server, reader) = reader([ok(&other)]).await;
    assert!(matches!(reader.read(NOW).await, Err(RegistryError::NotARegistry { .. })));
}
