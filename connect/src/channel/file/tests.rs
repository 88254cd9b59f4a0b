use std::os::unix::fs::{MetadataExt, PermissionsExt};

use cocoon_ton::Workchain;

use super::*;

fn state(dir: &tempfile::TempDir) -> StateDir {
    StateDir::open(&dir.path().join("s")).unwrap()
}

fn channel() -> Channel {
    let [payer, receiver] = [1, 2].map(|byte| Address::new(Workchain::Basechain, [byte; 32]));
    Channel::new(GlobalId::TESTNET, payer, receiver, 86_400).unwrap()
}

#[test]
fn a_channel_is_read_as_it_was_written_by_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir);
    assert!(Channel::load(&state).unwrap().is_none());
    let mut written = channel();
    for (stage, deposited) in [(Stage::Opening, 0), (Stage::Open, 5), (Stage::Closed, 7)] {
        (written.stage, written.deposited) = (stage, NanoTon(deposited));
        written.store(&state).unwrap();
        let read = Channel::load(&state).unwrap().unwrap();
        assert_eq!(
            (read.stage, read.deposited, read.address()),
            (stage, NanoTon(deposited), written.address())
        );
        assert_eq!((read.terms, read.global_id), (written.terms, GlobalId::TESTNET));
        assert_eq!(*read.token(NanoTon(9)).unwrap(), *written.token(NanoTon(9)).unwrap(), "the same key");
    }
    let path = state.path(FILE);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Channel::load(&state);
    assert!(matches!(refused, Err(FileError::State(StateError::Open { .. }))));
}

#[test]
fn each_channel_has_a_salt_and_a_key_of_its_own() {
    let [one, other] = [channel(), channel()];
    assert_ne!(one.terms.salt, other.terms.salt);
    assert_ne!(one.terms.payer_key, other.terms.payer_key);
    assert_ne!(one.address(), other.address());
}

#[test]
fn what_is_no_channel_is_an_error_and_says_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir);
    channel().store(&state).unwrap();
    let good = state.read(FILE).unwrap().unwrap();
    let key = serde_json::from_str::<serde_json::Value>(&good).unwrap()["key"].as_str().unwrap().to_owned();
    for wrong in [
        String::new(),
        "{}".into(),
        good.replace("\"version\":1", "\"version\":2"),
        good.replace(&key, &key[..62]),
        good.replace("\"stage\":\"opening\"", "\"stage\":\"other\""),
        good.replace("\"salt\":\"", "\"salt\":\"x"),
        good.replace("\"deposited\":\"0\"", "\"deposited\":0"),
    ] {
        assert_ne!(wrong, good);
        state.replace(FILE, &wrong).unwrap();
        let error = Channel::load(&state).unwrap_err().to_string();
        assert!(error.contains("not a channel") && !error.contains(&key[..16]), "{error}");
    }
    assert!(!format!("{:?}", channel()).contains("key"));
}

#[test]
fn what_was_signed_belongs_to_one_channel() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir);
    let (one, other) = (channel(), channel());
    assert_eq!(one.signed(&state).unwrap(), NanoTon::ZERO);
    Channel::store_signed(&state, &one.address(), NanoTon(u64::MAX)).unwrap();
    assert_eq!(one.signed(&state).unwrap(), NanoTon(u64::MAX));
    assert_eq!(other.signed(&state).unwrap(), NanoTon::ZERO);
    state.replace(SIGNED_FILE, "").unwrap();
    assert!(one.signed(&state).is_err(), "that nothing was signed is not to be guessed");
}

#[test]
fn a_token_is_a_voucher_of_the_channels_own_key() {
    let channel = channel();
    for (asked, cumulative) in [(0, 1), (1, 1), (500, 500)] {
        let token: VoucherToken = channel.token(NanoTon(asked)).unwrap().parse().unwrap();
        assert_eq!((token.channel, token.cumulative), (channel.address(), NanoTon(cumulative)));
        assert!(token.verify(GlobalId::TESTNET, &channel.terms.payer_key).is_ok());
        assert!(token.verify(GlobalId::MAINNET, &channel.terms.payer_key).is_err());
    }
}
