//! What `cocoon-backend` and its engine say to each other.
//!
//! The engine is a child process: commands arrive on its standard input, events leave on its standard
//! output, and its log goes to standard error. Each message is one frame, `u32be length ‖ JSON`.
//! End of input means "end now": an engine never outlives its backend.
//!
//! The engine knows tokens and nothing of money, accounts or HTTP. The backend asks for the prompt's
//! length first ([`Command::Tokenize`]), works out how many tokens may follow, and only then generates.
//!
//! JSON that a caller wrote (schemas) travels as text, so that nothing reorders or rounds it.

mod frame;

pub use frame::{FrameDecoder, FrameError, MAX_FRAME, encode};

use serde::{Deserialize, Serialize};

/// Version of this protocol; a backend refuses an engine that reports another.
pub const PROTOCOL: u32 = 2;

/// Names one exchange; chosen by the backend, unique for the life of an engine process.
pub type Id = u64;

/// Backend to engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Count the tokens of each prompt, all that is put around it included: what a generation or an
    /// embedding of it would process. Answered by [`Event::Tokenized`] or [`Event::Failed`].
    Tokenize { id: Id, prompts: Vec<Prompt> },
    /// Generate one completion. Answered by any number of [`Event::Text`] and exactly one of
    /// [`Event::Done`] and [`Event::Failed`].
    Generate(Generate),
    /// Embed each input ([`Prompt::Text`] or [`Prompt::Tokens`]). Answered by one [`Event::Embedding`] for
    /// each, in order, and exactly one of [`Event::Done`] and [`Event::Failed`].
    Embed { id: Id, inputs: Vec<Prompt> },
    /// Stop a generation or an embedding early. It still ends with [`Event::Done`], finish
    /// [`Finish::Cancelled`], unless it ended by itself first. An unknown id is ignored.
    Cancel { id: Id },
    /// How many sequences run. Answered by [`Event::Status`].
    Status { id: Id },
}

/// What a model is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Prompt {
    /// Rendered by the model's chat template, generation prompt included.
    Chat(Chat),
    /// As it is.
    Text { text: String },
    /// Tokens of the model's own vocabulary.
    Tokens { tokens: Vec<u32> },
}

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    pub messages: Vec<Message>,
    /// How much a model that thinks shall think; none leaves it to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
}

/// One chat message, already reduced to text: tools are described, called and answered in the text, because
/// few chat templates know them and mistral.rs hands them on in an order that changes from call to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

/// OpenAI's `reasoning_effort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
}

/// What to generate, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    pub id: Id,
    pub prompt: Prompt,
    /// Ceiling of completion tokens, at least 1; prompt and ceiling together fit the context.
    pub max_tokens: u64,
    pub sampling: Sampling,
    /// Strings that end the text; none of them is part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Report each token's log probability and those of so many alternatives (0 to 20).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
}

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy decoding.
    pub temperature: f64,
    /// Nucleus sampling, in (0, 1].
    pub top_p: f64,
    /// The same seed, request and model give the same text; none is a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Subtracted from the logit of a token that the completion has already.
    #[serde(default)]
    pub presence_penalty: f64,
    /// Subtracted once for each time that the completion has it.
    #[serde(default)]
    pub frequency_penalty: f64,
    /// Added to the logits of these tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logit_bias: Vec<(u32, f64)>,
}

impl Default for Sampling {
    /// OpenAI's defaults.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            seed: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
        }
    }
}

/// What the text must be. A text that is complete ends the generation, with [`Finish::Stop`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that this JSON Schema (JSON text) describes.
    JsonSchema { schema: String },
    /// `{"name": …, "arguments": …}`: a call of one of these functions.
    Call { functions: Vec<Function> },
}

/// A function the text may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    /// JSON Schema of its arguments, as JSON text.
    pub parameters: String,
}

/// Engine to backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// First message of an engine, sent once the model is loaded and can answer.
    Ready(Ready),
    /// One count for each prompt, in order.
    Tokenized {
        id: Id,
        tokens: Vec<u64>,
    },
    /// More text of a generation, and the completion tokens generated so far (cumulative). The text is cut
    /// at character boundaries and may be empty while stop strings are held back.
    Text {
        id: Id,
        text: String,
        completion_tokens: u64,
        /// The tokens that the text is made of, where they were asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        logprobs: Vec<TokenLogprob>,
    },
    /// One input, embedded: not of unit length unless the model makes it so.
    Embedding {
        id: Id,
        vector: Vec<f32>,
    },
    /// The generation or the embedding ended.
    Done {
        id: Id,
        finish: Finish,
        usage: Usage,
    },
    /// The exchange failed; `usage` is what had been processed until then.
    Failed {
        id: Id,
        kind: FailureKind,
        message: String,
        usage: Usage,
    },
    Status {
        id: Id,
        running: u64,
    },
}

/// A token that was generated, and what else it might have been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    #[serde(flatten)]
    pub token: Alternative,
    /// Most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Alternative>,
}

/// A token and the natural logarithm of its probability, as the model gave it: before temperature,
/// penalties and bias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    pub logprob: f64,
}

/// What an engine says of itself when it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub protocol: u32,
    /// `mistral.rs`, or `scripted` for the tests' own.
    pub engine: String,
    pub engine_version: String,
    pub kind: ModelKind,
    /// Quantization of the weights as the file states it, such as `q8_0`; `none` where there is none.
    pub quantization: String,
    /// Prompt and completion tokens that fit together; for embeddings, tokens of one input.
    pub context_length: u64,
    /// Tokens in the vocabulary: every id is below it.
    pub vocabulary: u32,
    /// Whether the model can be told how much to think ([`Chat::effort`]).
    pub reasons: bool,
    /// Whether computed prefixes are shared between requests, a timing channel between callers.
    pub prefix_cache: bool,
}

/// What a model makes of its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Text,
    Embedding,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// End of text, a stop string, a constraint that is fulfilled, or the last input embedded.
    Stop,
    /// The token ceiling.
    Length,
    /// [`Command::Cancel`]. Before the first token its usage is 0 and 0, though the prompt may have been
    /// processed; the backend knows the prompt's length from [`Event::Tokenized`].
    Cancelled,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The caller asked for something this model cannot do.
    InvalidRequest,
    /// The engine broke.
    Internal,
}

/// Tokens processed for one generation. A token that ends the text counts as one of the completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}
