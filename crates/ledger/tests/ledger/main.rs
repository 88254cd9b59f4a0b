//! What a ledger must do, whichever store it is in, and what it must survive.

#[cfg(test)]
mod acl;
#[cfg(test)]
mod archived;
#[cfg(test)]
mod archives;
#[cfg(test)]
mod behind;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod full_sums;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod model;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod random;
#[cfg(test)]
mod redis_cluster;
#[cfg(test)]
mod redis_sentinel;
#[cfg(test)]
mod redis_server;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod sentinel;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod valkey;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod world;
#[cfg(test)]
mod writers;
