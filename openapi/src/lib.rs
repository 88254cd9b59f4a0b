//! The HTTP contract: what gateway, backend and clients say to each other in JSON.
//!
//! Requests are never parsed into one big type and written out again: what the client sent is what the model's
//! machine gets, byte for byte. [`scan`] reads the few members that routing needs.

pub mod attestations;
pub mod billing;
pub mod channels;
pub mod chat;
pub mod completion;
mod document;
pub mod embedding;
mod endpoint;
mod error;
pub mod estimate;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod keys;
pub mod limits;
pub mod models;
mod names;
pub mod ops;
pub mod padding;
pub mod payouts;
pub mod prices;
pub mod read;
pub mod responses;
pub mod scan;
pub mod x_conf;

pub use document::{OPENAPI_JSON, document};
pub use endpoint::Endpoint;
pub use error::{ApiError, ErrorBody, ErrorDetail};
pub use names::*;
