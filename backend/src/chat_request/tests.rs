use super::*;

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
    let message = Message { role: "user".into(), content: "hi".into() };
    let expected = ChatRequest {
        messages: vec![message],
        max_tokens: None,
        temperature: 1.0,
        top_p: 1.0,
        stop: Vec::new(),
        stream: false,
        include_usage: false,
    };
    assert_eq!(parse(with("").as_bytes()).unwrap(), expected);
    let nulls = with(
        r#","temperature":null,"top_p":null,"max_tokens":null,"stop":null,"stream":null,"stream_options":null,
        "n":null,"tools":null,"seed":null,"logprobs":null,"response_format":null,"store":null,"user":null"#,
    );
    assert_eq!(parse(nulls.as_bytes()).unwrap(), expected);
}

#[test]
fn what_is_honoured_is_read() {
    let body = with(
        r#","temperature":0,"top_p":0.5,"max_tokens":9,"max_completion_tokens":7,"stop":["a","b"],"stream":true,
        "stream_options":{"include_usage":true}"#,
    );
    let request = parse(body.as_bytes()).unwrap();
    assert_eq!((request.temperature, request.top_p, request.max_tokens), (0.0, 0.5, Some(7)));
    assert_eq!(
        (request.stop, request.stream, request.include_usage),
        (vec!["a".into(), "b".into()], true, true)
    );
    assert_eq!(parse(with(r#","max_tokens":9"#).as_bytes()).unwrap().max_tokens, Some(9));
    assert_eq!(parse(with(r#","stop":"x""#).as_bytes()).unwrap().stop, ["x"]);
}

#[test]
fn roles_and_parts_become_plain_messages() {
    let body = messages_are(
        r#"[{"role":"developer","content":"d"},{"role":"system","content":"s"},
            {"role":"assistant","content":"a"},
            {"role":"user","content":[{"type":"text","text":"one "},{"text":"two","type":"text"}],"name":"x"}]"#,
    );
    let messages = parse(body.as_bytes()).unwrap().messages;
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
        r#","response_format":{"type":"text"},"modalities":["text"]"#,
        r#","something_new":{"a":[1,2,3]}"#,
    ] {
        assert!(parse(with(members).as_bytes()).is_ok(), "{members}");
    }
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    for (param, value) in [
        ("tools", r#"[{"type":"function","function":{"name":"f"}}]"#),
        ("tools", "{}"),
        ("tool_choice", "\"auto\""),
        ("tool_choice", "{}"),
        ("functions", "[1]"),
        ("function_call", "\"auto\""),
        ("logprobs", "true"),
        ("top_logprobs", "2"),
        ("logit_bias", r#"{"1":1}"#),
        ("seed", "1"),
        ("response_format", r#"{"type":"json_object"}"#),
        ("presence_penalty", "0.1"),
        ("frequency_penalty", "-0.1"),
        ("n", "2"),
        ("modalities", r#"["text","audio"]"#),
        ("audio", "{}"),
        ("prediction", "{}"),
        ("web_search_options", "{}"),
        ("reasoning_effort", "\"low\""),
        ("verbosity", "\"low\""),
        ("store", "true"),
        ("service_tier", "\"flex\""),
    ] {
        let body = with(&format!(",\"{param}\":{value}"));
        let expected = (400, Some(param.to_owned()), Some("unsupported_parameter".to_owned()));
        assert_eq!(refused(&body), expected, "{param}: {value}");
    }
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
        (messages_are(r#"[{"role":"tool","content":"x"}]"#), "messages[0].role"),
        (messages_are(r#"[{"role":"user","content":"x"},{"role":"user"}]"#), "messages[1].content"),
        (messages_are(r#"[{"role":"assistant","content":"","tool_calls":[]}]"#), "messages[0].tool_calls"),
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
        (with(r#","top_p":0"#), "top_p"),
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
    assert_eq!(parse(messages(MAX_MESSAGES).as_bytes()).unwrap().messages.len(), MAX_MESSAGES);
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
