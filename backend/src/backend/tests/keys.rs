//! Which keys a backend publishes and accepts, as its callers see it.

use std::time::Duration;

use cocoon_openapi::KEY_CONFIG_PATH;
use cocoon_sealing::{KEY_CONFIG_PROBLEM, Kem};

use super::harness::Way;
use super::*;

fn named(mut sealed: Sealed, keyset: Digest) -> Sealed {
    sealed.extra = Some(("cocoon-key-digest", keyset.to_string()));
    sealed
}

#[tokio::test]
async fn a_request_may_be_sealed_to_either_key_of_the_keyset() {
    let harness = harness("").await;
    let kems: Vec<_> = harness.published.keyset.hpke.iter().map(|key| (key.key_id, key.kem)).collect();
    assert_eq!(kems, [(0, 0x0020), (1, 0x647a)]);
    for kem in Kem::ALL {
        let sealed = harness.seal_as(&say("one two", false), Way { kem, ..harness.way() });
        let sealed = named(sealed, harness.published.digest);
        let answer = harness.send(&sealed).await;
        assert_eq!(answer.status, 200, "{kem:?}");
        let json: Value = serde_json::from_slice(&answer.frames.concat()).unwrap();
        assert_eq!(json["choices"][0]["message"]["content"], "echo: one two");
        assert_eq!(harness.send(&sealed).await.status, 400, "a replay");
    }
    harness.stop().await;
}

/// What an unmodified EHBP client sends: no keyset's name, no context.
#[tokio::test]
async fn a_plain_ehbp_client_is_served_padded_and_gets_a_receipt_without_a_body() {
    let harness = harness("").await;
    let sealed = harness.seal_as(&say("one two", true), Way { x_conf: None, ..harness.way() });
    let answer = harness.send(&sealed).await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.stripped(), answer.frames);
    let receipt = harness.receipt_of(&sealed).await;
    assert_eq!((receipt.cn, receipt.body), (Digest::of(&[]), None));
    let lost = json!({ "model": "m", "prompt": "one two" });
    let lost = harness.seal_as(&lost, Way { x_conf: None, ..harness.way() });
    assert_eq!(harness.send(&lost).await.status, 400, "its body is of another path");
    harness.stop().await;
}

#[tokio::test]
async fn keys_rotate_while_requests_go_on_and_receipts_name_the_tickets_keyset() {
    let harness =
        harness("key_lifetime_ms = 2000\nxwing_overlap_ms = 500\nx25519_overlap_ms = 60000\nmax_body = 4096")
            .await;
    let first = &harness.published;
    let hello = say("hello", false);
    let early = named(harness.seal_as(&hello, Way { kem: Kem::XWing, ..harness.way() }), first.digest);
    assert_eq!(harness.send(&early).await.status, 200);
    let replayed = harness.seal(&hello);
    assert_eq!(harness.send(&replayed).await.status, 200);
    let slow = harness.seal(&chat(&json!({ "tokens": 30, "delay_ms": 100 }), true));
    let running = harness.sending(&slow);

    let rotated = async {
        let mut second = harness.fetch().await;
        while second.digest == first.digest {
            tokio::time::sleep(Duration::from_millis(20)).await;
            second = harness.fetch().await;
        }
        second
    };
    let (answer, second) = tokio::join!(running, rotated);
    assert!(String::from_utf8_lossy(&answer.stripped().concat()).contains("[DONE]"), "it goes on");
    assert_eq!(harness.receipt_of(&slow).await.iss, first.digest);
    assert_eq!(second.keyset.receipt_key, first.keyset.receipt_key, "one chain for a boot");
    assert_eq!(harness.send(&replayed).await.status, 400, "a rotation forgets nothing");

    let to_second = |ticket: &mut cocoon_receipts::Ticket| ticket.keyset = second.digest;
    let old_key = harness.seal_as(&hello, Way { x_conf: None, ticket: &to_second, ..harness.way() });
    assert_eq!(harness.send(&old_key).await.status, 200, "its client has not fetched the new keys");
    assert_eq!(harness.receipt_of(&old_key).await.iss, second.digest);
    let wrong = named(harness.seal_as(&hello, Way { ticket: &to_second, ..harness.way() }), first.digest);
    assert_eq!(harness.send(&wrong).await.status, 400);
    let right = named(harness.seal(&hello), first.digest);
    assert_eq!(harness.send(&right).await.status, 200);
    let new_key = named(harness.seal_as(&hello, Way { to: &second, ..harness.way() }), second.digest);
    let (before, after) = (harness.send(&right).await, harness.send(&new_key).await);
    assert_eq!((before.status, after.status), (400, 200));
    let fingerprint = |answer: &harness::Answer| {
        let json: Value = serde_json::from_slice(&answer.frames.concat()).unwrap();
        json["system_fingerprint"].as_str().unwrap().to_owned()
    };
    assert_eq!(fingerprint(&after), fingerprint(&harness.send(&harness.seal(&hello)).await));

    for late in [true, false] {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let refused = loop {
            let sealed = harness.seal_as(&hello, Way { kem: Kem::XWing, ..harness.way() });
            let answer = harness.send(&if late { named(sealed, first.digest) } else { sealed }).await;
            if answer.status != 200 {
                break answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "its X-Wing key does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(refused.status, 422, "its X-Wing key has ended");
        assert!(refused.plain.contains(KEY_CONFIG_PROBLEM));
    }
    let configs = harness.bytes(KEY_CONFIG_PATH).await;
    let published = cocoon_sealing::decode_key_configs(&configs).unwrap();
    let old = first.keyset.hpke[0].bytes().unwrap();
    assert_ne!(published[0].public_key.as_bytes(), old, "only what is new is published");
    harness.stop().await;
}

#[tokio::test]
async fn a_ticket_for_a_keyset_of_an_earlier_boot_is_an_unknown_key() {
    let harness = harness("").await;
    let sealed = harness.seal_for(&say("hi", false), |ticket| ticket.keyset = Digest([9; 32]));
    let answer = harness.send(&sealed).await;
    assert_eq!(answer.status, 422);
    assert!(answer.plain.contains(KEY_CONFIG_PROBLEM));
    harness.stop().await;
}
