//! Loading a model, and what its files say of it.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use candle_core::quantized::gguf_file;
use cocoon_engine_api::ModelKind;
use either::Either;
use mistralrs::core::{
    AddModelConfig, EngineConfig, GGUFLoaderBuilder, GGUFSpecificConfig, GLOBAL_HF_CACHE, Pipeline,
};
use mistralrs::model_builder_trait::{
    build_embedding_pipeline, build_model_from_pipeline, build_text_pipeline,
};
use mistralrs::{
    AutoDeviceMapParams, DefaultSchedulerMethod, DeviceMapSetting, EmbeddingModelBuilder, Model, ModelDType,
    PagedAttentionMetaBuilder, SchedulerConfig, TextModelBuilder, TokenSource, best_device,
};
use tokio::sync::Mutex;

use crate::gguf;
use crate::vocabulary::Vocabulary;

/// The version that `Cargo.toml` pins.
pub(crate) const MISTRALRS_VERSION: &str = "0.8.1";

/// A loaded model, and what is to be known of it.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) kind: ModelKind,
    /// As the file states it: `q8_0`, `gptq`; `none` where the weights are not quantized.
    pub(crate) quantization: String,
    /// Prompt and completion tokens that fit together.
    pub(crate) context_length: u64,
    pub(crate) vocabulary: Vocabulary,
    /// Whether its chat template can be told how much to think.
    pub(crate) reasons: bool,
}

/// Loads a `.gguf` file, a directory of safetensors, or the id of a model on the hub. mistral.rs's prefix
/// cache is off for each of them: what callers share, callers can time.
///
/// # Errors
/// Where there is no such model, or mistral.rs cannot run it.
pub(crate) async fn load(source: &str, max_sequences: NonZeroUsize) -> anyhow::Result<Loaded> {
    let path = Path::new(source);
    let kind = if is_embedding(path) { ModelKind::Embedding } else { ModelKind::Text };
    let (parts, quantization) = if path.is_file() {
        (gguf_parts(path, max_sequences).await?, gguf_quantization(path)?)
    } else if path.is_dir() || is_hub_id(source) {
        let parts = match kind {
            ModelKind::Text => text_parts(source, max_sequences).await?,
            ModelKind::Embedding => embedding_parts(source, max_sequences).await?,
        };
        (parts, safetensors_quantization(source))
    } else {
        bail!("{source} is neither a file, nor a directory, nor the id of a model on the hub");
    };
    let (pipeline, scheduler, config) = parts;
    let (context_length, vocabulary, reasons) = {
        let pipeline = pipeline.lock().await;
        let metadata = pipeline.get_metadata();
        let size = pipeline.tokenizer().map(|tokenizer| tokenizer.get_vocab_size(true));
        let vocabulary = Vocabulary::new(metadata.tok_env(), size);
        let template = pipeline.get_chat_template();
        let reasons = template.is_some_and(|template| match &template.chat_template {
            None => false,
            Some(template) => match &template.0 {
                Either::Left(text) => tells_to_think(text),
                Either::Right(named) => {
                    named.iter().flat_map(|one| one.values()).any(|text| tells_to_think(text))
                }
            },
        });
        (metadata.max_seq_len as u64, vocabulary.context("a model without a tokenizer")?, reasons)
    };
    let model = build_model_from_pipeline(pipeline, scheduler, config).await;
    Ok(Loaded { model, kind, quantization, context_length, vocabulary, reasons })
}

/// Sentence-transformers' list of what comes behind the model: only embedding models have it.
fn is_embedding(path: &Path) -> bool {
    path.join("modules.json").is_file()
}

fn tells_to_think(template: &str) -> bool {
    ["enable_thinking", "reasoning_effort"].iter().any(|name| template.contains(name))
}

/// What mistral.rs makes a model of.
type Parts = (Arc<Mutex<dyn Pipeline>>, SchedulerConfig, AddModelConfig);

/// Whether a GPU is meant to be used: then mistral.rs picks it, and pages its attention.
pub(crate) const GPU: bool = cfg!(any(feature = "cuda", feature = "metal"));

/// As `GgufModelBuilder` does it, but for the type of the activations, which that one leaves to mistral.rs.
async fn gguf_parts(path: &Path, max_sequences: NonZeroUsize) -> anyhow::Result<Parts> {
    let file = path.file_name().and_then(|name| name.to_str()).context("the file's name is not text")?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.to_str().context("the folder's name is not text")?;
    let files = vec![file.to_owned()];
    let specific = GGUFSpecificConfig { topology: None };
    let loader = GGUFLoaderBuilder::new(None, None, folder.to_owned(), files, specific, false, None).build();
    // On a CPU mistral.rs would choose F16, and then convert number by number in its attention: prompts take
    // twice as long as in F32, answers half as long again.
    let activations = if GPU { ModelDType::Auto } else { ModelDType::F32 };
    let paged_attention = GPU.then(|| PagedAttentionMetaBuilder::default().build()).transpose()?;
    let pipeline = loader.load_model_from_hf(
        None,
        TokenSource::None,
        &activations,
        &best_device(!GPU)?,
        true,
        DeviceMapSetting::Auto(AutoDeviceMapParams::default_text()),
        None,
        paged_attention,
    )?;
    let cache = pipeline.lock().await.get_metadata().cache_config.clone();
    let scheduler = match cache {
        Some(config) if GPU => {
            SchedulerConfig::PagedAttentionMeta { max_num_seqs: max_sequences.get(), config }
        }
        _ => SchedulerConfig::DefaultScheduler { method: DefaultSchedulerMethod::Fixed(max_sequences) },
    };
    let engine =
        EngineConfig { no_prefix_cache: true, throughput_logging_enabled: false, ..EngineConfig::default() };
    Ok((pipeline, scheduler, AddModelConfig::new(engine)))
}

async fn text_parts(source: &str, max_sequences: NonZeroUsize) -> anyhow::Result<Parts> {
    let builder =
        TextModelBuilder::new(source).with_prefix_cache_n(None).with_max_num_seqs(max_sequences.get());
    let builder = if GPU {
        builder.with_paged_attn(PagedAttentionMetaBuilder::default().build()?)
    } else {
        builder.with_force_cpu()
    };
    build_text_pipeline(builder).await
}

async fn embedding_parts(source: &str, max_sequences: NonZeroUsize) -> anyhow::Result<Parts> {
    let builder = EmbeddingModelBuilder::new(source).with_max_num_seqs(max_sequences.get());
    let builder = if GPU { builder } else { builder.with_force_cpu().with_dtype(ModelDType::F32) };
    build_embedding_pipeline(builder).await
}

/// `owner/name`, in the characters the hub allows.
fn is_hub_id(source: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    source.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

fn gguf_quantization(path: &Path) -> anyhow::Result<String> {
    let mut file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
    let content = gguf_file::Content::read(&mut file)?;
    Ok(gguf::quantization(&content))
}

/// What `config.json` names, in a directory or in the hub's cache, where it lies once the model is loaded.
fn safetensors_quantization(source: &str) -> String {
    let path = match Path::new(source).join("config.json") {
        path if path.is_file() => Some(path),
        _ => {
            let cache = GLOBAL_HF_CACHE.get().cloned().unwrap_or_default();
            cache.model(source.to_owned()).get("config.json")
        }
    };
    let config = path.and_then(|path| std::fs::read(path).ok());
    config.map_or_else(|| "unknown".to_owned(), |config| config_quantization(&config))
}

fn config_quantization(config: &[u8]) -> String {
    let config: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    match &config["quantization_config"] {
        serde_json::Value::Null => "none".to_owned(),
        quantization => quantization["quant_method"].as_str().unwrap_or("unknown").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_it_reports_is_the_version_it_links() {
        let pinned = format!("mistralrs = {{ version = \"={MISTRALRS_VERSION}\"");
        assert!(include_str!("../Cargo.toml").contains(&pinned));
    }

    #[test]
    fn a_quantized_config_names_its_method() {
        assert_eq!(config_quantization(br#"{"model_type":"llama"}"#), "none");
        assert_eq!(config_quantization(br#"{"quantization_config":{"quant_method":"GPTQ"}}"#), "gptq");
        assert_eq!(config_quantization(br#"{"quantization_config":{}}"#), "unknown");
    }

    #[test]
    fn a_hub_id_is_owner_and_name() {
        assert!(is_hub_id("HuggingFaceTB/SmolLM2-135M-Instruct"));
        for other in ["model.gguf", "/models/x", "a/b/c", "../x", "a/", "a/b c"] {
            assert!(!is_hub_id(other), "{other}");
        }
    }
}
