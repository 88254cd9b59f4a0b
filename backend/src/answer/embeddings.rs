//! Embeddings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_openapi::embedding::{Embedding, EmbeddingUsage, Embeddings, Vector};

use super::{Stamp, json};
use crate::request::Encoding;

/// The answer. `dimensions` leading numbers of each vector are kept, and made a unit vector again: models that are
/// trained for it lose little so.
pub(crate) fn embeddings(
    stamp: Stamp,
    vectors: Vec<Vec<f32>>,
    encoding: Encoding,
    dimensions: Option<usize>,
    prompt_tokens: u64,
) -> Vec<u8> {
    let embedding = |(index, vector): (usize, Vec<f32>)| {
        let vector = match dimensions {
            Some(dimensions) => shortened(vector, dimensions),
            None => vector,
        };
        Embedding {
            object: "embedding".to_owned(),
            embedding: match encoding {
                Encoding::Float => Vector::Numbers(vector),
                Encoding::Base64 => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                    Vector::Base64(STANDARD.encode(bytes))
                }
            },
            index: index as u32,
        }
    };
    json(&Embeddings {
        object: "list".to_owned(),
        data: vectors.into_iter().enumerate().map(embedding).collect(),
        model: stamp.model,
        usage: EmbeddingUsage { prompt_tokens, total_tokens: prompt_tokens },
    })
}

fn shortened(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    vector.truncate(dimensions);
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for number in &mut vector {
            *number = (f64::from(*number) / length) as f32;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_numbers_or_their_bytes() {
        let stamp = Stamp {
            request: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            created: 5,
            model: "m".into(),
            fingerprint: String::new(),
        };
        let numbers = embeddings(stamp.clone(), vec![vec![3.0, 4.0, 9.0]], Encoding::Float, Some(2), 7);
        let expected = r#"{"object":"list","data":[{"object":"embedding","embedding":[0.6,0.8],"index":0}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#;
        assert_eq!(String::from_utf8(numbers).unwrap(), expected);
        let bytes = embeddings(stamp, vec![vec![1.0]], Encoding::Base64, None, 7);
        assert!(String::from_utf8(bytes).unwrap().contains(r#""embedding":"AACAPw==""#));
    }
}
