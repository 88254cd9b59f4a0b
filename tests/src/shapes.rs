//! Clients that take their answers in unusual ways, again and again: nothing leaks, and no receipt is lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::bill::claims;
use crate::harness::{Client, Engine, GRANT, MODEL, Settings, Stack, chat, eventually, full};

/// What a process may grow by, KiB, between the first repetitions and the last: an allocator is never quite still.
const NOISE: u64 = 3 * 1024;

/// How often in the default run, and with `--full`.
fn times(default: usize, all: usize) -> usize {
    if full() { all } else { default }
}

/// Resident memory, KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    gateway: u64,
    backend: u64,
}

impl Memory {
    fn of(stack: &Stack) -> anyhow::Result<Self> {
        let gateway = stack.gateway.as_ref().context("no gateway runs")?.resident()?;
        let backend = stack.backend.as_ref().context("no backend runs")?.resident()?;
        Ok(Self { gateway, backend })
    }
}

/// Receipts leave the outbox soon, so that what stays in memory is a leak.
async fn stack() -> anyhow::Result<Stack> {
    Stack::start(Settings { backend: "receipt_confirm_ms = 1000".into(), ..Settings::default() }).await
}

/// Claims of the receipts so far, by their numbers. Looked for often enough, the outbox drops none unseen.
#[derive(Default)]
struct Receipts(RefCell<BTreeMap<u64, Value>>);

impl Receipts {
    fn look(&self, stack: &Stack) -> anyhow::Result<usize> {
        let mut seen = self.0.borrow_mut();
        for (receipt, _) in stack.outbox()? {
            let claims = claims(&receipt)?;
            seen.insert(claims["seq"].as_u64().context("no seq")?, claims);
        }
        Ok(seen.len())
    }

    /// Waits until there are as many as requests, and nothing runs; the memory then.
    async fn settled(&self, stack: &Stack, requests: usize) -> anyhow::Result<Memory> {
        eventually("every request has a receipt", Duration::from_secs(30), || async {
            Ok((self.look(stack)? == requests).then_some(()))
        })
        .await?;
        eventually("nothing runs", Duration::from_secs(30), || async {
            Ok((stack.engine_running().await? == 0 && stack.backend_running().await? == 0).then_some(()))
        })
        .await?;
        stack.settled_account().await?;
        Memory::of(stack)
    }
}

/// Asks `times` times in the given way. Afterwards there is a receipt of each request with this `finish`, the account
/// was charged their sum, nothing runs, and memory is where it was after the first fifth.
async fn again_and_again(
    shape: &str,
    times: usize,
    finish: &str,
    ask: impl AsyncFn(&Client) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stack = stack().await?;
    let client = stack.client();
    let warm = (times / 5).max(1);
    let mut first = Memory::of(&stack)?;
    let receipts = Receipts::default();
    let begun = Instant::now();
    for number in 0..times {
        ask(&client).await.with_context(|| format!("request {number}"))?;
        if number + 1 == warm {
            first = receipts.settled(&stack, warm).await?;
        } else if number % 20 == 0 {
            receipts.look(&stack)?;
        }
    }
    let elapsed = begun.elapsed();
    let last = receipts.settled(&stack, times).await?;

    let mut sum = 0;
    for claims in receipts.0.borrow().values() {
        ensure!(claims["finish"] == finish, "{claims:#}");
        sum += claims["cost"].as_str().context("no cost")?.parse::<u64>()?;
    }
    let account = stack.settled_account().await?;
    ensure!(
        account.charged.0 == sum && account.balance.0 == GRANT - sum && account.held.0 == 0,
        "{account:?} {sum}"
    );
    println!(
        "{shape:22} {times:5} requests, as many receipts, {sum:9} nanoTON charged, {:6.1} s; KiB resident after a fifth \
         and at the end: gateway {:6} {:6}, backend {:6} {:6}",
        elapsed.as_secs_f64(),
        first.gateway,
        last.gateway,
        first.backend,
        last.backend
    );
    ensure!(last.gateway < first.gateway + NOISE, "the gateway grows: {first:?} {last:?}");
    ensure!(last.backend < first.backend + NOISE, "the backend grows: {first:?} {last:?}");
    Ok(())
}

fn script(script: &Value) -> Value {
    chat(&script.to_string(), json!({}))
}

/// Guards against: a charge that waits for a client to take the trailers, a connection that stays.
pub(crate) async fn a_client_that_closes_at_done_pays_once() -> anyhow::Result<()> {
    again_and_again("closed at [DONE]", times(100, 2000), "stop", async |client| {
        let mut stream = client.stream(&script(&json!({ "tokens": 20 }))).await?;
        while stream.next().await?.context("no [DONE]")? != "[DONE]" {}
        Ok(())
    })
    .await
}

/// Guards against: a generation that runs on, a hold that stays, a hang-up without a receipt.
pub(crate) async fn a_client_that_hangs_up_after_the_first_token_pays_once() -> anyhow::Result<()> {
    again_and_again("hung up after a token", times(100, 2000), "cancelled", async |client| {
        let mut stream = client.stream(&script(&json!({ "tokens": 100_000, "delay_ms": 1 }))).await?;
        stream.content(1).await?;
        Ok(())
    })
    .await
}

/// Guards against: pieces that are merged or lost, memory for each of them.
pub(crate) async fn ten_thousand_tiny_chunks_arrive() -> anyhow::Result<()> {
    const CHUNKS: usize = 10_000;
    again_and_again("10,000 tiny chunks", times(5, 50), "stop", async |client| {
        let mut stream = client.stream(&script(&json!({ "tokens": CHUNKS, "text": "a" }))).await?;
        let events = stream.rest().await?;
        // The role, the pieces, the reason why it ended, [DONE].
        ensure!(events.len() == CHUNKS + 3, "{} events", events.len());
        ensure!(events.last().is_some_and(|end| end == "[DONE]"), "{:?}", events.last());
        ensure!(events[1..=CHUNKS].iter().all(|event| event.contains(r#""delta":{"content":"a"}"#)));
        ensure!(stream.trailers.is_some(), "the receipt");
        Ok(())
    })
    .await
}

/// What the slow reader's answer is made of: some 40 MB of events, far more than the sockets on the way hold.
const TOKENS: u64 = 100_000;
const TEXT: &str = "a piece of text that is as long as some dozen tokens of an ordinary answer would be ";

/// Guards against an answer that is kept whole in memory because nobody takes it. The backend keeps what the engine has
/// already said, which the model's context bounds; the gateway keeps next to nothing.
pub(crate) async fn a_slow_reader_costs_no_memory() -> anyhow::Result<()> {
    let stack = stack().await?;
    stack.client().complete(&script(&json!({ "tokens": 100 }))).await?;
    let receipts = Receipts::default();
    let before = receipts.settled(&stack, 1).await?;
    let mut connection = ask_slowly(&stack, &script(&json!({ "tokens": TOKENS, "text": TEXT }))).await?;
    let mut taken = vec![0; 1024];
    connection.read_exact(&mut taken).await?;
    ensure!(taken.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&taken));

    // It has stopped reading. Once everything on the way is full, nothing moves any more.
    let full_at = eventually("memory is still", Duration::from_secs(60), || async {
        let one = Memory::of(&stack)?;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let other = Memory::of(&stack)?;
        let still = one.gateway.abs_diff(other.gateway) < 64 && one.backend.abs_diff(other.backend) < 64;
        Ok(still.then_some(other))
    })
    .await?;
    let pause = Duration::from_secs(if full() { 60 } else { 3 });
    let until = Instant::now() + pause;
    let mut most = full_at;
    while Instant::now() < until {
        // A few bytes now and then.
        connection.read_exact(&mut taken[..16]).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = Memory::of(&stack)?;
        most = Memory { gateway: most.gateway.max(now.gateway), backend: most.backend.max(now.backend) };
    }
    println!(
        "a reader that took 16 bytes every 100 ms for {pause:.0?}, of {} MB: KiB resident before, when nothing moved, \
         at most: gateway {}, {}, {}; backend {}, {}, {}",
        TOKENS * (TEXT.len() as u64 + 330) / 1_000_000,
        before.gateway,
        full_at.gateway,
        most.gateway,
        before.backend,
        full_at.backend,
        most.backend
    );
    ensure!(
        most.gateway < full_at.gateway + 1024 && most.backend < full_at.backend + 1024,
        "{full_at:?} {most:?}"
    );
    ensure!(full_at.gateway < before.gateway + NOISE, "the gateway keeps it: {before:?} {full_at:?}");
    let said = TOKENS * (TEXT.len() as u64 + 100) / 1024;
    ensure!(
        full_at.backend < before.backend + said + NOISE,
        "the backend keeps it: {before:?} {full_at:?} {said}"
    );

    // It takes the rest, and finds it whole.
    let mut end = Vec::new();
    loop {
        let mut bytes = vec![0; 256 << 10];
        let length = connection.read(&mut bytes).await?;
        ensure!(length > 0, "closed before its end: {}", String::from_utf8_lossy(&end));
        end.extend_from_slice(&bytes[..length]);
        end.drain(..end.len().saturating_sub(4096));
        let text = String::from_utf8_lossy(&end);
        if text.contains("data: [DONE]") && text.to_lowercase().contains("cocoon-receipt:") {
            break;
        }
    }
    receipts.settled(&stack, 2).await?;
    let receipts = receipts.0.into_inner();
    let (_, claims) = receipts.last_key_value().context("no receipt")?;
    ensure!(claims["complete"] == true && claims["usage"]["completion"] == TOKENS, "{claims:#}");
    Ok(())
}

/// Sends a streamed request on a connection whose own buffer is small.
async fn ask_slowly(stack: &Stack, body: &Value) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let address = stack.origin().trim_start_matches("http://").parse()?;
    let mut connection = socket.connect(address).await?;
    let mut body = body.clone();
    body["stream"] = true.into();
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nTE: trailers\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        stack.key,
        body.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body.as_bytes()).await?;
    Ok(connection)
}

/// Guards against: a prompt that reaches the model whatever its length, minutes of counting, a charge for nothing.
pub(crate) async fn a_prompt_of_a_mebibyte_is_refused() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let client = stack.client();
    let words = "A prompt of many ordinary words. ".repeat((1 << 20) / 33 + 1);
    for (kind, prompt) in [("words", words), ("one letter", "a".repeat(1 << 20))] {
        let begun = Instant::now();
        let (status, _, answer) = client.complete(&chat(&prompt, json!({ "max_tokens": 8 }))).await?;
        println!("1 MiB of {kind}: {status} after {:.1?}", begun.elapsed());
        ensure!(status == 400 && answer["error"]["code"] == "context_length_exceeded", "{status} {answer}");
        ensure!(answer["error"]["param"] == "messages", "{answer}");
    }
    let account = stack.settled_account().await?;
    ensure!(account.charged.0 == 0 && account.balance.0 == GRANT, "{account:?}");
    let (status, _, answer) = client.complete(&chat("Say hello.", json!({ "max_tokens": 8 }))).await?;
    ensure!(status == 200 && answer["model"] == MODEL, "{answer}");
    Ok(())
}
