//! What a request asks for: a page, or what its body says.

use axum::body::Body;
use axum::extract::Query;
use cocoon_openapi::ApiError;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body;
use crate::error::Failure;

/// Largest body, bytes: a key with all the models it may name is a sixth of it.
const MAX_BODY: usize = 32 << 10;
/// As OpenAI's lists.
const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;
/// As much as is repeated of why a body is not understood, bytes.
const MAX_SHOWN: usize = 200;

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// 1 to 100.
    pub(super) limit: usize,
    pub(super) after: Option<String>,
    pub(super) newest_first: bool,
    pub(super) include_revoked: bool,
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<String>,
    after: Option<String>,
    order: Option<String>,
    include_revoked: Option<String>,
}

impl Page {
    /// What the query says; names that are not known here are passed over.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub(super) fn of(uri: &Uri) -> Result<Self, Failure> {
        let invalid = |param: &str, what: &str| {
            Failure::from(ApiError::invalid(format!("'{param}' must be {what}.")).with_param(param))
        };
        let Query(asked) =
            Query::<Asked>::try_from_uri(uri).map_err(|_| ApiError::invalid("The query is malformed."))?;
        let limit = match asked.limit.as_deref().map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => return Err(invalid("limit", "a whole number from 1 to 100")),
        };
        let newest_first = match asked.order.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(invalid("order", "'asc' or 'desc'")),
        };
        let include_revoked = match asked.include_revoked.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(invalid("include_revoked", "'true' or 'false'")),
        };
        Ok(Self { limit, after: asked.after, newest_first, include_revoked })
    }
}

/// A body of JSON. None that is empty is understood as one without members.
///
/// # Errors
/// 400 that says what is wrong, and those of [`body::read`].
pub(crate) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Failure> {
    let bytes = body::read(body, headers, MAX_BODY).await?;
    let bytes = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let why = error.to_string();
        let end = why.floor_char_boundary(MAX_SHOWN);
        ApiError::invalid(format!("The body is not what is expected here: {}.", &why[..end])).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Page, Option<String>> {
        let uri = format!("/v1/organization/projects?{query}").parse().unwrap();
        Page::of(&uri).map_err(|failure| failure.api.body.error.param)
    }

    #[test]
    fn a_page_has_bounds() {
        let plain = Page { limit: 20, after: None, newest_first: false, include_revoked: false };
        assert_eq!(page("owner_project_access=active"), Ok(plain.clone()));
        assert_eq!(page("limit=100"), Ok(Page { limit: 100, ..plain.clone() }));
        let all = Page { limit: 1, after: Some("k".into()), newest_first: true, include_revoked: true };
        assert_eq!(page("limit=1&after=k&order=desc&include_revoked=true"), Ok(all));
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=x", "limit"),
            ("order=newest", "order"),
            ("include_revoked=1", "include_revoked"),
        ] {
            assert_eq!(page(query), Err(Some(param.to_owned())), "{query}");
        }
        assert_eq!(page("limit=1&limit=2"), Err(None));
    }

    #[tokio::test]
    async fn a_body_is_what_is_expected_or_says_why_not() {
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: Option<String>,
        }
        let read = async |text: String| json::<Named>(&HeaderMap::new(), Body::from(text)).await;
        assert_eq!(read(String::new()).await.unwrap(), Named { name: None });
        assert_eq!(read(r#"{"name":"n"}"#.into()).await.unwrap(), Named { name: Some("n".into()) });
        for bad in ["[".to_owned(), r#"{"name":1}"#.into(), format!(r#"{{"{}":1}}"#, "ü".repeat(1000))] {
            let failure = read(bad).await.unwrap_err();
            assert_eq!(failure.api.status, 400);
            assert!(failure.api.body.error.message.len() < 300, "{failure:?}");
        }
        assert_eq!(read(" ".repeat(MAX_BODY + 1)).await.unwrap_err().api.status, 413);
    }
}
