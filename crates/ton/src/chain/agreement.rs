//! What two independently run endpoints say alike.

use std::future::Future;

use super::{ChainError, Endpoint};

/// Nothing was said by two operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    #[error("fewer than two operators answered; the last failure is: {0:?}")]
    TooFew(Option<ChainError>),
    #[error("operators answer differently: one of them may be behind, or lie")]
    Differ,
}

/// Asks one endpoint after the other until two of different operators have answered alike, and returns that
/// answer.
///
/// Compare what cannot differ between honest endpoints that are equally far: a transaction's hash, an
/// account's code and data.
///
/// # Errors
/// [`Disagreement`]; asking again later may help, crediting anyway may not be right.
pub async fn agreed<'a, T, F>(
    endpoints: &'a [Endpoint],
    ask: impl Fn(&'a Endpoint) -> F,
) -> Result<T, Disagreement>
where
    T: PartialEq,
    F: Future<Output = Result<T, ChainError>>,
{
    let mut answers: Vec<(&str, T)> = Vec::new();
    let mut failure = None;
    for endpoint in endpoints {
        match ask(endpoint).await {
            Ok(answer) => {
                let operator = endpoint.operator();
                if answers.iter().any(|(other, same)| *other != operator && *same == answer) {
                    return Ok(answer);
                }
                answers.push((operator, answer));
            }
            Err(error) => failure = Some(error),
        }
    }
    match answers.first() {
        Some((first, _)) if answers.iter().any(|(operator, _)| operator != first) => {
            Err(Disagreement::Differ)
        }
        _ => Err(Disagreement::TooFew(failure)),
    }
}
