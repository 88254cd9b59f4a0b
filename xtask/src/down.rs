//! `cargo xtask down`: ends what `up` started, and nothing else.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::console::seconds;
use crate::places::Places;
use crate::processes::PidFile;
use crate::stack;

#[derive(Args)]
pub(crate) struct Options {
    /// The folder that `up` was given [default: .cocoon in the checkout]
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn down(places: &Places, options: &Options) -> anyhow::Result<()> {
    let dir = places.deployment(options.dir.as_deref())?;
    let pids = PidFile::of(&dir);
    let running = pids.alive();
    if running.is_empty() {
        eprintln!("nothing of {} is running", dir.display());
        return Ok(());
    }
    // An `up` in the foreground first: told to stop, it ends its servers itself. Then what is left, the
    // gateway before the backend, so that its streams can finish.
    let (supervisors, servers): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|it| it.name == stack::SUPERVISOR);
    let since = Instant::now();
    for supervisor in supervisors {
        supervisor.end_supervisor()?;
    }
    for server in servers.iter().rev() {
        server.end()?;
        eprintln!("{} has ended", server.name);
    }
    eprintln!("down ({})", seconds(since.elapsed()));
    pids.remove()
}
