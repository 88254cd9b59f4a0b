//! The servers of one deployment while this command starts and watches them.

use std::fs;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::console::Patience;
use crate::logs::{self, Follower};
use crate::processes::{PidFile, Process};
use crate::{contract, files, interrupt};

/// The name in `.cocoon/pids` of the `cargo xtask up` that starts or watches the servers.
pub(crate) const SUPERVISOR: &str = "up";
const LOG_LINES_SHOWN: usize = 15;
const LOOK: Duration = Duration::from_millis(50);

struct Server {
    process: Process,
    child: Child,
    log: PathBuf,
    /// For the screen; the ready line is looked for by a reader of its own.
    follower: Follower,
}

impl Server {
    fn show_log(&mut self) -> anyhow::Result<()> {
        logs::print(&self.process.name, &self.follower.new_lines()?);
        Ok(())
    }
}

/// Servers in the order of their start, written to `.cocoon/pids` as they come.
pub(crate) struct Stack {
    logs: PathBuf,
    pids: PidFile,
    supervisor: Process,
    servers: Vec<Server>,
    watched: bool,
}

impl Stack {
    /// From now on `cargo xtask down` finds this command itself.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let logs = dir.join("logs");
        files::private_dir(&logs)?;
        let supervisor = Process::of(SUPERVISOR, std::process::id())?;
        let stack = Self { logs, pids: PidFile::of(dir), supervisor, servers: Vec::new(), watched: false };
        stack.write_pids(true)?;
        Ok(stack)
    }

    /// Starts a server and waits for its ready line. Its log is a file in both modes, so that it
    /// never depends on this command to be there and read.
    pub(crate) fn start(
        &mut self,
        name: &str,
        command: &mut Command,
        waiting: &str,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let log = self.logs.join(format!("{name}.log"));
        if log.exists() {
            fs::rename(&log, log.with_extension("log.before"))
                .with_context(|| format!("cannot put {} aside", log.display()))?;
        }
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
        let output = open.with_context(|| format!("cannot write {}", log.display()))?;
        // A process group of its own: neither Ctrl-C nor a closed terminal reaches it but through us.
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let process = Process::of(name, child.id())?;
        let follower = Follower::from_start(&log);
        self.servers.push(Server { process, child, log: log.clone(), follower });
        self.write_pids(true)?;

        let mut lines = Follower::from_start(&log);
        let mut patience = Patience::new(waiting);
        loop {
            if lines.new_lines()?.iter().any(|line| contract::is_ready_line(line)) {
                return Ok(());
            }
            self.check_running()?;
            interrupt::check()?;
            if patience.elapsed() > limit {
                bail!(
                    "{name} was not ready after {} s; its last log lines:\n{}",
                    limit.as_secs(),
                    self.tail(name)
                );
            }
            patience.tick();
            std::thread::sleep(LOOK);
        }
    }

    /// # Errors
    /// Says which server has ended by itself, and its last log lines.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            if let Some(status) = server.child.try_wait()? {
                let name = &server.process.name;
                let last = logs::last_lines(&server.log, LOG_LINES_SHOWN);
                bail!(
                    "{name} ended by itself ({status}); the last lines of {}:\n{last}",
                    server.log.display()
                );
            }
        }
        Ok(())
    }

    /// The last log lines of one server.
    pub(crate) fn tail(&self, name: &str) -> String {
        logs::last_lines(&self.logs.join(format!("{name}.log")), LOG_LINES_SHOWN)
    }

    /// Shows the logs until the user asks to stop, or a server ends by itself (an error).
    pub(crate) fn watch(&mut self) -> anyhow::Result<()> {
        self.watched = true;
        while interrupt::count() == 0 {
            self.servers.iter_mut().try_for_each(Server::show_log)?;
            self.check_running()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Leaves the servers running; `cargo xtask down` finds them.
    pub(crate) fn detach(&self) -> anyhow::Result<()> {
        self.write_pids(false)
    }

    /// Ends the servers, the last started first: a gateway finishes its streams while its backend is there.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        while let Some(mut server) = self.servers.pop() {
            server.process.end()?;
            server.child.wait()?;
            if self.watched {
                server.show_log()?;
            }
        }
        self.pids.remove()
    }

    fn write_pids(&self, with_supervisor: bool) -> anyhow::Result<()> {
        let supervisor = with_supervisor.then(|| self.supervisor.clone());
        let servers = self.servers.iter().map(|server| server.process.clone());
        self.pids.write(&supervisor.into_iter().chain(servers).collect::<Vec<_>>())
    }
}
