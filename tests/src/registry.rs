//! The owner of a registry on the chain says which policy and which prices are in force. A gateway and a sidecar that follow
//! it can be made to stop by it, and to do nothing that their files do not allow.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{
    Client, MODEL, Runtime, Settings, Settlement, Sidecar, Stack, chat, eventually, path, run_script,
};

/// What a policy waits for, seconds.
const DELAY: u64 = 48 * 3600;
const LIMIT: Duration = Duration::from_secs(60);
/// The contract's `too early`.
const TOO_EARLY: i64 = 202;

struct World {
    settlement: Settlement,
    stack: Stack,
    registry: String,
}

impl World {
    /// A deployment with a registry that says nothing yet, and that nobody follows.
    async fn start() -> anyhow::Result<Self> {
        let mut settlement = Settlement::start().await?;
        let stack = Stack::start(Settings::default()).await?;
        let owner = owner(&settlement, None).await?;
        let text = |name: &str| owner[name].as_str().map(str::to_owned).context("no address");
        settlement.give(&text("shown")?, 10_000_000_000, "for messages").await?;
        let registry = settlement.with_epochs(&stack.ledger_url(), &text("address")?).await?;
        Ok(Self { settlement, stack, registry })
    }

    /// Lines of a gateway's configuration that follows the registry.
    fn followed(&self) -> String {
        format!(
            "registry.address = \"{}\"\nregistry.network = {{ name = \"test\", global_id = -3 }}\n\
             registry.endpoints = [{{ url = \"{}\", operator = \"devnet\" }}]\nregistry.every_s = 1\n",
            self.registry,
            self.settlement.origin()
        )
    }

    /// A policy of this version, and where it is.
    fn policy(&self, version: u64) -> anyhow::Result<String> {
        Ok(format!(
            "registry = '{}'\nname = 'p'\nversion = {version}\ndev_roots = ['{}']\n",
            self.registry,
            self.stack.dev_root()?
        ))
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<(bool, String, String)> {
        let mut command = Command::new(path("COCOON_GATEWAY_BIN")?);
        let output = command.args(arguments).arg("--config").arg(self.stack.path("gateway.toml")).output()?;
        Ok((
            output.status.success(),
            String::from_utf8(output.stdout)?,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    fn status(&self) -> anyhow::Result<Value> {
        let (fine, said, errors) = self.command(&["registry", "status"])?;
        ensure!(fine, "{errors}");
        Ok(serde_json::from_str(&said)?)
    }

    /// Has the owner's wallet send what the gateway's command printed; the exit code.
    async fn send(&self, arguments: &[&str]) -> anyhow::Result<i64> {
        let (fine, message, errors) = self.command(&[&["registry"], arguments].concat())?;
        ensure!(fine, "{errors}");
        let ran = owner(&self.settlement, Some(message.trim())).await?;
        ran["exit"].as_i64().with_context(|| format!("{ran}"))
    }

    async fn accepted(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let exit = self.send(arguments).await?;
        ensure!(exit == 0, "{arguments:?}: exit {exit}");
        Ok(())
    }

    async fn two_days_pass(&self) -> anyhow::Result<()> {
        let url = format!("{}/devnet/time", self.settlement.origin());
        let passed = reqwest::Client::new().put(url).json(&json!({ "advance": DELAY })).send().await?;
        ensure!(passed.status().is_success(), "{}", passed.text().await?);
        Ok(())
    }

    /// The policy in this file is proposed, waits, and is in force on the chain.
    async fn put_in_force(&self, file: &str) -> anyhow::Result<()> {
        let file = self.stack.path(file).display().to_string();
        self.accepted(&["propose-policy", &file]).await?;
        self.two_days_pass().await?;
        self.accepted(&["activate-policy"]).await
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        // In one step: half a file must never be read.
        let new = self.stack.path("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, self.stack.path(name))?)
    }

    async fn sidecar(&self) -> anyhow::Result<Sidecar> {
        let more = [
            "--registry",
            &self.registry,
            "--network",
            "test:-3",
            "--chain-endpoint",
            self.settlement.origin(),
            "--registry-every-s",
            "1",
        ];
        Sidecar::start(&self.stack, &self.stack.origin(), &more).await
    }

    async fn policy_in_force(&self, version: u64) -> anyhow::Result<()> {
        eventually("the gateway follows the policy", LIMIT, || async {
            let backends = self.stack.backends().await?;
            let is_used = backends.backends.iter().all(|backend| backend.in_use);
            Ok((backends.policy.version == Some(version) && is_used).then_some(()))
        })
        .await
    }
}

async fn owner(settlement: &Settlement, message: Option<&str>) -> anyhow::Result<Value> {
    let mut variables = vec![("COCOON_DEVNET", settlement.origin())];
    variables.extend(message.map(|message| ("COCOON_MESSAGE", message)));
    run_script(Runtime::NodeForTon, "registry_owner.mjs", &variables).await
}

/// The status of a completion, and its error's code.
async fn ask(client: &Client) -> anyhow::Result<(u16, Value)> {
    let (status, _, answer) = client.complete(&chat("hello", json!({ "max_tokens": 4 }))).await?;
    Ok((status, answer["error"]["code"].clone()))
}

async fn answers(what: &str, client: &Client, status: u16, code: Value) -> anyhow::Result<()> {
    let mut last = None;
    let found = eventually(what, LIMIT, || async {
        let said = ask(client).await?;
        Ok((said == (status, code.clone())).then_some(()))
    })
    .await;
    if found.is_err() {
        last = Some(ask(client).await?);
    }
    found.with_context(|| format!("{what}: {last:?}"))
}

/// Guards against: a policy that was never named, or is no longer, being followed; a delay that can be skipped; a gateway
/// or a sidecar that must be restarted to hear of a policy; a registry that is taken for the policy itself.
pub(crate) async fn a_policy_is_followed_only_while_the_registry_names_it() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.write("policy.toml", &world.policy(1)?)?;

    // It wants to be named: without a registry it is not followed by anybody.
    let (fine, _, errors) = world.command(&["config", "check"])?;
    ensure!(!fine && errors.contains(&world.registry), "{errors}");
    let verified = Sidecar::verify(&world.stack, &[])?;
    let errors = String::from_utf8_lossy(&verified.stderr).into_owned();
    ensure!(!verified.status.success() && errors.contains("registry"), "{errors}");

    world.stack.kill_gateway()?;
    world.stack.reconfigure_gateway(&world.followed())?;
    let (fine, _, errors) = world.command(&["config", "check"])?;
    ensure!(fine, "{errors}");
    let (fine, _, errors) = world.command(&["serve"])?;
    ensure!(!fine && errors.contains("no policy in force"), "{errors}");

    let file = world.stack.path("policy.toml").display().to_string();
    world.accepted(&["propose-policy", &file]).await?;
    ensure!(world.send(&["activate-policy"]).await? == TOO_EARLY, "the delay was skipped");
    let status = world.status()?;
    ensure!(status["policy"]["version"] == 0 && status["pending"]["file"] == file.as_str(), "{status}");
    world.two_days_pass().await?;
    world.accepted(&["activate-policy"]).await?;
    let status = world.status()?;
    ensure!(status["policy"]["file"] == file.as_str() && status["pending"].is_null(), "{status}");

    world.stack.start_gateway()?;
    world.stack.wait_ready().await?;
    let sidecar = world.sidecar().await?;
    let (gateway, sealed) = (world.stack.client(), sidecar.client(&world.stack));
    answers("the gateway serves", &gateway, 200, Value::Null).await?;
    answers("the sidecar seals", &sealed, 200, Value::Null).await?;
    ensure!(world.stack.metric("cocoon_registry_policy_followed").await? == 1, "not followed");

    // The next one waits beside it, and is taken up when its time has come.
    world.write("policy.toml.next", &world.policy(2)?)?;
    world.put_in_force("policy.toml.next").await?;
    world.policy_in_force(2).await?;
    answers("the gateway serves under the next", &gateway, 200, Value::Null).await?;
    eventually("the sidecar follows the next", LIMIT, || async {
        let status: Value =
            reqwest::get(format!("{}/verification?format=json", sidecar.origin())).await?.json().await?;
        Ok((status["policy"]["version"] == 2).then_some(()))
    })
    .await?;
    answers("the sidecar seals under the next", &sealed, 200, Value::Null).await?;

    // One that is not here: nothing is believed, until it is.
    world.write("elsewhere.toml", &world.policy(3)?)?;
    world.put_in_force("elsewhere.toml").await?;
    answers("the sidecar believes nobody", &sealed, 502, "backend_not_verified".into()).await?;
    answers("the gateway has no backend", &gateway, 503, "backend_unavailable".into()).await?;
    ensure!(world.stack.metric("cocoon_registry_policy_followed").await? == 0, "followed");
    world.write("policy.toml.next", &world.policy(3)?)?;
    world.policy_in_force(3).await?;
    answers("the gateway serves again", &gateway, 200, Value::Null).await?;
    answers("the sidecar seals again", &sealed, 200, Value::Null).await
}

/// Guards against: a gateway that charges what its owner has not published, a sidecar that pays it, a table that is another
/// under the same number.
pub(crate) async fn no_other_prices_are_charged_than_the_registrys() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.stack.reconfigure_gateway(&world.followed())?;
    world.write("policy.toml", &world.policy(1)?)?;
    world.put_in_force("policy.toml").await?;
    world.stack.kill_gateway()?;
    world.stack.start_gateway()?;
    world.stack.wait_ready().await?;
    let sidecar = world.sidecar().await?;
    let (gateway, sealed) = (world.stack.client(), sidecar.client(&world.stack));
    // The registry has none: the configuration's are charged.
    answers("the sidecar pays the list's prices", &sealed, 200, Value::Null).await?;

    world.accepted(&["set-prices"]).await?;
    let status = world.status()?;
    ensure!(status["prices"]["key"] == "prices" && status["prices"]["number"] == 1, "{status}");
    let served = reqwest::get(format!("{}/v1/prices", world.stack.origin())).await?.bytes().await?;
    let digest = cocoon_receipts::Digest::of(&[&served]);
    let published = status["prices"]["sha256"].as_str().context("no digest")?;
    ensure!(hex_of(&digest) == published, "{published}");
    answers("the gateway sells", &gateway, 200, Value::Null).await?;

    // A gateway that follows nothing, and charges more.
    world.stack.kill_gateway()?;
    let own = world.policy(1)?.lines().skip(1).collect::<Vec<_>>().join("\n");
    let honest = std::fs::read_to_string(world.stack.path("gateway.toml"))?;
    world.write("policy.other", &own)?;
    let dearer = format!(
        "policy = \"{}\"\nprices.\"{MODEL}\".completion = \"60000001\"\n",
        world.stack.path("policy.other").display()
    );
    world.stack.reconfigure_gateway(&dearer)?;
    world.stack.forget_in_gateway("registry")?;
    world.stack.start_gateway()?;
    world.stack.wait_ready().await?;
    let before = world.stack.settled_account().await?;
    // The sidecar read the prices a moment ago; a new one has not.
    let fresh = world.sidecar().await?;
    let refused = fresh.client(&world.stack);
    answers("the sidecar pays no other price", &refused, 502, "prices_not_published".into()).await?;
    ensure!(world.stack.settled_account().await? == before, "it was charged");

    // The honest gateway again, whose owner publishes a table that it does not have.
    world.stack.kill_gateway()?;
    std::fs::write(world.stack.path("gateway.toml"), &honest)?;
    world.stack.start_gateway()?;
    world.stack.wait_ready().await?;
    answers("the gateway sells", &gateway, 200, Value::Null).await?;
    let next = format!(
        "prices_next.\"{MODEL}\" = {{ table = 2, prompt = \"1\", cached = \"1\", completion = \"5000000\", \
         reasoning = \"5000000\" }}\n"
    );
    world.stack.reconfigure_gateway(&next)?;
    world.accepted(&["set-prices"]).await?;
    answers("nothing is sold", &gateway, 404, "model_not_found".into()).await?;
    ensure!(world.stack.metric("cocoon_registry_prices_followed").await? == 0, "followed");

    // Started with both tables it charges the new one, and would have taken it up by itself.
    world.stack.kill_gateway()?;
    world.stack.start_gateway()?;
    world.stack.wait_ready().await?;
    let (status, headers, answer) = gateway.complete(&chat("hello", json!({ "max_tokens": 4 }))).await?;
    ensure!(status == 200, "{status} {answer}");
    let cost: u64 = headers["cocoon-cost"].to_str()?.parse()?;
    let usage = &answer["usage"];
    let count = |name: &str| usage[name].as_u64().context("no usage");
    let expected = (count("prompt_tokens")? + 5_000_000 * count("completion_tokens")?) / 1_000_000;
    ensure!(cost == expected, "{cost}, not {expected}: {usage}");
    answers("the sidecar pays the new price", &fresh.client(&world.stack), 200, Value::Null).await
}

fn hex_of(digest: &cocoon_receipts::Digest) -> String {
    digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
}
