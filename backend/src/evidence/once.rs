//! The evidence of this machine without a backend: for whoever sets one up.

use cocoon_attestation::{Document, Nonce, tree};

use super::Evidence;
use crate::Error;
use crate::config::Config;

/// Gathers what a running backend would, for one nonce. The keyset is empty: only a running backend has one.
///
/// # Errors
/// [`Error`], which says so where there is no TEE.
pub async fn evidence_once(config: &Config, nonce: Nonce) -> Result<Document, Error> {
    let keys = config.read_keys()?;
    let evidence = Evidence::open(&config.evidence, keys.dev_root).await?;
    let root = tree::leaf(&nonce);
    let devices = evidence.devices(root).await?;
    Ok(evidence.document(root, Vec::new(), devices).await?)
}
