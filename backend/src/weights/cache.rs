//! Digests from one start to the next, outside a TEE: a file that looks the same as before is not read again.
//!
//! Whoever can write the state folder can lie here. That is why nothing of this is used in a TEE.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};

use super::hash::Hashed;
use super::manifest::Manifest;

const FILE_NAME: &str = "weights.json";
const VERSION: u32 = 1;
/// Largest file that is read, bytes.
const MAX_BYTES: u64 = 8 << 20;
/// A file that was changed this recently may be changed again without a new time of change.
const SETTLED: Duration = Duration::from_secs(2);

/// What a file looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    size: u64,
    modified_s: i64,
    modified_ns: i64,
    inode: u64,
    device: u64,
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    look: Look,
    sha256: Digest,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    files: HashMap<PathBuf, Line>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { version: VERSION, files: HashMap::new() }
    }
}

/// The kept digests.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    kept: Kept,
}

impl Cache {
    /// What is kept in `folder`; nothing, with a warning, where it cannot be read: it is made anew then.
    pub(super) fn load(folder: &Path) -> Self {
        let path = folder.join(FILE_NAME);
        let kept = read(&path).unwrap_or_else(|problem| {
            tracing::warn!(path = %path.display(), problem, "kept digests are not used: the model is read again");
            Kept::default()
        });
        Self { path, kept }
    }

    /// The digest of a file that looks as it did.
    pub(super) fn get(&self, path: &Path, metadata: &Metadata) -> Option<Digest> {
        let line = self.kept.files.get(path)?;
        (line.look == Look::of(metadata)).then_some(line.sha256)
    }

    /// Keeps the digests of one model in place of all others. That it cannot is no reason not to serve.
    pub(super) fn keep(&mut self, manifest: &Manifest, hashed: &[Hashed]) {
        let settled = |hashed: &Hashed| {
            let changed = hashed.metadata.modified();
            changed.is_ok_and(|changed| hashed.at.duration_since(changed).is_ok_and(|age| age > SETTLED))
        };
        let files = manifest.files.iter().zip(hashed).filter(|(_, hashed)| settled(hashed));
        let line = |hashed: &Hashed| Line { look: Look::of(&hashed.metadata), sha256: hashed.digest };
        self.kept.files = files.map(|(file, hashed)| (file.path.clone(), line(hashed))).collect();
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.path.display(), %error, "the model's digests cannot be kept");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let new = self.path.with_extension("json.new");
        fs::write(&new, serde_json::to_vec(&self.kept)?)?;
        fs::rename(&new, &self.path)
    }
}

fn read(path: &Path) -> Result<Kept, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err("it is too large".to_owned());
    }
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if kept.version == VERSION { Ok(kept) } else { Err(format!("it is of version {}", kept.version)) }
}
