//! The tests' own eyes: that nothing was found says something only where it would have been.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::harness::{Search, Trace, find_in_memory};

/// Killed when dropped.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes that are in no other process.
fn marker() -> Vec<u8> {
    std::iter::repeat_with(fastrand::alphanumeric).take(40).collect::<String>().into_bytes()
}

pub(crate) async fn a_marker_in_memory_is_found_and_another_is_not() -> anyhow::Result<()> {
    let (there, absent) = (marker(), marker());
    let mut command = Command::new("sleep");
    command.arg("60").env("MARKER", String::from_utf8(there.clone())?);
    let sleeping = Watched(command.spawn()?);
    let markers = [absent.as_slice(), there.as_slice()];
    ensure!(find_in_memory(sleeping.0.id(), &markers)? == [&there]);
    Ok(())
}

pub(crate) async fn a_marker_in_two_pieces_is_found() -> anyhow::Result<()> {
    let (marker, longer) = (marker(), [marker(), marker()].concat());
    let markers = [longer.as_slice(), marker.as_slice()];
    let padding = [b'.'; 100];
    let whole = [&padding, &*marker, &padding].concat();
    for first in 0..whole.len() {
        let mut search = Search::new(&markers);
        search.feed(&whole[..first]);
        search.feed(&whole[first..]);
        ensure!(search.found() == [&marker], "cut after {first}");
    }
    let mut bytewise = Search::new(&markers);
    whole.iter().for_each(|byte| bytewise.feed(&[*byte]));
    ensure!(bytewise.found() == [&marker]);
    let mut apart = Search::new(&markers);
    apart.feed(&marker[..20]);
    apart.gap();
    apart.feed(&marker[20..]);
    ensure!(apart.found().is_empty(), "two halves that do not follow each other are no marker");
    Ok(())
}

pub(crate) async fn what_a_process_reads_and_writes_is_seen() -> anyhow::Result<()> {
    let (there, absent) = (marker(), marker());
    let mut command = Command::new("cat");
    let mut cat = Watched(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut stdin = cat.0.stdin.take().context("no standard input")?;
    let mut stdout = cat.0.stdout.take().context("no standard output")?;
    let mut through = |piece: &[u8]| -> anyhow::Result<()> {
        stdin.write_all(piece)?;
        stdin.flush()?;
        let mut back = vec![0; piece.len()];
        stdout.read_exact(&mut back)?;
        ensure!(back == piece);
        Ok(())
    };
    let before = marker();
    through(&before)?;
    let folder = tempfile::tempdir()?;
    let trace = Trace::attach(cat.0.id(), &folder.path().join("trace"))?;
    // In two calls each way.
    let (first, second) = there.split_at(15);
    through(first)?;
    through(second)?;
    let traced = trace.finish()?;
    through(b"it runs on")?;
    ensure!(traced.find(&[&before, &absent, &there]) == [&there], "{traced:?}");
    // A read that was waiting when the watch began may not be seen to end.
    let seen = [2 * there.len(), there.len() + second.len()];
    ensure!(seen.contains(&traced.bytes()), "once in and once out: {traced:?}");
    Ok(())
}
