//! SHA-256 over named fields and whole folders.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Every name and value is preceded by its length, so that no two lists of fields hash alike.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Adds path and content of every file under `dir`; paths are relative to it, under `name`.
    pub(crate) fn folder(&mut self, name: &str, dir: &Path) -> anyhow::Result<()> {
        for path in files(dir)? {
            let full = dir.join(&path);
            let content = fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
            self.field(&format!("{name}/{}", path.display()), &content);
        }
        Ok(())
    }

    pub(crate) fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// All files under `dir`, relative to it and sorted, without its own `target`.
pub(crate) fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = dir.join(&folder);
        for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if path == Path::new("target") {
                continue;
            }
            // Through links: what the compiler would read counts, and a dangling one is nothing.
            match fs::metadata(entry.path()) {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) if meta.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Hexadecimal SHA-256 of one file, read in pieces.
pub(crate) fn of_file(path: &Path) -> anyhow::Result<String> {
    let name = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(name)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).with_context(name)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dir: &Path) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.folder("x", dir).unwrap();
        fingerprint.hex()
    }

    #[test]
    fn a_folder_is_told_apart_by_every_byte_and_name_but_not_by_its_build_output() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("main.rs"), "fn main() {}").unwrap();
        let first = of(dir.path());
        assert_eq!(first, of(dir.path()));

        fs::create_dir(dir.path().join("target")).unwrap();
        fs::write(dir.path().join("target/out"), "built").unwrap();
        assert_eq!(first, of(dir.path()));

        fs::write(source.join("main.rs"), "fn main() { }").unwrap();
        let changed = of(dir.path());
        assert_ne!(first, changed);

        fs::rename(source.join("main.rs"), source.join("lib.rs")).unwrap();
        assert_ne!(changed, of(dir.path()));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let mut one = Fingerprint::new();
        one.field("ab", b"c");
        let mut two = Fingerprint::new();
        two.field("a", b"bc");
        assert_ne!(one.hex(), two.hex());
    }

    #[test]
    fn a_file_has_its_usual_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), expected);
    }
}
