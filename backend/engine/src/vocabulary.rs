//! The tokens of a model, as bytes.

use mistralrs::core::llguidance::toktrie::{TokEnv, TokTrie};

/// Knows what every token stands for.
#[derive(Clone)]
pub(crate) struct Vocabulary {
    /// None for a model that writes no text.
    tokens: Option<TokEnv>,
    size: u32,
}

impl Vocabulary {
    /// `size` is the tokenizer's own word, for a model that writes no text. None where there is neither.
    pub(crate) fn new(tokens: Option<TokEnv>, size: Option<usize>) -> Option<Self> {
        let size = tokens.as_ref().map(|tokens| tokens.tok_trie().vocab_size()).or(size)?;
        Some(Self { tokens, size: u32::try_from(size).unwrap_or(u32::MAX) })
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { tokens: None, size: 0 }
    }

    /// Every token's id is below it.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// What a token adds to a text: nothing, where it is a special one.
    pub(crate) fn text(&self, token: u32) -> Vec<u8> {
        self.bytes(token).filter(|bytes| !is_special(bytes)).unwrap_or_default().to_vec()
    }

    /// What a token is called: its bytes, or the name of a special one.
    pub(crate) fn name(&self, token: u32) -> Vec<u8> {
        let bytes = self.bytes(token).unwrap_or_default();
        bytes.strip_prefix(&[TokTrie::SPECIAL_TOKEN_MARKER]).unwrap_or(bytes).to_vec()
    }

    fn bytes(&self, token: u32) -> Option<&[u8]> {
        (token < self.size).then_some(self.tokens.as_ref()?.tok_trie().token(token))
    }
}

fn is_special(bytes: &[u8]) -> bool {
    bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER)
}
