//! A process that a test started, and will end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

/// Loading a model takes a second or two; a busy machine may need many times that.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Ends (SIGKILL) when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` and waits for its ready line, which is returned. Its log goes to `log`, after what is there.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<(Self, serde_json::Value)> {
        let file = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let process = Self { child, log: log.to_owned() };
        let (lines, line) = mpsc::channel();
        thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The receiver is gone once the first line was taken; the pipe is still to be read.
                let _ = lines.send(text);
            }
        });
        match line.recv_timeout(START_LIMIT) {
            Ok(text) => Ok((process, serde_json::from_str(&text).context("the ready line is not JSON")?)),
            Err(_) => bail!("{} did not get ready:\n{}", command.get_program().display(), process.log()),
        }
    }

    /// Starts a command that has no ready line.
    pub(crate) fn start_silent(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// KiB of memory that it has resident now.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim_end().parse()?)
    }

    /// Time that its threads, those that still run, have had on a processor.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split_whitespace().next().context("no time")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// All it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; the process goes on draining.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        signal(self.pid(), "TERM")
    }

    /// Its exit status, once it has ended by itself.
    pub(crate) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ids of its child processes.
    pub(crate) fn children(&self) -> anyhow::Result<Vec<u32>> {
        let mut children = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let text = std::fs::read_to_string(task?.path().join("children"))?;
            children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        Ok(children)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() || std::env::var_os("COCOON_TEST_LOGS").is_some() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// Sends a signal, by name.
pub(crate) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    if status.success() { Ok(()) } else { bail!("kill -{name} {pid} failed") }
}
