//! Files that are replaced whole, and files that only their owner may read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

/// Creates `dir` with mode 0700, and tightens one that was there.
pub(crate) fn private_dir(dir: &Path) -> anyhow::Result<()> {
    let name = || format!("cannot create {}", dir.display());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(name)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).with_context(name)
}

/// Replaces `path` in one step by a file of mode 0600.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = || format!("cannot write {}", path.display());
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    remove(partial)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).with_context(name)?;
    file.write_all(text.as_bytes()).with_context(name)?;
    file.sync_all().with_context(name)?;
    fs::rename(partial, path).with_context(name)
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn create_dir(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_its_owners_alone_even_where_a_wider_one_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("up.env");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
