//! Processes that outlive the command that started them, told apart from later ones of the same pid.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::console::note;
use crate::{files, interrupt};

/// What a server gets to finish its streams: its own grace period of 30 s, and some.
const GRACE: Duration = Duration::from_secs(35);

/// A pid and when it was started, which together name one process for as long as the machine is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    started: u64,
}

impl Process {
    pub(crate) fn of(name: &str, pid: u32) -> anyhow::Result<Self> {
        let pid = i32::try_from(pid)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("/proc/{pid}/stat cannot be read: this command needs Linux"))?;
        let (_, started) =
            parse_stat(&stat).with_context(|| format!("/proc/{pid}/stat is not understood"))?;
        Ok(Self { name: name.to_owned(), pid, started })
    }

    /// Whether this very process still runs. One that has ended and waits to be collected does not.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        parse_stat(&stat)
            .is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Ends a server: SIGTERM, then SIGKILL once the grace period is over, or at once when the user asks again.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        // A server was started as the leader of a group of its own, so this reaches its children too.
        self.end_by(GRACE, |pid| kill_process_group(pid, Signal::KILL))
    }

    /// Ends an `up` in the foreground, which first ends its two servers.
    pub(crate) fn end_supervisor(&self) -> anyhow::Result<()> {
        // Alone: its group may hold what the user piped it into.
        self.end_by(GRACE * 2 + Duration::from_secs(5), |pid| kill_process(pid, Signal::KILL))
    }

    fn end_by(&self, grace: Duration, kill: fn(Pid) -> rustix::io::Result<()>) -> anyhow::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) else { return Ok(()) };
        let asked = interrupt::count();
        let _ended_already = kill_process(pid, Signal::TERM);
        let since = Instant::now();
        let mut said = false;
        while self.is_alive() {
            if since.elapsed() > grace || interrupt::count() > asked {
                note(&format!("{} does not end by itself; killing it", self.name));
                let _ended_already = kill(pid);
                return self.gone();
            }
            if !said && since.elapsed() > Duration::from_secs(2) {
                said = true;
                note(&format!(
                    "{} finishes its streams (up to {} s; Ctrl-C cuts them off)",
                    self.name,
                    grace.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn gone(&self) -> anyhow::Result<()> {
        for _ in 0..250 {
            if !self.is_alive() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} (pid {}) could not be killed", self.name, self.pid)
    }
}

/// State and start time. The command name before them is free text, brackets and blanks included.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// `.cocoon/pids`: one line a process, `name pid started`.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn of(dir: &Path) -> Self {
        Self(dir.join("pids"))
    }

    pub(crate) fn write(&self, processes: &[Process]) -> anyhow::Result<()> {
        let line = |process: &Process| format!("{} {} {}\n", process.name, process.pid, process.started);
        files::write_private(&self.0, &processes.iter().map(line).collect::<String>())
    }

    /// Those of the file that still run.
    pub(crate) fn alive(&self) -> Vec<Process> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(parse_line).filter(Process::is_alive).collect()
    }

    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        files::remove(&self.0)
    }
}

fn parse_line(line: &str) -> Option<Process> {
    let mut parts = line.split_whitespace();
    let name = parts.next()?.to_owned();
    let pid = parts.next()?.parse().ok()?;
    let started = parts.next()?.parse().ok()?;
    Some(Process { name, pid, started })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_a_name_with_brackets() {
        let stat = "42 (a) S (b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21";
        assert_eq!(parse_stat(stat), Some(('R', 987_654)));
        assert_eq!(parse_stat("42 (a"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn another_process_with_the_same_pid_is_never_taken_for_ours() {
        let own = Process::of("test", std::process::id()).unwrap();
        assert!(own.is_alive());
        let other = Process { started: own.started + 1, ..own };
        assert!(!other.is_alive());
        other.end().unwrap();
    }

    #[test]
    fn a_process_is_ended_and_the_file_forgets_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let process = Process::of("sleeper", child.id()).unwrap();
        let pids = PidFile::of(dir.path());
        pids.write(std::slice::from_ref(&process)).unwrap();
        assert_eq!(pids.alive(), vec![process.clone()]);
        process.end().unwrap();
        assert!(!process.is_alive());
        assert!(pids.alive().is_empty());
        child.wait().unwrap();
    }
}
