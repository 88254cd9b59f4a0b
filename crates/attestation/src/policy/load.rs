//! Reads a policy from its file: the one way of the gateway, the sidecar and the commands. Who verifies under it follows
//! it ([`Policy::follow`]); the commands only look at it ([`Policy::load`]).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cocoon_receipts::{Digest, VerifyingKey};

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
    #[error("{path}: it names the registry {named}, not the {followed} that is followed")]
    OtherRegistry { path: PathBuf, named: String, followed: String },
    #[error("neither {path} nor {} is the policy that the registry has in force, whose SHA-256 is {digest}", next_path(.path).display())]
    NotNamed { path: PathBuf, digest: Digest },
}

/// What a registry on the chain names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The registry's raw address.
    pub registry: String,
    /// SHA-256 of the policy in force.
    pub digest: Digest,
}

/// A policy that may be followed.
#[derive(Debug)]
pub struct Loaded {
    pub policy: Policy,
    /// There is a signature beside it that was not looked at, because no signer is pinned.
    pub signature_ignored: bool,
}

impl Policy {
    /// The policy to verify under. Where the caller asks a registry, it is the one that is `named`, in the file at `path`
    /// or in the one of [`next_path`]: the chain can take a policy away, and never put one in force that the files and the
    /// signer do not allow. Else it is the file's own, unless that wants to be named.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn follow(
        path: &Path,
        signer: Option<&VerifyingKey>,
        store: Option<&PolicyStore>,
        named: Option<&Named>,
    ) -> Result<Loaded, LoadError> {
        let Some(named) = named else {
            let text = text(path)?;
            let loaded = verified(path, &text, signer)?;
            if loaded.policy.registry().is_some() {
                return Err(bad(path, &text, PolicyError::Registry));
            }
            return loaded.admitted(path, store);
        };
        for candidate in [path, &next_path(path)] {
            let Some(text) = read(candidate, MAX_POLICY)? else { continue };
            if Digest::of(&[text.as_bytes()]) != named.digest {
                continue;
            }
            let loaded = verified(candidate, &text, signer)?;
            if let Some(other) = loaded.policy.registry().filter(|other| *other != named.registry) {
                return Err(LoadError::OtherRegistry {
                    path: candidate.to_owned(),
                    named: other.to_owned(),
                    followed: named.registry.clone(),
                });
            }
            return loaded.admitted(candidate, store);
        }
        Err(LoadError::NotNamed { path: path.to_owned(), digest: named.digest })
    }

    /// The policy in the file at `path`, whatever a registry says. With a `signer`, only if `FILE.sig` is that signer's
    /// signature over it, and its version is not below what `store` remembers; it is remembered then. Without one, as it
    /// is: a file that the user wrote or chose, which nothing is remembered of.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(
        path: &Path,
        signer: Option<&VerifyingKey>,
        store: Option<&PolicyStore>,
    ) -> Result<Loaded, LoadError> {
        verified(path, &text(path)?, signer)?.admitted(path, store)
    }
}

impl Loaded {
    /// Remembers the policy's version, where its signer is pinned.
    fn admitted(self, path: &Path, store: Option<&PolicyStore>) -> Result<Self, LoadError> {
        if let Some(store) = store.filter(|_| self.policy.signer().is_some()) {
            store.admit(&self.policy).map_err(|cause| LoadError::Version { path: path.to_owned(), cause })?;
        }
        Ok(self)
    }
}

/// The policy in `text`, which the file at `path` has.
fn verified(path: &Path, text: &str, signer: Option<&VerifyingKey>) -> Result<Loaded, LoadError> {
    let signature_path = signature_path(path);
    let Some(signer) = signer else {
        let policy = Policy::from_toml(text).map_err(|cause| bad(path, text, cause))?;
        return Ok(Loaded { policy, signature_ignored: signature_path.exists() });
    };
    let Some(signature) = read(&signature_path, MAX_SIGNATURE)? else {
        return Err(LoadError::Unsigned { path: signature_path });
    };
    let policy = Policy::from_signed(text, &signature, signer).map_err(|cause| bad(path, text, cause))?;
    Ok(Loaded { policy, signature_ignored: false })
}

fn bad(path: &Path, text: &str, cause: PolicyError) -> LoadError {
    LoadError::Policy { path: path.to_owned(), line: cause.line(text), cause: Box::new(cause) }
}

fn text(path: &Path) -> Result<String, LoadError> {
    let missing = || LoadError::Read { path: path.to_owned(), cause: io::ErrorKind::NotFound.into() };
    read(path, MAX_POLICY)?.ok_or_else(missing)
}

/// Where the policy that comes after the one at `path` waits for a registry to put it in force: `policy.toml.next` beside
/// `policy.toml`, its signature in `policy.toml.next.sig`.
#[must_use]
pub fn next_path(path: &Path) -> PathBuf {
    beside(path, ".next")
}

/// Where the signature of the policy at `path` is: `policy.toml.sig` beside `policy.toml`.
#[must_use]
pub fn signature_path(path: &Path) -> PathBuf {
    beside(path, ".sig")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
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
    fn of_two_files_the_one_is_followed_that_the_registry_names() {
        let files = Files::new();
        let store = PolicyStore::new(files.dir.path().join("policies.json"));
        let follow = |text: &str| {
            let named = Named { registry: format!("0:{:064}", 7), digest: Digest::of(&[text.as_bytes()]) };
            Policy::follow(&files.path(), Some(files.key.public()), Some(&store), Some(&named))
        };
        let (one, two) = (Files::text(1), Files::text(2));
        files.sign(&two);
        std::fs::rename(files.path(), next_path(&files.path())).unwrap();
        std::fs::rename(signature_path(&files.path()), signature_path(&next_path(&files.path()))).unwrap();
        files.sign(&one);
        assert_eq!(follow(&one).unwrap().policy.version(), Some(1), "what waits was not remembered");
        assert_eq!(follow(&two).unwrap().policy.version(), Some(2));
        let refused = follow(&one).unwrap_err();
        assert!(matches!(&refused, LoadError::Version { .. }), "no registry takes a version back: {refused}");
        let refused = follow(&Files::text(3)).unwrap_err();
        assert!(matches!(&refused, LoadError::NotNamed { .. }), "{refused}");
        assert!(refused.to_string().contains("policy.toml.next"), "{refused}");
        fs::write(signature_path(&next_path(&files.path())), "x").unwrap();
        assert!(matches!(follow(&two), Err(LoadError::Policy { .. })), "a name is no signature");
    }

    #[test]
    fn a_policy_that_wants_to_be_named_is_followed_by_nobody_who_does_not_ask() {
        let files = Files::new();
        let (seven, eight) = (format!("0:{:064}", 7), format!("0:{:064}", 8));
        let text = format!("registry = '{seven}'\n{}", Files::text(1));
        files.sign(&text);
        let store = PolicyStore::new(files.dir.path().join("policies.json"));
        let follow = |registry: Option<&String>| {
            let digest = Digest::of(&[text.as_bytes()]);
            let named = registry.map(|registry| Named { registry: registry.clone(), digest });
            Policy::follow(&files.path(), Some(files.key.public()), Some(&store), named.as_ref())
        };
        let refused = follow(None).unwrap_err();
        let is_registry = |cause: &PolicyError| matches!(cause, PolicyError::Registry);
        assert!(
            matches!(&refused, LoadError::Policy { cause, line: Some(1), .. } if is_registry(cause)),
            "{refused}"
        );
        assert!(matches!(follow(Some(&eight)), Err(LoadError::OtherRegistry { .. })));
        assert_eq!(follow(Some(&seven)).unwrap().policy.registry(), Some(seven.as_str()));
        assert!(files.load().is_ok(), "to look at it is not to follow it");
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
