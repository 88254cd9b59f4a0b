//! A POST to one of the endpoints that run a model: read, sealed, asked, delivered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use cocoon_openapi::Endpoint;
use cocoon_openapi::read::{Tokens, read};
use http::header::{ACCEPT, CONTENT_ENCODING};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::accept::Sidecar;
use crate::ask::Asked;
use crate::deliver::deliver;
use crate::error::Failure;
use crate::gateway::announces_more;

/// A caller that does not send its body for this long is let go.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// # Errors
/// [`Failure`].
pub async fn infer(
    State(sidecar): State<Arc<Sidecar>>,
    endpoint: Endpoint,
    request: Request<Body>,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let payer = sidecar.payer_of(&parts.headers)?.ok_or_else(Failure::no_key)?;
    let body = whole(body, &parts.headers, sidecar.body_limit).await?;
    let wanted = read(endpoint, &body)?;
    let asked = Asked {
        endpoint,
        model: &wanted.model,
        ceiling: ceiling(wanted.tokens),
        choices: choices(wanted.tokens),
        body: &body,
        accept: parts.headers.get(ACCEPT),
        payer: &payer,
    };
    let begun = sidecar.asker.ask(&asked).await?;
    // A stream's head and pieces are handed on before its receipt is there to say otherwise.
    let head = begun.answer.head();
    if head.is_stream() && !wanted.stream {
        return Err(Failure::answer_not_verified("it is a stream, which was not asked for"));
    }
    if head.is_stream() && head.status != 200 {
        return Err(Failure::answer_not_verified("it is a stream, with a status that streams do not have"));
    }
    deliver(begun, sidecar.asker.gateway().patience()).await
}

/// Completion tokens at most, over all choices, where the body says so.
fn ceiling(tokens: Tokens) -> Option<u64> {
    match tokens {
        // A body may ask for no token at all; the header cannot.
        Tokens::Generated { choices, ceiling, .. } => {
            ceiling.map(|ceiling| ceiling.saturating_mul(choices).max(1))
        }
        Tokens::Embedded => None,
    }
}

/// Answers that it asks for.
fn choices(tokens: Tokens) -> u64 {
    match tokens {
        Tokens::Generated { choices, .. } => choices,
        Tokens::Embedded => 0,
    }
}

async fn whole(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Failure> {
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(|encoding| encoding == "identity");
    if !plain {
        return Err(Failure::content_encoding());
    }
    // A length that is over the limit is refused before a byte of it is read.
    if announces_more(headers, limit) {
        return Err(Failure::body_too_large(limit));
    }
    let reading = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect());
    match reading.await {
        Err(_) => Err(Failure::body_timeout()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::body_too_large(limit)),
        Ok(Err(_)) => Err(cocoon_openapi::ApiError::invalid("The request body broke off.").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_that_of_all_choices_together() {
        let of = |endpoint, members: &str| {
            let body = format!(r#"{{"model":"m"{members}}}"#);
            ceiling(read(endpoint, body.as_bytes()).unwrap().tokens)
        };
        assert_eq!(
            of(Endpoint::ChatCompletions, r#","max_tokens":9,"max_completion_tokens":5,"n":3"#),
            Some(15)
        );
        assert_eq!(of(Endpoint::ChatCompletions, r#","n":3"#), None);
        assert_eq!(
            of(Endpoint::Completions, r#","prompt":["a","b"],"n":2,"best_of":5,"max_tokens":7"#),
            Some(70)
        );
        assert_eq!(of(Endpoint::Completions, ""), Some(16));
        assert_eq!(of(Endpoint::Completions, r#","max_tokens":0"#), Some(1));
        assert_eq!(of(Endpoint::Responses, r#","max_output_tokens":9"#), Some(9));
        assert_eq!(of(Endpoint::Embeddings, ""), None);
    }
}
