//! The loaded model, as everything else here sees it.

use std::sync::{Arc, Mutex, PoisonError};

use cocoon_engine_api::{Generate, Message, PROTOCOL, Ready};
use either::Either;
use indexmap::IndexMap;
use mistralrs::core::{DetokenizationRequest, TokenizationRequest};
use mistralrs::{
    Constraint, CustomLogitsProcessor, MessageContent, Model, NormalRequest, Request, RequestMessage,
    Response, SamplingParams, StopTokens, Tensor,
};
use tokio::sync::mpsc;

use crate::model::{Description, MISTRALRS_VERSION};

/// Tokens that end a text in the vocabularies of common models. mistral.rs stops at the one its template
/// names; a model may as well end with another, and then would run on to the ceiling. (`<|end|>` is not
/// here: in the Harmony format an answer goes on behind it.)
const END_OF_TEXT: [&str; 11] = [
    "<|endoftext|>",
    "<|im_end|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|return|>",
    "<|EOT|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<｜end▁of▁sentence｜>",
];

/// Why tokens could not be counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenizeError {
    /// The chat template (or the tokenizer) does not take these messages. mistral.rs's own words are left
    /// out: they may quote the messages.
    #[error("the model's chat template refused the messages")]
    Refused,
    #[error("mistral.rs ended")]
    Died,
}

/// mistral.rs's engine thread has ended, by a panic. [`mistralrs::core::MistralRs::get_sender`] would start
/// another, with every stream lost and the model in whatever state the panic left it; so it is called once,
/// and the process ends instead.
#[derive(Debug, thiserror::Error)]
#[error("mistral.rs ended")]
pub(crate) struct Died;

/// A model that answers.
pub(crate) struct Engine {
    /// Dropping it ends the engine thread.
    _model: Model,
    requests: mpsc::Sender<Request>,
    description: Description,
    stop_tokens: Vec<u32>,
    /// One per generation: strong while mistral.rs holds the other end of its reply. There is no other way
    /// to know what runs.
    held: Mutex<Vec<mpsc::WeakSender<Response>>>,
}

impl Engine {
    /// # Errors
    /// Where mistral.rs does not answer.
    pub(crate) async fn new(model: Model, description: Description) -> anyhow::Result<Self> {
        let requests = model.inner().get_sender(None)?;
        let mut engine =
            Self { _model: model, requests, description, stop_tokens: Vec::new(), held: Mutex::default() };
        for name in END_OF_TEXT {
            engine.stop_tokens.extend(engine.special_token(name).await?);
        }
        Ok(engine)
    }

    /// What this engine says of itself.
    pub(crate) fn ready(&self) -> Ready {
        Ready {
            protocol: PROTOCOL,
            engine: "mistral.rs".to_owned(),
            engine_version: MISTRALRS_VERSION.to_owned(),
            quantization: self.description.quantization.clone(),
            context_length: self.description.context_length,
            prefix_cache: false,
        }
    }

    /// Prompt and completion tokens that fit together.
    pub(crate) fn context_length(&self) -> u64 {
        self.description.context_length
    }

    /// Tokens of these messages under the chat template, generation prompt included: what a generation of
    /// them reports as its prompt tokens.
    ///
    /// # Errors
    /// See [`TokenizeError`].
    pub(crate) async fn count_tokens(&self, messages: Vec<Message>) -> Result<u64, TokenizeError> {
        let tokens = self.tokenize(Either::Left(chat(messages)), true).await?;
        Ok(tokens.len() as u64)
    }

    /// Sequences that mistral.rs holds, waiting ones included.
    pub(crate) fn running(&self) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|reply| reply.strong_count() > 0);
        held.len() as u64
    }

    /// Whether mistral.rs has ended; where a reply ends without a word, this says why.
    pub(crate) fn has_died(&self) -> bool {
        self.requests.is_closed()
    }

    /// Resolves when mistral.rs ends.
    pub(crate) async fn died(&self) {
        self.requests.closed().await;
    }

    /// Starts a generation. The reply is a [`Response::Raw`] with nothing but the number of tokens of the
    /// sequence so far before each token, and a [`Response::Chunk`] after it where the token completed a
    /// character. Dropping the receiver ends the sequence at its next chunk.
    ///
    /// # Errors
    /// [`Died`].
    pub(crate) async fn generate(&self, request: Generate) -> Result<mpsc::Receiver<Response>, Died> {
        let max_tokens = request.max_tokens.min(self.context_length());
        let max_tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        // mistral.rs waits, with every sequence, where a reply is full: this one has room for all of it.
        let (reply, replies) = mpsc::channel(max_tokens.saturating_mul(2).saturating_add(8).min(1 << 30));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(reply.downgrade());

        let request = NormalRequest {
            messages: RequestMessage::Chat {
                messages: chat(request.messages),
                enable_thinking: None,
                reasoning_effort: None,
            },
            sampling_params: SamplingParams {
                // Left out it would mean 1, not greedy.
                temperature: Some(request.temperature),
                top_p: Some(request.top_p),
                max_len: Some(max_tokens),
                stop_toks: (!self.stop_tokens.is_empty()).then(|| StopTokens::Ids(self.stop_tokens.clone())),
                ..SamplingParams::neutral()
            },
            logits_processors: Some(vec![Arc::new(TokenCount { reply: reply.clone() })]),
            response: reply,
            return_logprobs: false,
            // Always: a reply that is not streamed and whose receiver is gone panics the engine thread.
            is_streaming: true,
            id: usize::try_from(request.id).unwrap_or_default(),
            constraint: Constraint::None,
            suffix: None,
            tools: None,
            tool_choice: None,
            return_raw_logits: false,
            web_search_options: None,
            model_id: None,
            truncate_sequence: false,
        };
        self.requests.send(Request::Normal(Box::new(request))).await.map_err(|_| Died)?;
        Ok(replies)
    }

    /// The token of this name, if the vocabulary has it as a special one.
    async fn special_token(&self, name: &str) -> anyhow::Result<Option<u32>> {
        let tokens = self.tokenize(Either::Right(name.to_owned()), false).await?;
        let [token] = tokens[..] else { return Ok(None) };
        let (response, mut text) = mpsc::channel(1);
        let request = DetokenizationRequest { tokens: vec![token], skip_special_tokens: true, response };
        self.requests.send(Request::Detokenize(request)).await.map_err(|_| Died)?;
        let text = text.recv().await.ok_or(Died)??;
        Ok(text.is_empty().then_some(token))
    }

    /// The future has to be driven to its end: mistral.rs panics where this reply's receiver is gone.
    async fn tokenize(
        &self,
        text: Either<Vec<IndexMap<String, MessageContent>>, String>,
        add_special_tokens: bool,
    ) -> Result<Vec<u32>, TokenizeError> {
        let (response, mut tokens) = mpsc::channel(1);
        let request = TokenizationRequest {
            text,
            tools: None,
            add_generation_prompt: true,
            add_special_tokens,
            enable_thinking: None,
            reasoning_effort: None,
            response,
        };
        self.requests.send(Request::Tokenize(request)).await.map_err(|_| TokenizeError::Died)?;
        let tokens = tokens.recv().await.ok_or(TokenizeError::Died)?;
        tokens.map_err(|_| TokenizeError::Refused)
    }
}

fn chat(messages: Vec<Message>) -> Vec<IndexMap<String, MessageContent>> {
    let text = |text| Either::Left(text);
    messages
        .into_iter()
        .map(|Message { role, content }| {
            IndexMap::from([("role".to_owned(), text(role)), ("content".to_owned(), text(content))])
        })
        .collect()
}

/// Tells the receiver of a reply how many tokens the sequence has, before each further token.
///
/// Chunks cannot be counted instead: a token that ends inside a character makes none, and only the last
/// chunk, which a cancelled sequence does not reach, carries usage. A logits processor is called once for
/// each token, and sends into the same channel as the engine, so that counts and chunks come in order.
struct TokenCount {
    reply: mpsc::Sender<Response>,
}

impl CustomLogitsProcessor for TokenCount {
    fn apply(&self, logits: &Tensor, context: &[u32]) -> mistralrs::Result<Tensor> {
        let tokens = vec![u32::try_from(context.len()).unwrap_or(u32::MAX)];
        // Never an error from here: it would end the sequences of other callers as well. A receiver that is
        // gone is noticed by the engine itself.
        let _ = self.reply.try_send(Response::Raw { logits_chunks: Vec::new(), tokens });
        Ok(logits.clone())
    }
}
