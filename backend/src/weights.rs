//! The digest of the weights, as the keyset and every receipt state it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use cocoon_receipts::Digest;
use sha2::Digest as _;

/// Deepest folder below the model's own.
const MAX_DEPTH: usize = 8;

/// SHA-256 of a model: of the file's bytes; of a folder, over `name ‖ 0 ‖ SHA-256` of each file in it, in the order
/// of their names (relative, with `/`).
///
/// # Errors
/// Where the path, or a file below it, cannot be read.
pub(crate) fn digest(path: &Path) -> io::Result<Digest> {
    if !fs::metadata(path)?.is_dir() {
        return file_digest(path);
    }
    let mut files = Vec::new();
    list(path, "", MAX_DEPTH, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the model's folder has no files"));
    }
    let mut hash = sha2::Sha256::new();
    for name in files {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(file_digest(&path.join(&name))?.0);
    }
    Ok(Digest(hash.finalize().into()))
}

fn list(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name =
            entry.file_name().into_string().map_err(|_| io::Error::other("a file name is not UTF-8"))?;
        let name = format!("{prefix}{name}");
        // Not `entry.file_type()`: a model's folder is often made of links.
        if fs::metadata(entry.path())?.is_dir() {
            let depth =
                depth.checked_sub(1).ok_or_else(|| io::Error::other("folders are nested too deep"))?;
            list(&entry.path(), &format!("{name}/"), depth, files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}

fn file_digest(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest(hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(digest(&path).unwrap(), Digest::of(&[b"abc"]));
    }

    #[test]
    fn a_folder_has_another_digest_once_a_byte_or_a_name_in_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), b"1").unwrap();
        fs::write(dir.path().join("sub/b"), b"2").unwrap();
        let first = digest(dir.path()).unwrap();
        let expected = Digest::of(&[b"a\0", &Digest::of(&[b"1"]).0, b"sub/b\0", &Digest::of(&[b"2"]).0]);
        assert_eq!(first, expected);
        fs::rename(dir.path().join("a"), dir.path().join("c")).unwrap();
        assert_ne!(digest(dir.path()).unwrap(), first);
    }

    #[test]
    fn a_missing_model_is_an_error() {
        assert!(digest(Path::new("/no/such/model")).is_err());
    }
}
