//! `cocoon-gateway serve`: puts the parts together, and takes them apart in order.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cocoon_ledger::{Ledger, Measured};
use cocoon_process::{Signals, Tls};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{self, Gateway};
use crate::attest::{PolicySource, Verifier};
use crate::channels::Channels;
use crate::config::Config;
use crate::hop::{self, Sender};
use crate::issuers::Issuers;
use crate::keys::Keys;
use crate::ledger_calls::LedgerCalls;
use crate::metrics::{Metrics, Watched};
use crate::open_ledger::{await_ledger, open_archive};
use crate::reconcile::{Reconciler, Redelivery};
use crate::registry::{self, PriceSource, Prices, Registry};
use crate::route::{Backend, Fleet};
use crate::settle::Settler;
use crate::{evidence, ops, policy};

/// Work that is left when the last request has ended: settling, giving holds back.
const LAST_WORK: Duration = Duration::from_secs(5);

/// The certificate that `config` names, if any.
///
/// # Errors
/// Where its files cannot be used.
pub async fn load_tls(config: &Config) -> anyhow::Result<Option<Tls>> {
    let Some(files) = &config.tls else { return Ok(None) };
    Tls::load(&files.certificate, &files.key).await.map(Some).context("tls")
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// Where the process cannot start. Once it is ready it prints one JSON line with its addresses.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let keys =
        Arc::new(Keys::load(&config.keys_dir).context("keys_dir: the deployment's secrets cannot be used")?);
    let registry = tokio::select! {
        read = registry(&config) => read?,
        () = signals.next() => return Ok(()),
    };
    let named = registry.as_ref().map(|registry| registry.named()).transpose()?;
    let policy = Arc::new(watch::Sender::new(Arc::new(policy::load(&config, named.as_ref())?)));
    let prices = Arc::new(Prices::new(Arc::new(registry::prices(&config, registry.as_deref())?)));
    let tls = load_tls(&config).await?;
    let ledger = tokio::select! {
        opened = await_ledger(&config) => opened?,
        () = signals.next() => {
            tracing::info!("told to end before the ledger was there");
            return Ok(());
        }
    };
    let ledger_calls = LedgerCalls::default();
    let ledger: Arc<dyn Ledger> = Arc::new(Measured::new(ledger, Arc::new(ledger_calls.clone())));
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listen: {}", config.listen))?;
    let ops_listener = TcpListener::bind(config.ops_listen)
        .await
        .with_context(|| format!("ops_listen: {}", config.ops_listen))?;
    let addresses = (listener.local_addr()?, ops_listener.local_addr()?);

    let fleet = Arc::new(Fleet::new(backends(&config)?));
    let issuers = Issuers::new(&config.issuers).context("issuers")?;
    let client = hop::http_client();
    let settler = Arc::new(Settler::new(
        Arc::clone(&ledger),
        Arc::clone(&keys),
        config.operator_share_bps,
        config.lease(),
    ));
    let (draining, ended) = (CancellationToken::new(), CancellationToken::new());
    let (tracker, background) = (TaskTracker::new(), TaskTracker::new());
    let places = Arc::new(Semaphore::new(config.max_in_flight));
    let metrics = Arc::new(Metrics::new(Watched {
        fleet: Arc::clone(&fleet),
        policy: policy.subscribe(),
        registry: registry.clone(),
        places: (Arc::clone(&places), config.max_in_flight),
        ledger: Arc::clone(&ledger),
        ledger_calls,
    }));
    let redelivery = Arc::new(Redelivery::default());
    let reconciler = Reconciler {
        ledger: Arc::clone(&ledger),
        archive: open_archive(&config)?,
        gauges: metrics.ledger.clone(),
        redelivery: Arc::clone(&redelivery),
    };
    let verifier = Arc::new(Verifier {
        client: client.clone(),
        policy: Arc::clone(&policy),
        ledger: Arc::clone(&ledger),
        metrics,
        gateway_on_loopback: addresses.0.ip().is_loopback(),
    });
    let channels = channels(&config, &ledger)?;
    let gateway = Arc::new(Gateway {
        api_keys: vec![keys.api_keys.public().clone()],
        ledger: Arc::clone(&ledger),
        fleet: Arc::clone(&fleet),
        sender: Sender { client, fleet: Arc::clone(&fleet), ledger, keys: Arc::clone(&keys) },
        keys,
        prices: Arc::clone(&prices),
        channels,
        issuers,
        settler: Arc::clone(&settler),
        verifier: Arc::clone(&verifier),
        redelivery,
        tracker: tracker.clone(),
        draining: draining.clone(),
        places,
        fetches: Semaphore::new(evidence::MAX_FETCHES),
        config,
    });

    gateway.issuers.follow(&background, &ended);
    for backend in fleet.backends() {
        let (verifier, backend, ended) = (Arc::clone(&verifier), Arc::clone(backend), ended.clone());
        background.spawn(async move { verifier.keep(&backend, ended).await });
    }
    let source = PolicySource::new(gateway.config.clone(), registry.clone(), policy);
    background.spawn(cocoon_process::follow("policy", source, ended.clone()));
    if let Some(registry) = registry {
        let source = PriceSource::new(gateway.config.clone(), Arc::clone(&registry), prices);
        background.spawn(cocoon_process::follow("price table", source, ended.clone()));
        let ended = ended.clone();
        background.spawn(async move { registry.keep_reading(ended).await });
    }
    let every = Duration::from_millis(gateway.config.sweep_ms);
    let sweep_ended = ended.clone();
    background.spawn(async move { settler.sweep(every, sweep_ended).await });
    background.spawn(reconciler.run(ended.clone()));
    let grace = gateway.config.shutdown_grace();
    let ops = cocoon_process::serve(ops_listener, ops::router(Arc::clone(&gateway)), ended.clone(), async {
        tokio::time::sleep(LAST_WORK).await;
    });
    background.spawn(ops);

    announce(addresses)?;
    let (app, stop) = (accept::router(gateway), draining.clone());
    let grace_over = {
        let draining = draining.clone();
        async move {
            draining.cancelled().await;
            tokio::time::sleep(grace).await;
        }
    };
    let public = async {
        match tls {
            None => cocoon_process::serve(listener, app, stop, grace_over).await,
            Some(tls) => {
                let acceptor = tls.acceptor();
                background.spawn(cocoon_process::follow("TLS certificate", tls, ended.clone()));
                cocoon_process::serve_tls(listener, acceptor, app, stop, grace_over).await;
            }
        }
    };
    let told_to_end = async {
        signals.next().await;
        tracing::info!("draining: running requests may finish");
        draining.cancel();
    };
    tokio::join!(public, told_to_end);
    // Receipts are still taken while the last requests end; only then does the ops listener close.
    tracker.close();
    if tokio::time::timeout(LAST_WORK, tracker.wait()).await.is_err() {
        tracing::warn!("some holds were not given back; their leases will end them");
    }
    ended.cancel();
    background.close();
    background.wait().await;
    Ok(())
}

/// The registry that is followed, if any, once it was read.
async fn registry(config: &Config) -> anyhow::Result<Option<Arc<Registry>>> {
    let Some(config) = &config.registry else { return Ok(None) };
    let registry = Registry::new(config).context("registry")?;
    registry.read().await?;
    Ok(Some(Arc::new(registry)))
}

fn channels(config: &Config, ledger: &Arc<dyn Ledger>) -> anyhow::Result<Option<Channels>> {
    let (Some(channels), Some(treasury)) = (&config.channels, &config.billing.treasury) else {
        return Ok(None);
    };
    let channels = Channels::new(channels.clone(), treasury, &config.issuer, Arc::clone(ledger));
    channels.map(Some).context("channels")
}

fn backends(config: &Config) -> anyhow::Result<Vec<Arc<Backend>>> {
    config
        .backends
        .iter()
        .map(|backend| {
            let uri: http::Uri = backend.url.parse().context("backends.url")?;
            let authority = uri.authority().context("backends.url: no host")?.clone();
            Ok(Arc::new(Backend::new(authority)))
        })
        .collect()
}

/// The one line on standard output that a supervisor waits for.
fn announce((listen, ops): (std::net::SocketAddr, std::net::SocketAddr)) -> anyhow::Result<()> {
    let line = serde_json::json!({ "ready": true, "listen": listen.to_string(), "ops": ops.to_string() });
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}
