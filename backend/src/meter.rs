//! What one generation has used, within what it may use.

use cocoon_receipts::Usage;

/// The engine generated more than it was allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine went over the ceiling")]
pub(crate) struct Overrun;

/// Counts. The prompt is charged once the engine has begun to answer, or the reader left while it worked on it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    prompt: u64,
    ceiling: u64,
    begun: bool,
    completion: u64,
}

impl Meter {
    pub(crate) fn new(prompt: u64, ceiling: u64) -> Self {
        Self { prompt, ceiling, begun: false, completion: 0 }
    }

    /// The engine's count of completion tokens, which only grows.
    ///
    /// # Errors
    /// [`Overrun`]; what is charged then stays within the ceiling, because no higher cost may be signed.
    pub(crate) fn generated(&mut self, completion: u64) -> Result<(), Overrun> {
        if completion > self.ceiling {
            return Err(Overrun);
        }
        self.begun = true;
        self.completion = self.completion.max(completion);
        Ok(())
    }

    /// The engine's last word.
    ///
    /// # Errors
    /// [`Overrun`], as before.
    pub(crate) fn ended(&mut self, usage: cocoon_engine_api::Usage) -> Result<(), Overrun> {
        if usage.prompt_tokens == 0 && usage.completion_tokens == 0 {
            return Ok(());
        }
        if usage.prompt_tokens != self.prompt {
            let (counted, processed) = (self.prompt, usage.prompt_tokens);
            tracing::error!(counted, processed, "the engine's prompt has another length than it counted");
        }
        self.generated(usage.completion_tokens)
    }

    /// The reader left while the engine worked for it: the prompt is charged, or leaving early would be free work.
    pub(crate) fn abandoned(&mut self) {
        self.begun = true;
    }

    /// Nothing is charged: nobody got anything for it.
    pub(crate) fn waive(&mut self) {
        self.begun = false;
    }

    /// What is charged.
    pub(crate) fn usage(&self) -> Usage {
        if !self.begun {
            return Usage::default();
        }
        Usage { prompt: self.prompt, completion: self.completion, ..Usage::default() }
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
        let mut meter = Meter::new(10, 5);
        assert_eq!(charged(&meter), (0, 0));
        meter.ended(engine(0, 0)).unwrap();
        assert_eq!(charged(&meter), (0, 0));
        meter.generated(1).unwrap();
        assert_eq!(charged(&meter), (10, 1));
    }

    #[test]
    fn the_last_word_of_a_cancelled_generation_counts() {
        let mut meter = Meter::new(10, 5);
        meter.generated(2).unwrap();
        meter.ended(engine(10, 3)).unwrap();
        assert_eq!(charged(&meter), (10, 3));
        let mut only_prompt = Meter::new(10, 5);
        only_prompt.ended(engine(10, 0)).unwrap();
        assert_eq!(charged(&only_prompt), (10, 0));
    }

    /// Guards against free work: an engine may compute a long prompt for seconds before its first token.
    #[test]
    fn a_reader_that_leaves_before_the_first_token_pays_the_prompt() {
        let mut meter = Meter::new(10, 5);
        meter.abandoned();
        meter.ended(engine(0, 0)).unwrap();
        assert_eq!(charged(&meter), (10, 0));
    }

    /// Guards against a cost above the hold, which no gateway would pay.
    #[test]
    fn no_count_over_the_ceiling_is_ever_charged() {
        let mut meter = Meter::new(10, 5);
        meter.generated(5).unwrap();
        assert_eq!(meter.generated(6), Err(Overrun));
        assert_eq!(meter.ended(engine(12, 7)), Err(Overrun));
        assert_eq!(charged(&meter), (10, 5));
    }
}
