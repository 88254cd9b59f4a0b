//! What a channel's get methods answer.

use super::{ChannelState, ChannelTerms, Phase};
use crate::stack::Stack;
use crate::{PublicKey, StackError, StackValue};

impl ChannelState {
    /// The get method that answers this.
    pub const METHOD: &'static str = "channel_state";

    /// # Errors
    /// [`StackError`].
    pub fn from_stack(values: &[StackValue]) -> Result<Self, StackError> {
        let mut stack = Stack::new(values);
        let phase = Phase::from_number(stack.uint(2)?).map_err(|_| StackError::Value("state"))?;
        let state =
            Self { phase, deposited: stack.coins()?, settled: stack.coins()?, close_at: stack.u32()? };
        stack.end()?;
        Ok(state)
    }
}

impl ChannelTerms {
    /// The get method that answers this.
    pub const METHOD: &'static str = "channel_terms";

    /// # Errors
    /// [`StackError`].
    pub fn from_stack(values: &[StackValue]) -> Result<Self, StackError> {
        let mut stack = Stack::new(values);
        let terms = Self {
            payer: stack.address()?,
            payer_key: PublicKey::new(stack.bits256()?).map_err(|_| StackError::Value("payer_key"))?,
            receiver: stack.address()?,
            close_delay: stack.u32()?,
            salt: stack.uint(64)?,
        };
        stack.end()?;
        Ok(terms)
    }
}
