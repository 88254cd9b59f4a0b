//! The log: standard error, text for people and JSON lines for collectors.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What to log, in the syntax of `tracing_subscriber`'s `EnvFilter`.
const FILTER_VARIABLE: &str = "COCOON_LOG";

/// Starts logging; a second call does nothing.
pub fn start_log() {
    let chosen = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(FILTER_VARIABLE)
        .from_env_lossy();
    // HTTP libraries write headers and frames at their lowest levels, and keys and tickets are headers.
    let ours =
        filter_fn(|event| event.target().starts_with("cocoon") || *event.level() <= tracing::Level::WARN);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if std::io::stderr().is_terminal() {
        layer.compact().boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    // Only a second start fails, and the first one holds.
    drop(tracing_subscriber::registry().with(layer.with_filter(chosen.and(ours))).try_init());
}
