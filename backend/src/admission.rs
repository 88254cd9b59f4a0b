//! How many requests run at once, and whether any may begin.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::Engine;
use crate::receipts::Backlog;
use crate::refusal::Refusal;

/// Decides before a request is opened: what it turns away may be sealed anew and sent elsewhere.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    max_running: u32,
    backlog: Backlog,
}

/// A place among the running; freed when dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    pub(crate) fn new(max_running: u32, backlog: Backlog) -> Self {
        Self { places: Arc::new(Semaphore::new(max_running as usize)), max_running, backlog }
    }

    /// # Errors
    /// [`Refusal::Busy`] and [`Refusal::EngineUnavailable`], both 503.
    pub(crate) async fn admit(&self, engine: &Engine) -> Result<Place, Refusal> {
        // Receipts that nobody takes are kept for days, so their number must not grow with every request.
        if self.backlog.is_full() {
            return Err(Refusal::Busy);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        engine.available().await.map_err(|_| Refusal::EngineUnavailable)?;
        Ok(Place(place))
    }

    /// Admits nothing any more.
    pub(crate) fn close(&self) {
        self.places.close();
    }

    pub(crate) fn running(&self) -> usize {
        (self.max_running as usize).saturating_sub(self.places.available_permits())
    }
}
