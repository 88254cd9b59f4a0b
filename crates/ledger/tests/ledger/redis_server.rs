//! A Redis server of the test's own, on a free port with a folder of its own, ended with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Settings under which a ledger may use a server of any version.
pub(crate) const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub(crate) struct RedisServer {
    process: Child,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::with(&DURABLE)
    }

    pub(crate) fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        // Somebody else may take a free port before the server does; then another one is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(process) = spawn(&folder, port, &settings) {
                return Self { process, port, settings, folder };
            }
        }
        panic!("redis-server did not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Again on the same port with the same files.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.folder, self.port, &self.settings).expect("redis-server starts again");
    }

    /// The file that commands are appended to, in the folder that Redis 7 keeps it in.
    fn append_only_file(&self) -> std::path::PathBuf {
        let folder = self.folder.path().join("appendonlydir");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut increments: Vec<_> =
            files.filter(|file| file.to_string_lossy().ends_with(".incr.aof")).collect();
        increments.sort();
        increments.pop().expect("an append-only file")
    }

    pub(crate) fn append_only_bytes(&self) -> u64 {
        std::fs::metadata(self.append_only_file()).unwrap().len()
    }

    /// As if the machine had stopped before the rest was on disk. Not while the server runs.
    pub(crate) fn cut_back_to(&self, length: u64) {
        std::fs::OpenOptions::new()
            .write(true)
            .open(self.append_only_file())
            .and_then(|file| file.set_len(length))
            .unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn client(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir, port: u16, settings: &[String]) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder.path())
        .args(settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("install redis-server");
    let deadline = Instant::now() + Duration::from_secs(20);
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    while Instant::now() < deadline {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        let up = client
            .get_connection_with_timeout(Duration::from_secs(1))
            .and_then(|mut connection| redis::cmd("INFO").query::<String>(&mut connection));
        let ours = format!("process_id:{}\r", process.id());
        // While it reads its file it says so, and nothing else.
        if up.is_ok_and(|info| info.contains(&ours) && info.contains("\nloading:0\r")) {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}
