//! Reads a policy from its file: the one way of the gateway, the sidecar and the commands.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cocoon_receipts::VerifyingKey;

use super::{MAX_POLICY, Policy, PolicyError, PolicyStore, StoreError};

/// Largest signature file that is read, bytes.
const MAX_SIGNATURE: usize = 1 << 10;

/// A policy file that is not followed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path}: {cause}")]
    Read { path: PathBuf, cause: io::Error },
    #[error("{path}: it is missing, and only a policy that the pinned signer signed is followed")]
    Unsigned { path: PathBuf },
    #[error("{path}{}: {cause}", .line.map_or_else(String::new, |line| format!(", line {line}")))]
    Policy {
        path: PathBuf,
        /// From 1.
        line: Option<usize>,
        cause: Box<PolicyError>,
    },
    #[error("{path}: {cause}")]
    Version { path: PathBuf, cause: StoreError },
}

/// A policy that may be followed.
#[derive(Debug)]
pub struct Loaded {
    pub policy: Policy,
    /// There is a signature beside it that was not looked at, because no signer is pinned.
    pub signature_ignored: bool,
}

impl Policy {
    /// The policy in the file at `path`. With a `signer`, only if `FILE.sig` is that signer's signature over it, and
    /// its version is not below what `store` remembers; it is remembered then. Without one, as it is: a file that the
    /// user wrote or chose, which nothing is remembered of.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(
        path: &Path,
        signer: Option<&VerifyingKey>,
        store: Option<&PolicyStore>,
    ) -> Result<Loaded, LoadError> {
        let bad = |text: &str, cause: PolicyError| LoadError::Policy {
            path: path.to_owned(),
            line: cause.line(text),
            cause: Box::new(cause),
        };
        let text = read(path, MAX_POLICY)?.ok_or_else(|| LoadError::Read {
            path: path.to_owned(),
            cause: io::Error::from(io::ErrorKind::NotFound),
        })?;
        let signature_path = signature_path(path);
        let Some(signer) = signer else {
            let policy = Self::from_toml(&text).map_err(|cause| bad(&text, cause))?;
            return Ok(Loaded { policy, signature_ignored: signature_path.exists() });
        };
        let Some(signature) = read(&signature_path, MAX_SIGNATURE)? else {
            return Err(LoadError::Unsigned { path: signature_path });
        };
        let policy = Self::from_signed(&text, &signature, signer).map_err(|cause| bad(&text, cause))?;
        if let Some(store) = store {
            store.admit(&policy).map_err(|cause| LoadError::Version { path: path.to_owned(), cause })?;
        }
        Ok(Loaded { policy, signature_ignored: false })
    }
}

/// Where the signature of the policy at `path` is: `policy.toml.sig` beside `policy.toml`.
#[must_use]
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".sig");
    name.into()
}

/// The text of a file, none where it is not there. Of a longer one there is one byte more than `limit`.
fn read(path: &Path, limit: usize) -> Result<Option<String>, LoadError> {
    let failed = |cause| LoadError::Read { path: path.to_owned(), cause };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cocoon_receipts::SigningKey;

    use super::*;

    struct Files {
        dir: tempfile::TempDir,
        key: SigningKey,
    }

    impl Files {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), key: SigningKey::generate().unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("policy.toml")
        }

        fn text(version: u64) -> String {
            format!("name = 'n'\nversion = {version}\nnot_after = 2030-01-01T00:00:00Z\n")
        }

        fn sign(&self, text: &str) {
            fs::write(self.path(), text).unwrap();
            fs::write(signature_path(&self.path()), Policy::sign(text, &self.key).unwrap()).unwrap();
        }

        fn load(&self) -> Result<Loaded, LoadError> {
            let store = PolicyStore::new(self.dir.path().join("policies.json"));
            Policy::load(&self.path(), Some(self.key.public()), Some(&store))
        }
    }

    #[test]
    fn with_a_pinned_signer_only_what_it_signed_is_followed() {
        let files = Files::new();
        fs::write(files.path(), Files::text(1)).unwrap();
        let refused = files.load().unwrap_err();
        assert!(
            matches!(&refused, LoadError::Unsigned { path } if path.ends_with("policy.toml.sig")),
            "{refused}"
        );

        files.sign(&Files::text(1));
        assert_eq!(files.load().unwrap().policy.signer(), Some(files.key.public()));
        fs::write(files.path(), Files::text(2)).unwrap();
        let refused = files.load().unwrap_err();
        assert!(
            matches!(&refused, LoadError::Policy { cause, .. } if matches!(**cause, PolicyError::Signature))
        );
        fs::write(signature_path(&files.path()), [0xff; 64]).unwrap();
        assert!(matches!(files.load(), Err(LoadError::Read { .. })));
        fs::write(signature_path(&files.path()), "x".repeat(1 << 20)).unwrap();
        assert!(matches!(files.load(), Err(LoadError::Policy { .. })));
    }

    #[test]
    fn an_older_version_is_not_followed_any_more_and_one_version_is_one_text() {
        let files = Files::new();
        files.sign(&Files::text(2));
        files.load().unwrap();
        files.sign(&Files::text(1));
        let refused = files.load().unwrap_err();
        assert!(matches!(&refused, LoadError::Version { cause: StoreError::Older { .. }, .. }), "{refused}");
        files.sign(&format!("{}# other bytes\n", Files::text(2)));
        let refused = files.load().unwrap_err();
        assert!(
            matches!(&refused, LoadError::Version { cause: StoreError::Changed { .. }, .. }),
            "{refused}"
        );
        files.sign(&Files::text(2));
        files.load().unwrap();
    }

    #[test]
    fn without_a_signer_the_file_is_the_users_word() {
        let files = Files::new();
        files.sign(&Files::text(2));
        let loaded = Policy::load(&files.path(), None, None).unwrap();
        assert!(loaded.policy.signer().is_none() && loaded.signature_ignored);
        fs::remove_file(signature_path(&files.path())).unwrap();
        assert!(!Policy::load(&files.path(), None, None).unwrap().signature_ignored);
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let files = Files::new();
        let message = Policy::load(&files.path(), None, None).unwrap_err().to_string();
        assert!(message.contains("policy.toml: "), "{message}");
        fs::write(files.path(), "name = 'n'\nmax_verdict_age_s = 0\n").unwrap();
        let message = Policy::load(&files.path(), None, None).unwrap_err().to_string();
        assert!(
            message.contains("policy.toml, line 2: max_verdict_age_s: must be from 1 to 3600"),
            "{message}"
        );
        fs::write(files.path(), vec![b'#'; MAX_POLICY + 2]).unwrap();
        let message = Policy::load(&files.path(), None, None).unwrap_err().to_string();
        assert!(message.contains("longer than"), "{message}");
        fs::write(files.path(), [0xff]).unwrap();
        assert!(Policy::load(&files.path(), None, None).unwrap_err().to_string().contains("UTF-8"));
    }
}
