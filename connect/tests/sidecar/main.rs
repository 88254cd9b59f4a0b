//! What the sidecar does between a client and a gateway that may be dishonest.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod backends;
#[cfg(test)]
mod callers;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod paying;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod stand;
#[cfg(test)]
mod till;
#[cfg(test)]
mod verification;
#[cfg(test)]
mod vm;
