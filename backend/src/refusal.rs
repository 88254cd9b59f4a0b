//! Requests that are turned away before anything was generated: answered in the clear, without a receipt.

use axum::response::{IntoResponse, Response};
use cocoon_openapi::ApiError;
use cocoon_receipts::JwsError;
use cocoon_sealing::{FrameError, KEY_CONFIG_PROBLEM, SealingError};
use http::{HeaderValue, StatusCode, header};

use crate::evidence::Unavailable;

/// What a caller is told apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// One answer for all causes: who replays or forges learns nothing from it.
    #[error(transparent)]
    Sealed(#[from] Cause),
    /// The client's key is not ours, or no longer.
    #[error("the request is sealed to another key")]
    KeyConfig,
    #[error("the sealed body has a content encoding")]
    ContentEncoding,
    #[error("the body is too large")]
    TooLarge,
    #[error("the body stalled")]
    Stalled,
    #[error("the body broke off")]
    BrokeOff,
    #[error("no place is free")]
    Busy,
    #[error("the engine is down")]
    EngineUnavailable,
    #[error("no attestation document: {0}")]
    Evidence(#[from] Unavailable),
    #[error("the task of the request ended without an answer")]
    Lost,
}

/// Why a sealed request is refused; for the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("it is not sealed")]
    NotSealed,
    #[error("the encapsulated key is malformed")]
    EncapsulatedKey(#[source] SealingError),
    #[error("it has no ticket")]
    NoTicket,
    #[error("its ticket is not valid: {0}")]
    Ticket(JwsError),
    #[error("its ticket has expired")]
    Expired,
    #[error("its ticket is for another keyset")]
    TicketKeyset,
    #[error("its ticket is for another ciphertext")]
    TicketEnc,
    #[error("its ticket is for another path")]
    TicketPath,
    #[error("its ticket is for another model")]
    TicketModel,
    #[error("its ticket's prices are too low")]
    TicketPrice,
    #[error("its frames are malformed: {0}")]
    Frames(FrameError),
    #[error("it has no content")]
    Empty,
    #[error("a later frame does not open")]
    LaterFrame,
    #[error("it was admitted before")]
    Replayed,
    #[error("the answer cannot be sealed")]
    Answer(#[source] SealingError),
    #[error("its x_conf is malformed")]
    XConf,
    #[error("its x_conf has another version")]
    XConfVersion,
    #[error("its x_conf is for another path")]
    XConfPath,
    #[error("its x_conf is for another model")]
    XConfModel,
    #[error("its x_conf is for another keyset")]
    XConfKeyset,
    #[error("its x_conf is of another API key than its ticket")]
    XConfAccount,
    #[error("its x_conf is from another time")]
    XConfTime,
    #[error("its ticket's prices are above what it allows")]
    XConfPrice,
    #[error("it has no x_conf, and its body names another model than its ticket")]
    BodyModel,
    #[error("it has no x_conf, and its body is not of its path")]
    BodyPath,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let server = |status, code, message: &str| ApiError::new(status, "server_error", Some(code), message);
        match self {
            Self::KeyConfig => key_config_problem(),
            Self::Sealed(_) => respond(&sealed_refused()),
            Self::ContentEncoding => respond(&ApiError::new(
                415,
                "invalid_request_error",
                Some("unsupported_content_encoding"),
                "A sealed request must not have a content encoding.",
            )),
            Self::TooLarge => respond(&ApiError::new(
                413,
                "invalid_request_error",
                Some("request_too_large"),
                "The request body is too large.",
            )),
            Self::Stalled | Self::BrokeOff => respond(&ApiError::new(
                408,
                "invalid_request_error",
                Some("request_timeout"),
                "The request body did not arrive in time.",
            )),
            Self::Busy => retry_soon(server(503, "backend_busy", "The backend is busy.")),
            Self::EngineUnavailable => {
                retry_soon(server(503, "engine_unavailable", "The engine is starting again."))
            }
            Self::Evidence(Unavailable::Busy) => retry_soon(server(
                503,
                "attestation_busy",
                "Too many callers wait for an attestation document.",
            )),
            Self::Evidence(Unavailable::Failed) => retry_soon(server(
                503,
                "attestation_unavailable",
                "The evidence of this backend cannot be gathered now.",
            )),
            Self::Lost => respond(&server(500, "internal_error", "The request could not be answered.")),
        }
    }
}

fn sealed_refused() -> ApiError {
    ApiError::invalid("The sealed request was refused.").with_code("sealed_request_refused")
}

/// An error in OpenAI's shape.
pub(crate) fn respond(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], error.to_json()).into_response()
}

fn retry_soon(error: ApiError) -> Response {
    let mut response = respond(&error);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The problem (RFC 9457) that tells a client to fetch the keys again (EHBP 5.4.2).
fn key_config_problem() -> Response {
    let problem =
        serde_json::json!({ "type": KEY_CONFIG_PROBLEM, "title": "The key configuration is not known." });
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::UNPROCESSABLE_ENTITY, content_type, problem.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn answer(refusal: Refusal) -> (StatusCode, http::HeaderMap, String) {
        let (parts, body) = refusal.into_response().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_cause_gets_the_same_bytes() {
        let first = answer(Cause::NotSealed.into()).await;
        assert_eq!(
            first.2,
            r#"{"error":{"message":"The sealed request was refused.","type":"invalid_request_error","param":null,"code":"sealed_request_refused"}}"#
        );
        for cause in [Cause::Replayed, Cause::Expired, Cause::XConfTime, Cause::Ticket(JwsError::Signature)] {
            assert_eq!(answer(cause.into()).await, first, "{cause}");
        }
    }

    #[tokio::test]
    async fn what_may_be_tried_again_says_when() {
        for refusal in
            [Refusal::Busy, Refusal::EngineUnavailable, Unavailable::Busy.into(), Unavailable::Failed.into()]
        {
            let (status, headers, _) = answer(refusal).await;
            assert_eq!((status.as_u16(), headers["retry-after"].as_bytes()), (503, b"1".as_slice()));
        }
    }

    #[tokio::test]
    async fn an_unknown_key_is_the_problem_that_clients_look_for() {
        let (status, headers, body) = answer(Refusal::KeyConfig).await;
        assert_eq!(status.as_u16(), 422);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(body.contains(KEY_CONFIG_PROBLEM), "{body}");
    }
}
