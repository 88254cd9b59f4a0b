mod accounts;
mod blocks;
mod bounds;
mod client;
mod control;
mod faults;
mod getters;
mod sending;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::{Endpoint, SharedChain, lock};
use crate::Chain;
use crate::testing::*;

/// One endpoint of a chain, asked without a network.
struct Api {
    chain: SharedChain,
    router: Router,
}

impl Api {
    fn new() -> Self {
        Self::of(shared())
    }

    fn of(chain: SharedChain) -> Self {
        Self { router: Endpoint::new(Arc::clone(&chain)).router(), chain }
    }

    fn chain<T>(&self, work: impl FnOnce(&mut Chain) -> T) -> T {
        work(&mut lock(&self.chain))
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn rpc(&self, method: &str, params: &Value) -> (u16, Value) {
        let call = json!({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}).to_string();
        let (status, mut body) = self.send(Method::POST, "/api/v2/jsonRPC", call).await;
        let envelope = body.as_object_mut().unwrap();
        assert_eq!(envelope.remove("id"), Some(json!("1")));
        assert_eq!(envelope.remove("jsonrpc"), Some(json!("2.0")));
        (status, body)
    }

    /// Asked in all three ways, which answer alike.
    async fn ask(&self, method: &str, params: Value) -> (u16, Value) {
        let (status, body) = self.rpc(method, &params).await;
        let rest = format!("/api/v2/{method}");
        let posted = self.send(Method::POST, &rest, params.to_string()).await;
        assert_eq!(posted, (status, body.clone()), "{method}");
        let texts: Option<Vec<_>> =
            params.as_object().unwrap().iter().map(|(name, value)| text(name, value)).collect();
        if let Some(texts) = texts {
            let got = self.send(Method::GET, &format!("{rest}?{}", texts.join("&")), Body::empty()).await;
            assert_eq!(got, (status, body.clone()), "{method}");
        }
        (status, body)
    }

    /// What it answers where it does.
    async fn result(&self, method: &str, params: Value) -> Value {
        let (status, body) = self.ask(method, params).await;
        let Value::Object(mut body) = body else { panic!("{body}") };
        let result = body.remove("result");
        assert_eq!((status, body), (200, object(json!({"ok": true, "@extra": "0:0:0"}))), "{result:?}");
        result.unwrap()
    }

    /// The status and the text of its error.
    async fn error(&self, method: &str, params: Value) -> (u16, String) {
        let (status, body) = self.ask(method, params).await;
        let error = body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        assert_eq!(body, json!({"ok": false, "error": error, "code": status}));
        (status, error)
    }

    /// A call that steers the chain, and what comes of it.
    async fn steer(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, &format!("/devnet{path}"), body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn not_steered(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.send(method, &format!("/devnet{path}"), body.to_owned()).await;
        (status, answer["error"].as_str().unwrap().to_owned())
    }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value}") };
    object
}

/// As a query string has it; none for what it cannot have.
fn text(name: &str, value: &Value) -> Option<String> {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return None,
    };
    let plain = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    Some(format!("{name}={}", value.bytes().map(plain).collect::<String>()))
}

/// Where an endpoint of the chain listens, until the test ends.
async fn listening(chain: &SharedChain) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Endpoint::new(Arc::clone(chain)).router();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}
