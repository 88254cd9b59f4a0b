//! `cargo xtask lint`: what must hold before a change is shown to anybody.

use crate::console::Steps;
use crate::places::Places;
use crate::run::{cargo, run};

pub(crate) fn lint(places: &Places) -> anyhow::Result<()> {
    let mut steps = Steps::new(2);
    steps.begin("formatting");
    for folder in [places.root.clone(), places.root.join("backend/engine"), places.root.join("fuzz")] {
        run(
            cargo(&folder).args(["fmt", "--all", "--check"]),
            "the formatting check (cargo fmt --all repairs it)",
        )?;
    }
    steps.finish("formatted");

    steps.begin("clippy on the root workspace");
    let mut clippy = cargo(&places.root);
    clippy.args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    run(&mut clippy, "clippy")?;
    steps.finish("no warnings");
    Ok(())
}
