//! Starts the engine again when it dies.

use std::sync::Arc;
use std::time::Duration;

use cocoon_engine_api::Ready;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::Link;
use super::process::Process;
use super::{EngineError, Launch};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An engine that ran this long was healthy: its death is a new one, not the last one again.
const HEALTHY: Duration = Duration::from_secs(5);

pub(super) struct Supervisor {
    launch: Launch,
    /// What the keyset says of the engine.
    ready: Ready,
    link: watch::Sender<Option<Arc<Link>>>,
    stop: CancellationToken,
    fatal: mpsc::Sender<crate::Error>,
}

impl Supervisor {
    pub(super) fn new(
        launch: Launch,
        ready: Ready,
        link: watch::Sender<Option<Arc<Link>>>,
        stop: CancellationToken,
        fatal: mpsc::Sender<crate::Error>,
    ) -> Self {
        Self { launch, ready, link, stop, fatal }
    }

    /// Keeps an engine running, `process` first.
    pub(super) async fn run(self, process: Process) {
        let mut next = Some(process);
        let mut pause = Pause::default();
        loop {
            let process = match next.take() {
                Some(process) => process,
                None => match self.start_again(&mut pause).await {
                    Some(process) => process,
                    None => return,
                },
            };
            let since = Instant::now();
            if self.serve(process).await {
                return;
            }
            if since.elapsed() >= HEALTHY {
                pause = Pause::default();
            }
        }
    }

    /// Serves with one process until it ends; true where it was told to.
    async fn serve(&self, mut process: Process) -> bool {
        tracing::info!(pid = process.id(), "engine is up");
        let (link, commands) = Link::new();
        self.link.send_replace(Some(Arc::clone(&link)));
        let ended = tokio::select! {
            ended = process.carry(&link, commands) => Some(ended),
            () = self.stop.cancelled() => None,
        };
        self.link.send_replace(None);
        link.sever();
        let status = process.end().await;
        match ended {
            None => tracing::info!(status, "engine has ended"),
            Some(Ok(())) => tracing::error!(status, "engine died"),
            Some(Err(ref error)) => tracing::error!(status, %error, "engine died"),
        }
        ended.is_none()
    }

    /// None where the backend ends first.
    async fn start_again(&self, pause: &mut Pause) -> Option<Process> {
        loop {
            let started = tokio::select! {
                () = self.stop.cancelled() => return None,
                started = async {
                    tokio::time::sleep(pause.next()).await;
                    Process::start(&self.launch).await
                } => started,
            };
            match started {
                Ok((process, ready)) if ready == self.ready => return Some(process),
                Ok((process, ready)) => {
                    process.end().await;
                    let (before, now) = (Box::new(self.ready.clone()), Box::new(ready));
                    drop(self.fatal.try_send(EngineError::Changed { before, now }.into()));
                    return None;
                }
                Err(error) => tracing::error!(%error, "engine does not start"),
            }
        }
    }
}

/// 100 ms, doubling to 5 s.
#[derive(Default)]
struct Pause(Option<Duration>);

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.0 = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let mut pause = Pause::default();
        let taken: Vec<u128> = (0..8).map(|_| pause.next().as_millis()).collect();
        assert_eq!(taken, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
