//! Ports for processes that must come back on the same one after a restart.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;

/// Below the range from which Linux gives out ports by itself, so that no outgoing connection takes one meanwhile.
const FIRST: u16 = 18_000;
const LAST: u16 = 32_000;

/// A loopback port that nothing listens on; never the same one twice in a process.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in FIRST..LAST {
        let span = u32::from(LAST - FIRST);
        let start = std::process::id().wrapping_mul(97) % span;
        let offset = (start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % span;
        let port = FIRST + u16::try_from(offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {LAST}")
}
