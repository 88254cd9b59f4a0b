//! Receipts that clients get are in epochs which the chain commits to: who has the receipt and its proof needs nobody's
//! word for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_receipts::{Digest, Receipt};
use serde_json::{Value, json};

use crate::harness::{
    OPERATOR, Runtime, Settings, Settlement, Stack, Store, chat, eventually, path, run_script,
};

/// How many requests there are between two epochs.
const ROUNDS: [usize; 3] = [1, 3, 4];
const GLOBAL_ID: i64 = -3;
/// Entries wait some seconds until they are in an epoch.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) async fn receipts_are_proved_by_the_chain_alone_on_sqlite() -> anyhow::Result<()> {
    proved(Store::Sqlite).await
}

pub(crate) async fn receipts_are_proved_by_the_chain_alone_on_redis() -> anyhow::Result<()> {
    proved(Store::Redis).await
}

struct World {
    settlement: Settlement,
    stack: Stack,
    registry: String,
}

/// A receipt as the client got it, in a file.
struct Got {
    text: String,
    file: PathBuf,
}

impl World {
    async fn start(store: Store) -> anyhow::Result<Self> {
        let mut settlement = Settlement::start().await?;
        let stack = Stack::start(Settings { store, ..Settings::default() }).await?;
        let registry = settlement.with_epochs(&stack.ledger_url(), OPERATOR).await?;
        Ok(Self { settlement, stack, registry })
    }

    async fn ask(&self, number: usize) -> anyhow::Result<Got> {
        let body = chat(&format!("hello {number}"), json!({ "max_tokens": 8 }));
        let (status, headers, answer) = self.stack.client().complete(&body).await?;
        ensure!(status == 200, "{status} {answer}");
        let text = headers["cocoon-receipt"].to_str()?.to_owned();
        let file = self.settlement.path(&format!("receipt-{number}"));
        std::fs::write(&file, &text)?;
        Ok(Got { text, file })
    }

    /// Until so many epochs are decided and published.
    async fn published(&self, epochs: u64) -> anyhow::Result<()> {
        eventually("the epochs are published", LIMIT, || async {
            let status: Value = serde_json::from_str(&self.settlement.command(&["registry", "status"])?.1)?;
            ensure!(status["problem"].is_null(), "{status}");
            let is_done =
                status["decided"].as_u64() >= Some(epochs) && status["published"] == status["decided"];
            Ok(is_done.then_some(()))
        })
        .await
    }

    fn prove(&self, receipt: &str) -> anyhow::Result<Value> {
        let (fine, proof, errors) = self.settlement.told(&["prove", receipt])?;
        ensure!(fine, "{errors}");
        Ok(serde_json::from_str(&proof)?)
    }

    /// What `verify-proof` says without a configuration: what it printed, or why not.
    fn verify(&self, proof: &Path, receipt: &Path) -> anyhow::Result<Result<Value, String>> {
        let mut command = Command::new(path("COCOON_SETTLER_BIN")?);
        command.args(["verify-proof", "--endpoint", self.settlement.origin(), "--registry", &self.registry]);
        let output = command.args(["--global-id", &GLOBAL_ID.to_string()]).args([proof, receipt]).output()?;
        let errors = String::from_utf8(output.stderr)?;
        if !output.status.success() {
            return Ok(Err(errors));
        }
        Ok(Ok(serde_json::from_slice(&output.stdout)?))
    }

    /// What the independent script says.
    async fn script(&self, proof: &Path, receipt: &Path) -> anyhow::Result<Value> {
        let text = |path: &Path| path.display().to_string();
        let variables = [
            ("COCOON_PROOF", text(proof)),
            ("COCOON_RECEIPT", text(receipt)),
            ("COCOON_ENDPOINT", self.settlement.origin().to_owned()),
            ("COCOON_REGISTRY", self.registry.clone()),
            ("COCOON_GLOBAL_ID", GLOBAL_ID.to_string()),
        ];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        run_script(Runtime::NodeForTon, "verify_proof.mjs", &variables).await
    }

    fn write(&self, name: &str, proof: &Value) -> anyhow::Result<PathBuf> {
        let path = self.settlement.path(name);
        std::fs::write(&path, serde_json::to_string_pretty(proof)?)?;
        Ok(path)
    }

    /// Both refuse it, for a reason that has these words.
    async fn refused(&self, what: &str, proof: &Path, receipt: &Path, words: &str) -> anyhow::Result<()> {
        let ours = self.verify(proof, receipt)?;
        ensure!(ours.as_ref().is_err_and(|why| why.contains(words)), "{what}: {ours:?}");
        let theirs = self.script(proof, receipt).await?;
        ensure!(theirs["refused"].is_string(), "{what}: {theirs}");
        Ok(())
    }
}

/// Guards against: a receipt that no epoch has or two have, a proof that only we can check, one that holds for another
/// receipt or when a bit of it was changed, a settler that is killed and goes on with other epochs.
async fn proved(store: Store) -> anyhow::Result<()> {
    let world = World::start(store).await?;
    let mut settler = world.settlement.settler("settler-0")?;
    let (mut all, mut old) = (Vec::new(), None);
    for (round, count) in ROUNDS.into_iter().enumerate() {
        for _ in 0..count {
            all.push(world.ask(all.len()).await?);
        }
        if round == 1 {
            settler.kill()?;
            settler = world.settlement.settler("settler-1")?;
        }
        world.published(round as u64 + 2).await?;
        if round == 0 {
            old = Some(world.write("old.json", &world.prove(&all[0].file.display().to_string())?)?);
        }
    }
    let mut places = std::collections::BTreeSet::new();
    let mut epochs = std::collections::BTreeSet::new();
    for (number, receipt) in all.iter().enumerate() {
        let file = world.settlement.path(&format!("proof-{number}.json"));
        let (from, to) = (receipt.file.display().to_string(), file.display().to_string());
        // Those of one round may be in two epochs.
        eventually("it is in an epoch", LIMIT, || async {
            let (fine, _, errors) = world.settlement.told(&["prove", &from, "--out", &to])?;
            ensure!(fine, "{errors}");
            Ok(Some(()))
        })
        .await?;
        let proof: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let digest = Digest::of(&[receipt.text.as_bytes()]);
        ensure!(proof["receipt"] == digest.to_string(), "{proof}");
        ensure!(world.prove(&digest.to_string())? == proof, "by its digest");
        let id = Receipt::booked(&receipt.text)?.jti.to_string();
        ensure!(world.prove(&id)? == proof, "by its id");
        ensure!(places.insert((proof["epoch"].as_u64(), proof["position"].as_u64())), "{proof}");
        epochs.insert(proof["epoch"].as_u64());

        let ours = world.verify(&file, &receipt.file)?;
        ensure!(ours.as_ref().is_ok_and(|said| said["proved"] == true), "{ours:?}");
        let told = world.settlement.told(&["verify-proof", &to, &from])?;
        ensure!(told.0, "with a configuration: {told:?}");
        let theirs = world.script(&file, &receipt.file).await?;
        ensure!(theirs["proved"] == true && theirs["epoch"] == proof["epoch"], "{theirs}");
    }
    ensure!(epochs.len() >= ROUNDS.len(), "{epochs:?}");
    let old = old.context("no first proof")?;
    world.refused("a proof that has grown old", &old, &all[0].file, "Make it anew").await?;
    tampered(&world, &all).await?;
    settler.kill()?;
    println!("{store:?}: {} receipts in {} epochs, each proved three ways", all.len(), epochs.len());
    Ok(())
}

async fn tampered(world: &World, all: &[Got]) -> anyhow::Result<()> {
    let last = all.len() - 1;
    let receipt = &all[last].file;
    let good = world.prove(&receipt.display().to_string())?;
    let proof = world.write("good.json", &good)?;
    world.refused("another receipt", &proof, &all[0].file, "of another receipt").await?;
    let changed = world.settlement.path("changed");
    let mut text = all[last].text.clone();
    let end = if text.ends_with('A') { "B" } else { "A" };
    text.replace_range(text.len() - 1.., end);
    std::fs::write(&changed, text)?;
    world.refused("a changed receipt", &proof, &changed, "of another receipt").await?;

    let flipped = |hex: &Value| -> anyhow::Result<Value> {
        let text = hex.as_str().context("no digest")?;
        let first = if text.starts_with('0') { "1" } else { "0" };
        Ok(format!("{first}{}", &text[1..]).into())
    };
    let mut cases: Vec<(&str, Value, &str)> = Vec::new();
    let mut with = |what, member: &str, value: Value, words| {
        let mut other = good.clone();
        other[member] = value;
        cases.push((what, other, words));
    };
    let digest = Digest::of(&[std::fs::read_to_string(&changed)?.as_bytes()]).to_string();
    with("cuts", "cuts", flipped(&good["cuts"])?, "does not lead");
    with("an epoch that is not there", "epoch", json!(1000), "is about epoch 1000");
    with("another count", "count", json!(1000), "siblings");
    with("a position that is not there", "position", good["count"].clone(), "in an epoch of");
    with("another registry", "registry", format!("0:{}", "11".repeat(32)).into(), "not the one");
    with("another network", "global_id", json!(-239), "network");
    with("another form", "format", "cocoon-epoch-proof/2".into(), "form");
    with("no siblings in the range", "mountain", json!([good["cuts"], good["cuts"]]), "");
    let mut siblings = good["siblings"].as_array().cloned().unwrap_or_default();
    siblings.push(good["cuts"].clone());
    with("a sibling too many", "siblings", siblings.clone().into(), "siblings");
    siblings.pop();
    if let Some(sibling) = siblings.first_mut() {
        *sibling = flipped(sibling)?;
        with("a changed sibling", "siblings", siblings.into(), "does not lead");
    }
    let mut other = good.clone();
    other["receipt"] = digest.into();
    cases.push(("the digest of a changed receipt", other, "of another receipt"));
    for (what, proof, words) in cases {
        let proof = world.write("tampered.json", &proof)?;
        world.refused(what, &proof, receipt, words).await?;
        if what == "the digest of a changed receipt" {
            world.refused("a changed receipt with its digest", &proof, &changed, "does not lead").await?;
        }
    }
    let nowhere = world.settlement.told(&["prove", &changed.display().to_string()])?;
    ensure!(!nowhere.0 && nowhere.2.contains("in no epoch"), "{nowhere:?}");
    Ok(())
}
