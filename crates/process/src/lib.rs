//! What our servers have in common as processes: their log, their settings, how they listen and how they end.

mod log;
mod serve;
mod settings;
mod signals;

pub use log::start_log;
pub use serve::serve;
pub use settings::{NotAKey, lay_over};
pub use signals::Signals;
