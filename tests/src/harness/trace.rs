use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use super::{Search, signal};

/// Every call by which bytes enter or leave a process.
const CALLS: &str = "trace=read,write,readv,writev,pread64,pwrite64,preadv,pwritev,recvfrom,sendto,recvmsg,sendmsg,\
                     recvmmsg,sendmmsg";

/// Watches all that a process reads and writes, with strace. Ends when dropped.
pub(crate) struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Begins to watch a process and all its threads; returns once it does. `file` takes what is seen.
    pub(crate) fn attach(pid: u32, file: &Path) -> anyhow::Result<Self> {
        let mut strace = Command::new("strace")
            .args(["-f", "-xx", "-s", "1048576", "-e", CALLS, "-e", "signal=none", "-o"])
            .arg(file)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start strace")?;
        let mut stderr = BufReader::new(strace.stderr.take().context("no standard error")?);
        let trace = Self { strace, file: file.to_owned() };
        let mut line = String::new();
        stderr.read_line(&mut line)?;
        ensure!(line.contains("attached"), "strace cannot watch {pid}: {line}");
        // It says so of every new thread, and must not block on that.
        std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        Ok(trace)
    }

    /// Stops watching; the process goes on.
    pub(crate) fn finish(mut self) -> anyhow::Result<Traced> {
        signal(self.strace.id(), "INT")?;
        self.strace.wait()?;
        Traced::read(&self.file)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// What went through each file descriptor, each way.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    streams: BTreeMap<(String, bool), Vec<u8>>,
}

impl Traced {
    /// Which of the markers were read or written, even if in several calls.
    pub(crate) fn find<'a>(&self, markers: &'a [&'a [u8]]) -> Vec<&'a [u8]> {
        let mut search = Search::new(markers);
        for stream in self.streams.values() {
            search.gap();
            search.feed(stream);
        }
        search.found()
    }

    /// Bytes seen in all.
    pub(crate) fn bytes(&self) -> usize {
        self.streams.values().map(Vec::len).sum()
    }

    fn read(file: &Path) -> anyhow::Result<Self> {
        let mut traced = Self::default();
        // By thread: the call that another thread's line interrupted.
        let mut unfinished: BTreeMap<String, (String, bool)> = BTreeMap::new();
        for line in BufReader::new(File::open(file)?).lines() {
            let line = line?;
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            let stream = if call.starts_with("<... ") {
                unfinished.remove(thread)
            } else {
                call.split_once('(').map(|(name, arguments)| {
                    let descriptor = arguments.split([',', ' ', ')']).next().unwrap_or_default();
                    (descriptor.to_owned(), name.contains("write") || name.contains("send"))
                })
            };
            let Some(stream) = stream else { continue };
            if call.ends_with("<unfinished ...>") {
                unfinished.insert(thread.to_owned(), stream.clone());
            }
            traced.streams.entry(stream).or_default().extend(strings(call));
        }
        Ok(traced)
    }
}

/// The bytes of all strings of a call. With `-xx` each byte of a string is `\x` and two digits, so no string has a
/// quotation mark in it.
fn strings(call: &str) -> Vec<u8> {
    let quoted = call.split('"').skip(1).step_by(2);
    quoted.flat_map(|text| hex::decode(text.replace("\\x", "")).unwrap_or_default()).collect()
}
