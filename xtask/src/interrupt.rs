//! Ctrl-C, SIGTERM and a closed terminal, turned into a count that long steps look at.
//!
//! Nothing is killed by the signal itself: children are ended in order and files are left whole.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The user asked to stop. Ends `main` with status 130 and no error text.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

pub(crate) fn listen() -> anyhow::Result<()> {
    let mut wanted = vec![SIGINT, SIGTERM];
    // Under `nohup` the signal is ignored, and a handler of ours would undo that.
    if !hangup_is_ignored() {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted).context("cannot listen for signals")?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// How often the user asked so far.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// # Errors
/// [`Interrupted`] once the user asked to stop.
pub(crate) fn check() -> anyhow::Result<()> {
    if count() > 0 { Err(Interrupted.into()) } else { Ok(()) }
}

fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::ignores_hangup;

    #[test]
    fn nohup_is_read_from_the_ignored_signals() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000000001\n"));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
