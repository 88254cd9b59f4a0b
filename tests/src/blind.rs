//! In sealed mode the gateway, its store and everyone on its wires handle a conversation of which they cannot read a
//! word.

use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_receipts::RequestId;

use crate::harness::{
    Direction, Engine, Held, Proxy, RedisServer, Settings, Sidecar, Stack, Trace, Transport, find_in_memory,
};

/// How the stream's events begin: no event may be in the clear anywhere but at its two ends.
const EVENT: &[u8] = b"\"delta\":{\"content\":";
/// Shortest piece of an answer that is looked for; it would not occur by chance.
const SHORTEST: usize = 16;

/// PyPI `tinfoil-ehbp` under the official client: the key is the one that the gateway serves.
pub(crate) async fn the_gateway_of_an_ehbp_client() -> anyhow::Result<()> {
    watch(Transport::Ehbp).await
}

/// The official client through `cocoon-connect`.
pub(crate) async fn the_gateway_of_the_sidecar() -> anyhow::Result<()> {
    watch(Transport::Plain).await
}

/// Records every socket of the gateway, every one of its reads and writes, its log at its most talkative, and its store,
/// and searches its memory while a stream runs and after. The same searches find everything at the two ends, so they can
/// find it. Guards against: a body read for routing, a plain copy kept for a retry, content in an error or a log line.
async fn watch(transport: Transport) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let redis = RedisServer::start(folder.path().to_owned()).await?;
    let to_redis = Proxy::start(redis.port()).await?;
    let stack = Stack::start(Settings {
        engine: Engine::Real,
        proxy: true,
        gateway: format!("ledger.url = \"{}\"", to_redis.url().replace("http", "redis")),
        gateway_log: Some("trace"),
        ..Settings::default()
    })
    .await?;
    let to_gateway = Proxy::start(stack.gateway_port()).await?;
    let sidecar = match transport {
        Transport::Plain => Some(Sidecar::start(&stack, &to_gateway.url(), &[]).await?),
        Transport::Ehbp => None,
    };
    let base_url = match &sidecar {
        Some(sidecar) => sidecar.base_url(),
        None => format!("{}/v1", to_gateway.url()),
    };
    let gateway = stack.gateway.as_ref().context("no gateway")?;
    let trace = Trace::attach(gateway.pid(), &stack.path("gateway.strace"))?;

    let prompt = format!("quagga-{}", RequestId::generate());
    let mut client = Held::start(transport, &base_url, &stack.key, &prompt)?;
    let whole = client.next("whole").await?;
    let midway = client.next("midway").await?;
    let (whole, midway) = (telling(&whole)?, telling(&midway)?);
    let markers = [prompt.as_bytes(), whole.as_bytes(), midway.as_bytes(), EVENT];

    // The stream is running: whoever works on it has it in memory now.
    ensure!(stack.engine_running().await? > 0, "the engine has finished already");
    none("the gateway's memory during the stream", &find_in_memory(gateway.pid(), &markers)?)?;
    let work = [prompt.as_bytes(), midway.as_bytes()];
    let at_the_engine = find_in_memory(stack.engine_pid()?, &work)?;
    ensure!(at_the_engine == work, "the engine has prompt and answer, not only {}", texts(&at_the_engine));
    let at_the_client = find_in_memory(client.pid()?, &markers)?;
    ensure!(at_the_client == markers, "the client has all of it, not only {}", texts(&at_the_client));
    client.go_on().await?;
    let streamed = client.next("streamed").await?;
    ensure!(streamed.starts_with(midway_of(&streamed, midway)?), "the stream went on");
    client.end().await?;
    // Receipts have come by now; what is left of the request is what would stay.
    crate::harness::eventually("the account has no open hold", Duration::from_secs(20), || async {
        Ok((stack.account().await?.open_holds == 0).then_some(()))
    })
    .await?;

    none("the gateway's memory after it", &find_in_memory(gateway.pid(), &markers)?)?;
    let traced = trace.finish()?;
    let of_the_hop: [&[u8]; 2] = [b"ehbp-encapsulated-key", b"cocoon-ticket"];
    ensure!(traced.find(&of_the_hop) == of_the_hop, "the trace shows nothing");
    none("the gateway's reads and writes", &traced.find(&markers))?;
    let log = gateway.log();
    found("the log", log.as_bytes(), &["answered"])?;
    absent("the gateway's log", log.as_bytes(), &markers)?;

    let proxies = [
        ("clients", &to_gateway),
        ("the backend", stack.proxy.as_ref().context("no proxy")?),
        ("the outbox", stack.outbox_proxy.as_ref().context("no proxy")?),
        ("Redis", &to_redis),
    ];
    for (name, proxy) in proxies {
        for direction in [Direction::ToBackend, Direction::ToGateway] {
            let recorded = proxy.recorded(direction);
            ensure!(!recorded.is_empty(), "nothing was recorded between the gateway and {name}");
            absent(&format!("between the gateway and {name}"), &recorded, &markers)?;
        }
    }
    found("the hop", &proxies[1].1.recorded(Direction::ToBackend), &["cocoon-ticket"])?;

    none("Redis's memory", &find_in_memory(redis.process().context("no Redis")?.pid(), &markers)?)?;
    let stored = files(folder.path())?;
    found("Redis's files", &stored, &["cocoon"])?;
    absent("Redis's files", &stored, &markers)?;
    println!(
        "looked for {} markers in {} bytes of reads and writes, {} of log, {} on disk",
        markers.len(),
        traced.bytes(),
        log.len(),
        stored.len()
    );
    Ok(())
}

/// The longest piece of a text that is the same in every notation.
fn telling(text: &str) -> anyhow::Result<&str> {
    let plain = |letter: char| !(letter.is_ascii_alphanumeric() || ", '.-".contains(letter));
    let longest = text.split(plain).max_by_key(|piece| piece.len()).unwrap_or_default();
    ensure!(longest.len() >= SHORTEST, "nothing to look for in: {text}");
    Ok(longest)
}

fn midway_of<'a>(streamed: &'a str, midway: &str) -> anyhow::Result<&'a str> {
    let at = streamed.find(midway).context("another text")?;
    Ok(&streamed[..at + midway.len()])
}

fn none(place: &str, found: &[&[u8]]) -> anyhow::Result<()> {
    ensure!(found.is_empty(), "{} in {place}", texts(found));
    Ok(())
}

fn texts(found: &[&[u8]]) -> String {
    let texts: Vec<_> = found.iter().map(|marker| String::from_utf8_lossy(marker)).collect();
    format!("{texts:?}")
}

fn absent(place: &str, bytes: &[u8], markers: &[&[u8]]) -> anyhow::Result<()> {
    let found: Vec<&[u8]> = markers.iter().copied().filter(|marker| contains(bytes, marker)).collect();
    none(place, &found)
}

fn found(place: &str, bytes: &[u8], words: &[&str]) -> anyhow::Result<()> {
    for word in words {
        ensure!(contains(bytes, word.as_bytes()), "'{word}' is not in {place}: it shows nothing");
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

/// All files of a folder, one after the other.
fn files(folder: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            content.extend(files(&entry.path())?);
        } else {
            content.extend(std::fs::read(entry.path())?);
        }
    }
    Ok(content)
}
