//! What is read from files that may change while we serve: they are looked at again and again, and what can no longer
//! be read leaves what was read before in force.

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often files are looked at. They are small, and what changes them is in no hurry.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Something in force that files say.
pub trait Reload {
    /// Why the files cannot be used.
    type Error: Display;

    /// Takes up what the files say now; false where they say what they said at the last call, good or bad.
    ///
    /// # Errors
    /// Where they have changed and cannot be used; what was in force stays. The same bad files are an error once.
    fn reload(&mut self) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// Reloads `source` as its files change, until `shutdown`. `what` is its name in the log.
pub async fn follow(what: &'static str, mut source: impl Reload, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match source.reload().await {
            Ok(false) => {}
            Ok(true) => tracing::info!("{what} reloaded"),
            Err(error) => {
                tracing::error!(%error, "the changed {what} cannot be used: the one before stays in force");
            }
        }
    }
}
