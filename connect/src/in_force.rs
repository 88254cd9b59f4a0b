//! The policy in force, which a registry may take away.

use std::sync::{Arc, PoisonError, RwLock};

use cocoon_attestation::Policy;

/// Why there is no policy in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no policy is in force: {0}")]
pub struct NoPolicy(pub Arc<str>);

/// One policy at a time, or none.
#[derive(Debug)]
pub struct InForce(RwLock<Result<Arc<Policy>, NoPolicy>>);

impl InForce {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self(RwLock::new(Ok(Arc::new(policy))))
    }

    /// # Errors
    /// [`NoPolicy`].
    pub fn get(&self) -> Result<Arc<Policy>, NoPolicy> {
        // It is whole whoever panicked.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verdicts under the one before are to be forgotten by who calls this.
    pub(crate) fn replace(&self, policy: Result<Arc<Policy>, NoPolicy>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}
