//! What our servers have in common as processes: their log, their settings, how they listen, how they
//! ask others, and how they end.

mod fetch;
mod follow;
mod linger;
mod log;
mod serve;
mod settings;
mod signals;
mod tls;

pub use fetch::{FetchError, FetchLimits, Fetched, Fetcher};
pub use follow::{Reload, follow};
pub use log::start_log;
pub use serve::{serve, serve_tls};
pub use settings::{NotAKey, lay_over};
pub use signals::Signals;
pub use tls::{Tls, TlsError};
