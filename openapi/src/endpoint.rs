//! The endpoints of OpenAI's API that run a model.

use crate::{CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, RESPONSES_PATH};

/// They differ in what bounds their cost; all else is the same for who sends a request on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
}

impl Endpoint {
    pub const ALL: [Self; 4] = [Self::ChatCompletions, Self::Completions, Self::Embeddings, Self::Responses];

    /// The same at the gateway and at a backend.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => CHAT_COMPLETIONS_PATH,
            Self::Completions => COMPLETIONS_PATH,
            Self::Embeddings => EMBEDDINGS_PATH,
            Self::Responses => RESPONSES_PATH,
        }
    }
}
