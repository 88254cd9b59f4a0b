//! A backend from start to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cocoon_attestation::Tee;
use cocoon_receipts::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::admission::Admission;
use crate::binding::Binding;
use crate::completion::Services;
use crate::config::{Config, EvidenceKind};
use crate::engine::{Engine, Launch};
use crate::evidence::{Desk, Evidence, Published};
use crate::identity::Identity;
use crate::keyring::Keyring;
use crate::receipts::{Backlog, Chain, Checkpoints, Delivering, Gateways, Outbox, Signer};
use crate::replay::MAX_KEYS;
use crate::routes::{self, App};
use crate::unseal::Unsealer;
use crate::weights::{self, Measuring, WeightsError};

/// Time for cancelled requests to get their receipts.
const RECEIPTS_LIMIT: Duration = Duration::from_secs(15);
/// Time for the rest: a last delivery, the engine's end.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(10);
/// How long connections may take to end after the last answer.
const FAREWELL: Duration = Duration::from_secs(2);
const THREAD_LIMIT: Duration = Duration::from_secs(5);

/// A running backend.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    grace: Duration,
    app: Arc<App>,
    signing: JoinHandle<()>,
    background: TaskTracker,
    stops: Stops,
    failures: mpsc::Receiver<Error>,
}

/// What ends when, in this order.
#[derive(Debug, Default)]
struct Stops {
    /// New connections and requests.
    accepting: CancellationToken,
    /// Running generations.
    generating: CancellationToken,
    /// No request is left.
    answered: CancellationToken,
    /// Delivery of receipts, and the engine.
    background: CancellationToken,
}

impl Backend {
    /// Starts the engine, makes the keys of this boot, and listens.
    ///
    /// # Errors
    /// [`Error`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let keys = config.read_keys()?;
        let gateways = Arc::new(Gateways::new(config.receipt_uris()?));
        let outbox = Outbox::open(&config.state_dir)?;
        let listener = TcpListener::bind(config.listen).await.map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;

        let (stops, background) = (Stops::default(), TaskTracker::new());
        // Until all is started: a start that fails, or is given up, ends the engine with it.
        let unfinished = stops.background.clone().drop_guard();
        let (fatal, failures) = mpsc::channel(1);
        let evidence = Arc::new(Evidence::open(&config.evidence, keys.dev_root).await?);
        let (model, copies) = (config.model_path.clone(), config.model_copy_dir.clone());
        let model = blocking(move || weights::place(&model, copies.as_deref())).await?;
        let measuring = Measuring {
            path: model.clone(),
            expected: config.model_sha256,
            in_tee: config.evidence.kind == EvidenceKind::Tsm,
            cache: config.state_dir.clone(),
        };
        let weights = async { blocking(move || weights::measure(&measuring)).await.map_err(Error::from) };
        let launch = Launch {
            program: config.engine.clone(),
            model,
            max_sequences: config.max_running,
            arguments: config.engine_args.clone(),
            ready_within: Duration::from_millis(config.engine_ready_ms),
        };
        let engine = async {
            let started = Engine::start(launch, &background, stops.background.clone(), fatal.clone());
            started.await.map_err(Error::from)
        };
        // A digest that is asked for is looked at before the engine reads a byte of what may be another model.
        let (weights, (engine, ready)) = match config.model_sha256 {
            Some(_) => (weights.await?, engine.await?),
            None => tokio::try_join!(weights, engine)?,
        };

        let receipt_key = SigningKey::generate().map_err(Error::ReceiptKey)?;
        let identity = Arc::new(Identity::new(&config, weights, &ready, receipt_key.public())?);
        let keyring = Arc::new(Keyring::new(Arc::clone(&identity), config.key_periods(), MAX_KEYS)?);
        let chain = Chain::new(receipt_key, config.model_name.clone(), weights);
        let (backlog, checkpoints) = (Backlog::default(), Checkpoints::default());
        let (fresh, kept) = mpsc::unbounded_channel();
        let left = outbox.pending().cloned().collect();
        let (signer, signing) = Signer::start(chain, outbox, backlog.clone(), fresh, fatal.clone())?;
        let delivering = Delivering::new(
            Arc::clone(&gateways),
            signer.clone(),
            backlog.clone(),
            kept,
            left,
            config.receipt_confirm_ms,
        );
        background.spawn(delivering.run(stops.background.clone()));
        background.spawn(checkpoints.clone().run(gateways, stops.background.clone()));
        background.spawn(Arc::clone(&keyring).run(stops.background.clone(), fatal));

        let interval = Duration::from_millis(config.evidence.quote_interval_ms);
        let published = Published { evidence: Arc::clone(&evidence), keyring: Arc::clone(&keyring) };
        let (desk, maker) = Desk::new(published, interval);
        background.spawn(maker.run(stops.background.clone()));
        let (tee, stop) = (evidence.tee(), stops.background.clone());
        background.spawn(async move { evidence.refresh(stop).await });

        let binding = Binding {
            model: config.model_name.clone(),
            min_price: config.min_price,
            gateway_keys: keys.gateway_keys,
        };
        let services = Services {
            identity: Arc::clone(&identity),
            engine,
            signer,
            checkpoints,
            keepalive: Duration::from_millis(config.keepalive_ms),
            coalesce: Duration::from_millis(config.coalesce_ms),
            checkpoint_every: Duration::from_millis(config.checkpoint_ms),
            deadline: config.request_deadline(),
            cut: stops.generating.clone(),
        };
        let app = Arc::new(App {
            unsealer: Unsealer::new(Arc::clone(&keyring), binding, config.max_body),
            keyring: Arc::clone(&keyring),
            desk,
            admission: Admission::new(config.max_running, backlog),
            services: Arc::new(services),
            requests: TaskTracker::new(),
        });
        let router = routes::router(Arc::clone(&app));
        let answered = stops.answered.clone();
        background.spawn(cocoon_process::serve(listener, router, stops.accepting.clone(), async move {
            answered.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        }));
        tracing::info!(keyset = %keyring.published(), model = identity.model(), %weights, tee = tee.as_str(), "serving");
        if tee == Tee::Dev {
            tracing::warn!("the evidence is of kind dev: it proves nothing about this machine");
        }
        unfinished.disarm();
        let grace = Duration::from_millis(config.shutdown_grace_ms);
        Ok(Self { address, grace, app, signing, background, stops, failures })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves where the backend cannot go on; it is then to be stopped.
    pub async fn failed(&mut self) -> Error {
        match self.failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Takes no more requests, lets those that run finish within the grace period or until `hurry`, cancels the rest,
    /// signs all receipts, tries to deliver them, and ends the engine.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let Self { grace, app, signing, background, stops, .. } = self;
        tracing::info!(running = app.admission.running(), "ending");
        app.admission.close();
        app.requests.close();
        stops.accepting.cancel();
        tokio::select! {
            () = app.requests.wait() => {}
            () = tokio::time::sleep(grace) => {}
            () = hurry => {}
        }
        stops.generating.cancel();
        if tokio::time::timeout(RECEIPTS_LIMIT, app.requests.wait()).await.is_err() {
            tracing::error!("requests are left without a receipt");
        }
        stops.answered.cancel();
        stops.background.cancel();
        background.close();
        if tokio::time::timeout(BACKGROUND_LIMIT, background.wait()).await.is_err() {
            tracing::warn!("tasks are left behind");
        }
        app.services.signer.end().await;
        let signed = tokio::task::spawn_blocking(move || signing.join());
        if tokio::time::timeout(THREAD_LIMIT, signed).await.is_err() {
            tracing::warn!("the outbox is still being written");
        }
        tracing::info!("ended");
    }
}

/// Reads a model on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WeightsError> + Send + 'static,
) -> Result<T, WeightsError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(WeightsError::Thread))
}

#[cfg(test)]
mod tests;
