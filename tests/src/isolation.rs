//! What runs at the same time on one engine does not show in each other's answers.

use anyhow::ensure;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::harness::{Engine, MODEL, Settings, Stack, chat};

/// Guards against: sequences that are decoded together and see each other's context, as mistral.rs's do on a CPU. Alone
/// and beside others, an answer at temperature 0 is the same.
pub(crate) async fn answers_are_the_same_alone_and_beside_others() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let client = stack.client();
    let complete = async |prompt: &str| {
        let body = json!({ "model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": 16 });
        let (status, _, answer) = client.post_json("/completions", &body).await?;
        ensure!(status == 200, "{answer}");
        Ok(answer["choices"][0]["text"].clone())
    };
    let converse = async |about: &str| {
        let body = chat(&format!("Tell me a story about {about}."), json!({ "max_tokens": 24 }));
        let (status, _, answer) = client.complete(&body).await?;
        ensure!(status == 200, "{answer}");
        Ok(answer["choices"][0]["message"]["content"].clone())
    };
    // Of different and of the same length: mistral.rs batches what has become equally long.
    let texts = ["The sky is", "Once upon a time", "The sea is", "The capital of France is", "My dog"];
    let stories = ["a dragon", "the sea", "my cat", "an old king", "a train", "two brothers"];
    let (mut alone, mut told) = (Vec::new(), Vec::new());
    for text in texts {
        alone.push(complete(text).await?);
    }
    for story in stories {
        told.push(converse(story).await?);
    }
    for _ in 0..2 {
        let (beside, told_beside) =
            tokio::try_join!(try_join_all(texts.map(&complete)), try_join_all(stories.map(&converse)))?;
        for (at, text) in texts.iter().enumerate() {
            ensure!(beside[at] == alone[at], "{text}: alone {}, beside others {}", alone[at], beside[at]);
        }
        for (at, story) in stories.iter().enumerate() {
            ensure!(
                told_beside[at] == told[at],
                "{story}: alone {}, beside others {}",
                told[at],
                told_beside[at]
            );
        }
    }
    Ok(())
}
