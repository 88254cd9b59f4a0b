//! What one request has used, within what it may use.

use cocoon_receipts::Usage;

/// The engine generated more than it was allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine went over the ceiling")]
pub(crate) struct Overrun;

/// Counts. A prompt is charged, once however many choices it has, when the engine has begun to answer it, or the reader
/// left while it worked on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    prompts: Vec<Prompt>,
    /// Choices of each prompt.
    per_prompt: usize,
    /// Completion tokens of each choice, prompt by prompt.
    completions: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Prompt {
    tokens: u64,
    /// Most completion tokens of each of its choices.
    ceiling: u64,
    /// The engine was given it.
    started: bool,
    charged: bool,
}

impl Meter {
    /// `prompts` are the tokens of each and the ceiling of each of its `choices`.
    pub(crate) fn new(prompts: impl IntoIterator<Item = (u64, u64)>, choices: usize) -> Self {
        let prompts: Vec<Prompt> = prompts
            .into_iter()
            .map(|(tokens, ceiling)| Prompt { tokens, ceiling, started: false, charged: false })
            .collect();
        let completions = vec![0; prompts.len() * choices];
        Self { prompts, per_prompt: choices.max(1), completions }
    }

    fn prompt(&mut self, choice: usize) -> Option<&mut Prompt> {
        self.prompts.get_mut(choice / self.per_prompt)
    }

    /// The engine works on a choice.
    pub(crate) fn started(&mut self, choice: usize) {
        if let Some(prompt) = self.prompt(choice) {
            prompt.started = true;
        }
    }

    /// The engine's count of a choice's completion tokens, which only grows.
    ///
    /// # Errors
    /// [`Overrun`]; what is charged then stays within the ceiling, because no higher cost may be signed.
    pub(crate) fn generated(&mut self, choice: usize, completion: u64) -> Result<(), Overrun> {
        let prompt = self.prompt(choice).ok_or(Overrun)?;
        if completion > prompt.ceiling {
            return Err(Overrun);
        }
        prompt.charged = true;
        let counted = self.completions.get_mut(choice).ok_or(Overrun)?;
        *counted = completion.max(*counted);
        Ok(())
    }

    /// The engine's last word on a choice.
    ///
    /// # Errors
    /// [`Overrun`], as before.
    pub(crate) fn ended(&mut self, choice: usize, usage: cocoon_engine_api::Usage) -> Result<(), Overrun> {
        if usage.prompt_tokens == 0 && usage.completion_tokens == 0 {
            return Ok(());
        }
        let counted = self.prompt(choice).map(|prompt| prompt.tokens).unwrap_or_default();
        if usage.prompt_tokens != counted {
            let processed = usage.prompt_tokens;
            tracing::error!(counted, processed, "the engine's prompt has another length than it counted");
        }
        self.generated(choice, usage.completion_tokens)
    }

    /// The reader left while the engine worked for it: what it works on is charged, or leaving early would be free
    /// work.
    pub(crate) fn abandoned(&mut self) {
        for prompt in self.prompts.iter_mut().filter(|prompt| prompt.started) {
            prompt.charged = true;
        }
    }

    /// Nothing is charged: nobody got anything for it.
    pub(crate) fn waive(&mut self) {
        *self = Self::default();
    }

    /// What is charged.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            prompt: self.prompts.iter().filter(|prompt| prompt.charged).map(|prompt| prompt.tokens).sum(),
            completion: self.completions.iter().sum(),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(prompt_tokens: u64, completion_tokens: u64) -> cocoon_engine_api::Usage {
        cocoon_engine_api::Usage { prompt_tokens, completion_tokens }
    }

    fn charged(meter: &Meter) -> (u64, u64) {
        (meter.usage().prompt, meter.usage().completion)
    }

    #[test]
    fn nothing_is_charged_before_the_engine_answers() {
        let mut meter = Meter::new([(10, 5)], 1);
        assert_eq!(charged(&meter), (0, 0));
        meter.ended(0, engine(0, 0)).unwrap();
        assert_eq!(charged(&meter), (0, 0));
        meter.generated(0, 1).unwrap();
        assert_eq!(charged(&meter), (10, 1));
    }

    #[test]
    fn the_last_word_of_a_cancelled_generation_counts() {
        let mut meter = Meter::new([(10, 5)], 1);
        meter.generated(0, 2).unwrap();
        meter.ended(0, engine(10, 3)).unwrap();
        assert_eq!(charged(&meter), (10, 3));
        let mut only_prompt = Meter::new([(10, 5)], 1);
        only_prompt.ended(0, engine(10, 0)).unwrap();
        assert_eq!(charged(&only_prompt), (10, 0));
    }

    #[test]
    fn a_prompt_is_charged_once_for_all_its_choices() {
        let mut meter = Meter::new([(10, 5), (20, 5)], 2);
        meter.generated(0, 2).unwrap();
        meter.generated(1, 3).unwrap();
        assert_eq!(charged(&meter), (10, 5));
        meter.generated(3, 1).unwrap();
        assert_eq!(charged(&meter), (30, 6));
        assert_eq!(meter.generated(4, 1), Err(Overrun));
    }

    /// Guards against free work: an engine may compute a long prompt for seconds before its first token.
    #[test]
    fn a_reader_that_leaves_before_the_first_token_pays_the_prompt() {
        let mut meter = Meter::new([(10, 5), (7, 5)], 1);
        meter.started(0);
        meter.abandoned();
        meter.ended(0, engine(0, 0)).unwrap();
        assert_eq!(charged(&meter), (10, 0), "the second was not begun");
    }

    /// Guards against a cost above the hold, which no gateway would pay.
    #[test]
    fn no_count_over_the_ceiling_is_ever_charged() {
        let mut meter = Meter::new([(10, 5)], 1);
        meter.generated(0, 5).unwrap();
        assert_eq!(meter.generated(0, 6), Err(Overrun));
        assert_eq!(meter.ended(0, engine(12, 7)), Err(Overrun));
        assert_eq!(charged(&meter), (10, 5));
    }
}
