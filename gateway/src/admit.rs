//! Step 4: may this request run, and how much is held for it. One ledger call; a refusal has moved nothing.

use std::sync::Arc;
use std::time::Duration;

use cocoon_ledger::{Estimate, Ledger, LedgerError, ReleaseReason, Reserve, Reserved};
use cocoon_receipts::{NanoTon, Price, RequestId, Usage};
use tokio_util::task::TaskTracker;

use crate::authenticate::ApiKey;
use crate::error::Failure;
use crate::read::Tokens;

/// Tokens that a chat template may add to a prompt beyond the bytes of its JSON: a default system message and the
/// header of the answer. The JSON around each message is longer than the template's own marks.
const TEMPLATE_ALLOWANCE: u64 = 512;
/// Completion tokens below which an answer is of no use.
const USEFUL_COMPLETION: u64 = 256;

/// What the request may cost: the hold follows from it (`docs/LEDGER.md`, "How much to hold").
///
/// A token is at least one byte of text, so the body's length bounds the prompt; a text that is over the context is
/// refused before anything is generated for it.
#[must_use]
pub fn estimate(price: &Price, body_len: usize, tokens: Tokens, context: u64) -> Option<Estimate> {
    let sent = (body_len as u64).saturating_add(TEMPLATE_ALLOWANCE);
    // Whichever class is dearer may be the one that is used.
    let dearest = Price {
        prompt: price.prompt.max(price.cached),
        completion: price.completion.max(price.reasoning),
        ..*price
    };
    let cost = |prompt, completion| dearest.cost(&Usage { prompt, completion, ..Usage::default() }).ok();
    let (prompts, choices, ceiling) = match tokens {
        Tokens::Embedded => return Some(Estimate { worst_case: cost(sent, 0)?, useful_minimum: None }),
        Tokens::Generated { prompts, choices, ceiling } => (prompts, choices, ceiling),
    };
    let prompt = sent.min(context.saturating_mul(prompts));
    let completion = ceiling.unwrap_or(context).min(context).saturating_mul(choices);
    Some(Estimate {
        worst_case: cost(prompt, completion)?,
        useful_minimum: match ceiling {
            Some(_) => None,
            None => Some(cost(prompt, USEFUL_COMPLETION)?),
        },
    })
}

/// A request that holds part of its account's balance. Dropped before it was sent, it gives the hold back.
#[derive(Debug)]
pub struct Admitted {
    pub request: RequestId,
    pub key: ApiKey,
    /// The hold: the ticket's `max_cost`.
    pub hold: NanoTon,
    ledger: Arc<dyn Ledger>,
    tracker: TaskTracker,
    armed: bool,
}

/// Reserves.
///
/// # Errors
/// 402, 429, or 503 where the store does not answer.
pub async fn admit(
    ledger: &Arc<dyn Ledger>,
    tracker: &TaskTracker,
    request: RequestId,
    key: ApiKey,
    estimate: Estimate,
    lease: Duration,
) -> Result<Admitted, Failure> {
    let reserve = Reserve {
        request,
        account: key.sub.clone(),
        key: key.jti.clone(),
        project: key.project.clone(),
        estimate,
        lease,
    };
    // From here on a hold may exist, whatever becomes of this call.
    let mut admitted = Admitted {
        request,
        key,
        hold: NanoTon::ZERO,
        ledger: Arc::clone(ledger),
        tracker: tracker.clone(),
        armed: true,
    };
    match ledger.reserve(&reserve).await {
        Ok(Reserved::Held { amount }) => {
            admitted.hold = amount;
            Ok(admitted)
        }
        Ok(Reserved::Refused(refusal)) => {
            admitted.armed = false;
            Err(Failure::refused(refusal))
        }
        Err(error) => Err(store_failure(&error, "reserve", request)),
    }
}

/// What a client sees of a ledger that failed; the rest is logged.
pub(crate) fn store_failure(error: &LedgerError, operation: &str, request: RequestId) -> Failure {
    tracing::error!(%error, operation, %request, "ledger failed");
    match error {
        LedgerError::Unavailable(_) => Failure::store_down(),
        _ => Failure::internal(),
    }
}

impl Admitted {
    /// From here on the backend's receipt ends the hold, or its lease does.
    pub fn sent(&mut self) {
        self.armed = false;
    }

    /// Gives the hold back.
    pub async fn release(mut self, reason: ReleaseReason) {
        self.armed = false;
        if let Err(error) = self.ledger.release(&self.key.sub, self.request, reason).await {
            tracing::warn!(%error, request = %self.request, "hold not released; its lease will end it");
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (ledger, account, request) = (Arc::clone(&self.ledger), self.key.sub.clone(), self.request);
        self.tracker.spawn(async move {
            if let Err(error) = ledger.release(&account, request, ReleaseReason::ClientGone).await {
                tracing::warn!(%error, %request, "hold not released; its lease will end it");
            }
        });
    }
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
        assert_eq!(estimate, Estimate { worst_case: NanoTon(612 + 60), useful_minimum: None });
    }

    #[test]
    fn a_client_without_one_may_hold_less() {
        let one = estimate(&PRICE, 100, chat(1, None), 8192).unwrap();
        assert_eq!(one.worst_case, NanoTon(612 + 3 * 8192));
        assert_eq!(one.useful_minimum, Some(NanoTon(612 + 3 * 256)));
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
}
