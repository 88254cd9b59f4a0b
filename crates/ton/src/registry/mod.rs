//! Registry: what a deployment has published, and a commitment to every epoch's journal. The rules are the
//! contract's, `contracts/registry.tolk`; the cells are those of `contracts/schema.tlb`.

mod getters;
mod messages;
pub mod mountains;

pub use getters::RegistryRoles;
pub use messages::RegistryMessage;

use crate::message::state_init;
use crate::pay_channel::StateInitError;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Address, ArcCell, CellError, CellHash, registry_code};

/// `RegistryStorage`: the account's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryStorage {
    pub roles: RegistryRoles,
    pub epochs: Epochs,
    pub policy: Policy,
    pub published: Published,
}

/// A Merkle mountain range over the roots of all epochs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs {
    /// Number of the last epoch, which is also how many there are: they count from 1.
    pub last: u32,
    /// The smallest mountain first, one for each bit that is set in `last`.
    pub peaks: Vec<[u8; 32]>,
}

/// The signed policy that gateways and sidecars follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    pub version: u32,
    /// SHA-256 of the policy file.
    pub hash: [u8; 32],
    pub pending: Option<PendingPolicy>,
}

/// A policy that waits out its delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingPolicy {
    pub version: u32,
    pub hash: [u8; 32],
    /// Unix time from which it can be activated.
    pub active_at: u32,
}

/// What takes effect at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub prices_number: u32,
    /// SHA-256 of the price table.
    pub prices_hash: [u8; 32],
    /// SHA-256 of the list of gateways.
    pub gateways_hash: [u8; 32],
    /// Of PayChannel's code.
    pub channel_code_hash: CellHash,
}

impl Epochs {
    /// # Errors
    /// [`CellError::Value`] unless there is a peak for each bit that is set.
    fn checked(self) -> Result<Self, CellError> {
        if self.peaks.len() == self.last.count_ones() as usize {
            Ok(self)
        } else {
            Err(CellError::Value("peaks"))
        }
    }
}

impl RegistryStorage {
    /// Of a registry to which nothing has happened: what its address is the hash of.
    #[must_use]
    pub fn new(roles: RegistryRoles) -> Self {
        let published = Published {
            prices_number: 0,
            prices_hash: [0; 32],
            gateways_hash: [0; 32],
            channel_code_hash: CellHash([0; 32]),
        };
        Self { roles, epochs: Epochs::default(), policy: Policy::default(), published }
    }

    /// # Errors
    /// [`CellError`] never comes of a storage; it is what cells can fail with.
    pub fn cell(&self) -> Result<ArcCell, CellError> {
        let mut peaks = None;
        for hash in self.epochs.peaks.iter().rev() {
            peaks = Some(Writer::new().bytes(hash).maybe_reference(peaks.as_ref()).cell()?);
        }
        let policy = Writer::new().uint(32, self.policy.version.into()).bytes(&self.policy.hash);
        let policy = match self.policy.pending {
            None => policy.bit(false),
            Some(PendingPolicy { version, hash, active_at }) => {
                policy.bit(true).uint(32, version.into()).bytes(&hash).uint(32, active_at.into())
            }
        };
        let Published { prices_number, prices_hash, gateways_hash, channel_code_hash } = &self.published;
        let published = Writer::new()
            .uint(32, (*prices_number).into())
            .bytes(prices_hash)
            .bytes(gateways_hash)
            .bytes(&channel_code_hash.0);
        Writer::new()
            .address(&self.roles.owner)
            .address(&self.roles.publisher)
            .uint(32, self.epochs.last.into())
            .maybe_reference(peaks.as_ref())
            .reference(&policy.cell()?)
            .reference(&published.cell()?)
            .cell()
    }

    /// # Errors
    /// [`CellError`] where it is not a registry's data.
    pub fn parse(data: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(data)?;
        let roles = RegistryRoles { owner: reader.address()?, publisher: reader.address()? };
        let (last, peaks) = (reader.u32()?, peaks(reader.maybe_reference()?)?);
        let (policy, published) = (policy(reader.reference()?)?, published(reader.reference()?)?);
        reader.end()?;
        Ok(Self { roles, epochs: Epochs { last, peaks }.checked()?, policy, published })
    }

    /// What a message that deploys the registry brings along.
    ///
    /// # Errors
    /// [`StateInitError::Code`], as [`registry_code`].
    pub fn state_init(&self) -> Result<ArcCell, StateInitError> {
        Ok(state_init(&registry_code()?, &self.cell()?)?)
    }
}

impl RegistryRoles {
    /// The address of the registry that begins with these roles; it stays when the publisher changes.
    ///
    /// # Errors
    /// As [`RegistryStorage::state_init`].
    pub fn address(&self) -> Result<Address, StateInitError> {
        Ok(Address::of_state(CellHash::of(&*RegistryStorage::new(*self).state_init()?)))
    }
}

fn peaks(mut next: Option<&ArcCell>) -> Result<Vec<[u8; 32]>, CellError> {
    let mut peaks = Vec::new();
    while let Some(cell) = next {
        if peaks.len() == u32::BITS as usize {
            return Err(CellError::Value("peaks"));
        }
        let mut reader = Reader::new(cell)?;
        peaks.push(reader.bytes()?);
        next = reader.maybe_reference()?;
        reader.end()?;
    }
    Ok(peaks)
}

fn policy(cell: &ArcCell) -> Result<Policy, CellError> {
    let mut reader = Reader::new(cell)?;
    let (version, hash) = (reader.u32()?, reader.bytes()?);
    let pending = if reader.bit()? {
        Some(PendingPolicy { version: reader.u32()?, hash: reader.bytes()?, active_at: reader.u32()? })
    } else {
        None
    };
    reader.end()?;
    Ok(Policy { version, hash, pending })
}

fn published(cell: &ArcCell) -> Result<Published, CellError> {
    let mut reader = Reader::new(cell)?;
    let published = Published {
        prices_number: reader.u32()?,
        prices_hash: reader.bytes()?,
        gateways_hash: reader.bytes()?,
        channel_code_hash: reader.hash()?,
    };
    reader.end()?;
    Ok(published)
}

#[cfg(test)]
mod tests;
