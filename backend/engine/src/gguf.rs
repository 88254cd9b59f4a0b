//! What a GGUF file says of its weights.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};

/// `general.file_type` of a file whose weights are mostly Q8_0.
pub(crate) const MOSTLY_Q8_0: u32 = 7;

/// Names of `general.file_type` (the `LLAMA_FTYPE_…` of llama.cpp's `llama.h`, in lower case).
const FILE_TYPES: [(u32, &str); 18] = [
    (0, "f32"),
    (1, "f16"),
    (2, "q4_0"),
    (3, "q4_1"),
    (MOSTLY_Q8_0, "q8_0"),
    (8, "q5_0"),
    (9, "q5_1"),
    (10, "q2_k"),
    (11, "q3_k_s"),
    (12, "q3_k_m"),
    (13, "q3_k_l"),
    (14, "q4_k_s"),
    (15, "q4_k_m"),
    (16, "q5_k_s"),
    (17, "q5_k_m"),
    (18, "q6_k"),
    (21, "q2_k_s"),
    (32, "bf16"),
];

/// The quantization a file states, or where it states none, the one that most of its weights have.
pub(crate) fn quantization(content: &Content) -> String {
    let file_type = content.metadata.get("general.file_type").and_then(file_type_number);
    let stated = FILE_TYPES.iter().find(|(number, _)| Some(*number) == file_type);
    stated.map_or_else(|| dominant(content), |(_, name)| (*name).to_owned())
}

fn file_type_number(value: &Value) -> Option<u32> {
    value.to_u64().ok().and_then(|number| u32::try_from(number).ok())
}

fn dominant(content: &Content) -> String {
    let mut elements: Vec<(GgmlDType, usize)> = Vec::new();
    for tensor in content.tensor_infos.values() {
        let count = tensor.shape.elem_count();
        match elements.iter_mut().find(|(dtype, _)| *dtype == tensor.ggml_dtype) {
            Some((_, sum)) => *sum += count,
            None => elements.push((tensor.ggml_dtype, count)),
        }
    }
    let most = elements.into_iter().max_by_key(|(_, count)| *count);
    most.map_or_else(|| "unknown".to_owned(), |(dtype, _)| format!("{dtype:?}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Shape;
    use candle_core::quantized::gguf_file::{TensorInfo, VersionedMagic};

    use super::*;

    fn content(file_type: Option<u32>) -> Content {
        let tensor =
            |ggml_dtype, rows: usize| TensorInfo { ggml_dtype, shape: Shape::from((rows, 32)), offset: 0 };
        Content {
            magic: VersionedMagic::GgufV3,
            metadata: file_type
                .map(|number| ("general.file_type".to_owned(), Value::U32(number)))
                .into_iter()
                .collect(),
            tensor_infos: HashMap::from([
                ("norm".to_owned(), tensor(GgmlDType::F32, 1)),
                ("up".to_owned(), tensor(GgmlDType::Q5_1, 3)),
                ("down".to_owned(), tensor(GgmlDType::Q5_1, 3)),
                ("embedding".to_owned(), tensor(GgmlDType::Q8_0, 5)),
            ]),
            tensor_data_offset: 0,
        }
    }

    #[test]
    fn a_file_is_what_it_states_and_else_what_most_of_it_is() {
        assert_eq!(quantization(&content(Some(3))), "q4_1");
        assert_eq!(quantization(&content(Some(15))), "q4_k_m");
        assert_eq!(quantization(&content(None)), "q5_1");
        assert_eq!(quantization(&content(Some(4711))), "q5_1");
    }
}
