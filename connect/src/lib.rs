//! `cocoon-connect`: the sidecar on the user's own machine. OpenAI's API on loopback in; out go requests that are
//! sealed to backends whose evidence was verified here, and answers that are handed on only as far as their receipts
//! can prove them.
//!
//! Everything that comes from the gateway is untrusted: it is bounded, timed and checked.

pub mod accept;
pub mod ask;
pub mod channel;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod error;
pub mod fleet;
pub mod floor;
pub mod gateway;
pub mod in_force;
pub mod inference;
pub mod local;
pub mod origin;
pub mod pass;
pub mod policy;
pub mod prices;
pub mod registry;
pub mod report;
pub mod run;
pub mod state;
pub mod token;
pub mod verify;
