//! What `cocoon-backend` and its engine say to each other.
//!
//! The engine is a child process: commands arrive on its standard input, events leave on its standard
//! output, and its log goes to standard error. Each message is one frame, `u32be length ‖ JSON`.
//! End of input means "end now": an engine never outlives its backend.
//!
//! The engine knows tokens and nothing of money, accounts or HTTP. The backend asks for the prompt's
//! length first ([`Command::Tokenize`]), works out how many tokens may follow, and only then generates.

mod frame;

pub use frame::{FrameDecoder, FrameError, MAX_FRAME, encode};

use serde::{Deserialize, Serialize};

/// Version of this protocol; a backend refuses an engine that reports another.
pub const PROTOCOL: u32 = 1;

/// Names one exchange; chosen by the backend, unique for the life of an engine process.
pub type Id = u64;

/// Backend to engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Count the tokens of these messages under the model's chat template, generation prompt included.
    /// Answered by [`Event::Tokenized`] or [`Event::Failed`].
    Tokenize { id: Id, messages: Vec<Message> },
    /// Generate one completion. Answered by any number of [`Event::Text`] and exactly one of
    /// [`Event::Done`] and [`Event::Failed`].
    Generate(Generate),
    /// Stop a generation early. It still ends with [`Event::Done`], finish [`Finish::Cancelled`], unless it
    /// ended by itself first. An unknown id is ignored.
    Cancel { id: Id },
    /// How many sequences run. Answered by [`Event::Status`].
    Status { id: Id },
}

/// One chat message, already reduced to text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

/// What to generate, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    pub id: Id,
    pub messages: Vec<Message>,
    /// Ceiling of completion tokens, at least 1; prompt and ceiling together fit the context.
    pub max_tokens: u64,
    /// 0 is greedy decoding.
    pub temperature: f64,
    /// Nucleus sampling, in (0, 1].
    pub top_p: f64,
    /// Strings that end the text; none of them is part of it.
    pub stop: Vec<String>,
}

/// Engine to backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// First message of an engine, sent once the model is loaded and can answer.
    Ready(Ready),
    Tokenized {
        id: Id,
        tokens: u64,
    },
    /// More text of a generation, and the completion tokens generated so far (cumulative). The text is cut
    /// at character boundaries and may be empty while stop strings are held back.
    Text {
        id: Id,
        text: String,
        completion_tokens: u64,
    },
    /// The generation ended.
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

/// What an engine says of itself when it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub protocol: u32,
    /// `mistral.rs`, or `scripted` for the tests' own.
    pub engine: String,
    pub engine_version: String,
    /// Quantization of the weights as the file states it, such as `q8_0`; `none` where there is none.
    pub quantization: String,
    /// Prompt and completion tokens that fit together.
    pub context_length: u64,
    /// Whether computed prefixes are shared between requests, a timing channel between callers.
    pub prefix_cache: bool,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// End of text, or a stop string.
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
