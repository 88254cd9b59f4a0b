//! `cocoon-devnet` as a process: what it refuses, and that it goes on from its file however it ended.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_receipts::NanoTon;
use cocoon_ton::{Address, GlobalId, KeyPair, Payout, PayoutId, Wallet, Workchain};
use reqwest::Client;
use serde_json::{Value, json};

const TON: u64 = 1_000_000_000;

/// Until something is there or has ended; none of it takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cocoon-devnet"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Server {
    child: Child,
    urls: Vec<String>,
    client: Client,
}

impl Server {
    /// One that listens where there is room, once it is ready.
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(&[&["--listen", "127.0.0.1:0"], arguments].concat()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", errors(&mut child)));
        assert_eq!(line["ready"], json!(true));
        let urls = line["listen"].as_array().unwrap().iter();
        let urls = urls.map(|address| format!("http://{}", address.as_str().unwrap())).collect();
        Self { child, urls, client: Client::new() }
    }

    fn on(file: &Path, more: &[&str]) -> Self {
        Self::start(&[&["--state", file.to_str().unwrap()], more].concat())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.urls[0])).body(body.to_string());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn status(&self) -> Value {
        self.client.get(format!("{}/devnet", self.urls[0])).send().await.unwrap().json().await.unwrap()
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let call = json!({"id": 1, "jsonrpc": "2.0", "method": method, "params": params});
        self.post("/api/v2/jsonRPC", call).await["result"].clone()
    }

    async fn seqno_reached(&self, seqno: u64) {
        let since = Instant::now();
        while self.status().await["seqno"].as_u64().unwrap() < seqno {
            assert!(since.elapsed() < PATIENCE, "no block {seqno}");
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn errors(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// What is said by one that does not start.
fn refused(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn number(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

fn assert_coins_add_up(status: &Value) {
    let of = |name: &str| number(&status["supply"][name]);
    assert_eq!(of("minted"), of("balances") + of("on_the_way") + of("fees") + of("burned"), "{status}");
}

#[test]
fn only_loopback_is_listened_on() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = refused(&["--listen", address]);
        assert!(error.contains("is not a loopback address: whoever reaches this can give coins"), "{error}");
    }
    let both = refused(&["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"]);
    assert!(both.contains("0.0.0.0:0 is not a loopback address"), "{both}");
}

#[test]
fn it_never_has_the_main_networks_number() {
    let error = refused(&["--listen", "127.0.0.1:0", "--global-id", "-239"]);
    assert!(error.contains("-239 is the main network's number, and this is not it"), "{error}");
}

#[tokio::test]
async fn several_endpoints_are_of_one_chain() {
    let server = Server::start(&["--listen", "127.0.0.1:0", "--block-interval", "0", "--time", "1700000000"]);
    assert_eq!(server.urls.len(), 2);
    server.post("/devnet/blocks", json!({"count": 2})).await;
    let other = format!("{}/devnet", server.urls[1]);
    let other: Value = server.client.get(other).send().await.unwrap().json().await.unwrap();
    assert_eq!(other, server.status().await);
    assert_eq!((&other["seqno"], &other["time"]), (&json!(2), &json!(1_700_000_000)));
}

#[tokio::test]
async fn without_an_interval_there_are_no_blocks_but_those_asked_for_and_with_one_there_are() {
    let quiet = Server::start(&["--block-interval", "0"]);
    let server = Server::start(&["--block-interval", "20", "--fees", "old", "--global-id", "-4"]);
    server.seqno_reached(5).await;
    let status = server.status().await;
    assert_eq!((&status["fees"], &status["global_id"]), (&json!("old"), &json!(-4)));
    assert_eq!(quiet.status().await["seqno"], json!(0));
}

#[tokio::test]
async fn it_ends_in_good_order_also_while_a_call_hangs() {
    let server = Server::start(&["--block-interval", "20"]);
    let faults = format!("{}/devnet/faults/endpoint", server.urls[0]);
    server.client.put(faults).body(r#"{"hang": 1}"#).send().await.unwrap();
    let hanging = server.client.get(format!("{}/api/v2/getMasterchainInfo", server.urls[0]));
    let hanging = hanging.timeout(Duration::from_millis(200)).send().await;
    assert!(hanging.unwrap_err().is_timeout());
    assert!(server.terminate().success());
}

#[tokio::test]
async fn blocks_that_were_asked_for_do_not_keep_it_from_ending() {
    let server = Server::start(&["--block-interval", "0"]);
    let asked = server.client.post(format!("{}/devnet/blocks", server.urls[0])).body(r#"{"count": 100000}"#);
    let asked = asked.timeout(PATIENCE).send();
    let ended = async {
        server.seqno_reached(1).await;
        tokio::task::spawn_blocking(|| server.terminate()).await.unwrap()
    };
    let (asked, ended) = tokio::join!(asked, ended);
    assert!(ended.success());
    drop(asked);
}

#[tokio::test]
async fn a_chain_that_was_killed_goes_on_with_nothing_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chain");
    let key = KeyPair::from_seed(&[1; 32]).unwrap();
    let wallet = Wallet::new(key.public(), GlobalId::TESTNET).unwrap();
    let to = Address::new(Workchain::Basechain, [9; 32]);
    let address = wallet.address().to_string();
    let transactions = async |server: &Server| {
        server
            .call("getTransactions", json!({"address": address, "limit": 100}))
            .await
            .as_array()
            .unwrap()
            .clone()
    };
    let mut given = 0;
    let mut kept: Vec<Value> = Vec::new();
    let mut seqno = 0;
    for round in 0..6_u32 {
        let server = Server::on(&file, &["--block-interval", "1"]);
        let status = server.status().await;
        assert_coins_add_up(&status);
        assert!(status["seqno"].as_u64().unwrap() >= seqno);
        // A gift that was answered is there, whatever became of the process after that.
        assert_eq!(number(&status["supply"]["minted"]), u128::from(given));
        let history = transactions(&server).await;
        assert_eq!(history[history.len() - kept.len()..], kept);

        server.post("/devnet/faucet", json!({"address": address, "amount": TON.to_string()})).await;
        given += TON;
        let head = server.status().await["seqno"].as_u64().unwrap();
        server.seqno_reached(head + 2).await;
        let next = server.call("getWalletInformation", json!({"address": address})).await;
        let next = u32::try_from(next["seqno"].as_u64().unwrap_or(0)).unwrap();
        let payout =
            Payout { id: PayoutId(round.into()), to, amount: NanoTon(1_000), bounce: false, call: None };
        let batch = wallet.batch(&key, vec![payout], next, u32::MAX - 1, next == 0).unwrap();
        server.call("sendBoc", json!({"boc": STANDARD.encode(&batch.boc)})).await;
        server.seqno_reached(head + 3 + u64::from(round)).await;
        kept = transactions(&server).await;
        seqno = server.status().await["seqno"].as_u64().unwrap();
        // Blocks are being made, one a millisecond.
        server.kill();
    }
    let server = Server::on(&file, &["--block-interval", "0"]);
    let status = server.post("/devnet/blocks", json!({"count": 10, "until_idle": true})).await;
    assert_coins_add_up(&status);
    let paid = server.call("getTransactions", json!({"address": to.to_string(), "limit": 100})).await;
    let sent = transactions(&server).await.iter().filter(|one| one["out_msgs"] != json!([])).count();
    assert!(sent > 0);
    assert_eq!(paid.as_array().unwrap().len(), sent);
    // What was paid, for an account that holds it pays rent.
    let received = paid.as_array().unwrap().iter().map(|one| number(&one["in_msg"]["value"])).sum::<u128>();
    assert_eq!(received, 1_000 * sent as u128);
}

#[tokio::test]
async fn a_file_has_one_process_and_one_network_and_is_refused_when_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chain");
    let state = ["--listen", "127.0.0.1:0", "--state", file.to_str().unwrap()];
    let with = |more: &[&str]| refused(&[&state, more].concat());
    let server = Server::on(&file, &["--block-interval", "0", "--time", "1700000000"]);
    server.post("/devnet/blocks", json!({"count": 3})).await;
    let error = with(&[]);
    assert!(error.contains("cannot use") && error.contains("another process has the file"), "{error}");
    server.post("/devnet/blocks", json!({"count": 1})).await;
    assert!(server.terminate().success());

    for more in [["--fees", "old"], ["--global-id", "-4"]] {
        let error = with(&more);
        assert!(error.contains("the file has a chain with Current fees and number -3"), "{error}");
    }
    // Its own time, not that of the command line.
    let server = Server::on(&file, &["--block-interval", "0", "--time", "1800000000"]);
    let status = server.status().await;
    assert_eq!((&status["seqno"], &status["now"]), (&json!(4), &json!(1_700_000_000)));
    assert!(server.terminate().success());

    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(9).position(|window| window == br#""seqno":2"#).unwrap();
    bytes[at + 8] = b'7';
    std::fs::write(&file, &bytes).unwrap();
    let error = with(&[]);
    assert!(error.contains("the file is damaged"), "{error}");
    std::fs::write(
        &file,
        "not a database, and longer than the header of one is, which has 100 bytes".repeat(9),
    )
    .unwrap();
    let error = with(&[]);
    assert!(error.contains("file is not a database"), "{error}");
}
