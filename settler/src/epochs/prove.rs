//! Finds a receipt in the epochs and makes its proof.

use cocoon_receipts::Digest;
use cocoon_ton::GlobalId;

use super::error::EpochError;
use super::log::Sealed;
use super::proof::Proof;
use super::publisher::Held;
use super::step::Epochs;

/// How far the clocks of a backend and of a settler may be apart, seconds.
const CLOCKS: u32 = 300;

/// The proof of a receipt for the registry as it stands. `since` is when the receipt was signed, where that is known: it
/// is in no epoch that was decided before.
///
/// # Errors
/// [`EpochError::InNoEpoch`], [`EpochError::NotPublished`], and where registry, log and files contradict each other.
pub async fn prove(
    epochs: &mut Epochs,
    network: GlobalId,
    receipt: &Digest,
    since: Option<u32>,
) -> Result<Result<Proof, Held>, EpochError> {
    epochs.catch_up().await?;
    let roots = epochs.log().roots();
    let (address, storage) = match epochs.publisher().look(&roots).await? {
        Ok(found) => found,
        Err(held) => return Ok(Err(held)),
    };
    let (sealed, receipts, position) = find(epochs, receipt, since).await?;
    let (epoch, last) = (sealed.commitment.epoch, storage.epochs.last);
    let proof = Proof::new((&address, network), &sealed.commitment, &receipts, position, &roots, last);
    proof.map(Ok).ok_or(EpochError::NotPublished { epoch, last })
}

/// The epoch that has it, and where. Those after it was signed come first.
async fn find(
    epochs: &Epochs,
    receipt: &Digest,
    since: Option<u32>,
) -> Result<(Sealed, Vec<Digest>, usize), EpochError> {
    let since = since.unwrap_or(0).saturating_sub(CLOCKS);
    let (before, after): (Vec<Sealed>, Vec<Sealed>) =
        epochs.log().sealed().iter().partition(|sealed| sealed.at < since);
    for sealed in after.into_iter().chain(before.into_iter().rev()) {
        let receipts = epochs.receipts(sealed).await?;
        if let Some(position) = receipts.iter().position(|one| one == receipt) {
            return Ok((sealed, receipts, position));
        }
    }
    Err(EpochError::InNoEpoch(receipt.to_string()))
}
