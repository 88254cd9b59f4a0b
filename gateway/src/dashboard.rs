//! `/dashboard`: the page for people who pay. Files inside the binary, the same for everybody: the page's scripts ask the
//! billing API with the key that its user types in, and whoever has no key sees a form.

mod files;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::accept::Gateway;
use crate::error::Failure;
use files::File;

const PATH: &str = "/dashboard";

/// What the page may load and do: its own files and this gateway's API, nothing else. Text is never taken for markup
/// (`require-trusted-types-for`), a form is never sent by the browser, and no other page may frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
    // Asked for again each time, by its tag: a page of one release never runs with the scripts of another.
    (CACHE_CONTROL, "no-cache"),
];

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(PATH, get(async |headers: HeaderMap| answer(&files::INDEX, &headers)))
        // The page's links are relative to its address without a slash.
        .route("/dashboard/", get(async || Redirect::permanent("../dashboard")))
        .route("/dashboard/{*name}", get(file))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Failure::method_not_allowed(&method, &uri)
        })
}

async fn file(Path(name): Path<String>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    match files::find(&name) {
        Some(file) => answer(file, &headers),
        None => Failure::no_such_path(&method, &uri).into_response(),
    }
}

/// The file, or 304 where the caller has it.
fn answer(file: &'static File, asked: &HeaderMap) -> Response {
    let mut response = match has(asked, &file.tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(CONTENT_TYPE, file.media_type)], file.bytes).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ETAG, file.tag.clone());
    response
}

/// Whether `If-None-Match` names `tag` (RFC 9110 section 13.1.2: compared weakly, as a proxy that compresses marks it).
fn has(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let named = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|list| list.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == tag.as_bytes()
    })
}
