//! `cargo xtask vendor`: the files of the dashboard that others wrote, out of their packages into the repository, so that
//! building and running a gateway needs no package registry.

use std::fs;

use anyhow::Context;

use crate::places::Places;
use crate::{files, node};

/// Where the files go, and where each comes from in `node_modules`.
const LIBRARY: &str = "gateway/dashboard/vendor/uplot";
const FILES: [&str; 3] = ["uplot/LICENSE", "uplot/dist/uPlot.esm.js", "uplot/dist/uPlot.min.css"];

/// npm itself compares each package with the hash in `package-lock.json` and fails where it differs.
pub(crate) fn vendor(places: &Places) -> anyhow::Result<()> {
    let modules = node::for_dashboard(places)?;
    let library = places.root.join(LIBRARY);
    files::create_dir(&library)?;
    for file in FILES {
        let from = modules.join(file);
        let name = from.file_name().context("a file of a package has no name")?;
        let to = library.join(name);
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        println!("{}", to.display());
    }
    Ok(())
}
