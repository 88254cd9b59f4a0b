//! Several at work of whom only one goes on at a time, in an order that is drawn from a seed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

pub(crate) struct Turns(Mutex<Waiting>);

struct Waiting {
    random: fastrand::Rng,
    /// Who does not wait.
    running: usize,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Turns {
    /// Of so many, each of whom begins without waiting.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        Self(Mutex::new(Waiting {
            random: fastrand::Rng::with_seed(seed),
            running: count,
            waiting: Vec::new(),
        }))
    }

    /// Until all others wait too and this one is drawn.
    pub(crate) async fn wait(&self) {
        let (turn, mine) = oneshot::channel();
        {
            let mut all = self.0.lock().unwrap();
            all.waiting.push(turn);
            all.running -= 1;
            all.draw();
        }
        mine.await.unwrap();
    }
}

/// One of them, until it is dropped: also one that panics keeps nobody waiting.
pub(crate) struct Present(pub(crate) Arc<Turns>);

impl Drop for Present {
    fn drop(&mut self) {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.running -= 1;
        all.draw();
    }
}

impl Waiting {
    fn draw(&mut self) {
        if self.running == 0 && !self.waiting.is_empty() {
            let drawn = self.random.usize(..self.waiting.len());
            self.running += 1;
            // Whoever waits and is gone was ended with its runtime.
            let _ = self.waiting.swap_remove(drawn).send(());
        }
    }
}
