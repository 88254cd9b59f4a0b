//! What a backend does not open: everything but a fresh, sealed request under a ticket that is its own.

use anyhow::ensure;
use cocoon_openapi::TICKET_HEADER;
use cocoon_openapi::x_conf::XConf;
use cocoon_receipts::{Digest, NanoTon, SigningKey, Ticket};
use cocoon_sealing::ENCAPSULATED_KEY_HEADER;
use serde_json::{Value, json};

use crate::harness::{Sealed, Settings, Stack, Twist, chat};

/// What it is, and how it differs from the true one.
type Forgery<T> = (&'static str, fn(&mut T));

fn hello() -> Value {
    chat("hello there", json!({ "max_tokens": 5 }))
}

/// Tickets and contexts that do not fit, each changed in one member. The unchanged one is served.
pub(crate) async fn each_forgery_is_refused() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let key = Sealed::ticket_key(&stack)?;
    let stranger = SigningKey::generate()?;
    let hello = hello();
    let reply = Sealed::honest(&stack, &hello).await?.send(&stack).await?;
    ensure!(reply.status == 200 && reply.sealed, "{reply:?}");
    let [answer, end] = reply.frames.as_slice() else { anyhow::bail!("an answer has two frames: {reply:?}") };
    ensure!(answer.starts_with(b"{\"id\":\"chatcmpl-") && end.starts_with(b",\"x_receipt\":\""), "{reply:?}");

    let same_ticket: &dyn Fn(&mut Ticket) = &|_| ();
    let same_context: &dyn Fn(&mut XConf) = &|_| ();
    let forged =
        Sealed::new(&stack, &hello, Twist { signer: &stranger, ticket: same_ticket, x_conf: same_context });
    refused("a forged ticket", &stack, &forged.await?).await?;
    let tickets: [Forgery<Ticket>; 4] = [
        ("a ticket for another ciphertext", |ticket| ticket.enc = Digest([9; 32])),
        ("a ticket for another path", |ticket| ticket.path = "/v1/embeddings".into()),
        ("a ticket for another model", |ticket| ticket.model = "other".into()),
        ("an expired ticket", |ticket| ticket.exp = 1),
    ];
    for (what, change) in tickets {
        let sealed =
            Sealed::new(&stack, &hello, Twist { signer: &key, ticket: &change, x_conf: same_context });
        refused(what, &stack, &sealed.await?).await?;
    }
    // Not forged, but of a gateway that knows this backend from an earlier boot: the sender may seal anew.
    let outdated = Twist { signer: &key, ticket: &|t| t.keyset = Digest([9; 32]), x_conf: same_context };
    let reply = Sealed::new(&stack, &hello, outdated).await?.send(&stack).await?;
    ensure!(reply.status == 422 && !reply.sealed, "a ticket for another keyset: {reply:?}");
    let contexts: [Forgery<XConf>; 7] = [
        ("a context of another version", |context| context.v = 2),
        ("a context for another path", |context| context.path = "/v1/embeddings".into()),
        ("a context for another model", |context| context.model = "other".into()),
        ("a context for another keyset", |context| context.keyset = Digest([9; 32])),
        ("a context of another API key", |context| context.acct = Some(Digest([9; 32]))),
        ("a context from yesterday", |context| context.ts -= 86_400_000),
        ("a client that will not pay that much", |context| {
            context.price_max = Some(cocoon_receipts::Price { prompt: NanoTon(1), ..crate::harness::PRICE });
        }),
    ];
    for (what, change) in contexts {
        let sealed =
            Sealed::new(&stack, &hello, Twist { signer: &key, ticket: same_ticket, x_conf: &change });
        refused(what, &stack, &sealed.await?).await?;
    }
    let mut bare = Sealed::honest(&stack, &hello).await?;
    bare.header(TICKET_HEADER, None);
    refused("no ticket", &stack, &bare).await?;
    let mut plain = Sealed::honest(&stack, &hello).await?;
    plain.header(ENCAPSULATED_KEY_HEADER, None);
    plain.body = serde_json::to_vec(&hello)?;
    refused("a plain request with a valid ticket", &stack, &plain).await?;
    Ok(())
}

async fn refused(what: &str, stack: &Stack, sealed: &Sealed) -> anyhow::Result<Value> {
    let receipts = stack.outbox()?.len();
    let reply = sealed.send(stack).await?;
    ensure!(reply.status == 400 && !reply.sealed, "{what}: {reply:?}");
    ensure!(stack.outbox()?.len() == receipts, "{what} was worked on");
    Ok(serde_json::from_slice(&reply.body)?)
}

/// The same ciphertext is opened once, ticket and all; while it is served and after.
pub(crate) async fn a_replay_is_refused() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let sealed = Sealed::honest(&stack, &hello()).await?;
    let first = sealed.send(&stack).await?;
    ensure!(first.status == 200 && first.sealed, "{first:?}");
    for _ in 0..3 {
        refused("a replay", &stack, &sealed).await?;
    }
    // Upper case is another text for the same key.
    let mut upper = sealed;
    let shouted = upper
        .headers
        .iter()
        .find(|(name, _)| name == ENCAPSULATED_KEY_HEADER)
        .map(|(_, key)| key.to_uppercase());
    upper.header(ENCAPSULATED_KEY_HEADER, shouted.as_deref());
    refused("a replay in upper case", &stack, &upper).await?;
    let log = stack.backend.as_ref().map(crate::harness::Process::log).unwrap_or_default();
    ensure!(!log.contains("hello there"), "the log must not quote content");
    ensure!(log.contains("it was admitted before"), "the reason is in the log:\n{log}");
    Ok(())
}

/// One answer for all checks but the key itself, which clients must learn to refresh.
pub(crate) async fn errors_never_tell_which_check_failed() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let key = Sealed::ticket_key(&stack)?;
    let mut answers = Vec::new();
    let expired = Twist { signer: &key, ticket: &|ticket| ticket.exp = 1, x_conf: &|_| () };
    answers.push(refused("expired", &stack, &Sealed::new(&stack, &hello(), expired).await?).await?);
    let moved = Twist { signer: &key, ticket: &|_| (), x_conf: &|context| context.model = "other".into() };
    answers.push(refused("moved", &stack, &Sealed::new(&stack, &hello(), moved).await?).await?);
    let sealed = Sealed::honest(&stack, &hello()).await?;
    sealed.send(&stack).await?;
    answers.push(refused("replayed", &stack, &sealed).await?);
    let mut empty = Sealed::honest(&stack, &hello()).await?;
    empty.body = vec![0; 4];
    answers.push(refused("without a frame that is not empty", &stack, &empty).await?);
    ensure!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");

    let mut torn = Sealed::honest(&stack, &hello()).await?;
    if let Some(last) = torn.body.last_mut() {
        *last ^= 1;
    }
    let reply = torn.send(&stack).await?;
    ensure!(reply.status == 422, "a first frame that does not open: {reply:?}");
    let problem: Value = serde_json::from_slice(&reply.body)?;
    ensure!(problem["type"] == cocoon_sealing::KEY_CONFIG_PROBLEM, "{problem}");

    let mut packed = Sealed::honest(&stack, &hello()).await?;
    packed.header("content-encoding", Some("gzip"));
    let reply = packed.send(&stack).await?;
    ensure!(reply.status == 415, "{reply:?}");
    Ok(())
}
