//! How many tokens may follow a prompt.

use cocoon_openapi::ApiError;
use cocoon_receipts::{NanoTon, Price, Usage};

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
    /// The member that the prompts are from.
    pub(crate) param: &'static str,
}

impl Bounds {
    /// The most completion tokens after each of `prompts`, for each of its `choices`; at least 1. Never so many that
    /// the cost of all of them passes `max_cost`.
    ///
    /// # Errors
    /// 400 where not even one fits.
    pub(crate) fn ceilings(&self, prompts: &[u64], choices: usize) -> Result<Vec<u64>, ApiError> {
        let answers = (prompts.len() * choices).max(1) as u64;
        let prompt = self.fits(prompts, 1)?;
        let affordable = self.price.affordable_completion(prompt, self.max_cost).unwrap_or(0) / answers;
        if affordable == 0 {
            return Err(too_dear("prompt and one token of an answer"));
        }
        let ceiling = |prompt: &u64| {
            let room = self.context.saturating_sub(*prompt);
            self.asked.unwrap_or(u64::MAX).min(room).min(affordable)
        };
        Ok(prompts.iter().map(ceiling).collect())
    }

    /// Whether `inputs`, of which nothing but a vector is made, fit and can be paid.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn inputs(&self, inputs: &[u64]) -> Result<(), ApiError> {
        let prompt = self.fits(inputs, 0)?;
        let usage = Usage { prompt, ..Usage::default() };
        match self.price.cost(&usage) {
            Ok(cost) if cost <= self.max_cost => Ok(()),
            _ => Err(too_dear("input")),
        }
    }

    /// The sum of `prompts`, each of which fits the context with `more` tokens behind it.
    fn fits(&self, prompts: &[u64], more: u64) -> Result<u64, ApiError> {
        let context = self.context;
        match prompts.iter().find(|prompt| prompt.saturating_add(more) > context) {
            None => Ok(prompts.iter().sum()),
            Some(prompt) => {
                let param = self.param;
                let message = format!(
                    "This model's maximum context length is {context} tokens. However, your {param} resulted in \
                     {prompt} tokens. Please reduce the length of the {param}."
                );
                Err(ApiError::invalid(message).with_param(param).with_code("context_length_exceeded"))
            }
        }
    }
}

fn too_dear(what: &str) -> ApiError {
    ApiError::invalid(format!("The cost limit of this request does not cover its {what}."))
        .with_code("max_cost_too_low")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bounds {
        fn ceiling(&self, prompt: u64) -> Result<u64, ApiError> {
            self.ceilings(&[prompt], 1).map(|ceilings| ceilings[0])
        }
    }

    fn bounds(context: u64, asked: Option<u64>, max_cost: u64) -> Bounds {
        let price = Price {
            table: 1,
            prompt: NanoTon(1_000_000),
            cached: NanoTon(1_000_000),
            completion: NanoTon(3_000_000),
            reasoning: NanoTon(2_000_000),
        };
        Bounds { context, asked, price, max_cost: NanoTon(max_cost), param: "messages" }
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

    #[test]
    fn choices_share_what_can_be_paid_and_the_prompt_is_paid_once() {
        // 40 and 10 for the prompts, 60 left for four choices: 5 tokens of 3 each.
        assert_eq!(bounds(100, None, 110).ceilings(&[40, 10], 2).unwrap(), [5, 5]);
        assert_eq!(bounds(43, None, 110).ceilings(&[40, 10], 2).unwrap(), [3, 5]);
        assert_eq!(
            code(bounds(100, None, 40).ceilings(&[101], 1).map(|_| 0)).1.unwrap(),
            "context_length_exceeded"
        );
    }

    #[test]
    fn inputs_fit_to_the_last_token() {
        assert!(bounds(100, None, 150).inputs(&[100, 50]).is_ok());
        assert_eq!(
            code(bounds(100, None, 149).inputs(&[100, 50]).map(|()| 0)).1.unwrap(),
            "max_cost_too_low"
        );
        assert_eq!(
            code(bounds(99, None, 150).inputs(&[100]).map(|()| 0)).1.unwrap(),
            "context_length_exceeded"
        );
    }
}
