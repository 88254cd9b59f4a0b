//! The registry as the chain has it.

use cocoon_receipts::Digest;
use cocoon_ton::chain::{Chain, Status};
use cocoon_ton::{Address, CellHash, REGISTRY_HASH, RegistryStorage, mountains};

use super::error::EpochError;

/// What the registry stores, after its code was found to be the registry's; none where nothing is deployed yet.
///
/// # Errors
/// [`EpochError::NotARegistry`], [`EpochError::Chain`].
pub async fn registry(chain: &dyn Chain, address: &Address) -> Result<Option<RegistryStorage>, EpochError> {
    let not_one = |why: String| EpochError::NotARegistry { registry: *address, why };
    match chain.account(address).await?.status {
        Status::Uninitialized => Ok(None),
        Status::Frozen => Err(not_one("it is frozen".to_owned())),
        Status::Active { code, data } => {
            if CellHash::of(&code) != REGISTRY_HASH {
                return Err(not_one("its code is another".to_owned()));
            }
            RegistryStorage::parse(&data).map(Some).map_err(|error| not_one(error.to_string()))
        }
    }
}

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
