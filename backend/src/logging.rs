//! The log: standard error, text for people and JSON for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What to log, in the syntax of `tracing_subscriber`'s `EnvFilter`.
const FILTER_VARIABLE: &str = "COCOON_LOG";

/// Starts logging; a second call does nothing.
pub fn start() {
    let chosen = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(FILTER_VARIABLE)
        .from_env_lossy();
    // HTTP libraries write headers and frames at their lowest levels, and tickets are headers.
    let ours =
        filter_fn(|event| event.target().starts_with("cocoon") || *event.level() <= tracing::Level::WARN);
    let filter = chosen.and(ours);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if std::io::stderr().is_terminal() { layer.compact().boxed() } else { layer.json().boxed() };
    // Only a second start fails, and the first one holds.
    drop(tracing_subscriber::registry().with(layer.with_filter(filter)).try_init());
}
