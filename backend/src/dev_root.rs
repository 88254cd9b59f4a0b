//! The development root: a signing key on this machine that a policy may name, and nothing more.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cocoon_receipts::SigningKey;

use crate::Error;
use crate::config::ConfigError;

const FILE_NAME: &str = "dev-root.pem";

/// The public half, base64url, of the root in `dir`, which is made where there is none.
///
/// # Errors
/// Where the folder cannot be written, or the file there is no such key.
pub fn ensure(dir: &Path) -> Result<String, Error> {
    fs::create_dir_all(dir).map_err(Error::file("cannot make", dir))?;
    let path = dir.join(FILE_NAME);
    let pem = SigningKey::generate_pem().map_err(Error::ReceiptKey)?;
    // Made anew and never opened for writing again: an existing root is never overwritten.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
            written.map_err(Error::file("cannot write", &path))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::file("cannot write", &path)(error)),
    }
    let pem = fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
    let key = SigningKey::from_pem(&pem).map_err(|error| ConfigError::Value {
        key: "evidence.dev_root",
        problem: format!("{}: {error}", path.display()),
    })?;
    Ok(key.public().to_base64url())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_root_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = ensure(&keys).unwrap();
        assert_eq!(ensure(&keys).unwrap(), first);
        let mode = fs::metadata(keys.join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "something").unwrap();
        assert!(ensure(dir.path()).is_err());
        assert_eq!(fs::read(dir.path().join(FILE_NAME)).unwrap(), b"something");
    }
}
