//! What `cargo xtask test` prepared, as it says in the environment.

use std::path::PathBuf;

use anyhow::Context;

/// The path in variable `name`.
pub(crate) fn path(name: &str) -> anyhow::Result<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: run `cargo xtask test`"))
}

/// Whether the long runs are wanted too.
pub(crate) fn full() -> bool {
    std::env::var_os("COCOON_TEST_FULL").is_some()
}
