//! What a request may cost at most, as who admits it reckons (`docs/LEDGER.md`, "How much to hold"), and who pays for it
//! by vouchers.

use cocoon_receipts::{NanoTon, Price, Usage};

use crate::Endpoint;
use crate::read::{MAX_CHOICES, Tokens};

/// Bounds of a request's cost, from which the hold follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The prompt's upper bound and the token ceiling.
    pub worst_case: NanoTon,
    /// The prompt and 256 tokens, where the client set no ceiling: less may be held than the worst case, but not less than
    /// this.
    pub useful_minimum: Option<NanoTon>,
    /// Tokens that count against limits per minute until it is known how many were used.
    pub tokens: u64,
}

/// Tokens that a chat template may add to a prompt beyond the bytes of its JSON: a default system message and the
/// header of the answer. The JSON around each message is longer than the template's own marks.
const TEMPLATE_ALLOWANCE: u64 = 512;
/// Completion tokens below which an answer is of no use.
const USEFUL_COMPLETION: u64 = 256;

/// What a request may cost whose body can be read.
///
/// A token is at least one byte of text, so the body's length bounds the prompt; a text that is over the context is
/// refused before anything is generated for it.
#[must_use]
pub fn estimate(price: &Price, body_len: usize, tokens: Tokens, context: u64) -> Option<Bound> {
    let sent = (body_len as u64).saturating_add(TEMPLATE_ALLOWANCE);
    let cost = |prompt, completion| most(price, prompt, completion);
    let (prompts, choices, ceiling) = match tokens {
        Tokens::Embedded => {
            return Some(Bound { worst_case: cost(sent, 0)?, useful_minimum: None, tokens: sent });
        }
        Tokens::Generated { prompts, choices, ceiling } => (prompts, choices, ceiling),
    };
    let prompt = sent.min(context.saturating_mul(prompts));
    let completion = ceiling.unwrap_or(context).min(context).saturating_mul(choices);
    Some(Bound {
        worst_case: cost(prompt, completion)?,
        useful_minimum: match ceiling {
            Some(_) => None,
            None => Some(cost(prompt, USEFUL_COMPLETION)?),
        },
        tokens: prompt.saturating_add(ceiling.map_or(USEFUL_COMPLETION, |_| completion)),
    })
}

/// What the headers of a sealed request say of its cost.
#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    pub endpoint: Endpoint,
    /// Bytes of the ciphertext; none where it comes in chunks.
    pub length: Option<u64>,
    /// Completion tokens over all choices.
    pub ceiling: Option<u64>,
}

/// What a request may cost that the gateway cannot read.
///
/// A ciphertext is longer than what is in it, so its length bounds the prompt. Where it has none, a prompt that the
/// context bounds fills it, and inputs that it does not bound may be as long as a body may (`body_limit` bytes): then
/// one context is what is held at least. How many choices are asked for is sealed, so one is assumed where there is no
/// ceiling.
#[must_use]
pub fn estimate_sealed(price: &Price, sealed: Sealed, body_limit: u64, context: u64) -> Option<Bound> {
    let Sealed { endpoint, length, ceiling } = sealed;
    // A completions request may have many prompts, an embeddings request many inputs, each as long as the context.
    let context_bounds_all = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Responses);
    let sent = length.unwrap_or(body_limit).saturating_add(TEMPLATE_ALLOWANCE);
    let prompt = if context_bounds_all { sent.min(context) } else { sent };
    // What is held at least, where the worst case is beyond what anyone means.
    let least_prompt = if length.is_none() { prompt.min(context) } else { prompt };
    let (completion, least_completion) = match (endpoint, ceiling) {
        (Endpoint::Embeddings, _) => (0, 0),
        (_, Some(ceiling)) => {
            let ceiling = ceiling.min(context.saturating_mul(MAX_CHOICES));
            (ceiling, ceiling)
        }
        (_, None) => (context, USEFUL_COMPLETION),
    };
    let worst_case = most(price, prompt, completion)?;
    let least = most(price, least_prompt, least_completion)?;
    let is_open = (least_prompt, least_completion) != (prompt, completion);
    let tokens = least_prompt.saturating_add(least_completion);
    Some(Bound { worst_case, useful_minimum: is_open.then_some(least), tokens })
}

/// The highest ceiling of at most `most` tokens with which a sealed request of this length costs no more than `allowed`;
/// 1 where not even that does. Its worst case is then what is held.
#[must_use]
pub fn affordable_ceiling(price: &Price, sealed: Sealed, context: u64, most: u64, allowed: NanoTon) -> u64 {
    let fits = |ceiling| {
        let sealed = Sealed { ceiling: Some(ceiling), ..sealed };
        // The body's limit counts only where there is no length.
        estimate_sealed(price, sealed, u64::MAX, context).is_some_and(|bound| bound.worst_case <= allowed)
    };
    // `fits(low)` or low = 1; not `fits(high)`.
    let (mut low, mut high) = (1, most.max(1).saturating_add(1));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

/// The cost of so many tokens. Whichever class is dearer may be the one that is used.
fn most(price: &Price, prompt: u64, completion: u64) -> Option<NanoTon> {
    let dearest = Price {
        prompt: price.prompt.max(price.cached),
        completion: price.completion.max(price.reasoning),
        ..*price
    };
    dearest.cost(&Usage { prompt, completion, ..Usage::default() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        table: 1,
        prompt: NanoTon(1_000_000),
        cached: NanoTon(500_000),
        completion: NanoTon(2_000_000),
        reasoning: NanoTon(3_000_000),
    };

    fn chat(choices: u64, ceiling: Option<u64>) -> Tokens {
        Tokens::Generated { prompts: 1, choices, ceiling }
    }

    #[test]
    fn a_client_with_a_ceiling_holds_the_worst_case() {
        let estimate = estimate(&PRICE, 100, chat(2, Some(10)), 8192).unwrap();
        assert_eq!(estimate, Bound { worst_case: NanoTon(612 + 60), useful_minimum: None, tokens: 632 });
    }

    #[test]
    fn a_client_without_one_may_hold_less() {
        let one = estimate(&PRICE, 100, chat(1, None), 8192).unwrap();
        assert_eq!(one.worst_case, NanoTon(612 + 3 * 8192));
        assert_eq!(one.useful_minimum, Some(NanoTon(612 + 3 * 256)));
        assert_eq!(one.tokens, 612 + 256);
        let three = estimate(&PRICE, 100, chat(3, None), 8192).unwrap();
        assert_eq!(three.worst_case, NanoTon(612 + 3 * 3 * 8192), "every choice may fill the context");
    }

    #[test]
    fn each_prompt_is_bounded_by_the_context_and_embedded_inputs_by_their_bytes() {
        let worst = |tokens| estimate(&PRICE, 1 << 20, tokens, 8192).unwrap().worst_case;
        assert_eq!(worst(chat(1, Some(1))), NanoTon(8192 + 3));
        assert_eq!(
            worst(Tokens::Generated { prompts: 3, choices: 6, ceiling: Some(1) }),
            NanoTon(3 * 8192 + 6 * 3)
        );
        assert_eq!(worst(Tokens::Embedded), NanoTon((1 << 20) + 512));
    }

    #[test]
    fn no_ceiling_a_client_can_write_overflows() {
        let huge = Tokens::Generated { prompts: 2048, choices: 2048 * 128, ceiling: Some(u64::MAX) };
        assert!(estimate(&PRICE, 8 << 20, huge, 1 << 20).is_some());
    }

    fn sealed(endpoint: Endpoint, length: Option<u64>, ceiling: Option<u64>) -> Bound {
        estimate_sealed(&PRICE, Sealed { endpoint, length, ceiling }, 1_000_000, 1000).unwrap()
    }

    #[test]
    fn a_sealed_request_of_a_known_length_holds_for_its_ciphertext() {
        let chat = sealed(Endpoint::ChatCompletions, Some(100), Some(10));
        assert_eq!(chat, Bound { worst_case: NanoTon(612 + 30), useful_minimum: None, tokens: 622 });
        let over = sealed(Endpoint::Responses, Some(5000), Some(10));
        assert_eq!(over.worst_case, NanoTon(1000 + 30), "the context bounds one prompt");
        let prompts = sealed(Endpoint::Completions, Some(5000), Some(10));
        assert_eq!(prompts, Bound { worst_case: NanoTon(5512 + 30), useful_minimum: None, tokens: 5522 });
        let inputs = sealed(Endpoint::Embeddings, Some(5000), Some(10));
        assert_eq!(inputs, Bound { worst_case: NanoTon(5512), useful_minimum: None, tokens: 5512 });
    }

    #[test]
    fn a_sealed_request_without_a_ceiling_may_hold_less() {
        let chat = sealed(Endpoint::ChatCompletions, Some(100), None);
        assert_eq!(
            chat,
            Bound { worst_case: NanoTon(612 + 3000), useful_minimum: Some(NanoTon(612 + 768)), tokens: 868 }
        );
    }

    #[test]
    fn a_sealed_request_in_chunks_holds_for_one_context_at_least() {
        let chat = sealed(Endpoint::ChatCompletions, None, Some(10));
        assert_eq!(chat, Bound { worst_case: NanoTon(1000 + 30), useful_minimum: None, tokens: 1010 });
        let chat = sealed(Endpoint::ChatCompletions, None, None);
        assert_eq!(
            chat,
            Bound {
                worst_case: NanoTon(1000 + 3000),
                useful_minimum: Some(NanoTon(1000 + 768)),
                tokens: 1256
            }
        );
        for (endpoint, completion, tokens) in
            [(Endpoint::Completions, 30, 1010), (Endpoint::Embeddings, 0, 1000)]
        {
            let all = sealed(endpoint, None, Some(10));
            let least = Some(NanoTon(1000 + completion));
            let expected =
                Bound { worst_case: NanoTon(1_000_512 + completion), useful_minimum: least, tokens };
            assert_eq!(all, expected, "{endpoint:?}");
        }
    }

    #[test]
    fn the_affordable_ceiling_is_the_highest_whose_worst_case_is_allowed() {
        let request =
            |length| Sealed { endpoint: Endpoint::ChatCompletions, length: Some(length), ceiling: None };
        let of = |allowed| affordable_ceiling(&PRICE, request(100), 1000, 1000, NanoTon(allowed));
        for (allowed, ceiling) in
            [(0, 1), (612, 1), (615, 1), (617, 1), (618, 2), (3611, 999), (3612, 1000), (9999, 1000)]
        {
            assert_eq!(of(allowed), ceiling, "{allowed}");
        }
        let free = Price {
            prompt: NanoTon(0),
            cached: NanoTon(0),
            completion: NanoTon(0),
            reasoning: NanoTon(0),
            ..PRICE
        };
        assert_eq!(affordable_ceiling(&free, request(1), 1000, u64::MAX, NanoTon(0)), u64::MAX - 1);
    }

    #[test]
    fn a_ceiling_over_all_choices_may_be_more_than_one_context() {
        let chat = sealed(Endpoint::ChatCompletions, Some(100), Some(4000));
        assert_eq!(chat.worst_case, NanoTon(612 + 12_000));
        let absurd = sealed(Endpoint::ChatCompletions, Some(100), Some(u64::MAX));
        assert_eq!(absurd.worst_case, NanoTon(612 + 3 * 128_000));
    }
}
