//! A sentinel of the test's own that watches one primary.

use std::process::{Child, Command, Stdio};

use redis::cmd;
use tempfile::TempDir;

use crate::redis_server::{RedisServer, SECRET, USER, free_port, until};

/// What it calls the primary.
pub(crate) const SERVICE: &str = "ledger";

pub(crate) struct RedisSentinel {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl RedisSentinel {
    /// Ready when it knows the primary's replica.
    pub(crate) async fn of(primary: &RedisServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = folder.path().join("sentinel.conf");
        let lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 3000\n",
            folder.path().display(),
            primary.port(),
        );
        std::fs::write(&config, lines).unwrap();
        let process = Command::new("redis-server")
            .arg(&config)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("install redis-server");
        let sentinel = Self { process, port, _folder: folder };
        until("the sentinel answers", || sentinel.client().is_ok()).await;
        // It looks as seldom as ten seconds apart otherwise, makes a primary that is back a replica only after eight, and does
        // nothing for half a minute where a busy machine kept it waiting for two.
        let periods = [
            ("info-period", "200"),
            ("publish-period", "200"),
            ("ask-period", "200"),
            ("tilt-trigger", "60000"),
        ];
        for (what, ms) in periods {
            sentinel.ask::<()>(&["DEBUG", what, ms]).unwrap();
        }
        until("the sentinel knows the replica", || {
            sentinel.ask::<Vec<redis::Value>>(&["REPLICAS", SERVICE]).is_ok_and(|known| known.len() == 1)
        })
        .await;
        sentinel
    }

    /// For [`USER`].
    pub(crate) fn url(&self) -> String {
        format!("redis+sentinel://{USER}:{SECRET}@127.0.0.1:{}/{SERVICE}", self.port)
    }

    /// Port of whom it calls the primary.
    pub(crate) fn primary(&self) -> u16 {
        let (_, port): (String, u16) = self.ask(&["GET-MASTER-ADDR-BY-NAME", SERVICE]).unwrap();
        port
    }

    /// Makes the replica the primary though nothing is wrong.
    pub(crate) fn fail_over(&self) {
        self.ask::<()>(&["FAILOVER", SERVICE]).unwrap();
    }

    fn ask<Answer: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<Answer> {
        cmd("SENTINEL").arg(words).query(&mut self.client()?)
    }

    fn client(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?.get_connection()
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
