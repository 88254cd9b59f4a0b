//! How many tokens may follow a prompt.

use cocoon_openapi::ApiError;
use cocoon_receipts::{NanoTon, Price};

/// What bounds a generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Prompt and completion tokens that fit together.
    pub(crate) context: u64,
    /// The caller's own ceiling.
    pub(crate) asked: Option<u64>,
    pub(crate) price: Price,
    /// The smaller of the ticket's and the client's own.
    pub(crate) max_cost: NanoTon,
}

impl Bounds {
    /// The most completion tokens after `prompt` tokens; at least 1. Never so many that their cost passes
    /// `max_cost`.
    ///
    /// # Errors
    /// 400 where not even one fits.
    pub(crate) fn ceiling(&self, prompt: u64) -> Result<u64, ApiError> {
        let room = self.context.saturating_sub(prompt);
        if room == 0 {
            return Err(ApiError::invalid(format!(
                "This model's maximum context length is {} tokens. However, your messages resulted in {prompt} \
                 tokens. Please reduce the length of the messages.",
                self.context
            ))
            .with_param("messages")
            .with_code("context_length_exceeded"));
        }
        let affordable = self.price.affordable_completion(prompt, self.max_cost).unwrap_or(0);
        if affordable == 0 {
            return Err(ApiError::invalid(
                "The cost limit of this request does not cover its prompt and one token of an answer.",
            )
            .with_code("max_cost_too_low"));
        }
        Ok(self.asked.unwrap_or(u64::MAX).min(room).min(affordable))
    }
}

#[cfg(test)]
mod tests {
    use cocoon_receipts::Usage;

    use super::*;

    fn bounds(context: u64, asked: Option<u64>, max_cost: u64) -> Bounds {
        let price = Price {
            table: 1,
            prompt: NanoTon(1_000_000),
            cached: NanoTon(1_000_000),
            completion: NanoTon(3_000_000),
            reasoning: NanoTon(2_000_000),
        };
        Bounds { context, asked, price, max_cost: NanoTon(max_cost) }
    }

    fn code(result: Result<u64, ApiError>) -> (u16, Option<String>) {
        let error = result.unwrap_err();
        (error.status, error.body.error.code)
    }

    #[test]
    fn the_smallest_bound_wins() {
        assert_eq!(bounds(100, None, 1_000_000).ceiling(40), Ok(60));
        assert_eq!(bounds(100, Some(7), 1_000_000).ceiling(40), Ok(7));
        assert_eq!(bounds(100, Some(70), 1_000_000).ceiling(40), Ok(60));
        // 40 for the prompt, 20 left, 3 each; the cost is rounded down, so 6 tokens fit and 7 do not.
        assert_eq!(bounds(100, Some(70), 60).ceiling(40), Ok(6));
    }

    #[test]
    fn the_last_token_of_the_context_can_be_used() {
        assert_eq!(bounds(100, None, 1_000_000).ceiling(99), Ok(1));
        for prompt in [100, 101, u64::MAX] {
            let expected = (400, Some("context_length_exceeded".to_owned()));
            assert_eq!(code(bounds(100, None, 1_000_000).ceiling(prompt)), expected);
        }
    }

    #[test]
    fn a_hold_that_covers_no_answer_is_refused() {
        for max_cost in [0, 39, 40, 42] {
            let expected = (400, Some("max_cost_too_low".to_owned()));
            assert_eq!(code(bounds(100, None, max_cost).ceiling(40)), expected, "{max_cost}");
        }
        assert_eq!(bounds(100, None, 43).ceiling(40), Ok(1));
    }

    #[test]
    fn no_ceiling_costs_more_than_the_hold() {
        for max_cost in 43..400 {
            let bounds = bounds(1000, None, max_cost);
            let completion = bounds.ceiling(40).unwrap();
            let cost = |completion| {
                bounds.price.cost(&Usage { prompt: 40, completion, ..Usage::default() }).unwrap()
            };
            assert!(cost(completion) <= bounds.max_cost);
            assert!(cost(completion + 1) > bounds.max_cost, "{max_cost}: one more would have fit");
        }
    }
}
