//! The loaded model, as everything else here sees it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use cocoon_engine_api::{Chat, Effort, Generate, Message, ModelKind, PROTOCOL, Prompt, Ready};
use either::Either;
use indexmap::IndexMap;
use mistralrs::core::{DetokenizationRequest, ReasoningEffort, TokenizationRequest};
use mistralrs::{
    Constraint, CustomLogitsProcessor, MessageContent, Model, NormalRequest, Request, RequestMessage,
    Response, SamplingParams, StopTokens,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::grammar;
use crate::model::{GPU, Loaded, MISTRALRS_VERSION};
use crate::sampler::Sampler;
use crate::vocabulary::Vocabulary;

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

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The chat template (or the tokenizer) does not take these messages. mistral.rs's own words are left
    /// out: they may quote the messages.
    #[error("the model's chat template refused the messages")]
    Prompt,
    #[error("a token is not one of this model's")]
    Token,
    #[error("this model does not do that")]
    Kind,
    #[error(transparent)]
    Schema(#[from] grammar::BadSchema),
    #[error(transparent)]
    Died(#[from] Died),
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
    ready: Ready,
    vocabulary: Vocabulary,
    stop_tokens: Vec<u32>,
    /// One per request: strong while it waits for its turn, and while mistral.rs holds the other end of its
    /// reply. There is no other way to know what runs.
    held: Mutex<Vec<mpsc::WeakSender<Response>>>,
    /// Turns of requests in mistral.rs: see [`turns`].
    turns: Arc<Semaphore>,
}

/// How many sequences mistral.rs may have at a time.
///
/// On a CPU one. Its attention there works on the sequences of a batch in one scratch buffer without a place
/// for each (`flash_attn_cpu_single_q` of mistral.rs 0.8.1): where two were decoded together, each was
/// answered with what the other had been told. One after the other is also faster there.
fn turns(max_sequences: NonZeroUsize) -> usize {
    if GPU { max_sequences.get() } else { 1 }
}

impl Engine {
    /// # Errors
    /// Where mistral.rs does not answer.
    pub(crate) async fn new(loaded: Loaded, max_sequences: NonZeroUsize) -> anyhow::Result<Self> {
        let Loaded { model, kind, quantization, context_length, vocabulary, reasons } = loaded;
        let requests = model.inner().get_sender(None)?;
        let ready = Ready {
            protocol: PROTOCOL,
            engine: "mistral.rs".to_owned(),
            engine_version: MISTRALRS_VERSION.to_owned(),
            kind,
            quantization,
            context_length,
            vocabulary: vocabulary.size(),
            reasons,
            prefix_cache: false,
        };
        let mut engine = Self {
            _model: model,
            requests,
            ready,
            vocabulary,
            stop_tokens: Vec::new(),
            held: Mutex::default(),
            turns: Arc::new(Semaphore::new(turns(max_sequences))),
        };
        if kind == ModelKind::Text {
            for name in END_OF_TEXT {
                engine.stop_tokens.extend(engine.special_token(name).await?);
            }
        }
        Ok(engine)
    }

    /// What this engine says of itself.
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Tokens of each prompt, with what the chat template or the tokenizer puts around it: what a generation
    /// of it reports as its prompt tokens.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) async fn count_tokens(&self, prompts: Vec<Prompt>) -> Result<Vec<u64>, Refusal> {
        let mut counts = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let tokens = match prompt {
                Prompt::Chat(chat) => {
                    let (thinking, effort) = thinking(chat.effort);
                    self.tokenize(Either::Left(messages(chat.messages)), true, thinking, effort).await?.len()
                }
                Prompt::Text { text } => self.tokenize(Either::Right(text), true, None, None).await?.len(),
                Prompt::Tokens { tokens } => self.own(&tokens).map(|()| tokens.len())?,
            };
            counts.push(tokens as u64);
        }
        Ok(counts)
    }

    /// mistral.rs decodes whatever it is given, and may panic over what is no token of the model.
    fn own(&self, tokens: &[u32]) -> Result<(), Refusal> {
        let own = tokens.iter().all(|token| *token < self.vocabulary.size());
        own.then_some(()).ok_or(Refusal::Token)
    }

    /// Requests that wait for their turn or that mistral.rs holds.
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

    /// Starts a generation. The reply has a [`crate::sampler::Chosen`] before each token (two, where a constraint
    /// forbade the first), and a chunk after it where the token completed a character. Dropping the receiver
    /// ends the sequence at its next chunk; dropping the future gives its place in the queue up.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn generate(&self, request: Generate) -> Result<mpsc::Receiver<Response>, Refusal> {
        let max_tokens = request.max_tokens.min(self.ready.context_length);
        let max_tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        let constraint = grammar::constraint(request.constraint.as_ref())?;
        let message = match request.prompt {
            Prompt::Chat(chat) => chat_message(chat),
            Prompt::Text { text } => RequestMessage::Completion { text, echo_prompt: false, best_of: None },
            Prompt::Tokens { tokens } => {
                self.own(&tokens)?;
                RequestMessage::CompletionTokens(tokens)
            }
        };
        // mistral.rs waits, with every sequence, where a reply is full: this one has room for all of it.
        let (reply, replies) = mpsc::channel(max_tokens.saturating_mul(3).saturating_add(8).min(1 << 30));
        let turn = self.turn(&reply).await?;
        // The sampler is dropped with its sequence: until then nobody else has the turn, hang-up or not.
        let sampler = Sampler::processor(reply.clone(), request.sampling, request.logprobs, turn);
        let sampling = SamplingParams {
            // Left out it would mean 1, not greedy. The sampler has left but one token to choose.
            temperature: Some(0.0),
            max_len: Some(max_tokens),
            stop_toks: (!self.stop_tokens.is_empty()).then(|| StopTokens::Ids(self.stop_tokens.clone())),
            ..SamplingParams::neutral()
        };
        self.send(request.id, message, sampling, constraint, Some(sampler), reply).await?;
        Ok(replies)
    }

    /// The vector of one input. The future has to be driven to its end: mistral.rs panics where this reply's
    /// receiver is gone.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn embed(&self, id: u64, input: Prompt) -> Result<Response, Refusal> {
        let message = match input {
            Prompt::Text { text } => RequestMessage::Embedding { prompt: text },
            Prompt::Tokens { tokens } => {
                self.own(&tokens)?;
                RequestMessage::EmbeddingTokens { prompt: tokens }
            }
            Prompt::Chat(_) => return Err(Refusal::Kind),
        };
        let (reply, mut replies) = mpsc::channel(1);
        let _turn = self.turn(&reply).await?;
        self.send(id, message, SamplingParams::neutral(), Constraint::None, None, reply).await?;
        replies.recv().await.ok_or(Refusal::Died(Died))
    }

    /// Waits, first come first served.
    async fn turn(&self, reply: &mpsc::Sender<Response>) -> Result<OwnedSemaphorePermit, Died> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(reply.downgrade());
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Died)
    }

    async fn send(
        &self,
        id: u64,
        messages: RequestMessage,
        sampling_params: SamplingParams,
        constraint: Constraint,
        sampler: Option<Arc<dyn CustomLogitsProcessor>>,
        response: mpsc::Sender<Response>,
    ) -> Result<(), Died> {
        let request = NormalRequest {
            // A generation always streams: a reply that is not streamed and whose receiver is gone panics the
            // engine thread.
            is_streaming: sampler.is_some(),
            messages,
            sampling_params,
            response,
            return_logprobs: false,
            id: usize::try_from(id).unwrap_or_default(),
            constraint,
            suffix: None,
            tools: None,
            tool_choice: None,
            logits_processors: sampler.map(|sampler| vec![sampler]),
            return_raw_logits: false,
            web_search_options: None,
            model_id: None,
            truncate_sequence: false,
        };
        self.requests.send(Request::Normal(Box::new(request))).await.map_err(|_| Died)
    }

    /// The token of this name, if the vocabulary has it as a special one.
    async fn special_token(&self, name: &str) -> anyhow::Result<Option<u32>> {
        let tokens = self.tokenize(Either::Right(name.to_owned()), false, None, None).await?;
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
        enable_thinking: Option<bool>,
        reasoning_effort: Option<ReasoningEffort>,
    ) -> Result<Vec<u32>, Refusal> {
        let (response, mut tokens) = mpsc::channel(1);
        let request = TokenizationRequest {
            text,
            tools: None,
            add_generation_prompt: true,
            add_special_tokens,
            enable_thinking,
            reasoning_effort,
            response,
        };
        self.requests.send(Request::Tokenize(request)).await.map_err(|_| Died)?;
        let tokens = tokens.recv().await.ok_or(Died)?;
        tokens.map_err(|_| Refusal::Prompt)
    }
}

fn chat_message(chat: Chat) -> RequestMessage {
    let (enable_thinking, reasoning_effort) = thinking(chat.effort);
    RequestMessage::Chat { messages: messages(chat.messages), enable_thinking, reasoning_effort }
}

/// As chat templates take it: whether to think, and how much.
fn thinking(effort: Option<Effort>) -> (Option<bool>, Option<ReasoningEffort>) {
    match effort {
        None => (None, None),
        Some(Effort::None | Effort::Minimal) => (Some(false), Some(ReasoningEffort::Low)),
        Some(Effort::Low) => (Some(true), Some(ReasoningEffort::Low)),
        Some(Effort::Medium) => (Some(true), Some(ReasoningEffort::Medium)),
        Some(Effort::High) => (Some(true), Some(ReasoningEffort::High)),
    }
}

fn messages(messages: Vec<Message>) -> Vec<IndexMap<String, MessageContent>> {
    let text = |text| Either::Left(text);
    messages
        .into_iter()
        .map(|Message { role, content }| {
            IndexMap::from([("role".to_owned(), text(role)), ("content".to_owned(), text(content))])
        })
        .collect()
}
