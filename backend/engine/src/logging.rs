//! The log: standard error, and never a prompt or an answer.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log and replaces the panic message by its place.
pub(crate) fn start() {
    // Fixed, not taken from the environment: what libraries say below `warn` may quote what they work on.
    let levels = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("cocoon_engine", LevelFilter::INFO)
        // Its one warning is that paged attention is off, which on a CPU it always is.
        .with_target("mistralrs_core::pipeline::gguf", LevelFilter::ERROR);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(levels).with(lines).init();

    // A panic's message may quote text, as that of a string sliced inside a character does.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a thread panicked");
    }));
}
