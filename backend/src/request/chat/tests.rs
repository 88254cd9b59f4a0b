use cocoon_engine_api::{Constraint, Message, ModelKind, Sampling};

use super::*;
use crate::calls::CallRule;

const MAX_MESSAGES: usize = 2048;

pub(in crate::request) fn engine() -> Ready {
    Ready {
        protocol: cocoon_engine_api::PROTOCOL,
        engine: "e".into(),
        engine_version: "1".into(),
        kind: ModelKind::Text,
        quantization: "none".into(),
        context_length: 100,
        vocabulary: 1000,
        reasons: false,
        prefix_cache: false,
    }
}

fn parse(body: &[u8]) -> Result<TextRequest, ApiError> {
    super::parse(body, &engine())
}

fn messages_of(request: &TextRequest) -> Vec<Message> {
    match request.prompts.as_slice() {
        [Prompt::Chat(chat)] => chat.messages.clone(),
        other => panic!("{other:?}"),
    }
}

fn with(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{members}}}"#)
}

fn messages_are(messages: &str) -> String {
    format!(r#"{{"model":"m","messages":{messages}}}"#)
}

fn user(content: &str) -> String {
    messages_are(&format!(r#"[{{"role":"user","content":{content}}}]"#))
}

fn refused(body: &str) -> (u16, Option<String>, Option<String>) {
    let error = parse(body.as_bytes()).expect_err(body);
    (error.status, error.body.error.param, error.body.error.code)
}

#[test]
fn a_plain_request_has_the_documented_defaults() {
    let nulls = with(
        r#","temperature":null,"top_p":null,"max_tokens":null,"stop":null,"stream":null,"stream_options":null,
        "n":null,"tools":null,"seed":null,"logprobs":null,"response_format":null,"store":null,"user":null"#,
    );
    for body in [with(""), nulls] {
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!(messages_of(&request), [Message { role: "user".into(), content: "hi".into() }]);
        assert_eq!((request.choices, request.max_tokens, request.stream), (1, None, false));
        assert_eq!((request.sampling, request.stop), (Sampling::default(), Vec::<String>::new()));
        assert_eq!((request.logprobs, request.constraint, request.calls), (None, None, None));
        assert!(matches!(request.form, Form::Chat { include_usage: false, calls: Calls::Tools }));
    }
}

#[test]
fn what_is_honoured_is_read() {
    let body = with(
        r#","temperature":0,"top_p":0.5,"max_tokens":9,"max_completion_tokens":7,"stop":["a","b"],"stream":true,
        "stream_options":{"include_usage":true},"n":3,"seed":-5,"presence_penalty":1,"frequency_penalty":-2,
        "logit_bias":{"7":-100,"999":5.5},"logprobs":true,"top_logprobs":20"#,
    );
    let request = parse(body.as_bytes()).unwrap();
    let sampling = Sampling {
        temperature: 0.0,
        top_p: 0.5,
        seed: Some(-5),
        presence_penalty: 1.0,
        frequency_penalty: -2.0,
        logit_bias: vec![(7, -100.0), (999, 5.5)],
    };
    assert_eq!((request.sampling, request.max_tokens, request.choices), (sampling, Some(7), 3));
    assert_eq!(
        (request.stop, request.stream, request.logprobs),
        (vec!["a".into(), "b".into()], true, Some(20))
    );
    assert!(matches!(request.form, Form::Chat { include_usage: true, .. }));
    assert_eq!(parse(with(r#","max_tokens":9"#).as_bytes()).unwrap().max_tokens, Some(9));
    assert_eq!(parse(with(r#","stop":"x""#).as_bytes()).unwrap().stop, ["x"]);
}

#[test]
fn a_format_is_a_constraint_in_the_callers_own_bytes() {
    let constraint =
        |format: &str| parse(with(&format!(r#","response_format":{format}"#)).as_bytes()).unwrap().constraint;
    assert_eq!(constraint(r#"{"type":"text"}"#), None);
    assert_eq!(constraint(r#"{"type":"json_object"}"#), Some(Constraint::JsonObject));
    let schema = r#"{"type":"object","properties":{"z":{},"a":{}}}"#;
    let format =
        format!(r#"{{"type":"json_schema","json_schema":{{"name":"n","strict":true,"schema":{schema}}}}}"#);
    assert_eq!(constraint(&format), Some(Constraint::JsonSchema { schema: schema.into() }));
}

const TOOLS: &str = r#"[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2},"strict":true}},
    {"type":"function","function":{"name":"g"}}]"#;

#[test]
fn a_tool_choice_is_a_rule_and_where_it_must_be_a_grammar() {
    let request = |choice: &str| parse(with(&format!(r#","tools":{TOOLS}{choice}"#)).as_bytes()).unwrap();
    let names = |request: &TextRequest| match &request.constraint {
        Some(Constraint::Call { functions }) => functions.iter().map(|one| one.name.clone()).collect(),
        None => Vec::new(),
        other => panic!("{other:?}"),
    };
    let auto = request("");
    assert_eq!(auto.calls, Some(CallRule::Auto { names: vec!["f".into(), "g".into()], parallel: true }));
    assert!(names(&auto).is_empty());
    assert!(messages_of(&auto)[0].content.contains(r#""parameters": {"b":1,"a":2}"#), "they are described");
    let none = request(r#","tool_choice":"none""#);
    assert_eq!((none.calls.clone(), messages_of(&none).len()), (None, 1), "and here they are not");
    let required = request(r#","tool_choice":"required""#);
    assert_eq!(
        (required.calls.clone(), names(&required)),
        (Some(CallRule::Forced { named: false }), vec!["f".into(), "g".into()])
    );
    let named = request(r#","tool_choice":{"type":"function","function":{"name":"g"}}"#);
    assert_eq!(
        (named.calls.clone(), names(&named)),
        (Some(CallRule::Forced { named: true }), vec!["g".to_owned()])
    );
    let single = request(r#","parallel_tool_calls":false"#);
    assert!(matches!(single.calls, Some(CallRule::Auto { parallel: false, .. })));
    let older =
        parse(with(r#","functions":[{"name":"f"}],"function_call":{"name":"f"}"#).as_bytes()).unwrap();
    assert_eq!(older.calls, Some(CallRule::Forced { named: true }));
    assert!(matches!(older.form, Form::Chat { calls: Calls::Function, .. }));
}

#[test]
fn calls_and_results_of_earlier_turns_are_told() {
    let body = messages_are(
        r#"[{"role":"user","content":"hi"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"sunny"}]},
            {"role":"assistant","function_call":{"name":"g","arguments":"{}"}},
            {"role":"function","name":"g","content":"warm"}]"#,
    );
    let messages = messages_of(&parse(body.as_bytes()).unwrap());
    let roles: Vec<&str> = messages.iter().map(|message| message.role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user"]);
    assert!(messages[1].content.contains("\"name\": \"f\"") && messages[2].content.contains("sunny"));
}

#[test]
fn effort_is_for_models_that_can_be_told() {
    let body = with(r#","reasoning_effort":"low""#);
    let reasons = Ready { reasons: true, ..engine() };
    let request = super::parse(body.as_bytes(), &reasons).unwrap();
    assert!(matches!(&request.prompts[0], Prompt::Chat(chat) if chat.effort.is_some()));
    assert_eq!(refused(&body).1.as_deref(), Some("reasoning_effort"));
}

#[test]
fn roles_and_parts_become_plain_messages() {
    let body = messages_are(
        r#"[{"role":"developer","content":"d"},{"role":"system","content":"s"},
            {"role":"assistant","content":"a"},
            {"role":"user","content":[{"type":"text","text":"one "},{"text":"two","type":"text"}],"name":"x"}]"#,
    );
    let messages = messages_of(&parse(body.as_bytes()).unwrap());
    let pairs: Vec<(&str, &str)> = messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
    assert_eq!(pairs, [("system", "d"), ("system", "s"), ("assistant", "a"), ("user", "one two")]);
}

#[test]
fn what_changes_nothing_is_accepted() {
    for members in [
        r#","n":1"#,
        r#","user":"u","metadata":{"a":"b"},"store":false,"service_tier":"auto","parallel_tool_calls":true"#,
        r#","tools":[],"functions":[],"tool_choice":"none","function_call":"none","logit_bias":{}"#,
        r#","logprobs":false,"presence_penalty":0,"frequency_penalty":0.0,"service_tier":"default""#,
        r#","response_format":{"type":"text"},"modalities":["text"],"verbosity":"medium""#,
        r#","prediction":{"type":"content","content":"x"},"safety_identifier":"u","prompt_cache_key":"k""#,
        r#","something_new":{"a":[1,2,3]}"#,
    ] {
        assert!(parse(with(members).as_bytes()).is_ok(), "{members}");
    }
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    for (param, value) in [
        ("modalities", r#"["text","audio"]"#),
        ("audio", "{}"),
        ("web_search_options", "{}"),
        ("reasoning_effort", "\"low\""),
        ("verbosity", "\"low\""),
        ("store", "true"),
        ("service_tier", "\"flex\""),
    ] {
        let (status, named, code) = refused(&with(&format!(",\"{param}\":{value}")));
        assert_eq!((status, named.as_deref()), (400, Some(param)), "{param}: {value}");
        assert!(code.is_some_and(|code| code.starts_with("unsupported_")), "{param}: {value}");
    }
    let both = with(&format!(r#","tools":{TOOLS},"response_format":{{"type":"json_object"}}"#));
    assert_eq!(refused(&both).1.as_deref(), Some("response_format"));
    let custom = with(r#","tools":[{"type":"custom","custom":{"name":"f"}}]"#);
    assert_eq!(refused(&custom).1.as_deref(), Some("tools[0].type"));
}

#[test]
fn wrong_types_and_values_name_the_param() {
    for (body, param) in [
        (r#"{"model":"m"}"#.to_owned(), "messages"),
        (r#"{"messages":[{"role":"user","content":"hi"}]}"#.to_owned(), "model"),
        (r#"{"model":7,"messages":[]}"#.to_owned(), "model"),
        (messages_are("[]"), "messages"),
        (messages_are("null"), "messages"),
        (messages_are("{}"), "messages"),
        (messages_are("\"hi\""), "messages"),
        (messages_are("[1]"), "messages[0]"),
        (messages_are("[{}]"), "messages[0].role"),
        (messages_are(r#"[{"role":1}]"#), "messages[0].role"),
        (messages_are(r#"[{"role":"king","content":"x"}]"#), "messages[0].role"),
        (messages_are(r#"[{"role":"tool","content":"x"}]"#), "messages[0].tool_call_id"),
        (messages_are(r#"[{"role":"assistant"}]"#), "messages[0].content"),
        (messages_are(r#"[{"role":"user","content":"x"},{"role":"user"}]"#), "messages[1].content"),
        (messages_are(r#"[{"role":"assistant","tool_calls":[{}]}]"#), "messages[0].tool_calls[0].type"),
        (user("null"), "messages[0].content"),
        (user("1"), "messages[0].content"),
        (user("{}"), "messages[0].content"),
        (user("[]"), "messages[0].content"),
        (user("\"\\ud800\""), "messages[0].content"),
        (user("[\"x\"]"), "messages[0].content[0]"),
        (user("[{}]"), "messages[0].content[0].type"),
        (user(r#"[{"type":"text"}]"#), "messages[0].content[0].text"),
        (user(r#"[{"type":"text","text":1}]"#), "messages[0].content[0].text"),
        (user(r#"[{"type":"poem"}]"#), "messages[0].content[0].type"),
        (user(r#"[{"type":"input_audio"}]"#), "messages[0].content[0].type"),
        (with(r#","temperature":"hot""#), "temperature"),
        (with(r#","temperature":2.1"#), "temperature"),
        (with(r#","temperature":-0.1"#), "temperature"),
        (with(r#","top_p":-0.1"#), "top_p"),
        (with(r#","top_p":1.01"#), "top_p"),
        (with(r#","max_tokens":0"#), "max_tokens"),
        (with(r#","max_tokens":-1"#), "max_tokens"),
        (with(r#","max_tokens":1.5"#), "max_tokens"),
        (with(r#","max_tokens":"1""#), "max_tokens"),
        (with(r#","max_completion_tokens":0"#), "max_completion_tokens"),
        (with(r#","stop":5"#), "stop"),
        (with(r#","stop":"""#), "stop"),
        (with(r#","stop":["a","b","c","d","e"]"#), "stop"),
        (with(r#","stop":["a",5]"#), "stop"),
        (with(r#","stream":"yes""#), "stream"),
        (with(r#","stream_options":{"include_usage":true}"#), "stream_options"),
        (with(r#","stream":true,"stream_options":5"#), "stream_options"),
        (with(r#","stream":true,"stream_options":{"include_usage":5}"#), "stream_options.include_usage"),
        (with(r#","n":0"#), "n"),
        (with(r#","n":"1""#), "n"),
        (with(r#","n":129"#), "n"),
        (with(r#","seed":1.5"#), "seed"),
        (with(r#","top_logprobs":2"#), "top_logprobs"),
        (with(r#","logprobs":true,"top_logprobs":21"#), "top_logprobs"),
        (with(r#","logit_bias":{"1000":1}"#), "logit_bias"),
        (with(r#","logit_bias":{"1":101}"#), "logit_bias"),
        (with(r#","logit_bias":[1]"#), "logit_bias"),
        (with(r#","presence_penalty":2.1"#), "presence_penalty"),
        (with(r#","tools":{}"#), "tools"),
        (with(r#","tools":[{"type":"function"}]"#), "tools[0].function"),
        (with(r#","tools":[{"type":"function","function":{"name":"a b"}}]"#), "tools[0].function.name"),
        (
            with(r#","tools":[{"type":"function","function":{"name":"a","parameters":1}}]"#),
            "tools[0].function.parameters",
        ),
        (with(r#","tool_choice":"auto""#), "tool_choice"),
        (with(&format!(r#","tools":{TOOLS},"tool_choice":"perhaps""#)), "tool_choice"),
        (
            with(&format!(
                r#","tools":{TOOLS},"tool_choice":{{"type":"function","function":{{"name":"h"}}}}"#
            )),
            "tool_choice",
        ),
        (with(&format!(r#","tools":{TOOLS},"functions":[{{"name":"f"}}]"#)), "functions"),
        (with(r#","functions":[1]"#), "functions[0]"),
        (with(r#","response_format":"json""#), "response_format"),
        (with(r#","response_format":{"type":"xml"}"#), "response_format.type"),
        (with(r#","response_format":{"type":"json_schema"}"#), "response_format.json_schema"),
        (
            with(r#","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":1}}"#),
            "response_format.json_schema.schema",
        ),
        (with(r#","logprobs":1"#), "logprobs"),
        (with(r#","presence_penalty":"x""#), "presence_penalty"),
        (with(r#","user":1"#), "user"),
        (with(r#","metadata":[]"#), "metadata"),
    ] {
        let (status, named, _) = refused(&body);
        assert_eq!((status, named.as_deref()), (400, Some(param)), "{body}");
    }
}

#[test]
fn no_image_is_ever_fetched() {
    for url in ["https://example.com/cat.png", "file:///etc/passwd", "/etc/passwd", "", "dat"] {
        for image in [format!(r#"{{"url":"{url}"}}"#), format!("\"{url}\"")] {
            let error = parse(user(&format!(r#"[{{"type":"image_url","image_url":{image}}}]"#)).as_bytes());
            let error = error.expect_err(url).body.error;
            assert_eq!(error.param.as_deref(), Some("messages[0].content[0].image_url.url"));
            assert!(error.message.contains("only data: URLs"), "{}", error.message);
        }
    }
    let data = user(r#"[{"type":"image_url","image_url":{"url":"DATA:image/png;base64,AAAA"}}]"#);
    let error = parse(data.as_bytes()).unwrap_err();
    assert_eq!((error.status, error.body.error.message.as_str()), (400, "This model does not take images."));
}

#[test]
fn what_is_not_one_object_is_refused() {
    for body in ["", "{", "[]", "null", "\"x\"", "{}{}", r#"{"model":"a","model":"b"}"#] {
        assert_eq!(refused(body).0, 400, "{body}");
    }
}

#[test]
fn the_number_of_messages_is_bounded() {
    let messages =
        |count| messages_are(&format!("[{}]", vec![r#"{"role":"user","content":"x"}"#; count].join(",")));
    assert_eq!(messages_of(&parse(messages(MAX_MESSAGES).as_bytes()).unwrap()).len(), MAX_MESSAGES);
    assert_eq!(refused(&messages(MAX_MESSAGES + 1)).1.as_deref(), Some("messages"));
    let deep = user(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    assert_eq!(refused(&deep).0, 400);
}

#[test]
fn no_message_quotes_the_content() {
    for body in [user("{\"marker\":1}"), with(r#","stop":["marker",1]"#), with(r#","tool_choice":"marker""#)]
    {
        assert!(!parse(body.as_bytes()).unwrap_err().body.error.message.contains("marker"), "{body}");
    }
}
