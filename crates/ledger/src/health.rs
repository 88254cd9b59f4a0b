//! How the store stands, as far as the calls have shown.

/// What is known without asking the store.
pub trait Health {
    /// Whether all of the store answered when it was last called. False means that at least a part of it did not, and
    /// that nothing has got through to that part since.
    fn is_up(&self) -> bool;
}
