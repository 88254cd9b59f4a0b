//! Redis's append-only file, read command by command, to be cut back as a crash or an older copy of the disk would
//! leave it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, ensure};

#[derive(Debug)]
pub(crate) struct AppendOnlyFile {
    path: PathBuf,
}

/// What changes together: one command, or all of a transaction.
#[derive(Debug)]
pub(crate) struct Written {
    /// Where it begins in the file.
    pub(crate) at: u64,
    pub(crate) commands: Vec<Vec<String>>,
}

impl AppendOnlyFile {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// What was written from there on, oldest first. Begin where a command begins; a last command that is torn is
    /// passed over.
    pub(crate) fn since(&self, at: u64) -> anyhow::Result<Vec<Written>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let (mut written, mut open): (Vec<Written>, Option<Written>) = (Vec::new(), None);
        while !rest.is_empty() {
            let begins = at + (bytes.len() - rest.len()) as u64;
            let Some(command) = command(&mut rest)? else { break };
            match (command.first().map(String::as_str), &mut open) {
                (Some("MULTI"), _) => open = Some(Written { at: begins, commands: Vec::new() }),
                (Some("EXEC"), _) => written.extend(open.take()),
                (_, Some(open)) => open.commands.push(command),
                (_, None) => written.push(Written { at: begins, commands: vec![command] }),
            }
        }
        Ok(written)
    }

    /// Forgets what was written from there on. Only while no server runs on it.
    pub(crate) fn cut(&self, at: u64) -> anyhow::Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(at)?;
        Ok(file.sync_all()?)
    }
}

/// The next command, `*N` and then N times `$LENGTH` and bytes; none where it is not whole.
fn command(rest: &mut &[u8]) -> anyhow::Result<Option<Vec<String>>> {
    let mut left = *rest;
    let Some(words) = number(&mut left, b'*')? else { return Ok(None) };
    let mut command = Vec::new();
    for _ in 0..words {
        let Some(length) = number(&mut left, b'$')? else { return Ok(None) };
        if left.len() < length + 2 {
            return Ok(None);
        }
        command.push(String::from_utf8_lossy(&left[..length]).into_owned());
        left = &left[length + 2..];
    }
    *rest = left;
    Ok(Some(command))
}

fn number(rest: &mut &[u8], kind: u8) -> anyhow::Result<Option<usize>> {
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    ensure!(rest[0] == kind, "no command begins with {:?}", char::from(rest[0]));
    let number = std::str::from_utf8(&rest[1..end])?.parse().context("not a length")?;
    *rest = &rest[end + 2..];
    Ok(Some(number))
}
