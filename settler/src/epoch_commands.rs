//! `cocoon-settler registry …`, `prove` and `verify-proof`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use cocoon_receipts::{Digest, Receipt, ReceiptId};
use cocoon_settler::config::{Config, EpochConfig};
use cocoon_settler::decision::{Opened, Payee};
use cocoon_settler::epochs::{
    self, EpochError, Epochs, Folder, Journals, LedgerJournals, MAX_PROOF_BYTES, Proof, Publisher, Publishing,
};
use cocoon_settler::{LedgerBooks, unix_now};
use cocoon_ton::chain::{self as ton_chain, Chain, Endpoint, EndpointConfig, EndpointUrl, Failover};
use cocoon_ton::{Address, GlobalId, KeyPair, Network, Wallet};

use crate::{ConfigFile, chain, key, ledger, say};

/// Longest receipt that is looked at, bytes; real ones have a few kilobytes.
const MAX_RECEIPT_BYTES: usize = 64 << 10;

#[derive(Subcommand)]
pub(crate) enum RegistryCommand {
    /// Deploy a registry, from the publisher's money, and print its address
    Deploy {
        #[command(flatten)]
        config: ConfigFile,
        /// Who may change it, kept offline: another wallet than the publisher's
        #[arg(long, value_name = "ADDRESS")]
        owner: String,
    },
    /// What the registry has, what the log has, and what stands in the way
    Status(ConfigFile),
}

#[derive(Args)]
pub(crate) struct Prove {
    #[command(flatten)]
    config: ConfigFile,
    /// A file with the receipt, its id while it is kept (eight days), or the SHA-256 of its text
    receipt: String,
    /// Where the proof is written; else it is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct VerifyProof {
    /// The settler's configuration; only its network, endpoints and registry are used
    #[arg(long, value_name = "FILE", required_unless_present = "endpoint")]
    config: Option<PathBuf>,
    /// An origin that answers as toncenter v2 does, instead of a configuration
    #[arg(long, value_name = "URL", conflicts_with = "config", requires = "registry")]
    endpoint: Option<String>,
    /// The registry that the deployment has published
    #[arg(long, value_name = "ADDRESS")]
    registry: Option<String>,
    /// ConfigParam 19 of the network
    #[arg(long, value_name = "NUMBER", default_value_t = GlobalId::MAINNET.0, allow_hyphen_values = true)]
    global_id: i32,
    proof: PathBuf,
    /// A file with the receipt
    receipt: PathBuf,
}

fn section(config: &Config) -> anyhow::Result<&EpochConfig> {
    config.epochs.as_ref().context("the configuration has no section `epochs`")
}

fn publisher_key(config: &Config, section: &EpochConfig) -> anyhow::Result<KeyPair> {
    let publisher = KeyPair::from_seed(&*section.publisher_seed()?)?;
    if publisher.public() == key(config)?.public() {
        return Err(EpochError::SameKey.into());
    }
    Ok(publisher)
}

/// What can be checked without anybody's answer.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    if let Some(section) = &config.epochs {
        publisher_key(config, section)?;
        Folder::open(&section.folder).context("epochs.folder")?;
    }
    Ok(())
}

fn publisher(config: &Config, section: &EpochConfig) -> anyhow::Result<Publisher> {
    let (key, network) = (publisher_key(config, section)?, config.network()?);
    Ok(Publisher::new(chain(config)? as _, key, network, config.registry()?)?)
}

/// Epochs on the real ledger and the real chain; none where the configuration has none.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Option<Epochs>> {
    let Some(section) = &config.epochs else { return Ok(None) };
    let (folder, publisher) = (Folder::open(&section.folder)?, publisher(config, section)?);
    let ledger = ledger(config).await?;
    let books = Arc::new(LedgerBooks(Arc::clone(&ledger)));
    let global_id = config.network()?.global_id();
    let treasury = Wallet::new(key(config)?.public(), global_id)?.address();
    let ours = Opened { wallet: Payee(treasury), global_id: global_id.0 };
    let journals = Arc::new(LedgerJournals(ledger));
    Ok(Some(Epochs::new(books, journals, publisher, folder, section.every_s, ours)))
}

pub(crate) async fn registry(command: RegistryCommand) -> anyhow::Result<()> {
    match command {
        RegistryCommand::Deploy { config, owner } => deploy(&config.load()?, &owner).await,
        RegistryCommand::Status(config) => status(&config.load()?).await,
    }
}

async fn deploy(config: &Config, owner: &str) -> anyhow::Result<()> {
    /// Blocks come every few seconds.
    const LIMIT: Duration = Duration::from_secs(180);
    let mut publisher = publisher(config, section(config)?)?;
    let owner = Address::parse_for(owner, config.network()?).context("--owner")?;
    ensure!(owner != publisher.wallet().address(), "--owner is the publisher: its key is online");
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        match publisher.deploy(owner, unix_now()).await? {
            (address, Publishing::Complete { .. }) => {
                let test_only = config.network()? != Network::Mainnet;
                let line = serde_json::json!({
                    "registry": address.show(true, test_only), "raw": address.to_string(),
                });
                return say(&line.to_string());
            }
            (_, Publishing::Held(held)) => bail!("{held}"),
            (address, _) if tokio::time::Instant::now() > deadline => {
                bail!("{address} is not deployed after {} s: try again", LIMIT.as_secs())
            }
            _ => tokio::time::sleep(Duration::from_millis(config.poll_ms)).await,
        }
    }
}

async fn status(config: &Config) -> anyhow::Result<()> {
    let mut epochs = open(config).await?.context("the configuration has no section `epochs`")?;
    epochs.catch_up().await?;
    let publisher = epochs.publisher();
    let wallet = publisher.chain().account(&publisher.wallet().address()).await?;
    let mut line = serde_json::json!({
        "publisher": publisher.shown(),
        "publisher_nanoton": wallet.balance.to_string(),
        "decided": epochs.log().last(),
    });
    let problem = match publisher.look(&epochs.log().roots()).await {
        Ok(Ok((address, storage))) => {
            line["registry"] = address.to_string().into();
            line["published"] = storage.epochs.last.into();
            line["owner"] = storage.roles.owner.to_string().into();
            publisher.obstacle(&address, &storage).await?.map(|held| held.to_string())
        }
        Ok(Err(held)) => Some(held.to_string()),
        Err(error) => Some(error.to_string()),
    };
    line["problem"] = problem.into();
    say(&line.to_string())
}

pub(crate) async fn prove(Prove { config, receipt, out }: Prove) -> anyhow::Result<()> {
    let config = config.load()?;
    let mut epochs = open(&config).await?.context("the configuration has no section `epochs`")?;
    let journals = LedgerJournals(ledger(&config).await?);
    let (digest, since) = if let Ok(digest) = receipt.parse::<Digest>() {
        (digest, None)
    } else if let Ok(id) = receipt.parse::<ReceiptId>() {
        let text = journals.receipt(id).await?;
        named(&text.with_context(|| format!("the ledger does not have receipt {id} any more, or never had"))?)
    } else {
        named(&read_receipt(Path::new(&receipt))?)
    };
    let proof = epochs::prove(&mut epochs, config.network()?.global_id(), &digest, since).await?;
    let text = match proof {
        Ok(proof) => serde_json::to_string_pretty(&proof)?,
        Err(held) => bail!("{held}"),
    };
    match out {
        None => say(&text),
        Some(path) => {
            std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
            say(&path.display().to_string())
        }
    }
}

/// Its digest, and when it says that it was signed.
fn named(receipt: &str) -> (Digest, Option<u32>) {
    let signed = Receipt::booked(receipt).ok().and_then(|receipt| u32::try_from(receipt.iat).ok());
    (Digest::of(&[receipt.as_bytes()]), signed)
}

/// The receipt's text in a file: as it was sent, or as the member `jws` of what the gateway answers.
fn read_receipt(path: &Path) -> anyhow::Result<String> {
    let text = read(path, MAX_RECEIPT_BYTES)?;
    let text = text.trim();
    if !text.starts_with('{') {
        return Ok(text.to_owned());
    }
    let answer: serde_json::Value =
        serde_json::from_str(text).with_context(|| format!("{} is no receipt", path.display()))?;
    let jws = answer["jws"].as_str().with_context(|| format!("{} has no `jws`", path.display()))?;
    Ok(jws.to_owned())
}

fn read(path: &Path, most: usize) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(most as u64 + 1).read_to_string(&mut text).with_context(|| format!("{}", path.display()))?;
    ensure!(text.len() <= most, "{} is longer than {most} bytes", path.display());
    Ok(text)
}

pub(crate) async fn verify_proof(verify: VerifyProof) -> anyhow::Result<()> {
    let proof = Proof::parse(&read(&verify.proof, MAX_PROOF_BYTES)?).context("the proof")?;
    let receipt = Digest::of(&[read_receipt(&verify.receipt)?.as_bytes()]);
    let (chain, network, registry) = place(&verify)?;
    let found = chain.global_id().await?;
    ensure!(found == network.global_id(), "the endpoint's network is {}, not this one", found.0);
    let storage = ton_chain::registry(chain.as_ref(), &registry).await?;
    let storage = storage.with_context(|| format!("the registry {registry} is not deployed"))?;
    proof.verify(&receipt, (&registry, found), &storage).context("the proof")?;
    let line = serde_json::json!({
        "proved": true, "receipt": receipt, "epoch": proof.epoch, "position": proof.position, "of": proof.count,
        "registry": registry.to_string(), "last": storage.epochs.last, "global_id": found.0,
    });
    say(&line.to_string())
}

/// Whom to ask, on which network, and about which registry.
fn place(verify: &VerifyProof) -> anyhow::Result<(Arc<dyn Chain>, Network, Address)> {
    let named = |network| {
        let registry = verify.registry.as_ref().map(|text| Address::parse_for(text, network));
        registry.transpose().context("--registry")
    };
    if let Some(path) = &verify.config {
        let config = ConfigFile { config: path.clone() }.load()?;
        let network = config.network()?;
        let registry = named(network)?.or(config.registry()?).context("no registry is named")?;
        return Ok((chain(&config)? as _, network, registry));
    }
    let url = verify.endpoint.as_ref().context("no endpoint is named")?;
    let network = match GlobalId(verify.global_id) {
        id if id.is_mainnet() => Network::Mainnet,
        id => Network::test(id).context("--global-id")?,
    };
    let registry = named(network)?.context("no registry is named")?;
    let url = EndpointUrl::parse(url).context("--endpoint")?;
    let (operator, timeout) = ("--endpoint".to_owned(), Duration::from_secs(10));
    let endpoint = Endpoint::new(EndpointConfig { url, api_key: None, operator, network, timeout })?;
    Ok((Arc::new(Failover::new(vec![endpoint])?), network, registry))
}
