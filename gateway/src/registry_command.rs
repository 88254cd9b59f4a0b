//! `cocoon-gateway registry`: what the registry says, and the messages of its owner. The owner's key is kept offline, in a
//! wallet of its own, so none is signed here: each is printed as wallets take it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use cocoon_attestation::{Policy, next_path};
use cocoon_gateway::config::Config;
use cocoon_gateway::registry::RegistryConfig;
use cocoon_openapi::prices::PriceTable;
use cocoon_receipts::Digest;
use cocoon_ton::chain::{self, Chain, Failover};
use cocoon_ton::{Address, Network, RegistryMessage, StackValue, amount_from_stack, boc};
use serde_json::json;

use crate::print;

/// On top of what the registry asks for, nanoTON: rent may fall due on the way. The rest comes back.
const ON_TOP: u64 = 10_000_000;

#[derive(Subcommand)]
pub(crate) enum RegistryCommand {
    /// What the registry says, and which of the files here it names
    Status(Of),
    /// The owner's message that proposes the policy which waits in `policy`'s .next file, or another file: it can be
    /// activated 48 hours later
    ProposePolicy {
        #[command(flatten)]
        of: Of,
        file: Option<PathBuf>,
    },
    /// The message, from anybody, that puts a proposed policy in force once its delay is over
    ActivatePolicy(Of),
    /// The owner's message that takes a proposed policy back
    CancelPolicy(Of),
    /// The owner's message that publishes `prices_next`, or where there is none `prices`: at once
    SetPrices(Of),
}

#[derive(Args)]
pub(crate) struct Of {
    #[arg(long)]
    config: PathBuf,
}

/// Runs one of them.
pub(crate) async fn execute(command: RegistryCommand) -> anyhow::Result<()> {
    let (RegistryCommand::Status(of)
    | RegistryCommand::ProposePolicy { of, .. }
    | RegistryCommand::ActivatePolicy(of)
    | RegistryCommand::CancelPolicy(of)
    | RegistryCommand::SetPrices(of)) = &command;
    let config = Config::load(&of.config)?;
    let registry = Opened::of(&config)?;
    let message = match command {
        RegistryCommand::Status(_) => return registry.status(&config).await,
        RegistryCommand::ProposePolicy { file, .. } => {
            propose(&file.unwrap_or_else(|| next_path(&config.policy)))?
        }
        RegistryCommand::ActivatePolicy(_) => RegistryMessage::ActivatePolicy,
        RegistryCommand::CancelPolicy(_) => RegistryMessage::CancelPolicy,
        RegistryCommand::SetPrices(_) => set_prices(config.prices_next.unwrap_or(config.prices))?,
    };
    registry.show(message).await
}

fn propose(file: &Path) -> anyhow::Result<RegistryMessage> {
    let policy = Policy::load(file, None, None)?.policy;
    let version = policy.version().context("the policy has no version")?;
    let version = u32::try_from(version).context("the policy's version is above 4294967295")?;
    Ok(RegistryMessage::ProposePolicy { version, hash: policy.digest().0 })
}

fn set_prices(
    table: std::collections::BTreeMap<String, cocoon_receipts::Price>,
) -> anyhow::Result<RegistryMessage> {
    let table = PriceTable(table);
    let number = table.number().context("`table` must be the same in all prices")?;
    ensure!(number > 0, "`table` must be above 0");
    Ok(RegistryMessage::SetPrices { number, hash: table.digest()?.0 })
}

struct Opened {
    chain: Failover,
    address: Address,
    network: Network,
}

impl Opened {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let section: &RegistryConfig =
            config.registry.as_ref().context("the configuration has no section `registry`")?;
        let network = section.network.network()?;
        let chain = chain::failover(&section.endpoints, network)?;
        Ok(Self { chain, address: section.address()?, network })
    }

    async fn status(&self, config: &Config) -> anyhow::Result<()> {
        let storage = chain::registry(&self.chain, &self.address).await?;
        let storage = storage.with_context(|| format!("the registry {} is not deployed", self.address))?;
        let (policy, published) = (storage.policy, storage.published);
        let file = |digest: Digest| -> anyhow::Result<Option<String>> {
            for path in [config.policy.clone(), next_path(&config.policy)] {
                let found = path.exists() && Policy::load(&path, None, None)?.policy.digest() == digest;
                if found {
                    return Ok(Some(path.display().to_string()));
                }
            }
            Ok(None)
        };
        let mut table = None;
        for (key, prices) in [("prices", Some(&config.prices)), ("prices_next", config.prices_next.as_ref())]
        {
            let Some(prices) = prices else { continue };
            if PriceTable(prices.clone()).digest()?.0 == published.prices_hash {
                table.get_or_insert(key);
            }
        }
        let pending = policy.pending.map(|next| -> anyhow::Result<_> {
            Ok(json!({
                "version": next.version, "sha256": hex::encode(next.hash), "active_at": next.active_at,
                "file": file(Digest(next.hash))?,
            }))
        });
        let line = json!({
            "registry": self.shown(),
            "owner": storage.roles.owner.to_string(),
            "policy": {
                "version": policy.version, "sha256": hex::encode(policy.hash), "file": file(Digest(policy.hash))?,
            },
            "pending": pending.transpose()?,
            "prices": {
                "number": published.prices_number, "sha256": hex::encode(published.prices_hash), "key": table,
            },
            "epochs": storage.epochs.last,
        });
        print(&line.to_string())
    }

    /// As TON Connect's `sendTransaction` takes it, and as a link.
    async fn show(&self, message: RegistryMessage) -> anyhow::Result<()> {
        let op = StackValue::Number(message.op().into());
        let answer = self.chain.run_get_method(&self.address, "required_value", &[op]).await?;
        let amount = amount_from_stack(&answer)?.0.saturating_add(ON_TOP).to_string();
        let payload = boc::encode_base64(&message.body(0)?)?;
        let bin = payload.replace('+', "-").replace('/', "_");
        let (address, bin) = (self.shown(), bin.trim_end_matches('='));
        let link = format!("ton://transfer/{address}?amount={amount}&bin={bin}");
        print(&json!({ "address": address, "amount": amount, "payload": payload, "link": link }).to_string())
    }

    fn shown(&self) -> String {
        self.address.show(true, self.network != Network::Mainnet)
    }
}
