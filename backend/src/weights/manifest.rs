//! All files that an engine loads for a model.

use std::fs;
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;

use super::WeightsError;

/// Deepest folder below the model's own.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 4096;
/// What mistral.rs also reads from the folder of a GGUF file that it is told to load.
const COMPANIONS: [&str; 4] =
    ["chat_template.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"];

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelFile {
    /// Relative to the folder, with `/`.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// The files of a model, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) files: Vec<ModelFile>,
    /// The file that was named, where it was a file.
    pub(super) file: Option<String>,
}

impl Manifest {
    /// Of a folder: all that is below it. Of a file: that file, and those beside it that the engine reads with it.
    pub(super) fn of(path: &Path) -> Result<Self, WeightsError> {
        let (mut files, mut file) = (Vec::new(), None);
        if fs::metadata(path).map_err(WeightsError::read(path))?.is_dir() {
            list(path, "", MAX_DEPTH, &mut files)?;
        } else {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| WeightsError::Name(path.to_owned()))?.to_owned();
            for companion in COMPANIONS {
                let beside = path.with_file_name(companion);
                if companion != name && beside.try_exists().map_err(WeightsError::read(&beside))? {
                    files.push(ModelFile { name: companion.to_owned(), path: beside });
                }
            }
            files.push(ModelFile { name: name.clone(), path: path.to_owned() });
            file = Some(name);
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        if files.is_empty() {
            return Err(WeightsError::Empty(path.to_owned()));
        }
        Ok(Self { files, file })
    }

    /// The model's digest, from those of its files in their order: of a file alone its own, else SHA-256 over
    /// `name ‖ 0 ‖ SHA-256` of each.
    pub(super) fn digest(&self, digests: &[Digest]) -> Digest {
        if let ([digest], Some(_)) = (digests, &self.file) {
            return *digest;
        }
        let parts = self.files.iter().zip(digests);
        let parts: Vec<&[u8]> =
            parts.flat_map(|(file, digest)| [file.name.as_bytes(), &[0], &digest.0]).collect();
        Digest::of(&parts)
    }
}

fn list(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<ModelFile>) -> Result<(), WeightsError> {
    let too_many = || WeightsError::TooMany { path: folder.to_owned(), limit: MAX_FILES };
    for entry in fs::read_dir(folder).map_err(WeightsError::read(folder))? {
        let path = entry.map_err(WeightsError::read(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = format!("{prefix}{}", name.ok_or_else(|| WeightsError::Name(path.clone()))?);
        // Not `entry.file_type()`: a model's folder is often made of links.
        if fs::metadata(&path).map_err(WeightsError::read(&path))?.is_dir() {
            let depth = depth.checked_sub(1).ok_or_else(too_many)?;
            list(&path, &format!("{name}/"), depth, files)?;
        } else if files.len() < MAX_FILES {
            files.push(ModelFile { name, path });
        } else {
            return Err(too_many());
        }
    }
    Ok(())
}
