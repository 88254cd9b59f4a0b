//! What a gateway's ledger has booked for an operator, in that gateway's word.

use std::collections::BTreeSet;
use std::time::Duration;

use cocoon_openapi::OPERATORS_PATH;
use cocoon_openapi::ops::OperatorView;
use cocoon_process::{FetchLimits, Fetcher};
use cocoon_receipts::OperatorId;
use http::Uri;

use super::Told;

/// A ledger of many shards is read shard by shard.
const LIMITS: FetchLimits = FetchLimits { time: Duration::from_secs(10), size: 4096 };

/// Asks the origins of `receipt_urls` one after the other; the first that says it is believed.
pub(super) async fn ask<'a>(
    receipt_urls: impl Iterator<Item = &'a str>,
    operator: &OperatorId,
) -> Told<OperatorView> {
    let fetcher = match Fetcher::new(false, LIMITS) {
        Ok(fetcher) => fetcher,
        Err(error) => return Told::Unknown(error.to_string()),
    };
    let (mut asked, mut problems) = (BTreeSet::new(), Vec::new());
    for url in receipt_urls {
        let Some(origin) = origin(url).filter(|origin| asked.insert(origin.clone())) else { continue };
        match ask_one(&fetcher, &format!("{origin}{OPERATORS_PATH}/{operator}"), operator).await {
            Ok(view) => return Told::Said(view),
            Err(problem) => problems.push(problem),
        }
    }
    Told::Unknown(problems.join("; "))
}

fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

async fn ask_one(fetcher: &Fetcher, url: &str, operator: &OperatorId) -> Result<OperatorView, String> {
    let answer = fetcher.get(url).await.map_err(|error| error.to_string())?;
    let view: OperatorView = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("the answer of {url} is not what is earned"))?;
    if view.operator != *operator {
        return Err(format!("the answer of {url} is about another operator"));
    }
    Ok(view)
}
