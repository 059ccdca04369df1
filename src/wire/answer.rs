//! What is read of an answer: whether it is one, whether it says anything
//! yet, whether it is an error in disguise, how many tokens it took.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::plain::{model_of, read_plain};

/// Token counts as the provider told them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: Option<u64>,
    /// Tokens of the answer.
    pub completion: Option<u64>,
}

/// What a whole answer turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A completion, and the model that it names, if it does.
    Completion(Usage, Option<&'a str>),
    /// An error in a body that came with a good status.
    Error,
    /// Something else: not JSON, or no choices.
    Garbled(&'static str),
}

/// What one event of a stream turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Text, reasoning, a refusal or a tool call, perhaps with the finish.
    Content,
    /// A finish reason without content.
    Finish,
    /// A finish reason that means failure (`error`, `network_error`).
    BadFinish,
    /// The provider's error.
    Error,
    /// `[DONE]`.
    Done,
    /// A role, an empty delta, usage, a ping.
    Nothing,
    /// Not JSON.
    Garbled,
}

/// An object and nothing else: of a list, serde would take the items for the
/// fields in their order.
struct Fields<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Only<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
            type Value = Fields<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Fields)
            }
        }

        deserializer.deserialize_map(Only(PhantomData))
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base_resp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: Option<i64>,
    #[serde(default)]
    completion_tokens: Option<i64>,
}

#[derive(Deserialize)]
struct BaseResp {
    #[serde(default)]
    status_code: i64,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<Fields<Delta<'a>>>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

/// The parts of a delta that say something. Everything else (role, name, ids)
/// commits nobody.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    images: Option<&'a RawValue>,
}

impl Delta<'_> {
    fn says_something(&self) -> bool {
        let parts = [
            self.content,
            self.reasoning_content,
            self.reasoning,
            self.reasoning_details,
            self.thinking,
            self.refusal,
            self.tool_calls,
            self.function_call,
            self.audio,
            self.images,
        ];
        parts.into_iter().any(is_filled)
    }
}

/// Whether a value is there and neither null, false nor empty.
fn is_filled(value: Option<&RawValue>) -> bool {
    let Some(text) = value.map(RawValue::get) else { return false };
    let empty_inside = |open, close| {
        text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close)).is_some_and(|inside: &str| inside.trim().is_empty())
    };
    !matches!(text, "null" | "false" | "\"\"") && !empty_inside('[', ']') && !empty_inside('{', '}')
}

impl Body<'_> {
    /// MiniMax answers 200 with its error in `base_resp`.
    fn is_error(&self) -> bool {
        let base = self.base_resp.and_then(|raw| serde_json::from_str::<Fields<BaseResp>>(raw.get()).ok());
        is_filled(self.error) || base.is_some_and(|base| base.0.status_code != 0) || self.kind.is_some_and(|kind| kind.get() == "\"error\"")
    }

    fn usage(&self) -> Usage {
        let counts = self.usage.and_then(|raw| serde_json::from_str::<Fields<Counts>>(raw.get()).ok());
        counts.map_or(Usage::default(), |Fields(counts)| counts.into())
    }

    fn choices(&self) -> Option<Vec<Fields<Choice<'_>>>> {
        self.choices.and_then(|raw| serde_json::from_str(raw.get()).ok())
    }
}

/// Looks at a whole answer that came with a good status.
pub fn read_answer(body: &[u8]) -> Answer<'_> {
    if let Some((usage, model)) = read_plain(body) {
        return Answer::Completion(usage, model);
    }
    let answer = match std::str::from_utf8(body) {
        Ok(text) => read_text(text),
        // It is passed on as it came all the same; only to look at it, it must be text.
        Err(_) => read_text(&String::from_utf8_lossy(body)),
    };
    match answer {
        Answer::Completion(usage, _) => Answer::Completion(usage, model_of(body)),
        other => other,
    }
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let count = |count: Option<i64>| count.and_then(|count| count.try_into().ok());
        Usage { prompt: count(counts.prompt_tokens), completion: count(counts.completion_tokens) }
    }
}

/// All but the model.
fn read_text(body: &str) -> Answer<'static> {
    let Ok(Fields(answer)) = serde_json::from_str::<Fields<Body<'_>>>(body) else {
        return match serde_json::from_str::<IgnoredAny>(body) {
            Ok(_) if is_list_of_error(body) => Answer::Error,
            Ok(_) => Answer::Garbled("JSON, but not an object"),
            Err(_) if body.bytes().all(|byte| byte.is_ascii_whitespace()) => Answer::Garbled("an empty body"),
            Err(_) => Answer::Garbled("not JSON"),
        };
    };
    if answer.is_error() {
        return Answer::Error;
    }
    if !is_filled(answer.choices) {
        return Answer::Garbled("an answer without choices");
    }
    let failed = |Fields(choice): &Fields<Choice<'_>>| {
        is_filled(choice.error) || matches!(choice.finish_reason.as_deref(), Some("error" | "network_error"))
    };
    // A finish that says that the prompt was too long, and no word of an answer.
    let no_room = |Fields(choice): &Fields<Choice<'_>>| {
        let says =
            |message: &RawValue| serde_json::from_str::<Fields<Delta<'_>>>(message.get()).is_ok_and(|message| message.0.says_something());
        choice.finish_reason.as_deref() == Some("model_context_window_exceeded") && !choice.message.is_some_and(says)
    };
    match answer.choices() {
        Some(choices) if choices.iter().any(failed) || choices.iter().all(no_room) => Answer::Error,
        Some(choices) if choices.iter().any(|Fields(choice)| choice.message.is_some() || choice.text.is_some()) => {
            Answer::Completion(answer.usage(), None)
        }
        Some(_) => Answer::Garbled("choices without a message"),
        None => Answer::Garbled("choices of an unknown form"),
    }
}

/// Google's way of saying an error: a list with it inside.
fn is_list_of_error(json: &str) -> bool {
    serde_json::from_str::<Vec<Fields<Body<'_>>>>(json).is_ok_and(|list| list.first().is_some_and(|Fields(body)| body.is_error()))
}

/// What else an event tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Token counts.
    pub usage: Usage,
    /// The choices that it is about, a bit for each index.
    pub choices: u64,
    /// Those of them that it finishes.
    pub finished: u64,
}

/// Looks at the data of one event of a stream.
pub fn read_chunk(data: &[u8]) -> (Chunk, Notes) {
    match std::str::from_utf8(data) {
        Ok(text) => read_event(text),
        Err(_) => read_event(&String::from_utf8_lossy(data)),
    }
}

fn read_event(data: &str) -> (Chunk, Notes) {
    let mut notes = Notes::default();
    if data.trim_ascii() == "[DONE]" {
        return (Chunk::Done, notes);
    }
    if data.trim_ascii().is_empty() {
        return (Chunk::Nothing, notes);
    }
    let Ok(Fields(body)) = serde_json::from_str::<Fields<Body<'_>>>(data) else {
        return (if is_list_of_error(data) { Chunk::Error } else { Chunk::Garbled }, notes);
    };
    if body.is_error() {
        return (Chunk::Error, notes);
    }
    notes.usage = body.usage();
    let choices = body.choices().unwrap_or_default();
    let (mut content, mut broken) = (false, false);
    for Fields(choice) in &choices {
        let bit = 1u64.checked_shl(choice.index.unwrap_or(0)).unwrap_or(0);
        notes.choices |= bit;
        content |=
            choice.delta.as_ref().is_some_and(|delta| delta.0.says_something()) || is_filled(choice.text) || is_filled(choice.message);
        match choice.finish_reason.as_deref() {
            _ if is_filled(choice.error) => broken = true,
            Some("error" | "network_error") => broken = true,
            Some("" | "null") | None => {}
            Some(_) => notes.finished |= bit,
        }
    }
    let chunk = match notes.finished != 0 {
        _ if broken => Chunk::BadFinish,
        _ if content => Chunk::Content,
        true => Chunk::Finish,
        false => Chunk::Nothing,
    };
    (chunk, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_no_answer_and_an_error_in_a_list_is_an_error() {
        let error = br#"[{"error":{"code":400,"message":"API key not valid"}}]"#;
        for (text, answer, chunk) in [
            (&error[..], Answer::Error, Chunk::Error),
            (b"[[{\"message\":1}]]", Answer::Garbled("JSON, but not an object"), Chunk::Garbled),
            (b"[]", Answer::Garbled("JSON, but not an object"), Chunk::Garbled),
            (b"{\"choices\":[[0,{\"content\":\"x\"}]]}", Answer::Garbled("choices of an unknown form"), Chunk::Nothing),
        ] {
            assert_eq!(read_answer(text), answer, "{}", String::from_utf8_lossy(text));
            assert_eq!(read_chunk(text).0, chunk, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let completion =
            br#"{"choices":[{"message":{"content":null,"tool_calls":[1]}}],"usage":{"prompt_tokens":3,"completion_tokens":-4}}"#;
        assert_eq!(read_answer(completion), Answer::Completion(Usage { prompt: Some(3), completion: None }, None));
        for body in [
            &br#"{"choices":[{"message":{"content":""},"finish_reason":"network_error"}]}"#[..],
            br#"{"choices":[{"message":{},"error":{"code":502}}]}"#,
            br#"{"error":{"message":"x"}}"#,
            br#"{"error":"text"}"#,
            br#"{"base_resp":{"status_code":1008}}"#,
            br#"{"type":"error"}"#,
        ] {
            assert_eq!(read_answer(body), Answer::Error);
        }
        for body in [
            &b""[..],
            b" ",
            b"{}",
            b"null",
            b"[]",
            b"<html>",
            br#"{"choices":[]}"#,
            br#"{"choices":[{}]}"#,
            br#"{"choices":7}"#,
            b"{\"choices\":[1",
        ] {
            assert!(matches!(read_answer(body), Answer::Garbled(_)), "{}", String::from_utf8_lossy(body));
        }
        assert!(matches!(
            read_answer(br#"{"error":null,"choices":[{"message":{}}],"usage":{"prompt_tokens":1e400}}"#),
            Answer::Completion(..)
        ));
    }

    #[test]
    fn the_model_that_an_answer_names_is_read() {
        for (named, model) in [
            (r#""model":"m-2026","#, Some("m-2026")),
            (r#""id":"x", "model" : "m/é" ,"#, Some("m/é")),
            (r#""model":"a","model":"b","#, Some("b")),
            (r#""model":"a\u0062","#, None),
            (r#""model":7,"#, None),
            (r#""model":null,"#, None),
            (r#""model":["x"],"#, None),
            (r#""metadata":{"model":"x"},"#, None),
            ("", None),
        ] {
            // Read at a glance, and with care.
            for rest in [r#""choices":[{"message":{}}]"#, r#""choices":[{"message":{}}],"error":"""#] {
                let body = format!("{{{named}{rest}}}");
                assert_eq!(read_answer(body.as_bytes()), Answer::Completion(Usage::default(), model), "{body}");
            }
        }
        let broken = [&b"{\"model\":\"m\",\"choices\":[{\"message\":{\"content\":\""[..], &[0xff], b"\"}}]}"].concat();
        assert_eq!(read_answer(&broken), Answer::Completion(Usage::default(), None), "it is no text");
    }

    #[test]
    fn chunks_are_told_apart() {
        let delta = |inside: &str| format!(r#"{{"choices":[{{"index":0,"delta":{inside},"finish_reason":null}}]}}"#);
        for inside in [
            r#"{"content":"x"}"#,
            r#"{"content":" "}"#,
            r#"{"reasoning":"x"}"#,
            r#"{"reasoning_content":"\n"}"#,
            r#"{"tool_calls":[{"index":0}]}"#,
            r#"{"refusal":"no"}"#,
            r#"{"content":[{"type":"text"}]}"#,
        ] {
            assert_eq!(read_chunk(delta(inside).as_bytes()).0, Chunk::Content, "{inside}");
        }
        for inside in
            [r#"{"role":"assistant"}"#, r#"{"role":"assistant","content":""}"#, r#"{"content":null,"tool_calls":[]}"#, "{}", "null"]
        {
            assert_eq!(read_chunk(delta(inside).as_bytes()).0, Chunk::Nothing, "{inside}");
        }
        for (data, wanted) in [
            ("[DONE]", Chunk::Done),
            (" [DONE] ", Chunk::Done),
            (r#"{"choices":[]}"#, Chunk::Nothing),
            (r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, Chunk::Nothing),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Chunk::Finish),
            (r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#, Chunk::Finish),
            (r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#, Chunk::BadFinish),
            (r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#, Chunk::Content),
            (r#"{"error":{"message":"x"}}"#, Chunk::Error),
            (r#"{"type":"error","error":{}}"#, Chunk::Error),
            (r#"{"type":"ping"}"#, Chunk::Nothing),
            (r#"{"choices":[{"delta":{"role":"assistant"},"finish_reason":""}]}"#, Chunk::Nothing),
            (r#"{"choices":[{"error":{"code":502},"delta":{"content":"x"}}]}"#, Chunk::BadFinish),
            ("", Chunk::Nothing),
            ("{", Chunk::Garbled),
        ] {
            assert_eq!(read_chunk(data.as_bytes()).0, wanted, "{data}");
        }
    }

    /// JSON that is like an answer, in many of the ways in which one can be wrong.
    fn like_an_answer() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let value = || {
            const TEXTS: &[&str] = &[
                "null",
                "0",
                "-1",
                "-0",
                "7",
                "1e400",
                "\"\"",
                "\"x\"",
                "\"stop\"",
                "\"error\"",
                "\"net\\u0077ork_error\"",
                "[]",
                "[0]",
                "{}",
                "true",
            ];
            prop::sample::select(TEXTS).prop_map(str::to_owned)
        };
        let object = |names: &'static [&'static str], value: BoxedStrategy<String>| {
            let field = (prop::sample::select(names), value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
            prop::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(",")))
        };
        let message = object(&["content", "role", "tool_calls"], value().boxed());
        let choice = object(
            &["error", "message", "message", "text", "finish_reason", "index", "delta"],
            prop_oneof![value(), message, Just("\"model_context_window_exceeded\"".to_owned())].boxed(),
        );
        let choices = prop::collection::vec(prop_oneof![4 => choice, 1 => value()], 0..3).prop_map(|all| format!("[{}]", all.join(",")));
        let usage = object(&["prompt_tokens", "completion_tokens"], value().boxed());
        let base = object(&["status_code"], value().boxed());
        object(
            &["choices", "choices", "error", "base_resp", "usage", "type", "model"],
            prop_oneof![3 => choices, 2 => usage, 1 => base, 2 => value()].boxed(),
        )
    }

    proptest::proptest! {
        #[test]
        fn a_quick_look_says_what_a_careful_one_does(text in like_an_answer()) {
            if let Some((usage, model)) = read_plain(text.as_bytes()) {
                proptest::prop_assert_eq!(read_text(&text), Answer::Completion(usage, None), "{}", text);
                proptest::prop_assert_eq!(model_of(text.as_bytes()), model, "{}", text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(text in "[\\[\\]{}\":,a-z0-9 ]{0,80}") {
            let _ = read_answer(text.as_bytes());
            let _ = read_chunk(text.as_bytes());
        }
    }
}
