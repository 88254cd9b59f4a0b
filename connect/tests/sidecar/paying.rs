//! Requests that are paid from the sidecar's own channel.

use std::time::Duration;

use axum::http::Method;
use cocoon_connect::channel::purse::{NoPurse, Purse};
use cocoon_connect::gateway::Gateway;
use cocoon_connect::state::StateDir;
use cocoon_receipts::{AccountTagKey, NanoTon};
use futures_util::future::join_all;

use crate::stand::{BOTH, Got, Options, Stand, read};
use crate::till::CONTEXT;
use crate::vm::{MODEL, PRICE, Script, USAGE, Vm};

/// What every answer costs, nanoTON.
fn cost() -> u64 {
    PRICE.cost(&USAGE).unwrap().0
}

async fn stand(deposit: u64) -> Stand {
    let options = Options { channel: Some(deposit), ..Options::default() };
    Stand::with(vec![Vm::new(BOTH, 7, u64::MAX)], options).await
}

/// A chat that may have one token.
async fn one_token(stand: &Stand) -> Got {
    let body = format!(r#"{{"model":"{MODEL}","messages":[],"max_completion_tokens":1}}"#);
    read(stand.post(&body).await).await
}

/// What the sidecar has written down as signed.
fn signed(stand: &Stand) -> u64 {
    let text = std::fs::read_to_string(stand.state.join("channel-signed.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["signed"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn each_request_brings_a_voucher_that_covers_what_was_charged_and_itself() {
    let stand = stand(1_000_000).await;
    for number in 1..=3 {
        let got = one_token(&stand).await;
        assert_eq!(got.status, 200, "{got:?}");
        let books = stand.fake.till();
        let books = books.books();
        assert_eq!((books.charged, books.held), (number * cost(), 0));
    }
    let behaviour = stand.fake.behave();
    let mut before = 0;
    for (number, seen) in behaviour.seen.iter().enumerate() {
        let bearer = seen.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let token: cocoon_ton::VoucherToken = bearer.parse().unwrap();
        // A prompt of at most the ciphertext's bytes and 512, and one token; the cost's digits make 20 bytes at most.
        let held = 2 * (seen.wire.len() as u64 + 512).min(CONTEXT) + 6;
        let part = token.cumulative.0 - number as u64 * cost();
        assert!((held..=held + 40).contains(&part), "{part} for {held}");
        let context = &seen.opened.as_ref().unwrap().context;
        assert_eq!(
            context.max_cost,
            Some(NanoTon(part)),
            "an attested backend stops there, whatever its ticket says"
        );
        let tag = AccountTagKey::of_api_key(bearer).tag(&seen.opened.as_ref().unwrap().encapsulated_key);
        assert_eq!(context.acct, Some(tag));
        assert!(token.cumulative.0 > before);
        before = token.cumulative.0;
    }
    drop(behaviour);
    assert_eq!(signed(&stand), before, "written down");
}

#[tokio::test]
async fn requests_at_once_are_all_covered_and_what_they_cost_is_what_remains() {
    let stand = stand(1_000_000).await;
    stand.fake.behave().script = Script::stream();
    stand.fake.behave().pause = Duration::from_millis(30);
    let answers = join_all((0..12).map(|_| stand.chat())).await;
    for got in answers {
        assert_eq!(got.status, 200, "{got:?}");
        assert!(got.whole && got.body.ends_with("data: [DONE]\n\n"));
        assert_eq!(got.trailers["cocoon-cost"], cost().to_string());
    }
    assert_eq!(stand.fake.till().books().charged, 12 * cost());
    let peak = stand.fake.till().books().peak;
    assert!(peak > 16_000, "several ran at once: {peak}");
    assert!(signed(&stand) >= peak && signed(&stand) <= 1_000_000);
}

#[tokio::test]
async fn a_request_without_a_ceiling_gets_a_useful_one_and_the_gateway_holds_what_was_signed() {
    let stand = stand(1_000_000).await;
    stand.chat().await;
    let seen = stand.fake.behave().seen[0].clone();
    assert_eq!(
        seen.headers["cocoon-max-tokens"],
        CONTEXT.to_string(),
        "a quarter of the deposit pays for all of it"
    );
    let small = self::stand(5_000).await;
    assert_eq!(small.chat().await.status, 200);
    let seen = small.fake.behave().seen[0].clone();
    assert_eq!(seen.headers["cocoon-max-tokens"], "256");
}

#[tokio::test]
async fn the_users_own_bound_lowers_what_is_signed() {
    let options = Options { channel: Some(1_000_000), max_cost: Some(NanoTon(3_000)), ..Options::default() };
    let stand = Stand::with(vec![Vm::new(BOTH, 7, u64::MAX)], options).await;
    assert_eq!(stand.chat().await.status, 200);
    let peak = stand.fake.till().books().peak;
    assert!((2_900..=3_000).contains(&peak), "{peak}");
    assert!(signed(&stand) <= 3_000);
}

#[tokio::test]
async fn a_deposit_that_does_not_cover_it_is_402_and_more_of_it_goes_on() {
    let stand = stand(2_200).await;
    assert_eq!(one_token(&stand).await.status, 200);
    let body = format!(r#"{{"model":"{MODEL}","messages":[],"max_completion_tokens":100}}"#);
    let got = read(stand.post(&body).await).await;
    assert_eq!((got.status, got.code().as_str()), (402, "channel_exhausted"));
    assert_eq!(got.headers["x-should-retry"], "false");
    let message = got.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("{} nanoTON", 2_200 - cost())), "{message}");
    assert!(message.contains("channel deposit --amount"), "{message}");
    assert_eq!(stand.fake.behave().seen.len(), 1, "nothing was sent");
    assert_eq!(one_token(&stand).await.status, 200, "what fits is still paid");

    // As `channel deposit` does it.
    let state = StateDir::open(&stand.state).unwrap();
    let mut channel = cocoon_connect::channel::file::Channel::load(&state).unwrap().unwrap();
    channel.deposited = NanoTon(100_000);
    channel.store(&state).unwrap();
    // The gateway has not noticed yet, and looks when it is told to.
    let got = read(stand.post(&body).await).await;
    assert_eq!((got.status, got.code().as_str()), (402, "channel_exhausted"), "its own word");
    assert!(stand.fake.till().books().introduced >= 1);
    stand.fake.till().books().deposited = 100_000;
    assert_eq!(read(stand.post(&body).await).await.status, 200);
}

#[tokio::test]
async fn what_was_refused_costs_nothing() {
    let stand = stand(2_100).await;
    for status in [400, 404, 429, 422] {
        stand.fake.next_plain(status, &[], r#"{"error":{"message":"m","type":"t","code":"c"}}"#);
        assert_eq!(one_token(&stand).await.status, status);
    }
    assert_eq!(one_token(&stand).await.status, 200, "the deposit has room for one at a time");
}

#[tokio::test]
async fn what_became_of_a_broken_request_the_gateway_says() {
    let stand = stand(4_020).await;
    stand.fake.behave().breaks = true;
    let got = one_token(&stand).await;
    assert_eq!((got.status, got.code().as_str()), (502, "answer_not_verified"));
    stand.fake.behave().breaks = false;
    let asked = stand.fake.till().books().asked;
    // It counts in full: another one fits beside it, and a third does not.
    assert_eq!(one_token(&stand).await.status, 200);
    assert_eq!(one_token(&stand).await.code(), "channel_exhausted");
    assert_eq!(stand.fake.till().books().asked, asked, "not asked at every request");
    stand.pass(11_000);
    assert_eq!(one_token(&stand).await.status, 200, "the gateway has charged far less");
    assert_eq!(stand.fake.till().books().asked, asked + 1);
    assert_eq!(stand.fake.till().books().charged, 3 * cost());
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_its_part_spent() {
    let stand = stand(4_020).await;
    stand.fake.behave().script = Script::stream();
    stand.fake.behave().hangs = true;
    stand.fake.till().books().late = true;
    let body = format!(r#"{{"model":"{MODEL}","messages":[],"stream":true,"max_completion_tokens":1}}"#);
    stand.fake.behave().pause = Duration::from_millis(50);
    drop(stand.post(&body).await);
    stand.fake.dropped.notified().await;
    stand.fake.behave().hangs = false;
    assert_eq!(read(stand.post(&body).await).await.status, 200);
    assert_eq!(read(stand.post(&body).await).await.code(), "channel_exhausted");
}

#[tokio::test]
async fn after_a_restart_the_gateways_word_counts_up_to_what_was_signed() {
    let stand = stand(10_000).await;
    assert_eq!(one_token(&stand).await.status, 200);
    let newest = signed(&stand);
    let state = StateDir::open(&stand.state).unwrap();
    let gateway = || {
        let url = stand.sidecar.asker.gateway().url().to_string();
        Gateway::new(url.parse().unwrap(), Duration::from_secs(5)).unwrap()
    };
    let clock = cocoon_connect::clock::Clock::system;
    let busy = Purse::open(&state, gateway(), clock());
    assert!(matches!(busy, Err(NoPurse::Busy)), "two would sign without each other's requests");
    let dir = copied(&stand);
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    for (claims, left) in [(cost(), 10_000 - cost()), (9_999, 10_000 - newest)] {
        stand.fake.till().books().charged = claims;
        let purse = Purse::open(&state, gateway(), clock()).unwrap();
        assert_eq!(purse.left(), NanoTon(10_000 - newest), "before its word all that was signed is spent");
        purse.ready().await.unwrap();
        assert_eq!(purse.left(), NanoTon(left), "it cannot claim what was not signed");
    }
}

/// The state folder of a process that has ended, as another one finds it.
fn copied(stand: &Stand) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("state");
    drop(StateDir::open(&to).unwrap());
    for entry in std::fs::read_dir(&stand.state).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    dir
}

#[tokio::test]
async fn a_gateway_that_has_not_seen_the_channel_is_told_once() {
    let stand = stand(10_000).await;
    stand.fake.till().books().known = false;
    assert_eq!(one_token(&stand).await.status, 200);
    assert_eq!(stand.fake.till().books().introduced, 1);
    // It forgets it while the sidecar runs.
    stand.fake.till().books().known = false;
    assert_eq!(one_token(&stand).await.status, 200);
    assert_eq!(stand.fake.till().books().introduced, 2);
    // Before the list is read anew.
    stand.fake.till().books().known = false;
    stand.pass(10 * 60 * 1000);
    assert_eq!(one_token(&stand).await.status, 200);
    assert_eq!(stand.fake.till().books().introduced, 3);
}

#[tokio::test]
async fn a_gateway_that_reckons_more_is_asked_and_believed_up_to_what_was_signed() {
    let stand = stand(100_000).await;
    let body = format!(r#"{{"model":"{MODEL}","messages":[],"max_completion_tokens":500}}"#);
    assert_eq!(read(stand.post(&body).await).await.status, 200);
    // A receipt that came by the outbox, of a request that this sidecar does not know of.
    stand.fake.till().books().charged += 3_000;
    assert_eq!(read(stand.post(&body).await).await.status, 200);
}

#[tokio::test]
async fn a_closed_channel_is_told_to_callers() {
    let stand = stand(10_000).await;
    assert_eq!(one_token(&stand).await.status, 200);
    stand.fake.till().books().closed = true;
    let got = one_token(&stand).await;
    assert_eq!((got.status, got.code().as_str()), (403, "channel_closed"));
    assert_eq!(got.headers["x-should-retry"], "false");
    assert!(!got.headers.contains_key("cocoon-unauthenticated"), "we said so");
}

#[tokio::test]
async fn callers_show_the_local_token_and_never_see_a_voucher() {
    let stand = stand(10_000).await;
    let got = read(stand.send(Method::POST, "/v1/chat/completions", &[], r#"{"model":"m"}"#).await).await;
    assert_eq!((got.status, got.code().as_str()), (401, "invalid_local_token"));
    let right = format!("Bearer {}", stand.key);
    let got = stand.get("/v1/models", &[("authorization", &right)]).await;
    assert_eq!(got.status, 200);
    for got in [got, stand.chat().await] {
        assert!(!format!("{got:?}").contains("cocoon-voucher-"));
    }
}
