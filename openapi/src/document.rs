//! The description of the API: OpenAPI 3.1, checked in as `openapi.json` and served by gateways.
//!
//! Schemas of what we write come from the types that write it. Requests are described by the members we read; they are
//! open objects, because what we do not know is handed on.

mod channels;
mod keys;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::attestations::Attestations;
use crate::models::{Model, Models};
use crate::names::*;
use crate::ops::{AccountView, Backends, Health, OperatorView};
use crate::{ErrorBody, billing, chat, completion, embedding, responses};

/// The document as it is checked in; a test holds it against [`document`].
pub const OPENAPI_JSON: &str = include_str!("../openapi.json");

/// The description of this version.
#[must_use]
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cocoon Gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "OpenAI's API in front of models in attested virtual machines.",
            "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "sk-cocoon-JWT",
                    "description": "An API key of this deployment, or a voucher of a payment channel: `cocoon-voucher-` and 104 bytes in base64url.",
                },
            },
            "schemas": schemas(),
            "parameters": parameters(),
            "headers": headers(),
            "responses": {
                "Error": error_response("A failure, in the shape that all have."),
                "KeyConfig": {
                    "description": "The keys that the body is sealed to are not known: they are to be fetched again.",
                    "content": { "application/problem+json": { "schema": schema_ref("Open") } },
                },
            },
        },
    })
}

fn paths() -> Value {
    let model_id = json!({
        "name": "id", "in": "path", "required": true, "schema": { "type": "string" },
        "description": "Name or alias of a model; it may contain slashes.",
    });
    let account = json!({
        "name": "account", "in": "path", "required": true, "schema": { "type": "string" },
    });
    let operator = json!({
        "name": "operator", "in": "path", "required": true, "schema": { "type": "string" },
        "description": "As its backends' keysets name it: a raw TON address.",
    });
    let mut paths = Map::new();
    let mut add = |path: &str, method: &str, operation: Value| {
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[method] = operation;
    };
    add(
        CHAT_COMPLETIONS_PATH,
        "post",
        inference(
            "createChatCompletion",
            "Answers a conversation.",
            "ChatRequest",
            "ChatCompletion",
            Some("Chunk"),
        ),
    );
    add(
        COMPLETIONS_PATH,
        "post",
        inference(
            "createCompletion",
            "Continues a text.",
            "CompletionRequest",
            "Completion",
            Some("Completion"),
        ),
    );
    add(
        EMBEDDINGS_PATH,
        "post",
        inference("createEmbedding", "Turns texts into vectors.", "EmbeddingRequest", "Embeddings", None),
    );
    add(
        RESPONSES_PATH,
        "post",
        inference(
            "createResponse",
            "Answers; nothing is stored.",
            "ResponseRequest",
            "Response",
            Some("ResponseEvent"),
        ),
    );
    add(
        MODELS_PATH,
        "get",
        read("listModels", "Models that can be asked for now.", "Models", &[401, 500, 503], None),
    );
    add(
        &format!("{MODELS_PATH}/{{id}}"),
        "get",
        read("retrieveModel", "One of them.", "Model", &[401, 404, 500, 503], Some(model_id)),
    );
    let mut prices = read("listPrices", "What every model costs.", "PriceTable", &[503], None);
    prices["security"] = json!([]);
    add(PRICES_PATH, "get", prices);
    for (path, method, operation) in keys::paths().into_iter().chain(channels::paths()) {
        add(&path, method, operation);
    }
    for (path, operation) in evidence() {
        add(&path, "get", operation);
    }
    for (path, operation) in billing::document::paths() {
        add(path, "get", operation);
    }
    let mut description = read("describe", "This document.", "Open", &[503], None);
    description["security"] = json!([]);
    add(OPENAPI_PATH, "get", description);

    for (path, method, mut operation) in [
        ("/healthz", "get", read("isAlive", "The process runs.", "Open", &[], None)),
        ("/readyz", "get", ready()),
        (METRICS_PATH, "get", metrics()),
        (
            BACKENDS_PATH,
            "get",
            read("listBackends", "How the backends stand, and why.", "Backends", &[], None),
        ),
        (RECEIPTS_PATH, "post", deliver()),
        (
            &format!("{OPERATORS_PATH}/{{operator}}"),
            "get",
            read("readOperator", "What an operator has earned.", "Operator", &[400, 503], Some(operator)),
        ),
        (
            "/internal/accounts/{account}",
            "get",
            read(
                "readAccount",
                "An account; admin keys only.",
                "Account",
                &[400, 401, 403, 503],
                Some(account),
            ),
        ),
    ] {
        // The ops listener sends none of our headers.
        if let Some(whole) = operation["responses"]["200"].as_object_mut() {
            whole.remove("headers");
        }
        operation["servers"] = json!([{
            "url": "http://{ops}",
            "description": "The ops listener, which is never public.",
            "variables": { "ops": { "default": "127.0.0.1:8081" } },
        }]);
        if !path.ends_with("{account}") {
            operation["security"] = json!([]);
        }
        add(path, method, operation);
    }
    Value::Object(paths)
}

/// How a request is sealed, for every endpoint that runs a model.
const SEALED: &str = "With `Ehbp-Encapsulated-Key` the body is sealed (EHBP) to a key of a backend, whatever its content type says, \
and so is the answer, which has `Ehbp-Response-Nonce`. The gateway can read neither: headers say what it must know. \
Refusals are in the clear.";

/// An endpoint that runs a model; `events` is the schema of a stream's `data:` lines.
fn inference(id: &str, summary: &str, request: &str, answer: &str, events: Option<&str>) -> Value {
    let mut content = json!({ "application/json": { "schema": schema_ref(answer) } });
    let mut description = String::from("The answer.");
    if let Some(event) = events {
        content["text/event-stream"] = json!({ "schema": { "type": "string" } });
        description = format!(
            "The answer: JSON, or with `stream: true` server-sent events, each `data:` line of which is a `{event}`. \
             Receipt and cost then come as trailers. A failure after the first byte is an event with an `error`."
        );
    }
    let statuses = [400, 401, 402, 403, 404, 408, 409, 413, 415, 429, 500, 502, 503, 504];
    let mut responses = errors(&statuses);
    let named =
        [CLIENT_NONCE_HEADER, COST_HEADER, IDEMPOTENT_REPLAYED_HEADER, PRIVACY_HEADER, RECEIPT_HEADER];
    responses.insert(
        "200".into(),
        json!({ "description": description, "headers": with_common(&named), "content": content }),
    );
    responses.insert("422".into(), json!({ "$ref": "#/components/responses/KeyConfig" }));
    json!({
        "operationId": id,
        "summary": summary,
        "description": SEALED,
        "parameters": [
            { "$ref": "#/components/parameters/EncapsulatedKey" },
            { "$ref": "#/components/parameters/SealedModel" },
            { "$ref": "#/components/parameters/KeyDigest" },
            { "$ref": "#/components/parameters/MaxTokens" },
            { "$ref": "#/components/parameters/IdempotencyKey" },
            { "$ref": "#/components/parameters/ClientNonce" },
            { "$ref": "#/components/parameters/ContentEncoding" },
        ],
        "requestBody": {
            "required": true,
            "description": "Handed on byte for byte: what is not described here too.",
            "content": { "application/json": { "schema": schema_ref(request) } },
        },
        "responses": responses,
    })
}

pub(crate) fn read(
    id: &str,
    summary: &str,
    answer: &str,
    statuses: &[u16],
    parameter: Option<Value>,
) -> Value {
    let mut responses = errors(statuses);
    responses.insert(
        "200".into(),
        json!({
            "description": summary,
            "headers": with_common(&[]),
            "content": { "application/json": { "schema": schema_ref(answer) } },
        }),
    );
    let parameters: Vec<Value> = parameter.into_iter().collect();
    json!({ "operationId": id, "summary": summary, "parameters": parameters, "responses": responses })
}

/// What a client needs to seal and to verify. It is for everyone.
fn evidence() -> [(String, Value); 3] {
    let query = |name: &str, required: bool, schema: Value, description: &str| json!({ "name": name, "in": "query", "required": required, "schema": schema, "description": description });
    let model = query("model", false, json!({ "type": "string" }), "Name or alias of a model.");
    let mut keys = read(
        "readKeys",
        "The keys that sealed requests for a model are sealed to: EHBP's key configurations, X25519 first.",
        "Open",
        &[400, 404, 503],
        Some(model.clone()),
    );
    keys["parameters"] = json!([model, { "$ref": "#/components/parameters/SealedModel" }]);
    keys["responses"]["200"]["content"] =
        json!({ "application/ohttp-keys": { "schema": { "type": "string", "contentEncoding": "binary" } } });
    keys["responses"]["200"]["headers"] = with_common(&[KEY_DIGEST_HEADER]);
    let list = read(
        "listAttestations",
        "Keysets in force, of one model or of all.",
        "Attestations",
        &[400, 404, 503],
        Some(model),
    );
    let mut document = read(
        "readAttestation",
        "A backend's attestation document for the caller's nonce, as the backend wrote it; without a nonce the one that was \
         kept when the gateway first believed it.",
        "Open",
        &[400, 404, 503],
        None,
    );
    document["parameters"] = json!([
        { "name": "digest", "in": "path", "required": true, "schema": { "type": "string" }, "description": "Digest of a keyset." },
        query("nonce", false, json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }), "Makes the evidence fresh."),
    ]);
    document["responses"]["200"]["headers"] = with_common(&[ATTESTATION_NONCE_HEADER, VERIFIED_AT_HEADER]);
    let of_a_keyset = format!("{ATTESTATIONS_PATH}/{{digest}}");
    [(KEY_CONFIG_PATH.to_owned(), keys), (ATTESTATIONS_PATH.to_owned(), list), (of_a_keyset, document)].map(
        |(path, mut operation)| {
            operation["security"] = json!([]);
            (path, operation)
        },
    )
}

fn metrics() -> Value {
    let mut operation = read("readMetrics", "What is counted, for Prometheus.", "Open", &[500], None);
    operation["responses"]["200"]["content"] =
        json!({ "application/openmetrics-text": { "schema": { "type": "string" } } });
    operation
}

fn ready() -> Value {
    let mut operation = read("isReady", "Whether it can serve.", "Health", &[], None);
    operation["responses"]["503"] = json!({
        "description": "It cannot, and why.",
        "content": { "application/json": { "schema": schema_ref("Health") } },
    });
    operation
}

fn deliver() -> Value {
    let mut operation =
        read("deliverReceipts", "Takes receipts from outboxes.", "Outcomes", &[400, 413, 415, 422], None);
    operation["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": schema_ref("Deliveries") } },
    });
    operation
}

fn errors(statuses: &[u16]) -> Map<String, Value> {
    statuses
        .iter()
        .map(|status| (status.to_string(), json!({ "$ref": "#/components/responses/Error" })))
        .collect()
}

fn error_response(description: &str) -> Value {
    json!({
        "description": description,
        "headers": with_common(&["retry-after", "retry-after-ms", "x-should-retry", "allow", "accept-encoding"]),
        "content": { "application/json": { "schema": schema_ref("ErrorBody") } },
    })
}

fn with_common(names: &[&str]) -> Value {
    let common = [
        REQUEST_ID_HEADER,
        "openai-processing-ms",
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ];
    let all = names.iter().chain(&common);
    all.map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect::<Map<_, _>>()
        .into()
}

fn schema_ref(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
            "description": "The same request under the same key is run and charged once. Passed over where the body is sealed.",
        },
        "ClientNonce": {
            "name": "Cocoon-Client-Nonce", "in": "header",
            "schema": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" },
            "description": "The nonce of the receipt's `body`; made where it is absent.",
        },
        "EncapsulatedKey": {
            "name": "Ehbp-Encapsulated-Key", "in": "header",
            "schema": { "type": "string", "pattern": "^([0-9a-f]{64}|[0-9a-f]{2240})$" },
            "description": "The body is sealed: 64 characters for X25519, 2240 for X-Wing.",
        },
        "SealedModel": {
            "name": "Cocoon-Model", "in": "header", "schema": { "type": "string" },
            "description": "The model of a sealed request. Otherwise `?model=`, the virtual host, or the default model.",
        },
        "KeyDigest": {
            "name": "Cocoon-Key-Digest", "in": "header",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
            "description": "The keyset that the body is sealed to: it goes to that backend and no other.",
        },
        "MaxTokens": {
            "name": "Cocoon-Max-Tokens", "in": "header", "schema": { "type": "integer", "minimum": 1 },
            "description": "Completion tokens of a sealed request over all its choices: what is held follows from it.",
        },
        "ContentEncoding": {
            "name": "Content-Encoding", "in": "header",
            "schema": { "type": "string", "enum": ["identity", "gzip", "br", "zstd"] },
        },
    })
}

fn headers() -> Value {
    let described = [
        (CLIENT_NONCE_HEADER, "The nonce of the receipt's `body`, hexadecimal."),
        (KEY_DIGEST_HEADER, "Digest of the keyset that the keys are of."),
        (ATTESTATION_NONCE_HEADER, "On a kept document: the nonce that it answers."),
        (VERIFIED_AT_HEADER, "On a kept document: when it was believed, milliseconds since 1970."),
        (COST_HEADER, "What the request cost, nanoTON."),
        (IDEMPOTENT_REPLAYED_HEADER, "`true` where the answer was kept for its Idempotency-Key."),
        (PRIVACY_HEADER, "Who could read the body, in the gateway's own word."),
        (RECEIPT_HEADER, "The signed receipt, a JWS."),
        (REQUEST_ID_HEADER, "The request's id, made by the gateway."),
        ("openai-processing-ms", "Milliseconds until the answer began."),
        (
            "x-ratelimit-limit-requests",
            "Requests per minute of the key, its project or its account, whichever leaves least; without such a limit the requests that may be in flight at this gateway.",
        ),
        ("x-ratelimit-remaining-requests", "How many more may be sent now."),
        (
            "x-ratelimit-reset-requests",
            "After how long all of them may be sent again, such as `1s` or `6m0s`.",
        ),
        ("x-ratelimit-limit-tokens", "Tokens per minute, where there is such a limit."),
        ("x-ratelimit-remaining-tokens", "How many more may be used now."),
        ("x-ratelimit-reset-tokens", "After how long all of them may be used again."),
        ("retry-after", "Seconds after which a repetition makes sense."),
        ("retry-after-ms", "The same in milliseconds."),
        ("x-should-retry", "`true` or `false`: whether a client may repeat the request by itself."),
        ("allow", "With 405: the methods that would do."),
        ("accept-encoding", "With 415: the encodings that would do."),
    ];
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    described
        .map(|(name, description)| (name.to_owned(), header(description)))
        .into_iter()
        .collect::<Map<_, _>>()
        .into()
}

fn schemas() -> Value {
    let mut found = Vec::new();
    collect::<ErrorBody>(&mut found);
    collect::<chat::ChatCompletion>(&mut found);
    collect::<chat::Chunk>(&mut found);
    collect::<completion::Completion>(&mut found);
    collect::<embedding::Embeddings>(&mut found);
    collect::<responses::Response>(&mut found);
    collect::<responses::ResponseEvent>(&mut found);
    collect::<Attestations>(&mut found);
    collect::<Model>(&mut found);
    collect::<Models>(&mut found);
    collect::<Health>(&mut found);
    collect::<AccountView>(&mut found);
    collect::<OperatorView>(&mut found);
    collect::<Backends>(&mut found);
    collect::<Deliveries>(&mut found);
    collect::<Outcomes>(&mut found);
    collect::<billing::UsagePage>(&mut found);
    collect::<billing::KeyEnvelope>(&mut found);
    collect::<billing::Credits>(&mut found);
    collect::<billing::Generation>(&mut found);
    collect::<billing::ReceiptView>(&mut found);
    collect::<billing::RequestList>(&mut found);
    collect::<billing::Subscription>(&mut found);
    collect::<billing::OldUsage>(&mut found);
    keys::schemas(&mut found);
    channels::schemas(&mut found);
    let mut schemas: Map<String, Value> = found.into_iter().collect();
    schemas.insert("Open".into(), json!({ "type": "object", "additionalProperties": true }));
    schemas.insert(
        "PriceTable".into(),
        json!({ "type": "object", "additionalProperties": { "$ref": "#/components/schemas/Price" } }),
    );
    schemas.extend(requests());
    schemas.into()
}

fn collect<T: ToSchema>(found: &mut Vec<(String, Value)>) {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    // A schema always serialises.
    found.extend(
        all.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())),
    );
}

fn requests() -> [(String, Value); 4] {
    let count =
        |description: &str| json!({ "type": ["integer", "null"], "minimum": 0, "description": description });
    let stream =
        json!({ "type": ["boolean", "null"], "description": "Server-sent events instead of one answer." });
    let model = json!({ "type": "string", "description": "Name or alias of a model." });
    let open = |required: &[&str], mut members: Value| {
        members["model"] = model.clone();
        json!({ "type": "object", "required": required, "properties": members, "additionalProperties": true })
    };
    [
        (
            "ChatRequest".into(),
            open(
                &["model", "messages"],
                json!({
                    "messages": { "type": "array", "minItems": 1, "items": { "type": "object" } },
                    "stream": stream,
                    "stream_options": { "type": ["object", "null"] },
                    "n": count("Answers, at most 128."),
                    "max_completion_tokens": count("Ceiling of each answer; without one the balance is the bound."),
                    "max_tokens": count("Its older name."),
                }),
            ),
        ),
        (
            "CompletionRequest".into(),
            open(
                &["model"],
                json!({
                    "prompt": { "description": "A text, a list of tokens, or a list of at most 2048 of either." },
                    "stream": stream,
                    "n": count("Answers to each prompt, at most 128."),
                    "best_of": count("Answers drawn for each prompt, at most 128."),
                    "max_tokens": count("Ceiling of each answer; 16 where absent."),
                }),
            ),
        ),
        (
            "EmbeddingRequest".into(),
            open(
                &["model", "input"],
                json!({ "input": { "description": "A text, a list of tokens, or a list of either." } }),
            ),
        ),
        (
            "ResponseRequest".into(),
            open(
                &["model"],
                json!({
                    "input": { "description": "A text, or a list of items." },
                    "stream": stream,
                    "max_output_tokens": count("Ceiling of the answer; without one the balance is the bound."),
                }),
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To write it anew: `COCOON_WRITE_OPENAPI=1 cargo test --release -p cocoon-openapi document`.
    #[test]
    fn the_file_is_what_the_code_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("COCOON_WRITE_OPENAPI").is_some() {
            let text = serde_json::to_string_pretty(&document()).unwrap();
            std::fs::write(file, text + "\n").unwrap();
        }
        let written: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert!(
            written == document(),
            "openapi.json is out of date; the line above this test writes it anew"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(root: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').unwrap_or("?");
                        assert!(root.pointer(pointer).is_some(), "{target}");
                    }
                    members.values().for_each(|inner| check(root, inner));
                }
                Value::Array(all) => all.iter().for_each(|inner| check(root, inner)),
                _ => {}
            }
        }
        let document = document();
        check(&document, &document);
    }
}
