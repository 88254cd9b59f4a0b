//! GPU evidence: what a command prints for a root, or what a file holds.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use cocoon_receipts::Digest;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::sections::{Optional, ReadError};
use crate::config::{EvidenceConfig, NONCE_ARGUMENT};

/// Largest evidence, bytes.
const MAX_DEVICES: usize = 512 << 10;
/// Longest time a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// What is read of a command's complaint, bytes.
const MAX_COMPLAINT: usize = 4 << 10;

/// Why there is no GPU evidence.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    #[error("gpu_file cannot be used: {0}")]
    File(#[from] ReadError),
    #[error("gpu_command {} cannot be run: {source}", program.display())]
    Spawn { program: PathBuf, source: std::io::Error },
    #[error("the output of gpu_command cannot be read: {0}")]
    Output(#[source] std::io::Error),
    #[error("gpu_command took longer than {} s", .0.as_secs())]
    TooLong(Duration),
    #[error("gpu_command printed more than {MAX_DEVICES} bytes")]
    TooLarge,
    /// With the first line it said on standard error.
    #[error("gpu_command failed ({status}): {complaint}")]
    Failed { status: ExitStatus, complaint: String },
    /// An empty section says that there are no GPUs.
    #[error("gpu_command printed nothing")]
    Empty,
}

/// Where GPU evidence comes from.
#[derive(Debug)]
pub(super) struct Devices {
    command: Vec<String>,
    file: Optional,
    limit: Duration,
}

impl Devices {
    pub(super) fn new(config: &EvidenceConfig) -> Self {
        Self {
            command: config.gpu_command.clone(),
            file: Optional::new(config.gpu_file.clone(), MAX_DEVICES),
            limit: COMMAND_LIMIT,
        }
    }

    /// The evidence for `root`; empty where none is configured.
    ///
    /// # Errors
    /// [`DevicesError`].
    pub(super) async fn gather(&self, root: Digest) -> Result<Vec<u8>, DevicesError> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Ok(self.file.read().await?);
        };
        let root = root.to_string();
        let arguments = arguments.iter().map(|argument| argument.replace(NONCE_ARGUMENT, &root));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(self.limit, output(command, program)).await {
            Ok(output) => output,
            Err(_) => Err(DevicesError::TooLong(self.limit)),
        }
    }
}

async fn output(mut command: Command, program: &str) -> Result<Vec<u8>, DevicesError> {
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child =
        spawned.map_err(|source| DevicesError::Spawn { program: PathBuf::from(program), source })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Side by side: a pipe that nobody empties stops the command.
    let (evidence, complaint) =
        tokio::try_join!(read_some(stdout, MAX_DEVICES), read_first(stderr)).map_err(DevicesError::Output)?;
    if evidence.len() > MAX_DEVICES {
        return Err(DevicesError::TooLarge);
    }
    let status = child.wait().await.map_err(DevicesError::Output)?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let line: String = complaint.lines().next().unwrap_or_default().chars().take(200).collect();
        return Err(DevicesError::Failed { status, complaint: line });
    }
    if evidence.is_empty() { Err(DevicesError::Empty) } else { Ok(evidence) }
}

/// At most one byte more than `limit`.
async fn read_some(pipe: Option<impl AsyncRead + Unpin>, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The beginning; the rest is read and dropped, for a command may say much and still succeed.
async fn read_first(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let bytes = read_some(Some(&mut pipe), MAX_COMPLAINT).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Digest = Digest([0xab; 32]);

    fn shell(script: &str) -> Devices {
        let command = ["sh", "-c", script, "gpu", NONCE_ARGUMENT].map(str::to_owned).to_vec();
        Devices { command, file: Optional::new(None, 0), limit: COMMAND_LIMIT }
    }

    #[tokio::test]
    async fn a_command_gets_the_root_and_its_output_is_the_evidence() {
        let evidence = shell("printf 'gpu %s' \"$1\"").gather(ROOT).await.unwrap();
        assert_eq!(evidence, format!("gpu {}", "ab".repeat(32)).into_bytes());
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why_and_gives_nothing() {
        let error = shell("echo evidence; echo 'no GPU\nmore' >&2; exit 3").gather(ROOT).await.unwrap_err();
        assert_eq!(error.to_string(), "gpu_command failed (exit status: 3): no GPU");
        assert!(matches!(shell("true").gather(ROOT).await, Err(DevicesError::Empty)));
        let absent = Devices { command: vec!["/no/such/program".to_owned()], ..shell("") };
        assert!(matches!(absent.gather(ROOT).await, Err(DevicesError::Spawn { .. })));
    }

    #[tokio::test]
    async fn a_command_that_prints_without_end_or_never_ends_is_given_up() {
        assert!(matches!(shell("yes").gather(ROOT).await, Err(DevicesError::TooLarge)));
        let slow = Devices { limit: Duration::from_millis(50), ..shell("exec sleep 1000") };
        assert!(matches!(slow.gather(ROOT).await, Err(DevicesError::TooLong(_))));
    }

    #[tokio::test]
    async fn a_command_may_say_more_than_is_kept() {
        let loud = shell("head -c 300000 /dev/zero >&2 && printf ok").gather(ROOT).await;
        assert_eq!(loud.unwrap(), b"ok");
    }

    #[tokio::test]
    async fn without_either_there_is_none() {
        let none = Devices { command: Vec::new(), ..shell("") };
        assert!(none.gather(ROOT).await.unwrap().is_empty());
    }
}
