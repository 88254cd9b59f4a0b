//! A backend whose evidence turns bad under load: drained, named, and back when it is good again, without a failed request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bill::claims;
use crate::harness::{
    Client, Direction, EventStream, SecondBackend, Settings, Sidecar, Stack, chat, eventually, free_port,
    full,
};

/// Verdicts run out this often, seconds; they are renewed after half of it.
const POLICY: &str = "max_verdict_age_s = 6";
/// Time in which a change is noticed: the file is looked at every two seconds, and evidence every three.
const NOTICED: Duration = Duration::from_secs(30);

/// One gateway, two backends of the same model, and a load on both.
struct Scene {
    stack: Stack,
    other: SecondBackend,
    root: String,
    load: Load,
    /// Streams that began before anything went wrong, and outlast it.
    running: Vec<EventStream>,
}

/// Clients that ask again and again, each way. An error of one is the test's.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: JoinSet<anyhow::Result<()>>,
}

impl Load {
    fn start(clients: &[Client]) -> Self {
        let mut load = Self { stop: Arc::default(), answered: Arc::default(), clients: JoinSet::new() };
        for (client, streamed) in clients.iter().flat_map(|client| [(client, false), (client, true)]) {
            let (client, stop, answered) =
                (client.clone(), Arc::clone(&load.stop), Arc::clone(&load.answered));
            load.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    ask(&client, streamed).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        load
    }

    /// Waits for `more` answers.
    async fn answers(&mut self, more: u64) -> anyhow::Result<()> {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < wanted {
            tokio::select! {
                // None ends before it is told to.
                Some(ended) = self.clients.join_next() => ended??,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

/// One request, answered whole.
async fn ask(client: &Client, streamed: bool) -> anyhow::Result<()> {
    let body = chat(&json!({ "tokens": 10, "text": "tick ", "delay_ms": 10 }).to_string(), json!({}));
    if streamed {
        let events = client.stream(&body).await?.rest().await?;
        ensure!(events.last().is_some_and(|last| last == "[DONE]"), "a stream was cut: {events:?}");
    } else {
        let (status, _, answer) = client.complete(&body).await?;
        ensure!(status == 200, "{status} {answer}");
    }
    Ok(())
}

impl Scene {
    /// Everything is good: both backends are used by clients of the gateway and of a sidecar.
    async fn start(proxy: bool) -> anyhow::Result<(Self, Sidecar)> {
        let port = free_port()?;
        let settings = Settings {
            proxy,
            second_backend: Some(format!("http://127.0.0.1:{port}")),
            policy: POLICY.to_owned(),
            // Every receipt stays in the outbox, to be counted.
            backend: "receipt_confirm_ms = 3600000".to_owned(),
            ..Settings::default()
        };
        let stack = Stack::start(settings).await?;
        let (other, root) = (SecondBackend::start(&stack, port)?, stack.dev_root()?);
        // The gateway takes it up as it runs.
        stack.write_policy(&[&root, &other.root], POLICY)?;
        eventually("both are verified", NOTICED, || async {
            Ok(stack.backends_command(&[])?.0.then_some(()))
        })
        .await?;
        let sidecar = Sidecar::start(&stack, &stack.origin(), &[]).await?;
        let load = Load::start(&[stack.client(), sidecar.client(&stack)]);
        let mut scene = Self { stack, other, root, load, running: Vec::new() };
        scene.both_serve().await?;
        let script = json!({ "tokens": 300, "text": "tick ", "delay_ms": 30 }).to_string();
        for _ in 0..6 {
            scene.running.push(scene.stack.client().stream(&chat(&script, json!({}))).await?);
        }
        Ok((scene, sidecar))
    }

    async fn both_serve(&mut self) -> anyhow::Result<()> {
        let before = (self.stack.outbox()?.len(), self.other.outbox()?.len());
        eventually("both backends are given requests", Duration::from_secs(60), || async {
            let now = (self.stack.outbox()?.len(), self.other.outbox()?.len());
            Ok((now.0 > before.0 && now.1 > before.1).then_some(()))
        })
        .await?;
        self.load.answers(8).await
    }

    /// The first backend is refused by `check`: all say so, what ran on it ends whole, and nothing new goes there.
    async fn is_drained(&mut self, check: &str) -> anyhow::Result<()> {
        let refused = eventually("the gateway refuses it", NOTICED, || async {
            let first = self.stack.backends().await?.backends.into_iter().next().context("no backends")?;
            Ok((first.verdict == "refused").then_some(first))
        })
        .await?;
        ensure!(refused.check.as_deref() == Some(check) && !refused.in_use, "{refused:#?}");
        ensure!(refused.in_flight > 0, "streams still run on it: {refused:#?}");
        let keyset = refused.last_verified.context("it was verified before")?.keyset;
        self.said_everywhere(&refused.backend, &keyset, check).await?;

        let mut ended_there = 0;
        for stream in &mut self.running {
            let events = stream.rest().await?;
            ensure!(events.last().is_some_and(|last| last == "[DONE]"), "a stream was cut: {events:?}");
            ensure!(events.len() >= 300, "{} events", events.len());
            let trailers = stream.trailers.as_ref().context("no trailers")?;
            let receipt = claims(trailers["cocoon-receipt"].to_str()?)?;
            ensure!(receipt["complete"] == true, "{receipt:#}");
            ended_there += u32::from(receipt["iss"] == keyset);
        }
        self.running.clear();
        ensure!(ended_there > 0, "none of the streams ran on the backend that turned bad");

        eventually("nothing runs there any more", Duration::from_secs(60), || async {
            Ok((self.stack.backends().await?.backends[0].in_flight == 0).then_some(()))
        })
        .await?;
        let (there, elsewhere) = (self.stack.outbox()?.len(), self.other.outbox()?.len());
        self.load.answers(if full() { 400 } else { 40 }).await?;
        ensure!(self.stack.outbox()?.len() == there, "a new request went to a backend that is refused");
        ensure!(self.stack.backend_running().await? == 0, "a request runs on a backend that is refused");
        ensure!(self.other.outbox()?.len() >= elsewhere + 36, "the other serves");
        Ok(())
    }

    async fn said_everywhere(&self, backend: &str, keyset: &str, check: &str) -> anyhow::Result<()> {
        let models = self.models().await?;
        let model = &models["data"][0];
        ensure!(model["attestation"].as_array().is_some_and(|good| good.len() == 1), "{models:#}");
        ensure!(model["attestation"][0]["verdict"] == "verified", "{models:#}");
        let refused = &model["refused"][0];
        ensure!(refused["verdict"] == "refused" && refused["check"] == check, "{models:#}");
        ensure!(refused["keyset"] == keyset && refused["since"].is_u64(), "{models:#}");

        let metrics = self.stack.metrics().await?;
        let gauge = format!("cocoon_backend_attested{{backend=\"{backend}\",");
        let value = metrics.lines().find(|line| line.starts_with(&gauge)).context("no gauge")?;
        ensure!(value.ends_with(" 0"), "{value}");
        let counter = format!(
            "cocoon_backend_verifications_total{{backend=\"{backend}\",outcome=\"refused\",check=\"{check}\"}} "
        );
        ensure!(metrics.contains(&counter), "{counter} is not in\n{metrics}");

        let (good, screen) = self.stack.backends_command(&[])?;
        ensure!(!good && screen.contains(&format!("{backend}  REFUSED, NOT USED")), "{screen}");
        ensure!(screen.contains(&format!("[{check}] ")) && screen.contains("1 of 2 verified"), "{screen}");
        let (good, json) = self.stack.backends_command(&["--json"])?;
        let json: Value = serde_json::from_str(&json)?;
        ensure!(!good && json["backends"][0]["check"] == check, "{json:#}");
        let findings = json["backends"][0]["findings"].as_array().context("no findings")?;
        ensure!(findings.len() > 5, "all that was looked at: {json:#}");
        Ok(())
    }

    async fn models(&self) -> anyhow::Result<Value> {
        let url = format!("{}/models", self.stack.base_url());
        Ok(reqwest::Client::new().get(url).bearer_auth(&self.stack.key).send().await?.json().await?)
    }

    /// Its evidence is good again: it is used again, and no request has failed from first to last.
    async fn end_whole(mut self) -> anyhow::Result<()> {
        eventually("it is verified again", NOTICED, || async {
            Ok(self.stack.backends_command(&[])?.0.then_some(()))
        })
        .await?;
        let model = &self.models().await?["data"][0];
        ensure!(model["attestation"].as_array().is_some_and(|good| good.len() == 2), "{model:#}");
        ensure!(model["refused"] == json!([]), "{model:#}");
        self.both_serve().await?;
        let answered = self.load.finish().await?;
        let account = self.stack.settled_account().await?;
        ensure!(account.held.0 == 0 && account.charged.0 > 0, "{account:?}");
        println!("{answered} requests, none failed");
        Ok(())
    }
}

/// From now on one byte of the quote is another one, of which only who verifies it can know.
pub(crate) async fn a_changed_quote_drains_its_backend() -> anyhow::Result<()> {
    let (mut scene, _sidecar) = Scene::start(true).await?;
    let proxy = scene.stack.proxy.as_ref().context("no proxy")?;
    proxy.change(|direction, bytes| {
        const MEMBER: &[u8] = b"\"quote\":\"";
        let found = bytes.windows(MEMBER.len()).position(|window| window == MEMBER);
        if let (Direction::ToGateway, Some(at)) = (direction, found)
            && let Some(byte) = bytes.get_mut(at + MEMBER.len() + 40)
        {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
    });
    scene.is_drained("quote").await?;
    scene.stack.proxy.as_ref().context("no proxy")?.change(|_, _| ());
    scene.end_whole().await
}

/// The policy no longer believes whoever signed it. Before that a policy that cannot be read changes nothing.
pub(crate) async fn a_policy_that_refuses_it_drains_a_backend() -> anyhow::Result<()> {
    let (mut scene, _sidecar) = Scene::start(false).await?;
    let good = std::fs::read(scene.stack.path("policy.toml"))?;
    scene.stack.write_policy(&[], "max_verdict_age_s = 'long'")?;
    eventually("the gateway says so", NOTICED, || async {
        let log = scene.stack.gateway.as_ref().context("no gateway")?.log();
        Ok(log.contains("the changed policy cannot be used").then_some(()))
    })
    .await?;
    let backends = scene.stack.backends().await?;
    ensure!(backends.backends.iter().all(|backend| backend.in_use), "{backends:#?}");

    scene.stack.write_policy(&[&scene.other.root], POLICY)?;
    scene.is_drained("quote").await?;
    let after = scene.stack.backends().await?;
    ensure!(after.policy.digest != backends.policy.digest, "{after:#?}");
    let other = after.backends[1].last_verified.as_ref().context("no verdict")?;
    ensure!(other.policy == after.policy.digest, "verdicts are of the policy in force: {after:#?}");
    std::fs::write(scene.stack.path("policy.new"), good)?;
    std::fs::rename(scene.stack.path("policy.new"), scene.stack.path("policy.toml"))?;
    eventually("the policy before is in force again", NOTICED, || async {
        Ok((scene.stack.backends().await?.policy == backends.policy).then_some(()))
    })
    .await?;
    ensure!(scene.root == scene.stack.dev_root()?);
    scene.end_whole().await
}
