//! The proof that a receipt is in a published epoch: with the receipt and the chain it is all that is needed.

use cocoon_receipts::Digest;
use cocoon_ton::{Address, GlobalId, RegistryStorage, mountains};
use serde::{Deserialize, Serialize};

use super::commitment::Commitment;
use super::tree::root_by_path;

const FORMAT: &str = "cocoon-epoch-proof/1";

/// Longest text of a proof: 63 siblings have less than five kilobytes.
pub const MAX_PROOF_BYTES: usize = 16 << 10;

/// Most siblings of a leaf in an epoch: a count has 64 bits.
const MAX_SIBLINGS: usize = 64;

/// As it is written into a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    format: String,
    /// ConfigParam 19 of the network.
    pub global_id: i32,
    /// Raw address.
    pub registry: String,
    /// SHA-256 of the receipt's JWS.
    pub receipt: Digest,
    pub epoch: u32,
    /// Receipts in the epoch.
    pub count: u64,
    /// What the epoch's root has of the journals' cuts.
    pub cuts: Digest,
    /// Of the receipt among them, from 0.
    pub position: u64,
    /// Within the epoch, from the leaf up.
    pub siblings: Vec<Digest>,
    /// The registry's last epoch when the proof was made.
    pub last: u32,
    /// Siblings of the epoch in the registry's mountain range, from the leaf up.
    pub mountain: Vec<Digest>,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    #[error("it is longer than {MAX_PROOF_BYTES} bytes")]
    TooLong,
    #[error("it is no proof of this program: {0}")]
    Syntax(String),
    #[error("it is a proof of another form than {FORMAT}: {0:?}")]
    Format(String),
    #[error("it is the proof of another receipt, with the digest {0}")]
    OtherReceipt(Digest),
    #[error("it is about the network {proof}, and this is {chain}")]
    OtherNetwork { proof: i32, chain: i32 },
    #[error("it is about the registry {0}, which is not the one that was asked for")]
    OtherRegistry(String),
    #[error("it has the receipt at {position}, in an epoch of {count}")]
    Position { position: u64, count: u64 },
    #[error("its siblings within the epoch are not as many as its position needs")]
    Siblings,
    #[error("it is about epoch {epoch}, and the registry has {last}")]
    NoSuchEpoch { epoch: u32, last: u32 },
    #[error(
        "it has grown old: it was made when the registry had {made_at} epochs, and now it has {last}. Make it anew"
    )]
    Old { made_at: u32, last: u32 },
    #[error("its siblings in the mountain range are not as many as its epoch needs")]
    Mountain,
    #[error(
        "it does not lead to what the registry has: the receipt is not in that epoch at that place, or the proof was changed"
    )]
    Wrong,
}

impl Proof {
    /// Of the receipt at `position` of an epoch whose receipts these are, for a registry that has the first `last` of
    /// `roots`; none where there is no such position or epoch.
    #[must_use]
    pub fn new(
        (registry, network): (&Address, GlobalId),
        commitment: &Commitment,
        receipts: &[Digest],
        position: usize,
        roots: &[Digest],
        last: u32,
    ) -> Option<Self> {
        Some(Self {
            format: FORMAT.to_owned(),
            global_id: network.0,
            registry: registry.to_string(),
            receipt: *receipts.get(position)?,
            epoch: commitment.epoch,
            count: commitment.count,
            cuts: commitment.cuts,
            position: position as u64,
            siblings: super::tree::path(receipts, position)?,
            last,
            mountain: mountains::path(roots, last, commitment.epoch)?,
        })
    }

    /// # Errors
    /// [`BadProof::TooLong`], [`BadProof::Syntax`], [`BadProof::Format`].
    pub fn parse(text: &str) -> Result<Self, BadProof> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(BadProof::TooLong);
        }
        let proof: Self = serde_json::from_str(text).map_err(|error| BadProof::Syntax(error.to_string()))?;
        if proof.format == FORMAT { Ok(proof) } else { Err(BadProof::Format(proof.format)) }
    }

    /// Checks all of it against what the registry at `registry` on the network `network` stores. Whoever calls this has
    /// found the registry's code to be the registry's.
    ///
    /// # Errors
    /// [`BadProof`], for each way in which it can be bad.
    pub fn verify(
        &self,
        receipt: &Digest,
        (registry, network): (&Address, GlobalId),
        storage: &RegistryStorage,
    ) -> Result<(), BadProof> {
        if self.receipt != *receipt {
            return Err(BadProof::OtherReceipt(self.receipt));
        }
        if self.global_id != network.0 {
            return Err(BadProof::OtherNetwork { proof: self.global_id, chain: network.0 });
        }
        if self.registry != registry.to_string() {
            return Err(BadProof::OtherRegistry(self.registry.clone()));
        }
        let (epoch, count, position) = (self.epoch, self.count, self.position);
        if position >= count {
            return Err(BadProof::Position { position, count });
        }
        if self.siblings.len() > MAX_SIBLINGS {
            return Err(BadProof::Siblings);
        }
        let tree = root_by_path(receipt, position, count, &self.siblings).ok_or(BadProof::Siblings)?;
        let last = storage.epochs.last;
        let Some(length) = mountains::path_length(last, epoch) else {
            return Err(BadProof::NoSuchEpoch { epoch, last });
        };
        if self.mountain.len() != length {
            // Mountains only grow: a shorter path was right once.
            let made_at = self.last;
            let was_right = mountains::path_length(made_at, epoch) == Some(self.mountain.len());
            let is_old = made_at < last && was_right;
            return Err(if is_old { BadProof::Old { made_at, last } } else { BadProof::Mountain });
        }
        let root = Commitment { epoch, count, cuts: self.cuts, tree }.root();
        if mountains::proves(&self.mountain, epoch, &root, last, &storage.epochs.peaks) {
            Ok(())
        } else {
            Err(BadProof::Wrong)
        }
    }
}

#[cfg(test)]
mod tests;
