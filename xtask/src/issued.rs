//! The API keys of a deployment, made once.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::contract::{Deployment, Holder};
use crate::files;
use crate::fingerprint::Fingerprint;

/// Keys that were made for one set of signing secrets and one ledger; kept so that an account and its
/// credit live on when the servers are started again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Issued {
    made_for: String,
    pub(crate) api_key: String,
    pub(crate) admin_key: String,
    pub(crate) operator_key: String,
}

impl Issued {
    /// The keys, and whether they are of an earlier start.
    pub(crate) fn load_or_create(deployment: &Deployment) -> anyhow::Result<(Self, bool)> {
        let text = fs::read_to_string(Self::path(deployment)).unwrap_or_default();
        match serde_json::from_str::<Self>(&text) {
            Ok(kept) if kept.made_for == Self::circumstances(deployment)? => Ok((kept, true)),
            _ => Ok((Self::create(deployment)?, false)),
        }
    }

    pub(crate) fn create(deployment: &Deployment) -> anyhow::Result<Self> {
        let issued = Self {
            api_key: deployment.create_key(Holder::Developer)?,
            admin_key: deployment.create_key(Holder::Administrator)?,
            operator_key: deployment.create_key(Holder::Operator)?,
            made_for: Self::circumstances(deployment)?,
        };
        files::write_private(&Self::path(deployment), &serde_json::to_string_pretty(&issued)?)?;
        Ok(issued)
    }

    fn path(deployment: &Deployment) -> PathBuf {
        deployment.dir.join("issued.json")
    }

    fn circumstances(deployment: &Deployment) -> anyhow::Result<String> {
        let mut fingerprint = Fingerprint::new();
        fingerprint.folder("keys", &deployment.keys_dir())?;
        fingerprint.field("ledger", deployment.ledger_url().as_bytes());
        Ok(fingerprint.hex())
    }
}
