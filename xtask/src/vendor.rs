//! `cargo xtask vendor`: the files of the dashboard that others wrote, out of their packages into the repository, so that
//! building and running a gateway needs no package registry.

use std::fs;

use anyhow::Context;

use crate::places::Places;
use crate::{files, node};

/// Where the files go.
const VENDOR: &str = "gateway/dashboard/vendor";
/// Each by the folder it gets and where it comes from in `node_modules`. The QR code's has its license at its beginning.
const FILES: [(&str, &str); 4] = [
    ("uplot", "uplot/LICENSE"),
    ("uplot", "uplot/dist/uPlot.esm.js"),
    ("uplot", "uplot/dist/uPlot.min.css"),
    ("qrcode-generator", "qrcode-generator/dist/qrcode.mjs"),
];

/// npm itself compares each package with the hash in `package-lock.json` and fails where it differs.
pub(crate) fn vendor(places: &Places) -> anyhow::Result<()> {
    let modules = node::for_dashboard(places)?;
    for (folder, file) in FILES {
        let library = places.root.join(VENDOR).join(folder);
        files::create_dir(&library)?;
        let from = modules.join(file);
        let name = from.file_name().context("a file of a package has no name")?;
        let to = library.join(name);
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        println!("{}", to.display());
    }
    Ok(())
}
