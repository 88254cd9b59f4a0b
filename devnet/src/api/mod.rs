//! One endpoint: toncenter v2 as JSON-RPC and as REST, and what makes it fail when told to.

mod control;
mod error;
mod methods;
mod parameters;
mod shapes;
mod stack;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State as Shared};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use self::error::ApiError;
use self::methods::View;
use self::parameters::Parameters;
use crate::Chain;
use crate::faults::{EndpointFaults, Fate};
use crate::state::State;

/// Largest request, bytes: an external message and a stack in base64 are far below.
const MAX_REQUEST: usize = 1 << 20;

/// A chain that several endpoints serve.
pub type SharedChain = Arc<Mutex<Chain>>;

/// One endpoint of a chain: its answers may fail or be old while those of another are right.
pub struct Endpoint {
    chain: SharedChain,
    failing: Mutex<Failing>,
}

#[derive(Default)]
struct Failing {
    faults: EndpointFaults,
    /// What it knows, where it has stopped following the chain.
    stale: Option<Arc<State>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half changed: what a call or a block changes is made aside and then put in its place.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what may take a while, such as to run contracts or to wait for a block that is being made, where it
/// keeps no other connection waiting.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ApiError::Panicked))
}

impl Endpoint {
    /// An endpoint without faults.
    #[must_use]
    pub fn new(chain: SharedChain) -> Self {
        Self { chain, failing: Mutex::default() }
    }

    /// `/api/v2` for clients, `/devnet` for whoever steers the chain.
    pub fn router(self) -> Router {
        let api = Router::new()
            .route("/api/v2/jsonRPC", post(json_rpc))
            .route("/api/v2/{method}", get(rest_get).post(rest_post));
        api.merge(control::routes())
            .fallback(async || ApiError::NoSuchPath)
            .method_not_allowed_fallback(async || ApiError::NotAllowed)
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(Arc::new(self))
    }

    async fn answer(
        self: Arc<Self>,
        method: String,
        parameters: Map<String, Value>,
        id: Option<Value>,
    ) -> Response {
        let fate = lock(&self.failing).faults.fate(&method);
        match fate {
            Fate::Refused(429) => return ApiError::RateLimit.answer(id),
            Fate::Refused(status) => return ApiError::Refused(status).answer(id),
            Fate::Hangs => return std::future::pending().await,
            Fate::Answered | Fate::Lost => {}
        }
        let result = aside(move || self.call(&method, &Parameters::new(parameters))).await;
        match result {
            _ if fate == Fate::Lost => ApiError::Lost.answer(id),
            Ok(result) => {
                let mut body = json!({"ok": true, "result": result, "@extra": "0:0:0"});
                error::enveloped(&mut body, id);
                Json(body).into_response()
            }
            Err(error) => error.answer(id),
        }
    }

    fn call(&self, method: &str, parameters: &Parameters) -> Result<Value, ApiError> {
        let stale = lock(&self.failing).stale.clone();
        let mut chain = lock(&self.chain);
        if let Some(result) = methods::call(&mut chain, method, parameters) {
            return result;
        }
        let network = chain.network().clone();
        let state = stale.unwrap_or_else(|| Arc::clone(chain.state()));
        // Reading needs no lock: what is read does not change.
        drop(chain);
        View { network: &network, state: &state }.call(method, parameters)
    }

    fn set_faults(&self, faults: EndpointFaults) {
        let stale = faults.stale.then(|| Arc::clone(lock(&self.chain).state()));
        *lock(&self.failing) = Failing { faults, stale };
    }
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| ApiError::Body(rejection.status(), rejection.body_text()))?;
    // An object, for a list of the same values would do for serde.
    let object = serde_json::from_slice(&body).map(Value::Object);
    object.and_then(serde_json::from_value).map_err(|error| ApiError::Parameter(error.to_string()))
}

#[derive(serde::Deserialize)]
struct Call {
    method: String,
    #[serde(default)]
    params: Map<String, Value>,
    id: Option<Value>,
}

async fn json_rpc(Shared(endpoint): Shared<Arc<Endpoint>>, body: Result<Bytes, BytesRejection>) -> Response {
    match read(body) {
        Ok(Call { method, params, id }) => {
            endpoint.answer(method, params, Some(id.unwrap_or(Value::Null))).await
        }
        Err(error) => error.answer(Some(Value::Null)),
    }
}

async fn rest_get(
    Shared(endpoint): Shared<Arc<Endpoint>>,
    method: Result<Path<String>, PathRejection>,
    query: Result<Query<Map<String, Value>>, QueryRejection>,
) -> Response {
    match (method, query) {
        (Ok(Path(method)), Ok(Query(query))) => endpoint.answer(method, query, None).await,
        (Err(_), _) => ApiError::NoSuchPath.into_response(),
        (_, Err(rejection)) => ApiError::Parameter(rejection.body_text()).into_response(),
    }
}

async fn rest_post(
    Shared(endpoint): Shared<Arc<Endpoint>>,
    method: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match (method, read(body)) {
        (Ok(Path(method)), Ok(parameters)) => endpoint.answer(method, parameters, None).await,
        (Err(_), _) => ApiError::NoSuchPath.into_response(),
        (_, Err(error)) => error.into_response(),
    }
}

#[cfg(test)]
mod tests;
