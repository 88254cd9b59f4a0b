//! What a ledger must do, whichever store it is in, and what it must survive.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod model;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod random;
#[cfg(test)]
mod redis_server;
#[cfg(test)]
mod world;
