//! `GET /v1/requests`: the last requests, for pages that show people what they pay for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_ledger::{RequestQuery, RequestRecord, Work};
use cocoon_openapi::billing::{RequestList, RequestView};
use cocoon_receipts::KeyId;
use http::{HeaderMap, Uri};

use crate::accept::Gateway;
use crate::billing::parameters::{Parameters, invalid};
use crate::billing::receipts::{claims, privacy};
use crate::error::Failure;

const USUAL: u64 = 20;
const MOST: u64 = 100;

/// The last requests, newest charge first.
pub(super) async fn requests(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<RequestList>, Failure> {
    let caller = gateway.caller(&headers).await?;
    let parameters = Parameters::read(&uri, &["limit", "after", "api_key_id"])?;
    let limit = parameters.number("limit", 1..=MOST)?.unwrap_or(USUAL);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let after = match parameters.one("after")? {
        None => None,
        Some(id) => Some(id.parse().map_err(|_| invalid("after", "the id of a request"))?),
    };
    let named = match parameters.one("api_key_id")? {
        None => None,
        Some(id) => Some(id.parse::<KeyId>().map_err(|_| invalid("api_key_id", "the id of an API key"))?),
    };
    let hidden = matches!((caller.only(), &named), (Some(own), Some(named)) if own != named);
    let mut records = match hidden {
        true => Vec::new(),
        false => {
            let query = RequestQuery {
                account: caller.account.clone(),
                key: caller.only().cloned().or(named),
                after,
                // One more, to know whether there is another page.
                limit: u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1),
            };
            gateway.ledger.requests(&query).await.map_err(Failure::of_ledger)?
        }
    };
    let has_more = records.len() > limit;
    records.truncate(limit);
    let data: Vec<RequestView> = records.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Json(RequestList {
        object: "list",
        first_id: data.first().map(|request| request.id.clone()),
        last_id: data.last().map(|request| request.id.clone()),
        data,
        has_more,
    }))
}

fn view(record: RequestRecord) -> Result<RequestView, Failure> {
    let claims = record.jws.as_deref().map(claims).transpose()?;
    Ok(RequestView {
        object: "request",
        id: record.request.to_string(),
        created: record.request.made_at_ms() / 1000,
        model: record.model,
        work: match record.work {
            Work::Completions => "completions",
            Work::Embeddings => "embeddings",
        },
        api_key_id: record.key.to_string(),
        project_id: record.project.map(|project| project.to_string()),
        usage: record.usage,
        cost: record.charged,
        privacy: claims.as_ref().map(privacy),
        finish: claims.map(|claims| claims.finish),
        receipt_id: record.receipt.map(|receipt| receipt.to_string()),
        receipt: record.jws,
    })
}
