//! `cargo xtask bench`: measurements of sealing and of verifications, and on the scripted engine. They assert no times, and
//! are no part of the tests.

use crate::console::Steps;
use crate::places::Places;
use crate::run::{cargo, run};
use crate::{contract, system};

pub(crate) fn bench(places: &Places) -> anyhow::Result<()> {
    let mut steps = Steps::new(3);
    steps.begin("build");
    system::redis_server()?;
    run(cargo(&places.root).args(["build", "--release", "--workspace", "--bins"]), "the build")?;
    steps.finish("built");

    steps.begin("time to first byte, the processor's share of sealing, and verification");
    let mut measure = cargo(&places.root);
    measure.args(["test", "--release", "--workspace", "--test", "behaviours", "--"]);
    // Ignored are the measurements, and nothing else.
    measure.args(["--ignored", "--nocapture", "--test-threads=1"]);
    contract::name_binaries(&mut measure, &places.release);
    run(&mut measure, "the measurement")?;
    steps.finish("measured");

    steps.begin("sealing, and the verification of evidence");
    let mut measure = cargo(&places.root);
    // The whole workspace, as above: its packages keep the features they were built with.
    measure.args(["bench", "--workspace", "--bench", "sealing", "--bench", "verify", "--bench", "verdict"]);
    run(&mut measure, "the measurement")?;
    steps.finish("measured");
    Ok(())
}
