//! The sidecar's payment channel: what it reckons, and the commands of `cocoon-connect channel` on a real chain in this
//! process with a stand-in for the gateway's four endpoints.

#[cfg(test)]
mod accounting;
#[cfg(test)]
mod closing;
#[cfg(test)]
mod depositing;
#[cfg(test)]
mod mortal;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod showing;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod withdrawing;
#[cfg(test)]
mod world;
