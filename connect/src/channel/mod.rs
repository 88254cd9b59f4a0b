//! Paying without giving anybody custody: TON lies in a PayChannel contract, and each request carries a voucher that
//! raises what the gateway may claim of it in all (`contracts/README.md`, `docs/PROTOCOL.md`).

pub mod account;
pub mod bound;
pub mod command;
pub mod desk;
pub mod file;
pub mod offer;
pub mod order;
pub mod purse;
pub mod remote;
pub mod ton;
pub mod wallet;
