//! The highest version of each signed policy that was accepted here: an older one is not accepted again, however well
//! it is signed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};

use super::Policy;

const VERSION: u32 = 1;
/// Names that are remembered.
const MAX_NAMES: usize = 64;
/// Largest file that is read, bytes: what so many of the longest names take, and more.
const MAX_FILE: u64 = 64 << 10;

/// A policy that is not taken because of one before it, or a memory of those that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("version {version} of '{name}' is older than version {seen}, which was accepted before")]
    Older { name: String, version: u64, seen: u64 },
    #[error(
        "version {version} of '{name}' is not the text that was accepted before: a changed policy needs a higher version"
    )]
    Changed { name: String, version: u64 },
    #[error("only a signed policy has a version that is remembered")]
    Unsigned,
    #[error("{path}: {cause}")]
    Io { path: PathBuf, cause: io::Error },
    #[error(
        "{path}: others can write in this folder; only its owner may, or the memory of old policies is theirs"
    )]
    Open { path: PathBuf },
    #[error("{path}: {message}; move it away only if you know why it is so")]
    Corrupt { path: PathBuf, message: &'static str },
}

/// The file that remembers. Its folder must exist and be its owner's alone to write.
#[derive(Debug, Clone)]
pub struct PolicyStore {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    version: u32,
    policies: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    version: u64,
    /// Of the text.
    sha256: Digest,
}

impl PolicyStore {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether a signed policy may follow those that were accepted. Writes nothing.
    ///
    /// # Errors
    /// [`StoreError`]. A file that does not read is an error, never begun anew: whoever broke it may have wanted just
    /// that.
    pub fn check(&self, policy: &Policy) -> Result<(), StoreError> {
        let memory = self.read()?;
        self.next(memory, policy).map(drop)
    }

    /// The same, and remembers the policy's version.
    ///
    /// # Errors
    /// [`StoreError`]; the policy must then not be used.
    pub fn admit(&self, policy: &Policy) -> Result<(), StoreError> {
        let folder_path = self.folder();
        let failed = |cause| StoreError::Io { path: folder_path.to_owned(), cause };
        let folder = File::open(folder_path).map_err(failed)?;
        if folder.metadata().map_err(failed)?.mode() & 0o022 != 0 {
            return Err(StoreError::Open { path: folder_path.to_owned() });
        }
        // Until it is closed: two processes that start at once must not write over each other's version.
        folder.lock().map_err(failed)?;
        match self.next(self.read()?, policy)? {
            Some(memory) => self.write(&memory).and_then(|()| folder.sync_all().map_err(failed)),
            None => Ok(()),
        }
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// What is to be remembered once `policy` is accepted; none where that is known already.
    fn next(&self, mut memory: Memory, policy: &Policy) -> Result<Option<Memory>, StoreError> {
        let (Some(name), Some(version), Some(_)) = (policy.name(), policy.version(), policy.signer()) else {
            return Err(StoreError::Unsigned);
        };
        match memory.policies.get(name) {
            Some(seen) if version < seen.version => {
                return Err(StoreError::Older { name: name.into(), version, seen: seen.version });
            }
            Some(seen) if version == seen.version && policy.digest() != seen.sha256 => {
                return Err(StoreError::Changed { name: name.into(), version });
            }
            Some(seen) if version == seen.version => return Ok(None),
            Some(_) => {}
            None if memory.policies.len() >= MAX_NAMES => {
                return Err(self.corrupt("it holds too many policies"));
            }
            None => {}
        }
        memory.policies.insert(name.to_owned(), Seen { version, sha256: policy.digest() });
        Ok(Some(memory))
    }

    fn read(&self) -> Result<Memory, StoreError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Memory { version: VERSION, policies: BTreeMap::new() });
            }
            Err(cause) => return Err(StoreError::Io { path: self.path.clone(), cause }),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(self.io())?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(self.corrupt("it is too long"));
        }
        match serde_json::from_slice::<Memory>(&bytes) {
            Ok(memory) if memory.version == VERSION => Ok(memory),
            _ => Err(self.corrupt("not a list of policies")),
        }
    }

    /// At once: a reader finds the old file or the new one. The caller has the folder's lock.
    fn write(&self, memory: &Memory) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(memory).map_err(|_| self.corrupt("it cannot be written"))?;
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        // Left by a process that ended here; the lock is ours.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.io()(error)),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(self.io())?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(self.io())?;
        fs::rename(&aside, &self.path).map_err(self.io())
    }

    fn io(&self) -> impl Fn(io::Error) -> StoreError + '_ {
        |cause| StoreError::Io { path: self.path.clone(), cause }
    }

    fn corrupt(&self, message: &'static str) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use cocoon_receipts::SigningKey;

    use super::*;

    fn policy(key: &SigningKey, name: &str, version: u64, more: &str) -> Policy {
        let text =
            format!("name = '{name}'\nversion = {version}\nnot_after = 2030-01-01T00:00:00Z\n{more}\n");
        Policy::from_signed(&text, &Policy::sign(&text, key).unwrap(), key.public()).unwrap()
    }

    fn store() -> (tempfile::TempDir, PolicyStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = PolicyStore::new(dir.path().join("policies.json"));
        (dir, store)
    }

    #[test]
    fn a_version_goes_forth_and_never_back() {
        let (_dir, store) = store();
        let key = SigningKey::generate().unwrap();
        let of = |version| policy(&key, "n", version, "");
        for version in [3, 3, 5] {
            store.admit(&of(version)).unwrap();
        }
        // As another process finds it.
        let again = PolicyStore::new(store.path.clone());
        for version in [0, 3, 4] {
            let refused = again.admit(&of(version)).unwrap_err();
            assert!(matches!(refused, StoreError::Older { seen: 5, .. }), "{refused}");
            assert!(again.check(&of(version)).is_err());
        }
        again.admit(&of(5)).unwrap();
        again.admit(&policy(&key, "another", 1, "")).unwrap();
        again.admit(&of(6)).unwrap();
        assert_eq!(store.path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn one_version_is_one_text() {
        let (_dir, store) = store();
        let key = SigningKey::generate().unwrap();
        store.admit(&policy(&key, "n", 3, "")).unwrap();
        let refused = store.admit(&policy(&key, "n", 3, "# changed")).unwrap_err();
        assert!(matches!(refused, StoreError::Changed { version: 3, .. }), "{refused}");
        store.admit(&policy(&key, "n", 4, "# changed")).unwrap();
    }

    #[test]
    fn to_check_is_not_to_remember() {
        let (_dir, store) = store();
        let key = SigningKey::generate().unwrap();
        store.check(&policy(&key, "n", 9, "")).unwrap();
        assert!(!store.path.exists());
        store.admit(&policy(&key, "n", 3, "")).unwrap();
    }

    #[test]
    fn a_file_that_does_not_read_is_an_error_and_stays() {
        let (_dir, store) = store();
        let policy = policy(&SigningKey::generate().unwrap(), "n", 3, "");
        let digest = policy.digest();
        for text in [
            String::new(),
            "{".into(),
            "{}".into(),
            r#"{"version":2,"policies":{}}"#.into(),
            r#"{"version":1,"policies":{"n":{"version":1}}}"#.into(),
            format!(r#"{{"version":1,"policies":{{"n":{{"version":-1,"sha256":"{digest}"}}}}}}"#),
            format!(r#"{{"version":1,"policies":{{}}}}{}"#, " ".repeat(64 << 10)),
        ] {
            fs::write(&store.path, &text).unwrap();
            assert!(matches!(store.admit(&policy), Err(StoreError::Corrupt { .. })), "{text}");
            assert_eq!(fs::read_to_string(&store.path).unwrap(), text);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (_dir, store) = store();
        let key = SigningKey::generate().unwrap();
        for at in 0..MAX_NAMES {
            store.admit(&policy(&key, &format!("{at:064}"), u64::MAX >> 1, "")).unwrap();
        }
        assert!(store.path.metadata().unwrap().len() < MAX_FILE / 2);
        store.admit(&policy(&key, &format!("{:064}", 1), u64::MAX >> 1, "")).unwrap();
        assert!(matches!(store.admit(&policy(&key, "one more", 1, "")), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn what_a_crash_left_aside_is_no_hindrance_and_a_folder_open_to_others_is() {
        let (dir, store) = store();
        let key = SigningKey::generate().unwrap();
        fs::write(dir.path().join("policies.json.new"), "half").unwrap();
        store.admit(&policy(&key, "n", 3, "")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(store.admit(&policy(&key, "n", 4, "")), Err(StoreError::Open { .. })));
    }

    #[test]
    fn of_many_that_start_at_once_the_highest_version_stays() {
        let (_dir, store) = store();
        let key = SigningKey::generate().unwrap();
        let policies: Vec<Policy> = (1..=16).map(|version| policy(&key, "n", version, "")).collect();
        std::thread::scope(|scope| {
            for policy in &policies {
                // Those that come after a higher one are refused.
                scope.spawn(|| drop(store.admit(policy)));
            }
        });
        assert_eq!(store.read().unwrap().policies["n"].version, 16);
    }
}
