//! A policy to begin with, with what a machine says of itself filled in.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use cocoon_attestation::{Claimed, Document, MAX_DOCUMENT, Nonce};
use cocoon_openapi::ATTESTATIONS_PATH;
use cocoon_receipts::Digest;
use serde::Deserialize;

use super::{print, template};
use crate::gateway::Gateway;
use crate::origin::GatewayUrl;

/// Backends that a gateway is asked for; more will hardly run other images.
const MAX_BACKENDS: usize = 8;
const MAX_LIST: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Evidence that a policy can speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Tdx,
    SevSnp,
    Dev,
}

/// What `init` needs.
#[derive(Debug, Args)]
pub struct Options {
    /// The kind of evidence, where no document says it
    #[arg(long, required_unless_present_any = ["from", "gateway"], conflicts_with_all = ["from", "gateway"])]
    kind: Option<Kind>,
    /// An attestation document: its measurements are filled in, though nothing of it is verified
    #[arg(long, value_name = "DOCUMENT.json", conflicts_with = "gateway")]
    from: Option<PathBuf>,
    /// A gateway: the documents of its backends are asked for, and filled in the same way
    #[arg(long)]
    gateway: Option<GatewayUrl>,
    /// A new file to write to [default: standard output]
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) async fn init(options: &Options, now_ms: u64) -> anyhow::Result<()> {
    let documents = match (&options.from, &options.gateway) {
        (Some(path), _) => vec![read(path)?],
        (None, Some(url)) => fetch(url.clone()).await?,
        (None, None) => Vec::new(),
    };
    let claims = documents.iter().map(Claimed::read).collect::<Result<Vec<_>, _>>();
    let claims = claims.context("the document cannot be used")?;
    let text = template::template(options.kind, &claims, now_ms);
    let Some(path) = &options.out else { return print(&text) };
    let named = || path.display().to_string();
    // One that is there may be in force.
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).with_context(named)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(named)
}

fn read(path: &Path) -> anyhow::Result<Document> {
    let named = || path.display().to_string();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(named)?;
    file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes).with_context(named)?;
    if bytes.len() > MAX_DOCUMENT {
        bail!("{}: it is longer than {MAX_DOCUMENT} bytes", path.display());
    }
    serde_json::from_slice(&bytes).with_context(|| format!("{}: no attestation document", path.display()))
}

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    keyset: Digest,
}

async fn fetch(url: GatewayUrl) -> anyhow::Result<Vec<Document>> {
    let gateway = Gateway::new(url, PATIENCE)?;
    let list: List = gateway.get_json(ATTESTATIONS_PATH, None, MAX_LIST).await?;
    let mut documents = Vec::new();
    for listed in list.data.iter().take(MAX_BACKENDS) {
        let mut nonce = [0; 32];
        cocoon_receipts::random(&mut nonce).context("the system has no randomness")?;
        let path = format!("{ATTESTATIONS_PATH}/{}?nonce={}", listed.keyset, Nonce(nonce));
        let document = gateway.get_json(&path, None, MAX_DOCUMENT).await;
        documents.push(document.with_context(|| format!("the document of keyset {}", listed.keyset))?);
    }
    if documents.is_empty() {
        bail!("the gateway lists no backend");
    }
    Ok(documents)
}
