//! What a registry's get methods answer.

use super::{Epochs, PendingPolicy, Policy, Published};
use crate::stack::Stack;
use crate::{Address, StackError, StackValue};

/// Who may change a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryRoles {
    /// Kept offline; sets everything but the roots of epochs.
    pub owner: Address,
    /// Kept online; may append the root of the next epoch, and nothing else.
    pub publisher: Address,
}

impl RegistryRoles {
    /// The get method that answers this.
    pub const METHOD: &'static str = "roles";

    /// # Errors
    /// [`StackError`].
    pub fn from_stack(values: &[StackValue]) -> Result<Self, StackError> {
        let mut stack = Stack::new(values);
        let roles = Self { owner: stack.address()?, publisher: stack.address()? };
        stack.end()?;
        Ok(roles)
    }
}

impl Policy {
    /// The get method that answers this.
    pub const METHOD: &'static str = "policy";

    /// # Errors
    /// [`StackError`].
    pub fn from_stack(values: &[StackValue]) -> Result<Self, StackError> {
        let mut stack = Stack::new(values);
        let (version, hash) = (stack.u32()?, stack.bits256()?);
        let pending =
            PendingPolicy { version: stack.u32()?, hash: stack.bits256()?, active_at: stack.u32()? };
        stack.end()?;
        // Zeros where none waits: versions go up from 0, so that a waiting one is above it.
        Ok(Self { version, hash, pending: (pending.version > 0).then_some(pending) })
    }
}

impl Published {
    /// The get method that answers this.
    pub const METHOD: &'static str = "published";

    /// # Errors
    /// [`StackError`].
    pub fn from_stack(values: &[StackValue]) -> Result<Self, StackError> {
        let mut stack = Stack::new(values);
        let published = Self {
            prices_number: stack.u32()?,
            prices_hash: stack.bits256()?,
            gateways_hash: stack.bits256()?,
            channel_code_hash: stack.hash()?,
        };
        stack.end()?;
        Ok(published)
    }
}

impl Epochs {
    /// The get method that answers this.
    pub const METHOD: &'static str = "epochs";

    /// # Errors
    /// [`StackError`].
    pub fn from_stack(values: &[StackValue]) -> Result<Self, StackError> {
        let mut stack = Stack::new(values);
        let last = stack.u32()?;
        let mut tuple = stack.tuple()?;
        stack.end()?;
        let mut peaks = Vec::new();
        while tuple.left() > 0 {
            peaks.push(tuple.bits256()?);
        }
        Self { last, peaks }.checked().map_err(|_| StackError::Value("peaks"))
    }
}
