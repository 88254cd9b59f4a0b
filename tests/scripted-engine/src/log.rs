//! What was said, for a test that compares it with what was paid.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use cocoon_engine_api::Usage;

/// A file with a line for each generation: `{"prompt":N,"completion":N}`.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(path)?))
    }

    /// In one write, so that lines never mix.
    pub(crate) fn write(&self, usage: Usage) -> anyhow::Result<()> {
        let line =
            format!("{{\"prompt\":{},\"completion\":{}}}\n", usage.prompt_tokens, usage.completion_tokens);
        Ok((&self.0).write_all(line.as_bytes())?)
    }
}
