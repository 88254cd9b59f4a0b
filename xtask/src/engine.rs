//! Builds `cocoon-engine`, the mistral.rs process, and keeps the binary under a hash of its inputs.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::Context;
use clap::Args;

use crate::console::note;
use crate::fingerprint::Fingerprint;
use crate::places::Places;
use crate::run::{capture, cargo, run, run_quietly};
use crate::{files, lock, staging};

/// The folders that an engine is made of, relative to the checkout. The engine's manifest reaches
/// the second one by a relative path, so the staging folder keeps this layout.
const INPUTS: [&str; 2] = ["backend/engine", "crates/engine-api"];
const BINARY: &str = "cocoon-engine";
/// Kept binaries are 80 MB each.
const KEPT: usize = 3;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Cargo features of the engine: cuda, cudnn, flash-attn, metal, mkl, accelerate
    #[arg(long = "features", value_name = "FEATURE,…", value_delimiter = ',')]
    features: Vec<String>,
}

/// The path of an engine built from this checkout's sources for this machine.
pub(crate) fn engine(places: &Places, options: &Options) -> anyhow::Result<PathBuf> {
    let recipe = Recipe::new(options)?;
    let store = Store::new(places);
    if let Some(kept) = store.kept(&recipe.key(&places.root)?) {
        return Ok(kept);
    }
    let _single_flight = store.lock()?;
    let source = store.stage(places)?;
    // The staged files are what gets built; the checkout may have changed since.
    let key = recipe.key(&source)?;
    if let Some(kept) = store.kept(&key) {
        return Ok(kept);
    }
    staging::touch(&source)?;
    if store.target().join("release/deps").is_dir() {
        note("building cocoon-engine");
    } else {
        note("building cocoon-engine with mistral.rs; the first build takes about half an hour");
    }
    run_quietly(&mut recipe.cargo(&store, &source, "build"), "building cocoon-engine")?;
    let kept = store.keep(&key)?;
    store.prune()?;
    Ok(kept)
}

/// The engine's own unit tests, built as the engine is.
pub(crate) fn unit_tests(places: &Places, options: &Options, filter: Option<&str>) -> anyhow::Result<()> {
    let recipe = Recipe::new(options)?;
    let store = Store::new(places);
    let _single_flight = store.lock()?;
    let source = store.stage(places)?;
    run(recipe.cargo(&store, &source, "test").args(filter), "the engine's unit tests")
}

/// Everything but the sources that decides what the binary is.
struct Recipe {
    features: Vec<String>,
    cpu: Option<&'static str>,
    rustc: String,
    profile: BTreeMap<String, String>,
}

impl Recipe {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let mut features = options.features.clone();
        features.retain(|feature| !feature.is_empty());
        features.sort();
        features.dedup();
        Ok(Self {
            features,
            cpu: cpu_level(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            rustc: capture(Command::new("rustc").arg("-V"), "rustc -V")?,
            profile: env::vars().filter(|(name, _)| shapes_the_build(name)).collect(),
        })
    }

    /// `tree` has the layout of the checkout.
    fn key(&self, tree: &Path) -> anyhow::Result<String> {
        let mut fingerprint = Fingerprint::new();
        for input in INPUTS {
            fingerprint.folder(input, &tree.join(input))?;
        }
        fingerprint.field("rustc", self.rustc.as_bytes());
        fingerprint.field("cpu", self.cpu.unwrap_or("any").as_bytes());
        for feature in &self.features {
            fingerprint.field("feature", feature.as_bytes());
        }
        for (name, value) in &self.profile {
            fingerprint.field(name, value.as_bytes());
        }
        let mut key = fingerprint.hex();
        key.truncate(16);
        Ok(key)
    }

    fn cargo(&self, store: &Store, source: &Path, task: &str) -> Command {
        let mut command = cargo(&source.join("backend/engine"));
        command.args([task, "--release", "--locked"]);
        if !self.features.is_empty() {
            command.arg("--features").arg(self.features.join(","));
        }
        command.env("CARGO_TARGET_DIR", store.target());
        // Set even when empty: it outranks what a user's own cargo configuration may say.
        command.env("RUSTFLAGS", self.cpu.map(|cpu| format!("-C target-cpu={cpu}")).unwrap_or_default());
        command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
        command
    }
}

/// candle has no run-time dispatch: without these instructions compiled in, the model is four times slower.
fn cpu_level(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |wanted: &&str| flags.split_whitespace().any(|flag| flag == *wanted);
    ["avx2", "fma", "bmi2", "f16c", "movbe", "abm"].iter().all(has).then_some("x86-64-v3")
}

fn shapes_the_build(variable: &str) -> bool {
    variable.starts_with("CARGO_PROFILE_") || variable == "CUDA_COMPUTE_CAP"
}

/// The part of the cache that is the engine's.
struct Store(PathBuf);

impl Store {
    fn new(places: &Places) -> Self {
        Self(places.cache.join("engine"))
    }

    fn target(&self) -> PathBuf {
        self.0.join("target")
    }

    fn binaries(&self) -> PathBuf {
        self.0.join("bin")
    }

    fn lock(&self) -> anyhow::Result<File> {
        lock::wait(&self.0.join("lock"), "another checkout is building the engine")
    }

    fn stage(&self, places: &Places) -> anyhow::Result<PathBuf> {
        let source = self.0.join("src");
        for input in INPUTS {
            staging::mirror(&places.root.join(input), &source.join(input))?;
        }
        Ok(source)
    }

    fn kept(&self, key: &str) -> Option<PathBuf> {
        let path = self.binaries().join(key).join(BINARY);
        let binary = File::open(&path).ok()?;
        // Used counts as new, so that an engine in daily use is not the one pruned.
        let _read_only_cache = binary.set_modified(SystemTime::now());
        Some(path)
    }

    fn keep(&self, key: &str) -> anyhow::Result<PathBuf> {
        let built = self.target().join("release").join(BINARY);
        let folder = self.binaries().join(key);
        files::create_dir(&folder)?;
        let (partial, path) = (folder.join("partial"), folder.join(BINARY));
        fs::copy(&built, &partial).with_context(|| format!("cannot keep {}", built.display()))?;
        fs::rename(&partial, &path).with_context(|| format!("cannot keep {}", path.display()))?;
        Ok(path)
    }

    fn prune(&self) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(self.binaries())? {
            let folder = entry?.path();
            let used = fs::metadata(folder.join(BINARY)).and_then(|binary| binary.modified());
            kept.push((used.unwrap_or(SystemTime::UNIX_EPOCH), folder));
        }
        kept.sort();
        kept.reverse();
        for (_, folder) in kept.iter().skip(KEPT) {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn recipe() -> Recipe {
        Recipe { features: vec![], cpu: Some("x86-64-v3"), rustc: "rustc 1".into(), profile: BTreeMap::new() }
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for input in INPUTS {
            fs::create_dir_all(dir.path().join(input)).unwrap();
            fs::write(dir.path().join(input).join("Cargo.toml"), "[package]").unwrap();
        }
        dir
    }

    #[test]
    fn the_key_changes_with_every_input() {
        let tree = tree();
        let key = |recipe: Recipe| recipe.key(tree.path()).unwrap();
        let first = key(recipe());
        assert_eq!(first, key(recipe()));
        assert_ne!(first, key(Recipe { cpu: None, ..recipe() }));
        assert_ne!(first, key(Recipe { rustc: "rustc 2".into(), ..recipe() }));
        assert_ne!(first, key(Recipe { features: vec!["cuda".into()], ..recipe() }));
        let profile = BTreeMap::from([("CARGO_PROFILE_RELEASE_LTO".into(), "thin".into())]);
        assert_ne!(first, key(Recipe { profile, ..recipe() }));
        for input in INPUTS {
            let before = key(recipe());
            fs::write(tree.path().join(input).join("Cargo.toml"), "[Package]").unwrap();
            assert_ne!(before, key(recipe()), "{input}");
        }
    }

    #[test]
    fn the_cpu_level_needs_every_flag() {
        let all = "processor: 0\nflags\t\t: fpu abm avx2 bmi2 f16c fma movbe sse\n";
        assert_eq!(cpu_level(all), Some("x86-64-v3"));
        assert_eq!(cpu_level(&all.replace(" fma", "")), None);
        assert_eq!(cpu_level(&all.replace(" avx2", " avx2x")), None);
        assert_eq!(cpu_level(""), None);
    }

    #[test]
    fn the_three_engines_used_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store(dir.path().to_path_buf());
        for (age, key) in ["newest", "second", "third", "oldest"].iter().enumerate() {
            fs::create_dir_all(store.binaries().join(key)).unwrap();
            let binary = File::create(store.binaries().join(key).join(BINARY)).unwrap();
            binary.set_modified(SystemTime::now() - Duration::from_secs(age as u64 * 60 + 60)).unwrap();
        }
        assert!(store.kept("oldest").is_some(), "using it makes it the newest");
        store.prune().unwrap();
        assert!(store.kept("oldest").is_some());
        assert!(store.kept("second").is_some());
        assert!(store.kept("third").is_none());
    }
}
