//! Reads the log files that the servers write.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::contract;

/// The last lines of a log, for an error message.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
    if last.is_empty() {
        return "  (its log is empty)".to_owned();
    }
    last.iter().map(|line| format!("  {}", contract::readable(line))).collect::<Vec<_>>().join("\n")
}

/// Gives the lines that were added to a log since the last look.
pub(crate) struct Follower {
    path: PathBuf,
    read: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Follower {
    pub(crate) fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0, rest: Vec::new() }
    }

    pub(crate) fn new_lines(&mut self) -> std::io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut added = Vec::new();
        // Bounded, so that a flood of lines never holds up the look at signals and processes.
        file.take(1 << 20).read_to_end(&mut added)?;
        self.read += added.len() as u64;
        self.rest.extend(added);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

/// Prints lines as `backend │ …`; the ready line is for programs and left out.
pub(crate) fn print(name: &str, lines: &[String]) {
    let prefix = format!("{name:<7} │");
    let prefix = if std::io::stdout().is_terminal() { format!("\x1b[2m{prefix}\x1b[0m") } else { prefix };
    for line in lines.iter().filter(|line| !contract::is_ready_line(line)) {
        println!("{prefix} {}", contract::readable(line));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_is_given_once_and_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = File::create(&path).unwrap();
        let mut follower = Follower::from_start(&path);
        assert!(follower.new_lines().unwrap().is_empty());
        log.write_all(b"one\ntw").unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["one"]);
        log.write_all(b"o\n").unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["two"]);
        assert!(follower.new_lines().unwrap().is_empty());
    }

    #[test]
    fn the_end_of_a_log_is_shown_indented() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(&path, "a\nb\n\nc\n").unwrap();
        assert_eq!(last_lines(&path, 2), "  b\n  c");
        assert_eq!(last_lines(&dir.path().join("none"), 2), "  (its log is empty)");
    }
}
