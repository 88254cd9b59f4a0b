//! Against a scripted HTTP server: it answers what a test tells it to, whatever it is asked, and is no chain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::recorded::recorded;
use crate::writer::Writer;
use crate::{Network, Workchain, boc};

mod failing;
mod reading;
mod registry;
mod several;

/// What the server does with one request.
#[derive(Clone)]
enum Script {
    /// Answers with this status, further headers and body.
    Answer(u16, &'static str, String),
    /// Promises more bytes than it sends, with this status.
    CutShort(u16),
    /// Sends nothing.
    Silence,
}

/// A server that is asked in any order for the network's name, which it knows, and otherwise follows its
/// script.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<(Value, String)>>>,
    _tasks: JoinSet<()>,
}

fn ok(result: &Value) -> Script {
    Script::Answer(200, "", json!({"ok": true, "result": result, "id": "1", "jsonrpc": "2.0"}).to_string())
}

fn error(status: u16, text: &str) -> Script {
    Script::Answer(status, "", json!({"ok": false, "error": text, "code": status}).to_string())
}

const ZEROSTATE: CellHash = CellHash([9; 32]);

fn masterchain_info(zerostate: CellHash) -> Value {
    let block = |seqno: u32, hash: CellHash| {
        let hash = hash.to_string();
        json!({"workchain": -1, "shard": "-9223372036854775808", "seqno": seqno, "root_hash": hash, "file_hash": hash})
    };
    json!({"@type": "blocks.masterchainInfo", "last": block(77, CellHash([1; 32])), "init": block(0, zerostate)})
}

fn config_19(global_id: i32) -> Value {
    let cell = Writer::new().i32(global_id).cell().unwrap();
    json!({"@type": "configInfo", "config": {"@type": "tvm.cell", "bytes": boc::encode_base64(&cell).unwrap()}})
}

impl Scripted {
    async fn start(global_id: i32, script: impl IntoIterator<Item = Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (log, mut tasks) = (Arc::clone(&asked), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, global_id, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    /// The requests beside those for the network's name, with their headers.
    fn asked(&self) -> Vec<(Value, String)> {
        self.asked.lock().unwrap().clone()
    }

    fn config(&self, operator: &str) -> EndpointConfig {
        EndpointConfig {
            url: EndpointUrl::parse(&self.url).unwrap(),
            api_key: None,
            operator: operator.to_owned(),
            network: Network::test(GlobalId::TESTNET).unwrap(),
            timeout: Duration::from_secs(30),
        }
    }

    fn endpoint(&self, operator: &str) -> Endpoint {
        endpoint(self.config(operator)).unwrap()
    }
}

fn endpoint(config: EndpointConfig) -> Result<Endpoint, ChainError> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
    Endpoint::new(config)
}

type Log = Arc<Mutex<Vec<(Value, String)>>>;

async fn serve(mut stream: TcpStream, global_id: i32, script: Arc<Mutex<VecDeque<Script>>>, log: Log) {
    while let Some((headers, request)) = read(&mut stream).await {
        let step = match request["method"].as_str().unwrap() {
            "getConfigParam" => ok(&config_19(global_id)),
            "getMasterchainInfo" => ok(&masterchain_info(ZEROSTATE)),
            _ => {
                log.lock().unwrap().push((request, headers));
                script.lock().unwrap().pop_front().unwrap_or_else(|| error(500, "the script is over"))
            }
        };
        let answer = match step {
            Script::Answer(status, headers, body) => {
                format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
            }
            Script::CutShort(status) => {
                format!("HTTP/1.1 {status} Status\r\ncontent-length: 1000\r\n\r\n{{\"ok\":true")
            }
            Script::Silence => std::future::pending().await,
        };
        let cut = answer.contains("content-length: 1000\r\n\r\n{\"ok\":true");
        if stream.write_all(answer.as_bytes()).await.is_err() || cut {
            return;
        }
    }
}

/// One request: its headers and its JSON.
async fn read(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((headers, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(request) = serde_json::from_str(body) {
            return Some((headers.to_owned(), request));
        }
    }
}

fn treasury() -> Address {
    recorded().treasury()
}

fn raw(names: &[&str]) -> Value {
    let data =
        |name: &&str| json!({"@type": "raw.transaction", "data": STANDARD.encode(recorded().boc(name))});
    names.iter().map(data).collect()
}

fn active(seqno: u64) -> Value {
    let cell = Writer::new().uint(64, seqno).cell().unwrap();
    let bytes = boc::encode_base64(&cell).unwrap();
    json!({
        "@type": "raw.fullAccountState", "balance": "18446744073709551615", "code": bytes, "data": bytes,
        "last_transaction_id": {"lt": "9007199254740993", "hash": CellHash([3; 32]).to_string()},
        "state": "active", "frozen_hash": "", "sync_utime": 1_790_000_000,
    })
}
