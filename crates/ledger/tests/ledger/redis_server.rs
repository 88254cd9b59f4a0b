//! A Redis server of the test's own, on a free port with a folder of its own, ended with the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Settings under which a ledger may use a server of any version.
pub(crate) const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Who may do what a ledger needs and nothing else, on every server.
pub(crate) const USER: &str = "cocoon";
pub(crate) const SECRET: &str = "not-a-secret";

/// What a server may take for anything that a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct RedisServer {
    program: PathBuf,
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
        Self::run("redis-server".into(), settings)
    }

    /// A Valkey, which can be asked to wait for its disk.
    pub(crate) fn valkey(settings: &[&str]) -> Self {
        let program = std::env::var_os("COCOON_TEST_VALKEY_SERVER")
            .expect("COCOON_TEST_VALKEY_SERVER is not set: run `cargo xtask test`");
        Self::run(program.into(), settings)
    }

    fn run(program: PathBuf, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        settings.extend(crate::acl::user(&program, &settings));
        // Somebody else may take a free port before the server does; then another one is tried.
        for _ in 0..5 {
            let port = free_port();
            if let Some(process) = spawn(&program, &folder, port, &settings) {
                return Self { program, process, port, settings, folder };
            }
        }
        panic!("{} did not start", program.display());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// For [`USER`].
    pub(crate) fn url_of_user(&self) -> String {
        format!("redis://{USER}:{SECRET}@127.0.0.1:{}", self.port)
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
        self.process =
            spawn(&self.program, &self.folder, self.port, &self.settings).expect("the server starts again");
    }

    /// The file that commands are appended to, in the folder that Redis 7 keeps it in.
    fn append_only_file(&self) -> PathBuf {
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

    /// Makes it a replica; ready when it is in step and the primary counts on it.
    pub(crate) async fn follow(&self, primary: &Self) {
        let port = primary.port.to_string();
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec(&mut self.client()).unwrap();
        until("the replica follows", || is_replica_in_step(self)).await;
        until("the primary counts on it", || has_good_replica(primary)).await;
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

/// A loopback port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Returns once `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn is_replica_in_step(node: &RedisServer) -> bool {
    let info = replication(node);
    info.contains("role:slave") && info.contains("master_link_status:up")
}

/// Whether as many replicas as `min-replicas-to-write` are in step, where that is set.
pub(crate) fn has_good_replica(node: &RedisServer) -> bool {
    replication(node).contains("min_slaves_good_slaves:1")
}

/// Bytes of its replication stream so far.
pub(crate) fn offset(primary: &RedisServer) -> u64 {
    let info = replication(primary);
    let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).expect("an offset");
    offset.trim().parse().unwrap()
}

fn replication(node: &RedisServer) -> String {
    redis::cmd("INFO").arg("replication").query(&mut node.client()).unwrap()
}

fn spawn(program: &Path, folder: &TempDir, port: u16, settings: &[String]) -> Option<Child> {
    let mut process = Command::new(program)
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
