//! What can go wrong with an endpoint, told apart by what the caller does next.

use std::time::Duration;

use crate::{GlobalId, Network, StackError};

/// Longest text of an endpoint's that is kept, bytes.
const MAX_TEXT: usize = 256;

/// No text holds a URL's query, a header or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("the configuration of an endpoint is wrong: {0}")]
    Configuration(&'static str),
    #[error("the endpoint is of another network, global_id {found}, than {expected:?}")]
    OtherNetwork { expected: Network, found: GlobalId },
    #[error("no connection to the endpoint")]
    Unreachable,
    #[error("no answer in time")]
    Timeout,
    #[error("the endpoint asks for fewer requests")]
    Limited { retry_after: Option<Duration> },
    #[error("the endpoint failed with status {0}")]
    Server(u16),
    #[error("the endpoint refuses the request with status {status}: {text}")]
    Refused { status: u16, text: String },
    #[error("the message was not accepted by the account: {0}")]
    NotAccepted(String),
    #[error("the endpoint's lite server: {0}")]
    LiteServer(LiteServerError),
    #[error("the answer is larger than what such an answer can be")]
    TooLarge,
    #[error("the answer ends before it is whole")]
    Truncated,
    #[error("the answer is not what the method answers: {0}")]
    Malformed(&'static str),
    #[error("the answer contradicts itself: {0}")]
    Broken(&'static str),
    #[error("the get method ended with exit code {0}")]
    ExitCode(i32),
    #[error(transparent)]
    Stack(#[from] StackError),
}

/// An error in toncenter's text, whose words are stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiteServerError {
    /// It does not have the block yet, or no longer.
    #[error("is behind: {0}")]
    NotReady(String),
    /// It did not hear from the network.
    #[error("has no connection: {0}")]
    Network(String),
    /// `LITE_SERVER_UNKNOWN` and others.
    #[error("{0}")]
    Other(String),
}

impl ChainError {
    /// Whether another endpoint may do better.
    #[must_use]
    pub fn is_the_endpoints(&self) -> bool {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::Limited { .. }
            | Self::Server(_)
            | Self::LiteServer(_)
            | Self::TooLarge
            | Self::Truncated
            | Self::Malformed(_)
            | Self::Broken(_)
            | Self::Stack(_) => true,
            // An endpoint of the wrong network is a mistake for people to see, not one to go around.
            Self::Configuration(_)
            | Self::OtherNetwork { .. }
            | Self::Refused { .. }
            | Self::NotAccepted(_)
            | Self::ExitCode(_) => false,
        }
    }

    /// From a status and the text that came with it; never a success.
    pub(super) fn from_answer(status: u16, text: &str, retry_after: Option<Duration>) -> Self {
        let short = || text.chars().take(MAX_TEXT).filter(|character| !character.is_control()).collect();
        if status == 429 {
            return Self::Limited { retry_after };
        }
        if text.contains("cannot apply external message")
            || text.contains("External message was not accepted")
        {
            return Self::NotAccepted(short());
        }
        if text.contains("LITE_SERVER_NOTREADY") || text.contains("block is not applied") {
            return Self::LiteServer(LiteServerError::NotReady(short()));
        }
        if text.contains("LITE_SERVER_NETWORK") {
            return Self::LiteServer(LiteServerError::Network(short()));
        }
        if text.contains("LITE_SERVER_") {
            return Self::LiteServer(LiteServerError::Other(short()));
        }
        match status {
            500.. => Self::Server(status),
            _ => Self::Refused { status, text: short() },
        }
    }
}
