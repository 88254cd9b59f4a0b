//! `cargo xtask up`: the whole request path on this machine, from nothing to a first completion.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::completion::Answer;
use crate::console::{Steps, note};
use crate::contract::{Deployment, Ledger, Prices, Wallets};
use crate::greeting::greet;
use crate::issued::Issued;
use crate::places::Places;
use crate::processes::{PidFile, Process};
use crate::run::{cargo, run_quietly};
use crate::stack::Stack;
use crate::up_env::UpEnv;
use crate::{chain, completion, engine, files, lock, loopback, model, up_env};

/// A large model on a slow disk takes minutes.
const LOAD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Of the gateway, and of the sidecar.
const GATEWAY_LIMIT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// The gateway's port
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The port of the gateway's ops listener [default: --port + 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    ops_port: Option<u16>,
    /// The backend's port
    #[arg(long, default_value_t = 8090, value_parser = clap::value_parser!(u16).range(1..))]
    backend_port: u16,
    /// The port of the sidecar, `cocoon-connect`
    #[arg(long, default_value_t = 4141, value_parser = clap::value_parser!(u16).range(1..))]
    connect_port: u16,
    /// The port of the local chain
    #[arg(long, default_value_t = 8100, value_parser = clap::value_parser!(u16).range(1..))]
    chain_port: u16,
    /// Return once a completion worked; `cargo xtask down` ends it
    #[arg(long)]
    detach: bool,
    /// Where balances are kept: embedded, or redis://…
    #[arg(long, default_value = "embedded")]
    ledger: Ledger,
    /// A .gguf file, a safetensors folder or a hub id [default: SmolLM2 135M Instruct]
    #[arg(long)]
    model: Option<String>,
    /// The folder for keys, ledger, configuration and logs [default: .cocoon in the checkout]
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    engine: engine::Options,
}

pub(crate) fn up(places: &Places, options: &Options) -> anyhow::Result<()> {
    let dir = places.deployment(options.dir.as_deref())?;
    files::private_dir(&dir)?;
    let _only_one = only_one(&dir)?;
    let ops_port = ops_port(options)?;
    ports_are_free(options, ops_port)?;
    let chosen_model = options.model.as_deref().map(model::named).transpose()?;

    // There again once a completion worked: who waits for it finds a deployment that answers.
    files::remove(&dir.join("up.env"))?;
    let mut stack = Stack::new(&dir)?;
    let outcome = serve(places, options, ops_port, dir, chosen_model, &mut stack);
    match outcome {
        Ok(Served::Detached) => stack.detach(),
        Ok(Served::Stopped) => {
            eprintln!("\nending all servers");
            stack.end()
        }
        Err(error) => stack.end().and(Err(error)),
    }
}

enum Served {
    /// The servers go on without us.
    Detached,
    /// The user asked to stop.
    Stopped,
}

fn serve(
    places: &Places,
    options: &Options,
    ops_port: u16,
    dir: PathBuf,
    chosen_model: Option<model::Model>,
    stack: &mut Stack,
) -> anyhow::Result<Served> {
    let begun = Instant::now();
    let mut steps = Steps::new(6);

    steps.begin("gateway, backend, sidecar, settler and chain");
    let mut build = cargo(&places.root);
    // The whole workspace, as the other commands build it: nothing is then compiled twice with other features.
    build.args(["build", "--release", "--workspace", "--bins"]);
    run_quietly(&mut build, "the build")?;
    steps.finish("built");

    steps.begin("engine");
    let engine = engine::engine(places, &options.engine)?;
    steps.finish("ready");

    steps.begin("model");
    let model = match chosen_model {
        Some(model) => model::on_this_machine(places, model)?,
        None => model::default_model(places, &engine)?,
    };
    steps.finish(&model.name);

    steps.begin("keys and configuration");
    let deployment = Deployment {
        dir,
        release: places.release.clone(),
        engine,
        model,
        ledger: options.ledger.clone(),
        port: options.port,
        ops_port,
        backend_port: options.backend_port,
        connect_port: options.connect_port,
        chain_port: options.chain_port,
        prices: Prices::DEVELOPMENT,
    };
    let wallets = deployment.configure()?;
    let (mut issued, reused) = Issued::load_or_create(&deployment)?;
    steps.finish(if reused { "keys of the last time" } else { "new keys, 10 TON of test credit" });

    steps.begin("start");
    start(&deployment, &wallets, stack)?;
    steps.finish("chain, backend, gateway, sidecar and settler are ready");

    steps.begin("first completion");
    let mut answer = completion::first(&deployment, &issued.api_key, stack)?;
    if reused && matches!(answer, Answer::Refused(_)) {
        note("the key of the last time is no longer accepted, or its credit is used up; making a new one");
        issued = Issued::create(&deployment)?;
        answer = completion::first(&deployment, &issued.api_key, stack)?;
    }
    match answer {
        Answer::Text(text) => steps.finish(&format!("{text:?}")),
        Answer::Refused(reply) => bail!("the gateway refused its own key: {} {}", reply.status, reply.body),
    };

    let env = UpEnv {
        port: deployment.port,
        ops_port,
        backend_port: deployment.backend_port,
        connect_port: deployment.connect_port,
        chain_port: deployment.chain_port,
        model: deployment.model.name.clone(),
        api_key: issued.api_key,
        admin_key: issued.admin_key,
        operator_key: issued.operator_key,
    };
    env.write(&deployment.dir.join("up.env"))?;
    greet(&env, &deployment.dir, options.dir.as_deref(), options.detach, begun.elapsed());
    if options.detach {
        return Ok(Served::Detached);
    }
    stack.watch()?;
    Ok(Served::Stopped)
}

/// Starts all servers of a deployment.
///
/// # Errors
/// Says which is not ready, and its last log lines.
pub(crate) fn start(deployment: &Deployment, wallets: &Wallets, stack: &mut Stack) -> anyhow::Result<()> {
    stack.start("chain", &mut deployment.serve_chain(), "starting the local chain", GATEWAY_LIMIT)?;
    chain::float(deployment, wallets)?;
    chain::registry(deployment, wallets)?;
    stack.start("backend", &mut deployment.serve_backend(), "loading the model", LOAD_LIMIT)?;
    stack.start("gateway", &mut deployment.serve_gateway(), "starting the gateway", GATEWAY_LIMIT)?;
    stack.start("connect", &mut deployment.serve_connect(), "starting the sidecar", GATEWAY_LIMIT)?;
    stack.start("settler", &mut deployment.serve_settler(), "starting the settler", GATEWAY_LIMIT)
}

/// # Errors
/// Another `up` works in this folder, or what one started still runs.
fn only_one(dir: &Path) -> anyhow::Result<fs::File> {
    let lock = lock::attempt(&dir.join("lock"))?;
    let alive = PidFile::of(dir).alive();
    let name = |process: &Process| format!("{} (pid {})", process.name, process.pid);
    let names = alive.iter().map(name).collect::<Vec<_>>().join(", ");
    match (lock, up_env::base_url(&dir.join("up.env"))) {
        (Some(lock), _) if alive.is_empty() => Ok(lock),
        (Some(_), _) if alive.len() == 1 => {
            bail!("{names} of an earlier start is left in {}; end it first: cargo xtask down", dir.display())
        }
        (_, Some(url)) => {
            bail!(
                "already up: {url}\n  {names}\n  `cargo xtask down` ends it; --dir and other ports start another"
            )
        }
        _ => bail!("another `cargo xtask up` is starting in {}", dir.display()),
    }
}

fn ops_port(options: &Options) -> anyhow::Result<u16> {
    match options.ops_port.or(options.port.checked_add(1)) {
        Some(port) => Ok(port),
        None => bail!("there is no port after {}: give --ops-port", options.port),
    }
}

fn ports_are_free(options: &Options, ops_port: u16) -> anyhow::Result<()> {
    let ports = [
        (options.port, "the gateway", "--port"),
        (ops_port, "the gateway's ops listener", "--ops-port"),
        (options.backend_port, "the backend", "--backend-port"),
        (options.connect_port, "the sidecar", "--connect-port"),
        (options.chain_port, "the local chain", "--chain-port"),
    ];
    for (index, (port, whose, flag)) in ports.iter().enumerate() {
        if ports.iter().take(index).any(|(other, _, _)| other == port) {
            bail!("port {port} is given twice: choose another for {whose} with {flag}");
        }
        if !loopback::is_free(*port) {
            bail!("port {port} is taken; choose another for {whose} with {flag}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_is_refused_while_the_first_runs() {
        let dir = tempfile::tempdir().unwrap();
        let first = only_one(dir.path()).unwrap();
        let error = only_one(dir.path()).unwrap_err().to_string();
        assert!(error.contains("another `cargo xtask up` is starting"), "{error}");
        drop(first);

        let own = Process::of("gateway", std::process::id()).unwrap();
        PidFile::of(dir.path()).write(&[own.clone(), own]).unwrap();
        fs::write(dir.path().join("up.env"), "OPENAI_BASE_URL=http://127.0.0.1:9/v1\n").unwrap();
        let error = only_one(dir.path()).unwrap_err().to_string();
        assert!(error.contains("already up: http://127.0.0.1:9/v1"), "{error}");
    }
}
