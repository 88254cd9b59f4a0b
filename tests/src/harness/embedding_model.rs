//! A tiny Qwen3-Embedding model of seeded random weights: no package carries a real one, and loading, pooling and the
//! whole path are the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// Numbers of a vector.
pub(crate) const DIMENSIONS: usize = 32;
/// Tokens of one input.
pub(crate) const CONTEXT: usize = 512;
const HEADS: usize = 2;
const HEAD: usize = DIMENSIONS / HEADS;
const INNER: usize = 64;
const LAYERS: usize = 2;
/// One token for each byte, and one for the end of a text.
const VOCABULARY: usize = 257;
const END: &str = "<|endoftext|>";

/// Writes the model's files into `folder`.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder.join("1_Pooling"))?;
    let files: [(&str, Value); 6] = [
        ("config.json", config()),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", json!({ "eos_token": END, "model_max_length": CONTEXT })),
        ("modules.json", modules()),
        ("1_Pooling/config.json", pooling()),
        ("config_sentence_transformers.json", json!({ "similarity_fn_name": "cosine" })),
    ];
    for (name, content) in files {
        std::fs::write(folder.join(name), content.to_string())?;
    }
    Ok(std::fs::write(folder.join("model.safetensors"), safetensors(&weights()))?)
}

fn config() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "torch_dtype": "float32",
        "vocab_size": VOCABULARY,
        "hidden_size": DIMENSIONS,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "sliding_window": null,
        "use_sliding_window": false,
        "max_window_layers": LAYERS,
        "tie_word_embeddings": true,
    })
}

fn modules() -> Value {
    let module = |idx: usize, path: &str, kind: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": kind })
    };
    json!([
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Normalize", "Normalize")
    ])
}

fn pooling() -> Value {
    json!({
        "word_embedding_dimension": DIMENSIONS,
        "pooling_mode_cls_token": false,
        "pooling_mode_mean_tokens": false,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "pooling_mode_lasttoken": true,
        "include_prompt": true,
    })
}

/// Byte-level BPE without a single merge, which ends every text with its end token as Qwen3's own does.
fn tokenizer() -> Value {
    let mut next = 256;
    // Bytes that are no visible character have one from 256 on as their name.
    let name = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    };
    let vocabulary: BTreeMap<String, u8> =
        (0..=255_u8).map(name).zip(0..=255).map(|(name, id)| (name.to_string(), id)).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 256, "content": END, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": END, "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { END: { "id": END, "ids": [256], "tokens": [END] } },
        },
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [],
        },
    })
}

/// Name, shape, numbers.
type Tensor = (String, Vec<usize>, Vec<f32>);

fn weights() -> Vec<Tensor> {
    let mut seed = 7_u64;
    let mut random = |name: String, shape: Vec<usize>| {
        let count: usize = shape.iter().product();
        let numbers = (0..count).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.4
        });
        (name, shape, numbers.collect())
    };
    let ones = |name: String, size: usize| (name, vec![size], vec![1.0; size]);
    let mut tensors = vec![
        random("embed_tokens.weight".into(), vec![VOCABULARY, DIMENSIONS]),
        ones("norm.weight".into(), DIMENSIONS),
    ];
    for layer in 0..LAYERS {
        let named = |name: &str| format!("layers.{layer}.{name}.weight");
        for (name, rows, columns) in [
            ("self_attn.q_proj", DIMENSIONS, DIMENSIONS),
            ("self_attn.k_proj", DIMENSIONS, DIMENSIONS),
            ("self_attn.v_proj", DIMENSIONS, DIMENSIONS),
            ("self_attn.o_proj", DIMENSIONS, DIMENSIONS),
            ("mlp.gate_proj", INNER, DIMENSIONS),
            ("mlp.up_proj", INNER, DIMENSIONS),
            ("mlp.down_proj", DIMENSIONS, INNER),
        ] {
            tensors.push(random(named(name), vec![rows, columns]));
        }
        tensors.push(ones(named("self_attn.q_norm"), HEAD));
        tensors.push(ones(named("self_attn.k_norm"), HEAD));
        tensors.push(ones(named("input_layernorm"), DIMENSIONS));
        tensors.push(ones(named("post_attention_layernorm"), DIMENSIONS));
    }
    tensors
}

/// The format's own layout: length of the header, header, numbers.
fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, numbers) in tensors {
        let begin = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] });
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The numbers begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()
}
