use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, ensure};

use super::Search;

const CHUNK: u64 = 1 << 20;

/// Which of the markers lie in the memory of a process now. It goes on running meanwhile, so what it moves may be
/// missed: look for a marker that must be there as well, or look more than once.
pub(crate) fn find_in_memory<'a>(pid: u32, markers: &'a [&'a [u8]]) -> anyhow::Result<Vec<&'a [u8]>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut search = Search::new(markers);
    let mut chunk = vec![0; CHUNK as usize];
    let mut read = 0;
    let mut end_before = 0;
    for line in maps.lines() {
        let Region { start, end, readable } = Region::parse(line).with_context(|| line.to_owned())?;
        if !readable {
            continue;
        }
        if start != end_before {
            search.gap();
        }
        end_before = end;
        let mut at = start;
        while at < end {
            let wanted = (end - at).min(CHUNK) as usize;
            // Fails for pages of the kernel's own, and for what was unmapped since.
            match memory.read_at(&mut chunk[..wanted], at) {
                Ok(length) if length > 0 => {
                    search.feed(&chunk[..length]);
                    at += length as u64;
                    read += length;
                }
                _ => {
                    search.gap();
                    at = end;
                }
            }
        }
    }
    ensure!(read > 0, "nothing of process {pid} can be read");
    Ok(search.found())
}

/// A line of `/proc/PID/maps`.
struct Region {
    start: u64,
    end: u64,
    readable: bool,
}

impl Region {
    fn parse(line: &str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { start: address(start)?, end: address(end)?, readable: rest.starts_with('r') })
    }
}
