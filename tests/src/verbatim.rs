//! What a client sends is what the model's machine gets, byte for byte, however it is written.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, ensure};
use cocoon_openapi::scan::UNIQUE;
use http_body_util::BodyExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::harness::{Liar, Settings, Stack, full};

const MODEL: &str = "liar-model";
const PATHS: [&str; 4] = ["/chat/completions", "/completions", "/embeddings", "/responses"];

/// White space between any two tokens.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// Numbers that no type holds exactly, beside those that many do.
fn number() -> impl Strategy<Value = String> {
    let named = ["0", "-0", "-0.0", "1.0", "1.10", "1e400", "-1E+400", "1e-400", "9007199254740993"];
    let named = named.map(str::to_owned).to_vec();
    prop_oneof![
        proptest::sample::select(named),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?",
    ]
}

/// The inside of a string: text, every escape, halves of surrogate pairs.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z_ /']{1,6}",
        r#"\\["\\/bfnrt]"#,
        r"\\u[0-9a-fA-F]{4}",
        r"\\ud83d\\ude00",
        "[\u{7f}-\u{d7ff}\u{e000}-\u{10ffff}]{1,3}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A member's name; few of them, so that some come twice. Escaped halves of surrogate pairs are no name in UTF-8.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]?", "messages|input|metadata", r"\\u004[0-9a-fA-F]", "[\u{e0}-\u{1fff}]{1,3}"]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number(),
        text().prop_map(|text| format!("\"{text}\"")),
        // Deeper than a parser that recurses would follow.
        Just(format!("{}1{}", "[".repeat(300), "]".repeat(300))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let list = proptest::collection::vec(element, 0..4).prop_map(|all| format!("[{}]", all.join(",")));
        // Below the top every name is free, our own and a second one too.
        let names = prop_oneof![name(), Just("x_conf".to_owned()), Just("model".to_owned())];
        let members = proptest::collection::vec(member(names, inner), 0..4);
        prop_oneof![list, members.prop_map(|all| format!("{{{}}}", all.join(",")))]
    })
}

fn member(
    name: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (space(), name, space(), space(), value, space())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"))
}

/// A body with a model somewhere in it and any other members around.
fn body() -> impl Strategy<Value = String> {
    let spelling = proptest::sample::select(vec!["model", "\\u006dodel", "mo\\u0064el"]);
    let model = member(spelling.prop_map(str::to_owned), Just(format!("\"{MODEL}\"")));
    let others = proptest::collection::vec(member(name(), value()), 0..6);
    (space(), others, any::<proptest::sample::Index>(), model, space()).prop_map(
        |(before, mut members, at, model, after)| {
            members.insert(at.index(members.len() + 1), model);
            format!("{before}{{{}}}{after}", members.join(","))
        },
    )
}

/// Guards against: a body that is parsed and written again anywhere on its way.
pub(crate) async fn any_object_arrives_byte_for_byte() -> anyhow::Result<()> {
    ensure!(!UNIQUE.contains(&"messages") && !UNIQUE.contains(&"input"), "the names above must be free");
    let mut liar = Liar::new(MODEL).await?;
    liar.lie = Some(Arc::new(|_, _| {}));
    let settings =
        Settings { second_backend: Some(liar.url()), gateway: liar.prices(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.join(&stack).await?;

    let authorization = format!("Bearer {}", stack.key);
    let arrives = async |path: &str, body: &str| {
        let headers = [("authorization", authorization.as_str())];
        let response = stack.client().post_raw(path, &headers, body.to_owned()).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "{status} {answer:?}");
        let seen = liar.seen.lock().unwrap_or_else(PoisonError::into_inner).pop().context("not seen")?;
        ensure!(seen.body == body.as_bytes(), "arrived as {}", String::from_utf8_lossy(&seen.body));
        Ok(())
    };
    let cases = if full() { 5000 } else { 200 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&(0..PATHS.len(), body()), |(path, body)| {
            runtime
                .block_on(arrives(PATHS[path], &body))
                .map_err(|error| TestCaseError::fail(format!("{error:?}")))
        })
    });
    match outcome {
        Ok(()) => println!("{cases} bodies arrived byte for byte"),
        Err(TestError::Fail(reason, (path, body))) => {
            anyhow::bail!("{}: {reason}\n{body}", PATHS[path]);
        }
        Err(error) => anyhow::bail!("{error}"),
    }
    Ok(())
}
