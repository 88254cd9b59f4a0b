//! The registry's epochs against the log's.

use cocoon_receipts::Digest;
use cocoon_ton::{Address, RegistryStorage, mountains};

use super::error::EpochError;

/// Refuses a registry whose epochs are not the first of those that have these roots.
pub(super) fn check_roots(
    address: &Address,
    storage: &RegistryStorage,
    roots: &[Digest],
) -> Result<(), EpochError> {
    let (registry, last) = (*address, storage.epochs.last);
    match mountains::peaks(roots, last) {
        None => {
            let known = u32::try_from(roots.len()).unwrap_or(u32::MAX);
            Err(EpochError::Ahead { registry, last, known })
        }
        Some(peaks) if peaks != storage.epochs.peaks => Err(EpochError::OtherRoots { registry, last }),
        Some(_) => Ok(()),
    }
}
