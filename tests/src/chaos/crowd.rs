//! Two hundred clients at once, of whom a third hangs up at a random moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Client, chat};

pub(super) const CLIENTS: usize = 200;

/// How requests ended, by name.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn add(&self, end: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(end).or_default() += 1;
    }

    pub(super) fn ends(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) struct Crowd {
    ended: Arc<AtomicBool>,
    tally: Arc<Tally>,
    clients: JoinSet<anyhow::Result<()>>,
}

impl Crowd {
    /// `origins` are the gateways, `keys` those of the accounts that the clients share.
    pub(super) fn begin(origins: &[String], keys: &[String]) -> Self {
        let (ended, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let key = &keys[number % keys.len()];
            let gateways: Vec<Client> =
                origins.iter().map(|origin| Client::new(format!("{origin}/v1"), key.clone())).collect();
            clients.spawn(visit(gateways, number as u64, Arc::clone(&ended), Arc::clone(&tally)));
        }
        Self { ended, tally, clients }
    }

    /// Whether a request has ended so by now.
    pub(super) fn has_met(&self, end: &str) -> bool {
        self.tally.ends().contains_key(end)
    }

    /// Waits until each has ended its last request.
    pub(super) async fn end(mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.ended.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client??;
        }
        Ok(self.tally.ends())
    }
}

async fn visit(
    gateways: Vec<Client>,
    number: u64,
    ended: Arc<AtomicBool>,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(number);
    while !ended.load(Ordering::Relaxed) {
        let gateway = &gateways[random.usize(..gateways.len())];
        let script = json!({ "tokens": random.u32(5..60), "text": "tick ", "delay_ms": random.u32(..15) });
        let body = chat(&script.to_string(), json!({ "max_tokens": 100 }));
        let hangs_up = number.is_multiple_of(3);
        let patience = Duration::from_millis(if hangs_up { random.u64(1..600) } else { 60_000 });
        let end = match tokio::time::timeout(patience, ask(gateway, &body)).await {
            Ok(end) => end,
            Err(_) if hangs_up => "hung up".to_owned(),
            Err(_) => anyhow::bail!("a client hung"),
        };
        let refused = end != "whole" && end != "hung up";
        tally.add(end);
        if refused {
            // As clients do: they do not come again at once.
            tokio::time::sleep(Duration::from_millis(random.u64(50..150))).await;
        }
    }
    Ok(())
}

/// How it ended: `whole`, `broken` after it had begun, `no answer`, or the status that refused it.
async fn ask(gateway: &Client, body: &Value) -> String {
    match gateway.try_stream_from("/chat/completions", body).await {
        Err(_) => "no answer".to_owned(),
        Ok(Err((status, _))) => status.as_u16().to_string(),
        Ok(Ok(mut stream)) => match stream.rest().await {
            Ok(events) if events.last().is_some_and(|last| last == "[DONE]") => "whole".to_owned(),
            Ok(_) | Err(_) => "broken".to_owned(),
        },
    }
}
