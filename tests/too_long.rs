//! Prompts that are too long for a model: known before it is asked, or told by
//! the provider in whatever words.

mod chains;
mod support;

use chains::{ALL_FAILED, daemon, error_body, providers};
use serde_json::{Value, json};
use support::{ASK, ASK_STREAM, Daemon, Pair, Provider, Reply, classes, open_stream, post_chat, text_of, tried};

#[test]
fn a_prompt_that_is_too_long_for_a_window_goes_to_a_larger_one_unasked() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 100\n[models.\"b/m1\"]\ncontext_window = 100000\n");
    let body = json!({"messages": [{"role": "user", "content": "word ".repeat(2000)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B");
    assert_eq!(pair.a.count(), 0);
    let record = pair.record(1);
    assert_eq!((&record["outcome"], tried(&record)), (&json!("fallback"), vec!["b"]));
    assert_eq!(record["skipped"][0]["provider"], "a");
    assert_eq!(record["skipped"][0]["model"], "m1");
    assert_eq!(record["skipped"][0]["why"], "context_window");
    assert_eq!(pair.said(), "from A", "a prompt that fits");
}

#[test]
fn the_answers_limit_counts_against_the_window() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 1000\n[models.\"b/m1\"]\ncontext_window = 100000\n");
    for field in ["max_tokens", "max_completion_tokens"] {
        let body = json!({"messages": [{"role": "user", "content": "hi"}], field: 5000}).to_string();
        assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B", "{field}");
    }
    assert_eq!(pair.a.count(), 0);
}

#[test]
fn a_reported_overflow_goes_to_the_next_larger_window() {
    let [a, b, c, d] = providers(["from A", "from B", "from C", "from D"]);
    a.always(Reply::json(
        400,
        error_body("This model's maximum context length is 1000 tokens.", "invalid_request_error", "context_length_exceeded"),
    ));
    let windows = "[models.\"a/m1\"]\ncontext_window = 1000\n[models.\"b/m1\"]\ncontext_window = 1000\n\
                   [models.\"c/m1\"]\ncontext_window = 500\n[models.\"d/m1\"]\ncontext_window = 1001\n";
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c), ("d", &d)], windows);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from D");
    assert_eq!((b.count(), c.count()), (0, 0), "windows that are equal or smaller");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!(classes(record), ["context_window", "ok"]);
    let skipped: Vec<&Value> = record["skipped"].as_array().expect("a list").iter().map(|one| &one["provider"]).collect();
    assert_eq!(skipped, ["b", "c"]);
}

#[test]
fn a_model_of_unknown_window_is_tried_after_an_overflow() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 1000\n");
    pair.a.then(Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded")));
    assert_eq!(pair.said(), "from B");
}

#[test]
fn an_overflow_blames_nobody() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    for body in ["", &error_body("Your input exceeds the context window of this model", "invalid_request_error", "x")] {
        for status in [400, 413] {
            pair.a.then(Reply::json(status, body));
            assert_eq!(pair.said(), "from B", "{status} {body}");
            assert_eq!(pair.said(), "from A", "{status} {body}");
        }
    }
    assert_eq!(classes(&pair.record(1)), ["context_window", "ok"]);
}

#[test]
fn d044_overflow_can_be_answered_as_openai_does() {
    let overflow = || Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded"));
    let pair = Pair::start("[server]\noverflow = \"400\"\n");
    pair.a.then(overflow());
    pair.b.then(overflow());
    let response = pair.ask();
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(pair.record(1)["outcome"], "rejected");
    pair.a.then(overflow());
    pair.b.then(Reply::status(500));
    assert_eq!(pair.ask().status, 502, "something else than size failed too");
}

#[test]
fn d044_overflow_everywhere_is_the_502() {
    let overflow = || Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded"));
    let pair = Pair::start("");
    pair.a.then(overflow());
    pair.b.then(overflow());
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!(classes(&pair.record(1)), ["context_window", "context_window"]);
}

#[test]
fn a_prompt_too_long_for_every_window_is_the_502_and_nobody_is_asked() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 100\n[models.\"b/m1\"]\ncontext_window = 100\n");
    let body = json!({"messages": [{"role": "user", "content": "word ".repeat(2000)}]}).to_string();
    let response = post_chat(pair.daemon.port(), body);
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!((pair.a.count(), pair.b.count()), (0, 0));
    let record = pair.record(1);
    assert_eq!(record["skipped"].as_array().map(Vec::len), Some(2), "{record}");
}

/// What providers are known to answer to a prompt that is too long.
const KNOWN: [(u16, &str); 24] = [
    // OpenAI, by its code and by its words.
    (400, r#"{"error":{"message":"Too long.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#),
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","code":null}}"#,
    ),
    (400, r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again."}}"#),
    // Anthropic.
    (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"}}"#),
    // Google.
    (
        400,
        r#"[{"error":{"code":400,"message":"The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).","status":"INVALID_ARGUMENT"}}]"#,
    ),
    // xAI.
    (
        400,
        r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}"#,
    ),
    // Groq.
    (400, r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error"}}"#),
    (413, r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error"}}"#),
    (
        413,
        r#"{"error":{"message":"Request too large for model `m1` on tokens per minute (TPM): Limit 6000, Requested 6294, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
    ),
    // OpenRouter.
    (
        400,
        r#"{"error":{"message":"This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens.","code":400}}"#,
    ),
    // Mistral.
    (
        400,
        r#"{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_prompt","code":"3051"}"#,
    ),
    // Kimi.
    (400, r#"{"error":{"type":"invalid_request_error","message":"Input token length too long"}}"#),
    (400, r#"{"error":{"type":"invalid_request_error","message":"Invalid request: Your request exceeded model token limit : 8192"}}"#),
    // MiniMax.
    (400, r#"{"type":"error","error":{"type":"bad_request_error","message":"invalid params, context window exceeds limit (2013)"}}"#),
    // Zhipu.
    (400, r#"{"error":{"code":"1261","message":"Prompt exceeds max length"}}"#),
    // DashScope.
    (
        400,
        r#"{"error":{"code":"invalid_parameter_error","message":"Range of input length should be [1, 30720]","type":"invalid_request_error"}}"#,
    ),
    // Together, as a 403.
    (403, TOGETHER),
    // Cerebras.
    (400, ""),
    (413, ""),
    // llama.cpp.
    (
        400,
        r#"{"error":{"code":400,"message":"request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":13392,"n_ctx":8192}}"#,
    ),
    // Ollama.
    (400, r#"{"error":{"message":"the input length exceeds the context length","type":"invalid_request_error"}}"#),
    // GitHub Copilot, LM Studio, Bedrock.
    (400, r#"{"error":{"message":"prompt token count of 70000 exceeds the limit of 64000","code":"model_max_prompt_tokens_exceeded"}}"#),
    (400, r#"{"error":"The number of tokens to keep from the initial prompt is greater than the context length."}"#),
    (400, r#"{"message":"Input is too long for requested model."}"#),
];

const TOGETHER: &str =
    r#"{"error":{"message":"Input token count + max_tokens parameter must be less than the context length of the model being queried."}}"#;

/// Three providers with windows of 1000, 500 and 2000 tokens.
struct Windows {
    a: Provider,
    b: Provider,
    daemon: Daemon,
    asked: usize,
}

impl Windows {
    #[track_caller]
    fn start() -> (Self, Provider) {
        let [a, b, c] = providers(["from A", "from B", "from C"]);
        let windows = "[models.\"a/m1\"]\ncontext_window = 1000\n[models.\"b/m1\"]\ncontext_window = 500\n\
                       [models.\"c/m1\"]\ncontext_window = 2000\n[breaker]\nfailures = 1\n";
        let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], windows);
        (Self { a, b, daemon, asked: 0 }, c)
    }

    /// A answers with this; the next that is asked is the one with the larger window.
    #[track_caller]
    fn goes_to_the_larger(&mut self, status: u16, body: &str) {
        self.a.then(Reply::json(status, body));
        assert_eq!(text_of(&post_chat(self.daemon.port(), ASK)), "from C", "{status} {body}");
        self.asked += 1;
        let record = self.daemon.wait_logs(self.asked).remove(self.asked - 1);
        assert_eq!((classes(&record), tried(&record)), (vec!["context_window", "ok"], vec!["a", "c"]), "{status} {body}");
        assert_eq!((self.a.count(), self.b.count()), (self.asked, 0), "{status} {body}");
    }

    /// Nothing of that was a failure of A.
    #[track_caller]
    fn nobody_is_blamed(&self) {
        let status = self.daemon.run(&["status", "--json"]).expect_code(0).stdout;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let a = status["providers"].as_array().and_then(|all| all.iter().find(|one| one["provider"] == "a")).expect("a");
        assert_eq!((&a["cooling"], &a["in_pool"]), (&json!([]), &json!(true)), "{a}");
        assert_eq!(text_of(&post_chat(self.daemon.port(), ASK)), "from A");
    }
}

#[test]
fn d041_every_known_overflow_goes_to_a_larger_window_and_blames_nobody() {
    let (mut windows, _c) = Windows::start();
    for (status, body) in KNOWN {
        windows.goes_to_the_larger(status, body);
    }
    windows.nobody_is_blamed();
}

#[test]
fn d041_an_overflow_inside_a_good_answer_or_stream_goes_to_a_larger_window() {
    let (mut windows, _c) = Windows::start();
    let body = r#"{"error":{"code":400,"message":"request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error"}}"#;
    windows.goes_to_the_larger(200, body);
    windows.a.then(Reply::events(vec![support::role(), format!("data: {body}\n\n")]));
    let stream = open_stream(windows.daemon.port(), ASK_STREAM).into_response();
    assert!(stream.status == 200 && stream.text().contains("from C"), "{}", stream.text());
    assert_eq!(classes(&windows.daemon.wait_logs(2)[1]), ["context_window", "ok"]);
}

#[test]
fn d042_a_400_or_413_without_a_body_is_an_overflow() {
    let (mut windows, _c) = Windows::start();
    for body in ["", " \r\n"] {
        for status in [400, 413] {
            windows.goes_to_the_larger(status, body);
        }
    }
    windows.nobody_is_blamed();
}

#[test]
fn d043_a_403_about_the_length_is_an_overflow_and_no_matter_of_the_key() {
    let (mut windows, _c) = Windows::start();
    windows.goes_to_the_larger(403, TOGETHER);
    windows.nobody_is_blamed();
    assert!(!windows.daemon.stderr().contains("refused its key"), "{}", windows.daemon.stderr());
}

#[test]
fn d044_the_cause_of_the_502_is_in_its_attempts() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    for provider in [&pair.a, &pair.b] {
        provider.then(Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded")));
    }
    let response = pair.ask();
    assert_eq!(response.status, 502);
    let attempts = response.json()["error"]["attempts"].clone();
    assert_eq!([&attempts[0]["class"], &attempts[1]["class"]], ["context_window", "context_window"], "{attempts}");
}

#[test]
fn d041_a_finish_for_the_window_without_an_answer_goes_to_a_larger_window() {
    let (mut windows, _c) = Windows::start();
    windows.goes_to_the_larger(
        200,
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"model_context_window_exceeded"}]}"#,
    );
}

#[test]
fn d043_the_type_invalid_request_beside_the_word_token_is_no_matter_of_the_key() {
    let (mut windows, _c) = Windows::start();
    let body = r#"{"error":{"message":"Input token count + max_tokens parameter must be less than the context length of the model being queried.","type":"invalid_request_error","param":null,"code":null}}"#;
    windows.goes_to_the_larger(403, body);
    windows.nobody_is_blamed();
}
