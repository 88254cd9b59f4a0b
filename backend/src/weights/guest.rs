//! Which places only the measured guest can change.
//!
//! The host owns the disks: what it wrote there may be other bytes when they are read again. It owns neither the
//! guest's memory nor what a dm-verity device lets through, whose root hash is part of the measurement.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::WeightsError;

/// `f_type` of file systems that are nowhere but in memory (`linux/magic.h`).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// What device-mapper names a verity device.
const VERITY: &str = "CRYPT-VERITY-";

/// What the kernel says of this machine.
#[derive(Debug)]
pub(super) struct Guest {
    sys: PathBuf,
    proc: PathBuf,
}

impl Default for Guest {
    fn default() -> Self {
        Self { sys: PathBuf::from("/sys"), proc: PathBuf::from("/proc") }
    }
}

impl Guest {
    #[cfg(test)]
    pub(super) fn of_tests(root: &Path) -> Self {
        Self { sys: root.join("sys"), proc: root.join("proc") }
    }

    /// Refuses a file that the host could change between two readings, and a link to one.
    pub(super) fn check(&self, file: &Path) -> Result<(), WeightsError> {
        let target = fs::canonicalize(file).map_err(WeightsError::read(file))?;
        let folder = file.parent().unwrap_or(file);
        if fs::canonicalize(folder).map_err(WeightsError::read(folder))? != folder {
            return Err(unmeasured(file, "below a folder that is a link"));
        }
        if fs::symlink_metadata(file).map_err(WeightsError::read(file))?.is_symlink() {
            // The link must be as safe as what it points to. Of further links between the two nothing would be known.
            let link = fs::read_link(file).map_err(WeightsError::read(file))?;
            if lexical(&folder.join(link)) != target {
                return Err(unmeasured(file, "a link by way of other links"));
            }
            self.check_place(folder)?;
        }
        self.check_place(&target)
    }

    fn check_place(&self, path: &Path) -> Result<(), WeightsError> {
        let kind = rustix::fs::statfs(path).map_err(|error| WeightsError::read(path)(error.into()))?.f_type;
        if u64::try_from(kind).is_ok_and(|kind| IN_MEMORY.contains(&(kind & 0xffff_ffff))) {
            return self.check_swap();
        }
        let device = fs::metadata(path).map_err(WeightsError::read(path))?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let uuid = self.sys.join("dev/block").join(&device).join("dm/uuid");
        match fs::read_to_string(&uuid) {
            Ok(uuid) if uuid.starts_with(VERITY) => {}
            Ok(_) => return Err(unmeasured(path, "on a mapped device without verity")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(unmeasured(path, "on a device that the host can change"));
            }
            Err(error) => return Err(WeightsError::read(&uuid)(error)),
        }
        let mounts = self.proc.join("self/mountinfo");
        let text = fs::read_to_string(&mounts).map_err(WeightsError::read(&mounts))?;
        if is_read_only(&text, &device) {
            Ok(())
        } else {
            Err(unmeasured(path, "on a verity device that is not mounted read-only"))
        }
    }

    fn check_swap(&self) -> Result<(), WeightsError> {
        let swaps = self.proc.join("swaps");
        let text = fs::read_to_string(&swaps).map_err(WeightsError::read(&swaps))?;
        // The first line is the heading.
        match text.lines().nth(1).and_then(|line| line.split_whitespace().next()) {
            None => Ok(()),
            Some(swap) => Err(WeightsError::Swap(swap.to_owned())),
        }
    }
}

fn unmeasured(path: &Path, problem: &'static str) -> WeightsError {
    WeightsError::Unmeasured { path: path.to_owned(), problem }
}

/// Whether a device is mounted, and nowhere writable: third field, and the first of the options at the end of a line
/// (`proc_pid_mountinfo(5)`).
fn is_read_only(mounts: &str, device: &str) -> bool {
    let mut of_device = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(device)).peekable();
    let read_only = |line: &str| {
        let options = line.rsplit(' ').next().unwrap_or_default();
        options.split(',').next() == Some("ro")
    };
    of_device.peek().is_some() && of_device.all(read_only)
}

/// Without `.` and `..`, by the text alone.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}
