//! The client's end of a sealed exchange, as gateway and sidecar have it: a body and its context are sealed for a
//! backend, the answer's frames are opened in order, and its last frame carries a receipt that must fit all of them.
//!
//! Bytes go in and come out: connections are the caller's. EHBP itself is `cocoon-sealing`; what is sealed and signed
//! is described in `docs/PROTOCOL.md`, sections 2 and 5.

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerError, Head, Piece, Signer, Whole};
pub use request::{Encapsulated, RequestError, Sealed, sealed_len};
