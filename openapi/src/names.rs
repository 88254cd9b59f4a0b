//! Names of headers and paths that cross a process boundary (`docs/PROTOCOL.md`).

use cocoon_receipts::NanoTon;

/// The ticket of an attempt; gateway to backend.
pub const TICKET_HEADER: &str = "cocoon-ticket";
/// The keyset a request is sealed to; routes exactly.
pub const KEY_DIGEST_HEADER: &str = "cocoon-key-digest";
/// The model, where the body is sealed.
pub const MODEL_HEADER: &str = "cocoon-model";
/// Completion tokens that a sealed request generates at most, over all its choices: the hold follows from it.
pub const MAX_TOKENS_HEADER: &str = "cocoon-max-tokens";
/// The signed receipt: header of an unstreamed answer, trailer of a streamed one.
pub const RECEIPT_HEADER: &str = "cocoon-receipt";
/// What the request cost, nanoTON.
pub const COST_HEADER: &str = "cocoon-cost";
/// 64 hexadecimal characters the client chose, or the gateway made: the nonce of the receipt's `body`.
pub const CLIENT_NONCE_HEADER: &str = "cocoon-client-nonce";
/// `gateway` or `sealed`: who could read the body, in the gateway's own word.
pub const PRIVACY_HEADER: &str = "cocoon-privacy";
/// The nonce that a kept attestation document was asked for with, 64 hexadecimal characters.
pub const ATTESTATION_NONCE_HEADER: &str = "cocoon-attestation-nonce";
/// When a kept attestation document was believed, milliseconds since 1970.
pub const VERIFIED_AT_HEADER: &str = "cocoon-verified-at";
/// The request's id, made by the gateway.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// A request that is sent again under the same one is not run again.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// `true` on an answer that was kept for its idempotency key.
pub const IDEMPOTENT_REPLAYED_HEADER: &str = "idempotent-replayed";

/// OpenAI's chat completions.
pub const CHAT_COMPLETIONS_PATH: &str = "/v1/chat/completions";
/// OpenAI's completions of plain text.
pub const COMPLETIONS_PATH: &str = "/v1/completions";
/// OpenAI's embeddings.
pub const EMBEDDINGS_PATH: &str = "/v1/embeddings";
/// OpenAI's responses.
pub const RESPONSES_PATH: &str = "/v1/responses";
/// Models that can be asked for now.
pub const MODELS_PATH: &str = "/v1/models";
/// What every model costs, in the form whose digest a registry publishes.
pub const PRICES_PATH: &str = "/v1/prices";
/// Keys that administer an account.
pub const ADMIN_API_KEYS_PATH: &str = "/v1/organization/admin_api_keys";
/// An account's projects; below each its keys and its limits.
pub const PROJECTS_PATH: &str = "/v1/organization/projects";
/// What an account may use.
pub const LIMITS_PATH: &str = "/v1/organization/limits";
/// Where an account's withdrawals go.
pub const PAYOUT_PATH: &str = "/v1/organization/payout";
/// Begins a withdrawal, and says what became of it.
pub const WITHDRAWALS_PATH: &str = "/v1/organization/withdrawals";
/// Payment channels: what is taken, and one that was opened; below it each by its address, with `/close`.
pub const CHANNELS_PATH: &str = "/v1/channels";
/// The account that a request with an operator's key is about.
pub const ORGANIZATION_HEADER: &str = "openai-organization";
/// The description of this API.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// The attestation document of a backend, for a nonce.
pub const ATTESTATION_PATH: &str = "/.well-known/cocoon-attestation";
/// Key configurations: of a backend, and at a gateway of the backend that a model's sealed requests go to.
pub const KEY_CONFIG_PATH: &str = "/.well-known/hpke-keys";
/// Which backends serve a model, by keyset; with a keyset's digest behind it, that backend's attestation document.
pub const ATTESTATIONS_PATH: &str = "/v1/attestation";
/// Where gateways take receipts from outboxes; on the ops listener.
pub const RECEIPTS_PATH: &str = "/internal/receipts";

/// What operators have earned, below it each by its address; on the ops listener.
pub const OPERATORS_PATH: &str = "/internal/operators";
/// How the backends stand; on the ops listener.
pub const BACKENDS_PATH: &str = "/internal/backends";
/// What is counted, for Prometheus; on the ops listener.
pub const METRICS_PATH: &str = "/metrics";

/// What an outbox delivers: at most [`MAX_DELIVERIES`] at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Deliveries {
    pub deliveries: Vec<Delivery>,
}

/// One receipt or checkpoint, with the ticket it is for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    /// JWS of a receipt or checkpoint.
    pub token: String,
    /// JWS of its ticket.
    pub ticket: String,
}

/// A gateway's answer, one outcome per delivery in the same order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Outcomes {
    pub outcomes: Vec<Outcome>,
    /// The ledger lost entries: whoever has not followed this request yet delivers everything again that it still has,
    /// whether it was acknowledged or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeliver: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Booked, now or before. Counts as an acknowledgement.
    Acknowledged {
        /// Of a receipt: what its operator earns by it, nanoTON. Older gateways do not say it, and one that cannot tell any
        /// more what a receipt was booked at leaves it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, pattern = "^[0-9]+$")]
        earned: Option<NanoTon>,
    },
    /// Will never be accepted; `code` says why. Not sent again.
    Refused { code: String },
    /// Cannot be judged now (the store is down): to be sent again.
    Later,
}

/// Most deliveries in one post.
pub const MAX_DELIVERIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Backends and gateways are not brought to a version at once: each reads what the other's older one writes.
    #[test]
    fn an_acknowledgement_with_and_without_an_amount_is_read() {
        let read = |text| serde_json::from_str::<Outcome>(text).unwrap();
        let silent = Outcome::Acknowledged { earned: None };
        assert_eq!(read(r#"{"outcome":"acknowledged"}"#), silent);
        assert_eq!(serde_json::to_string(&silent).unwrap(), r#"{"outcome":"acknowledged"}"#);
        let said = Outcome::Acknowledged { earned: Some(NanoTon(90)) };
        let text = r#"{"outcome":"acknowledged","earned":"90"}"#;
        assert_eq!((read(text), serde_json::to_string(&said).unwrap().as_str()), (said, text));

        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(tag = "outcome", rename_all = "snake_case")]
        enum Older {
            Acknowledged,
        }
        assert_eq!(serde_json::from_str::<Older>(text).unwrap(), Older::Acknowledged);
    }
}
