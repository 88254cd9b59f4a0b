//! What can go wrong between us and the kernel.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum TsmError {
    #[error(
        "there is no TEE here: {} is missing or has no provider. Run in a TDX or SEV-SNP guest with configfs mounted \
         and the kernel module tdx_guest or sev_guest loaded, or set evidence.kind = \"dev\"",
        .0.display()
    )]
    NoTee(PathBuf),
    #[error("cannot make an entry in {}", dir.display())]
    Entry { dir: PathBuf, source: io::Error },
    #[error("the TEE is of a kind that is not known here: {0:?}")]
    Provider(String),
    #[error("the kernel's {0} is missing or is not as it is documented")]
    Attribute(&'static str),
    #[error("the kernel refused {attribute}")]
    Io { attribute: &'static str, source: io::Error },
    #[error("the kernel was busy with {0} for too long")]
    Busy(&'static str),
    #[error("{0} has more than {1} bytes")]
    TooLarge(&'static str, usize),
    #[error("the report is empty")]
    Empty,
    /// A policy accepts VMPL 0 only.
    #[error("this guest may not ask for a report at privilege level 0: the floor is {0}")]
    Privilege(String),
    #[error("others wrote into the report's entry, {0} times in a row")]
    Interleaved(u32),
    #[error("the report is not on the data that was asked for")]
    OtherData,
    #[error("the report cannot be read")]
    Malformed,
    #[error("the TEE became another while it ran")]
    Changed,
    #[error("the thread that asked for a report ended")]
    Thread,
}

impl TsmError {
    pub(super) fn of(attribute: &'static str, source: io::Error) -> Self {
        if is_busy(&source) { Self::Busy(attribute) } else { Self::Io { attribute, source } }
    }

    pub(super) fn of_mkdir(dir: &Path, source: io::Error) -> Self {
        let no_device = source.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
        if source.kind() == ErrorKind::NotFound || no_device {
            return Self::NoTee(dir.to_owned());
        }
        Self::Entry { dir: dir.to_owned(), source }
    }
}

/// EBUSY and EWOULDBLOCK: another reads, or a new report is not there yet.
pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::WouldBlock)
}
