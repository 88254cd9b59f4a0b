//! `cargo xtask test`: every test, with all that the tests need.

use std::time::{Duration, Instant};

use clap::Args;

use crate::console::{Steps, seconds};
use crate::places::Places;
use crate::run::{cargo, run};
use crate::{contract, engine, evidence, guards, model, node, python, system, valkey};

#[derive(Args)]
pub(crate) struct Options {
    /// Also the slow tests, and the engine's own
    #[arg(long)]
    full: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
    #[command(flatten)]
    engine: engine::Options,
}

pub(crate) fn test(places: &Places, options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut times = Times::default();
    let mut steps = Steps::new(if options.full { 7 } else { 5 });

    steps.begin("what the tests need of this machine");
    system::redis_server()?;
    system::curl()?;
    system::strace()?;
    let chromium = system::chromium()?;
    let python = python::for_tests(places, "requirements.txt")?;
    let instructor = python::for_tests(places, "requirements-instructor.txt")?;
    let tonutils = python::for_tests(places, "requirements-ton.txt")?;
    let node_modules = node::for_tests(places)?;
    let dashboard_modules = node::for_dashboard(places)?;
    let contracts_modules = node::for_contracts(places)?;
    let voltage_verify = evidence::for_tests(places)?;
    let valkey = valkey::for_tests(places)?;
    times.add("set-up", steps.finish("there"));

    steps.begin("engine");
    let engine = engine::engine(places, &options.engine)?;
    times.add("engine", steps.finish(&engine.display().to_string()));

    steps.begin("model");
    let model = model::default_model(places, &engine)?;
    times.add("model", steps.finish(&model.name));

    steps.begin("build");
    let mut build = cargo(&places.root);
    // With the tests, whose dependencies ask for more features of packages that all share: these are then compiled once.
    run(build.args(["build", "--release", "--workspace", "--lib", "--bins", "--tests"]), "the build")?;
    times.add("build", steps.finish("built"));

    steps.begin("tests of the root workspace");
    let mut tests = cargo(&places.root);
    // After half an hour of building all that fails is to be known, not the first of it.
    tests.args(["test", "--release", "--workspace", "--no-fail-fast"]).args(&options.filter);
    tests
        .env("COCOON_ENGINE", &engine)
        .env("COCOON_MODEL_PATH", &model.source)
        .env("COCOON_TEST_PYTHON", &python)
        .env("COCOON_TEST_PYTHON_INSTRUCTOR", &instructor)
        .env("COCOON_TEST_PYTHON_TON", &tonutils)
        .env("COCOON_TEST_NODE_MODULES", &node_modules)
        .env("COCOON_TEST_DASHBOARD_MODULES", &dashboard_modules)
        .env("COCOON_TEST_CONTRACTS_MODULES", &contracts_modules)
        .env("COCOON_TEST_CHROMIUM", &chromium)
        .env("COCOON_TEST_VOLTAGE_VERIFY", &voltage_verify)
        .env("COCOON_TEST_VALKEY_SERVER", &valkey);
    contract::name_binaries(&mut tests, &places.release);
    if options.full {
        tests.env("COCOON_TEST_FULL", "1");
    }
    run(&mut tests, "cargo test")?;
    times.add("tests", steps.finish("passed"));

    if options.full {
        steps.begin("the same without each guard");
        guards::guards(places, &guards::Options::default())?;
        times.add("guards", steps.finish("each is missed"));
        steps.begin("the engine's own tests");
        engine::unit_tests(places, &options.engine, options.filter.as_deref())?;
        times.add("engine's tests", steps.finish("passed"));
    }
    println!("\nwall time: {}; {} in all", times.text(), seconds(begun.elapsed()));
    Ok(())
}

#[derive(Default)]
struct Times(Vec<String>);

impl Times {
    fn add(&mut self, what: &str, time: Duration) {
        self.0.push(format!("{what} {}", seconds(time)));
    }

    fn text(&self) -> String {
        self.0.join(", ")
    }
}
