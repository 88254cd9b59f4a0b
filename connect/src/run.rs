//! `cocoon-connect serve` and `verify`: puts the parts together, and takes them apart in order.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use cocoon_attestation::PolicyStore;
use cocoon_process::Signals;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::accept::{self, Sidecar};
use crate::ask::{ApiKey, Asker, Payer};
use crate::channel::purse::Purse;
use crate::clock::Clock;
use crate::config::{Common, ConfigError, ServeOptions};
use crate::fleet::Fleet;
use crate::floor::Floor;
use crate::gateway::Gateway;
use crate::in_force::InForce;
use crate::local::Callers;
use crate::prices::Prices;
use crate::registry::{self, PolicyFiles, Registry};
use crate::report::Report;
use crate::state::StateDir;
use crate::token::LocalToken;
use crate::verify::Verifier;

/// In the state folder: the highest version of each signed policy.
const POLICIES: &str = "policies.json";

/// The backends, and what a followed registry takes.
struct Verifying {
    fleet: Fleet,
    registry: Option<(Arc<Registry>, PolicyFiles)>,
}

async fn verifying(options: &Common, state: StateDir) -> anyhow::Result<Verifying> {
    let gateway = Gateway::new(options.place.gateway()?, options.patience())?;
    let clock = Clock::system();
    let files = options.policy_files(PolicyStore::new(state.path(POLICIES)))?;
    let registry = options.registry.open(clock.clone())?;
    let mut named = None;
    if let Some(registry) = &registry {
        registry.read().await?;
        named = Some(registry.named()?);
    }
    let policy = InForce::new(files.follow(named.as_ref()).map_err(ConfigError::from)?);
    let floor = Mutex::new(Floor::load(state)?);
    let fleet = Fleet::new(Verifier { gateway, policy, floor, clock });
    Ok(Verifying { fleet, registry: registry.map(|registry| (Arc::new(registry), files)) })
}

/// Who pays, where the sidecar does.
fn payer(options: &ServeOptions, state: &StateDir) -> anyhow::Result<Option<Payer>> {
    if options.channel {
        let common = &options.common;
        let gateway = Gateway::new(common.place.gateway()?, common.patience())?;
        let purse = Purse::open(state, gateway, Clock::system())?;
        return Ok(Some(Payer::Channel(Arc::new(purse))));
    }
    let Some(key) = options.api_key()? else { return Ok(None) };
    Ok(Some(Payer::Key(ApiKey::new(&key).context("--api-key-file: the key is no header")?)))
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// Where the process cannot start. Once it is ready it prints one JSON line with its address.
pub async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    options.check()?;
    let state = StateDir::open(&options.common.place.state_path()?)?;
    let own = match payer(&options, &state)? {
        None => None,
        Some(payer) => Some((payer, LocalToken::load_or_create(&state)?)),
    };
    let Verifying { fleet, registry } = verifying(&options.common, state).await?;
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("--listen {}", options.listen))?;
    let address = listener.local_addr()?;
    let sidecar = Arc::new(Sidecar {
        asker: Asker {
            fleet,
            prices: Prices::new(registry.as_ref().map(|(registry, _)| Arc::clone(registry))),
            max_cost: options.max_cost,
        },
        callers: Callers { port: address.port(), origins: options.allow_origin },
        own,
        body_limit: options.body_limit,
    });

    let line = serde_json::json!({ "ready": true, "listen": address.to_string() });
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")?;
    let draining = CancellationToken::new();
    let grace = Duration::from_secs(options.shutdown_grace_s);
    let grace_over = {
        let draining = draining.clone();
        async move {
            draining.cancelled().await;
            tokio::time::sleep(grace).await;
        }
    };
    let following = {
        let (sidecar, ended) = (Arc::clone(&sidecar), draining.clone());
        async move {
            if let Some((registry, files)) = registry {
                registry::keep_following(registry, files, &sidecar.asker.fleet, ended).await;
            }
        }
    };
    let serving = cocoon_process::serve(listener, accept::router(sidecar), draining.clone(), grace_over);
    let told_to_end = async {
        signals.next().await;
        tracing::info!("draining: running requests may finish");
        draining.cancel();
    };
    tokio::join!(serving, told_to_end, following);
    Ok(())
}

/// Verifies every backend that the gateway lists, and prints what was found. Whether all of it is good.
///
/// # Errors
/// Where nothing could be found out.
pub async fn verify(options: &Common, model: Option<&str>, json: bool) -> anyhow::Result<bool> {
    let Verifying { fleet, .. } = verifying(options, StateDir::open(&options.place.state_path()?)?).await?;
    let overview = fleet.survey(model).await?;
    let report = Report::new(&fleet, overview);
    let text = if json { serde_json::to_string(&report)? + "\n" } else { report.text() };
    std::io::stdout().write_all(text.as_bytes()).context("standard output is closed")?;
    Ok(report.is_good())
}
