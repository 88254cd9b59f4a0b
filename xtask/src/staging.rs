//! A fixed copy of the engine's sources, shared by all checkouts of this user.
//!
//! Cargo tells path packages apart by their path: with one target folder, two checkouts would take
//! each other's engine for their own. Built from one fixed folder, changed files are simply newer.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;

use crate::{files, fingerprint};

/// Makes `to` hold exactly the files of `from`; a file whose content is the same keeps its time.
pub(crate) fn mirror(from: &Path, to: &Path) -> anyhow::Result<()> {
    files::create_dir(to)?;
    let wanted = fingerprint::files(from)?;
    for path in &wanted {
        let (source, copy) = (from.join(path), to.join(path));
        let content = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        if fs::read(&copy).is_ok_and(|kept| kept == content) {
            continue;
        }
        if let Some(folder) = copy.parent() {
            files::create_dir(folder)?;
        }
        fs::write(&copy, content).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    for path in fingerprint::files(to)? {
        if wanted.binary_search(&path).is_err() {
            files::remove(&to.join(path))?;
        }
    }
    Ok(())
}

/// Makes every file new, so that cargo compiles it whatever else was built in the target folder: a
/// build by hand from a checkout leaves output there that cargo would take for the staged sources'.
pub(crate) fn touch(dir: &Path) -> anyhow::Result<()> {
    for path in fingerprint::files(dir)? {
        let path = dir.join(path);
        let file = fs::File::options().append(true).open(&path);
        file.and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("cannot touch {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_mirror_follows_its_source_and_leaves_equal_files_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("src")).unwrap();
        fs::write(from.join("src/main.rs"), "one").unwrap();
        fs::write(from.join("src/old.rs"), "old").unwrap();
        mirror(&from, &to).unwrap();

        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for name in ["src/main.rs", "src/old.rs"] {
            fs::File::options().write(true).open(to.join(name)).unwrap().set_modified(long_ago).unwrap();
        }
        fs::remove_file(from.join("src/old.rs")).unwrap();
        fs::write(from.join("src/new.rs"), "new").unwrap();
        mirror(&from, &to).unwrap();

        assert_eq!(fingerprint::files(&to).unwrap(), fingerprint::files(&from).unwrap());
        assert_eq!(fs::metadata(to.join("src/main.rs")).unwrap().modified().unwrap(), long_ago);

        touch(&to).unwrap();
        assert!(fs::metadata(to.join("src/main.rs")).unwrap().modified().unwrap() > long_ago);

        fs::write(from.join("src/main.rs"), "two").unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/main.rs")).unwrap(), "two");
    }
}
