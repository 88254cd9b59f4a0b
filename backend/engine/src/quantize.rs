//! Re-quantizes the weights of a GGUF file that candle has no vector code for.
//!
//! candle multiplies Q4_0, Q8_0 and the K-quants with AVX2, and the formats of [`SLOW`] one number at a
//! time. As Q8_0, which loses next to nothing of them, they take more memory and far less time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};

use crate::gguf::MOSTLY_Q8_0;

/// Formats that candle has no vector code for.
const SLOW: [GgmlDType; 3] = [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1];

/// Why a file was not re-quantized.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuantizeError {
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("not a GGUF file that can be re-quantized: {0}")]
    Gguf(#[from] candle_core::Error),
    #[error("no tensor of it is Q4_1, Q5_0 or Q5_1")]
    NothingToDo,
}

/// Writes `output`: `input` with its slow tensors as Q8_0, everything else (norms, metadata, tokenizer, chat
/// template) as it was. `output` appears whole or not at all. Returns how many tensors changed.
///
/// # Errors
/// See [`QuantizeError`].
pub(crate) fn quantize(input: &Path, output: &Path) -> Result<usize, QuantizeError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| QuantizeError::File(path, error)
    };
    let mut reader = BufReader::new(File::open(input).map_err(at(input))?);
    let content = Content::read(&mut reader)?;
    let mut changed = 0;
    let mut tensors = Vec::with_capacity(content.tensor_infos.len());
    for name in in_file_order(&content) {
        let mut tensor = content.tensor(&mut reader, name, &Device::Cpu)?;
        if SLOW.contains(&tensor.dtype()) {
            tensor = QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, GgmlDType::Q8_0)?;
            changed += 1;
        }
        tensors.push((name, tensor));
    }
    if changed == 0 {
        return Err(QuantizeError::NothingToDo);
    }

    let mut partial = output.as_os_str().to_owned();
    partial.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let written = write(&partial, &metadata(&content), &tensors)
        .and_then(|()| fs::rename(&partial, output).map_err(at(output)));
    if written.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| changed)
}

fn in_file_order(content: &Content) -> Vec<&str> {
    let mut names: Vec<_> =
        content.tensor_infos.iter().map(|(name, info)| (info.offset, name.as_str())).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

fn metadata(content: &Content) -> HashMap<String, Value> {
    let mut metadata = content.metadata.clone();
    metadata.insert("general.file_type".to_owned(), Value::U32(MOSTLY_Q8_0));
    // candle writes at the default alignment, whatever the file it read had.
    metadata.remove("general.alignment");
    metadata
}

fn write(
    path: &Path,
    metadata: &HashMap<String, Value>,
    tensors: &[(&str, QTensor)],
) -> Result<(), QuantizeError> {
    let at_path = |error| QuantizeError::File(path.to_owned(), error);
    let mut metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    metadata.sort_unstable_by_key(|(key, _)| *key);
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let mut writer = BufWriter::new(File::create(path).map_err(at_path)?);
    gguf_file::write(&mut writer, &metadata, &tensors)?;
    writer.flush().map_err(at_path)?;
    writer.get_ref().sync_all().map_err(at_path)
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    /// A folder of its own for one test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("cocoon-{test}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn weights(rows: usize) -> Tensor {
        let values = (0..rows * 64).map(|n| (n as f32 * 0.7).sin()).collect();
        Tensor::from_vec(values, (rows, 64), &Device::Cpu).unwrap()
    }

    fn write_model(path: &Path, dtype: GgmlDType) {
        let metadata = HashMap::from([
            ("general.architecture".to_owned(), Value::String("llama".to_owned())),
            ("general.file_type".to_owned(), Value::U32(3)),
            ("general.alignment".to_owned(), Value::U32(32)),
            ("tokenizer.chat_template".to_owned(), Value::String("{{ messages }}".to_owned())),
            ("tokenizer.ggml.scores".to_owned(), Value::Array(vec![Value::F32(0.5), Value::F32(-1.0)])),
        ]);
        let norm = Tensor::arange(0f32, 64.0, &Device::Cpu).unwrap();
        let tensors = [
            ("output_norm.weight", QTensor::quantize(&norm, GgmlDType::F32).unwrap()),
            ("blk.0.up.weight", QTensor::quantize(&weights(3), dtype).unwrap()),
            ("token_embd.weight", QTensor::quantize(&weights(5), GgmlDType::Q8_0).unwrap()),
        ];
        write(path, &metadata, &tensors).unwrap();
    }

    #[test]
    fn slow_weights_become_q8_0_and_everything_else_stays() {
        let folder = Folder::new("quantize");
        let (input, output) = (folder.0.join("in.gguf"), folder.0.join("out.gguf"));
        write_model(&input, GgmlDType::Q4_1);
        assert_eq!(quantize(&input, &output).unwrap(), 1);

        let read = |path: &Path| {
            let mut file = File::open(path).unwrap();
            let content = Content::read(&mut file).unwrap();
            let tensor = |name: &str, file: &mut File| content.tensor(file, name, &Device::Cpu).unwrap();
            let tensors = ["output_norm.weight", "blk.0.up.weight", "token_embd.weight"]
                .map(|name| tensor(name, &mut file));
            (content, tensors)
        };
        let (before, [norm_before, up_before, embedding_before]) = read(&input);
        let (after, [norm, up, embedding]) = read(&output);

        assert_eq!(up.dtype(), GgmlDType::Q8_0);
        assert_eq!(up.shape(), up_before.shape());
        let values = |tensor: &QTensor| -> Vec<f32> {
            tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        for (old, new) in values(&up_before).iter().zip(values(&up)) {
            assert!((old - new).abs() < 0.01, "{old} became {new}");
        }
        assert_eq!(norm.dtype(), GgmlDType::F32);
        assert_eq!(norm.data().unwrap(), norm_before.data().unwrap());
        assert_eq!(embedding.data().unwrap(), embedding_before.data().unwrap());

        assert_eq!(crate::gguf::quantization(&after), "q8_0");
        let kept = |content: &Content| {
            let mut kept = content.metadata.clone();
            kept.remove("general.file_type");
            kept.remove("general.alignment");
            let mut kept: Vec<_> = kept.into_iter().map(|(key, value)| format!("{key} {value:?}")).collect();
            kept.sort();
            kept
        };
        assert_eq!(kept(&after), kept(&before));
    }

    #[test]
    fn a_file_that_cannot_be_re_quantized_leaves_nothing_behind() {
        let folder = Folder::new("quantize-refused");
        let (input, output) = (folder.0.join("in.gguf"), folder.0.join("out.gguf"));
        write_model(&input, GgmlDType::Q8_0);
        assert!(matches!(quantize(&input, &output), Err(QuantizeError::NothingToDo)));
        fs::write(&input, b"not a model").unwrap();
        assert!(matches!(quantize(&input, &output), Err(QuantizeError::Gguf(_))));
        write_model(&input, GgmlDType::Q4_1);
        fs::create_dir(&output).unwrap();
        assert!(matches!(quantize(&input, &output), Err(QuantizeError::File(..))), "a folder is in the way");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "in.gguf and the folder");
    }
}
