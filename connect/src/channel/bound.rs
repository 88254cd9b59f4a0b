//! What is signed for one request, and which ceiling of tokens the gateway is told, so that it holds exactly that.

use cocoon_openapi::Endpoint;
use cocoon_openapi::estimate::{Sealed, affordable_ceiling, estimate_sealed};
use cocoon_receipts::{NanoTon, Price};

/// Of what is left of a deposit, the part that a request without a ceiling of its own may use: as the gateway reckons
/// for accounts.
const SHARE: u64 = 4;

/// A request, as the gateway will see it.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub endpoint: Endpoint,
    /// Bytes of its ciphertext.
    pub length: u64,
    /// Completion tokens at most over all choices, where its body says so.
    pub ceiling: Option<u64>,
    /// How many answers it asks for.
    pub choices: u64,
}

/// What the gateway's list says of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub price: Price,
    /// Tokens of prompt and completion that fit together.
    pub context: u64,
}

/// What a request is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// NanoTON that the gateway will hold, and that are signed for.
    pub part: NanoTon,
    /// Completion tokens that the gateway is told; none for embeddings, which have no completion.
    pub ceiling: Option<u64>,
}

/// Bounds a request, with `left` nanoTON left of the deposit. None where a cost does not fit 64 bits.
///
/// With a ceiling in its body it is the worst case. Without one the gateway would hold by what is left of everything
/// that was ever signed, which may be more than is meant; so it is told a ceiling: what the larger of 256 tokens and a
/// quarter of what is left can pay, at most the context for each choice. A user's `max_cost` lowers either. The prompt
/// is always covered, and one token.
#[must_use]
pub fn bound(request: Request, listed: &Listed, left: NanoTon, max_cost: Option<NanoTon>) -> Option<Bounded> {
    let Request { endpoint, length, ceiling, choices } = request;
    let Listed { price, context } = listed;
    let sealed = Sealed { endpoint, length: Some(length), ceiling };
    let of = |ceiling| estimate_sealed(price, Sealed { ceiling, ..sealed }, length, *context);
    let own = of(ceiling)?;
    if endpoint == Endpoint::Embeddings {
        return Some(Bounded { part: own.worst_case, ceiling: None });
    }
    let (most, allowed) = match ceiling {
        Some(ceiling) => (ceiling, own.worst_case),
        None => (
            context.saturating_mul(choices.max(1)),
            own.useful_minimum.unwrap_or(own.worst_case).max(NanoTon(left.0 / SHARE)),
        ),
    };
    let allowed = max_cost.map_or(allowed, |max_cost| max_cost.min(allowed));
    let ceiling = match ceiling {
        Some(ceiling) if own.worst_case <= allowed => ceiling,
        _ => affordable_ceiling(price, sealed, *context, most, allowed),
    };
    Some(Bounded { part: of(Some(ceiling))?.worst_case, ceiling: Some(ceiling) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: Listed = Listed {
        price: Price {
            table: 1,
            prompt: NanoTon(1_000_000),
            cached: NanoTon(1_000_000),
            completion: NanoTon(2_000_000),
            reasoning: NanoTon(2_000_000),
        },
        context: 1000,
    };

    fn chat(ceiling: Option<u64>, left: u64, max_cost: Option<u64>) -> (u64, Option<u64>) {
        let endpoint = Endpoint::ChatCompletions;
        let request = Request { endpoint, length: 88, ceiling, choices: 1 };
        let Bounded { part, ceiling } =
            bound(request, &LISTED, NanoTon(left), max_cost.map(NanoTon)).unwrap();
        (part.0, ceiling)
    }

    #[test]
    fn a_body_with_a_ceiling_is_signed_for_in_full_whatever_is_left() {
        for left in [0, 10, 1_000_000] {
            assert_eq!(chat(Some(10), left, None), (600 + 20, Some(10)));
        }
        assert_eq!(chat(Some(10), 0, Some(610)), (600 + 10, Some(5)), "the user's own bound");
        assert_eq!(
            chat(Some(10), 0, Some(5)),
            (600 + 2, Some(1)),
            "the prompt is covered, whose bound is its bytes"
        );
    }

    #[test]
    fn a_body_without_one_gets_a_useful_answer_or_a_quarter_of_what_is_left() {
        assert_eq!(chat(None, 0, None), (600 + 512, Some(256)));
        assert_eq!(chat(None, 4 * 2000, None), (2000, Some(700)));
        assert_eq!(chat(None, 1_000_000, None), (600 + 2000, Some(1000)), "the context ends it");
        assert_eq!(chat(None, 1_000_000, Some(800)), (800, Some(100)));
    }

    #[test]
    fn each_choice_may_fill_the_context() {
        let endpoint = Endpoint::ChatCompletions;
        let request = Request { endpoint, length: 88, ceiling: None, choices: 3 };
        let bounded = bound(request, &LISTED, NanoTon(1_000_000), None).unwrap();
        assert_eq!(bounded, Bounded { part: NanoTon(600 + 6000), ceiling: Some(3000) });
    }

    #[test]
    fn inputs_of_embeddings_have_no_ceiling() {
        let request = Request { endpoint: Endpoint::Embeddings, length: 5000, ceiling: None, choices: 1 };
        let bounded = bound(request, &LISTED, NanoTon(0), Some(NanoTon(1))).unwrap();
        assert_eq!(bounded, Bounded { part: NanoTon(5512), ceiling: None });
    }

    #[test]
    fn what_is_signed_is_what_the_gateway_holds_for_what_it_is_told() {
        for length in [0, 88, 400, 5000] {
            for ceiling in [None, Some(1), Some(999), Some(5000)] {
                let request = Request { endpoint: Endpoint::Completions, length, ceiling, choices: 2 };
                let bounded = bound(request, &LISTED, NanoTon(7000), Some(NanoTon(6000))).unwrap();
                let told =
                    Sealed { endpoint: request.endpoint, length: Some(length), ceiling: bounded.ceiling };
                let held = estimate_sealed(&LISTED.price, told, 1 << 20, LISTED.context).unwrap();
                assert_eq!((held.worst_case, held.useful_minimum), (bounded.part, None));
            }
        }
    }
}
