//! The HTTP gateway: OpenAI's API outside, sealed requests to attested backends inside, a bill for both.
//!
//! Modules are named after the steps of a request's life (`docs/ARCHITECTURE.md`): [`accept`], [`authenticate`],
//! [`read`], [`admit`], [`route`], [`send`], [`stream`], [`settle`]. [`inference`] is the thin handler that
//! walks through them; [`relay`] is its counterpart for requests that the client has sealed.

pub mod accept;
pub mod account;
pub mod admit;
pub mod attest;
pub mod authenticate;
pub mod backends;
pub mod billing;
pub mod body;
pub mod caller;
pub mod channels;
pub mod clock;
pub mod config;
pub mod dashboard;
pub mod deliver;
pub mod error;
pub mod evidence;
pub mod hop;
pub mod idempotency;
pub mod inference;
pub mod issuers;
pub mod keys;
pub mod keys_api;
pub mod ledger_calls;
pub mod ledger_cli;
pub mod limits;
pub mod make_key;
pub mod metrics;
pub mod models;
pub mod open_ledger;
pub mod ops;
pub mod policy;
pub mod rate_limits;
pub mod reconcile;
pub mod registry;
pub mod relay;
pub mod route;
pub mod run;
pub mod send;
pub mod settle;
pub mod show;
pub mod stream;
pub mod ticket;
mod unheard;
