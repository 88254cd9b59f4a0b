//! The deployment's secrets: three files in one folder, shared by all its gateways.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cocoon_receipts::{DeploymentKey, SigningKey};
use zeroize::Zeroizing;

/// Signs API keys.
const API_KEYS: &str = "api-keys.pem";
/// Signs tickets.
const TICKETS: &str = "tickets.pem";
/// Public half of the ticket key, for backends' `gateway_keys`.
const TICKETS_PUBLIC: &str = "ticket.pub.json";
/// Seals who pays into tickets.
const DEPLOYMENT: &str = "deployment.key";

/// Secrets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is not the key it should be")]
    NotAKey { path: PathBuf },
    #[error("{path} can be read by others than its owner (mode {mode:o}): make it 0600")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the system has no randomness")]
    Randomness,
}

/// The secrets in memory.
#[derive(Debug)]
pub struct Keys {
    pub api_keys: SigningKey,
    pub tickets: SigningKey,
    pub deployment: DeploymentKey,
}

impl Keys {
    /// # Errors
    /// [`KeysError`]; a file that others can read is one.
    pub fn load(dir: &Path) -> Result<Self, KeysError> {
        let signing = |name: &str| {
            let path = dir.join(name);
            SigningKey::from_pem(&read_secret(&path)?).map_err(|_| KeysError::NotAKey { path })
        };
        let path = dir.join(DEPLOYMENT);
        Ok(Self {
            api_keys: signing(API_KEYS)?,
            tickets: signing(TICKETS)?,
            deployment: DeploymentKey::from_hex(&read_secret(&path)?)
                .map_err(|_| KeysError::NotAKey { path })?,
        })
    }

    /// Makes what is missing in `dir`, and leaves what is there.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn init(dir: &Path) -> Result<Self, KeysError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
        for name in [API_KEYS, TICKETS] {
            let pem = SigningKey::generate_pem().map_err(|_| KeysError::Randomness)?;
            create_secret(&dir.join(name), pem.as_bytes())?;
        }
        let deployment = DeploymentKey::generate().map_err(|_| KeysError::Randomness)?;
        create_secret(&dir.join(DEPLOYMENT), deployment.to_hex().as_bytes())?;
        let keys = Self::load(dir)?;
        let public = dir.join(TICKETS_PUBLIC);
        let jwk = serde_json::to_vec(&keys.tickets.public().to_jwk())
            .map_err(|_| KeysError::NotAKey { path: public.clone() })?;
        fs::write(&public, jwk).map_err(io(&public))?;
        Ok(keys)
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::Io { path: path.clone(), source }
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let mode = fs::metadata(path).map_err(io(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Exposed { path: path.into(), mode });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io(path))
}

/// Writes a new file of mode 0600; one that exists stays as it is.
fn create_secret(path: &Path, content: &[u8]) -> Result<(), KeysError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(content).and_then(|()| file.sync_all()).map_err(io(path)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::init(dir.path()).unwrap();
        let second = Keys::init(dir.path()).unwrap();
        assert_eq!(first.tickets.public(), second.tickets.public());
        assert_eq!(first.deployment.to_hex(), second.deployment.to_hex());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Keys::init(dir.path()).unwrap();
        fs::set_permissions(dir.path().join(TICKETS), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::load(dir.path()), Err(KeysError::Exposed { mode: 0o644, .. })));
    }
}
