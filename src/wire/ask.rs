//! The request, read once: which model, streamed or not, what it needs. Every
//! other field stays as it came.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::members::{Members, read_members};
use super::skim::plain_string;
use crate::catalog::Tier;

/// A chat completion request: its bytes, and what was read of them.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The body as it came.
    pub body: Bytes,
    /// The top-level fields, in order.
    pub(super) members: Members,
    /// The `model` field, if there is one.
    pub model: Option<String>,
    /// Whether a stream of events is wanted.
    pub stream: bool,
    /// The most answer tokens wanted.
    pub max_tokens: Option<u64>,
    /// The bytes of `messages` and `tools`, the part that fills a context window.
    pub prompt_bytes: u64,
    /// What a model must be able to do.
    pub needs: Needs,
    /// The `routor_*` fields.
    pub wishes: Wishes,
}

/// What a request needs beyond text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// It declares tools.
    pub tools: bool,
    /// It shows images.
    pub vision: bool,
    /// It plays audio.
    pub audio: bool,
    /// It attaches files.
    pub files: bool,
    /// It wants an answer by a JSON schema.
    pub json_schema: bool,
}

/// How the model is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// By the `model` field.
    #[default]
    Auto,
    /// By `routor_tier`.
    Tier,
    /// Exactly the `model` field, and nothing behind it.
    Direct,
}

impl Profile {
    /// The name as requests and headers write it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Auto => "auto",
            Profile::Tier => "tier",
            Profile::Direct => "direct",
        }
    }
}

/// The `routor_*` fields of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wishes {
    /// `routor_profile`.
    pub profile: Profile,
    /// `routor_tier`.
    pub tier: Option<Tier>,
    /// `routor_tier_floor`, raised by the quality fields.
    pub floor: Option<Tier>,
    /// `routor_tier_ceiling`.
    pub ceiling: Option<Tier>,
    /// `routor_max_cost`, in USD.
    pub max_cost: Option<f64>,
    /// `routor_bfcl_min`, 0 to 1.
    pub bfcl_min: Option<f64>,
}

/// A mistake in a request: what to tell the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong and what to send instead.
    pub message: String,
    /// The field it is about.
    pub param: Option<&'static str>,
}

impl Fault {
    fn new(param: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reads a request body. The error is the caller's mistake.
pub fn parse(body: Bytes) -> Result<Box<Ask>, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault { message: "the request body is empty; send a JSON object with \"messages\"".to_owned(), param: None });
    }
    // In its box from the beginning: it is large enough for copies of it to be felt.
    let mut ask = Box::new(Ask {
        body,
        members: Members::new(),
        model: None,
        stream: false,
        max_tokens: None,
        prompt_bytes: 0,
        needs: Needs::default(),
        wishes: Wishes::default(),
    });
    ask.read()?;
    Ok(ask)
}

impl Ask {
    /// Whether the request has this top-level field.
    pub fn has_field(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.bytes(&self.body) == name.as_bytes())
    }

    fn read(&mut self) -> Result<(), Fault> {
        let Self { body, members, model, stream, max_tokens, prompt_bytes, needs, wishes } = self;
        let parts = read_members(body, members)?;
        (needs.vision, needs.audio, needs.files) = (parts.images, parts.audio, parts.files);
        let mut messages = None;
        let mut limit = None;
        for member in members {
            let text = body.get(member.value.clone()).unwrap_or_default();
            match member.bytes(body) {
                b"model" => *model = read_model(text)?,
                b"messages" => messages = Some(text),
                b"stream" => *stream = read_flag(text, "stream")?,
                b"max_completion_tokens" => *max_tokens = serde_json::from_slice(text).unwrap_or_default(),
                b"max_tokens" => limit = serde_json::from_slice(text).unwrap_or_default(),
                b"tools" | b"functions" => {
                    needs.tools |= filled_list(text);
                    *prompt_bytes += text.len() as u64;
                }
                b"response_format" => needs.json_schema = memchr::memmem::find(text, b"\"json_schema\"").is_some(),
                wish if wish.starts_with(b"routor_") => wishes.read(member.name(body), text)?,
                _ => {}
            }
        }
        *max_tokens = max_tokens.or(limit);
        *prompt_bytes += checked(messages)?.len() as u64;
        wishes.check()
    }
}

/// The messages, if they are a list that is not empty.
fn checked(messages: Option<&[u8]>) -> Result<&[u8], Fault> {
    let Some(text) = messages else {
        return Err(Fault::new("messages", "\"messages\" is missing; it is the list of messages to answer"));
    };
    if !text.starts_with(b"[") {
        return Err(Fault::new("messages", "\"messages\" must be a list of messages"));
    }
    if !filled_list(text) {
        return Err(Fault::new("messages", "\"messages\" is empty; it needs at least one message"));
    }
    Ok(text)
}

impl Wishes {
    fn read(&mut self, name: &str, text: &[u8]) -> Result<(), Fault> {
        if text == b"null" {
            return Ok(());
        }
        match name {
            "routor_profile" => self.profile = read_profile(text)?,
            "routor_tier" => self.tier = Some(read_tier("routor_tier", text)?),
            "routor_tier_floor" => self.raise(read_tier("routor_tier_floor", text)?),
            "routor_tier_ceiling" => self.ceiling = Some(read_tier("routor_tier_ceiling", text)?),
            "routor_max_cost" => self.max_cost = Some(read_number("routor_max_cost", text, f64::MAX, "a number of USD from 0")?),
            "routor_bfcl_min" => self.bfcl_min = Some(read_number("routor_bfcl_min", text, 1.0, "a number from 0 to 1")?),
            "routor_code_quality" => self.raise_by(text, "routor_code_quality", [Tier::Standard, Tier::Complex])?,
            "routor_chat_quality" => self.raise_by(text, "routor_chat_quality", [Tier::Light, Tier::Standard])?,
            // A field of a later version: removed like the others, and otherwise ignored.
            _ => {}
        }
        Ok(())
    }

    fn raise(&mut self, floor: Tier) {
        self.floor = self.floor.max(Some(floor));
    }

    fn raise_by(&mut self, text: &[u8], param: &'static str, floors: [Tier; 2]) -> Result<(), Fault> {
        let [balanced, best] = floors;
        match text {
            b"0" => {}
            b"1" => self.raise(balanced),
            b"2" => self.raise(best),
            _ => return Err(Fault::new(param, format!("\"{param}\" must be 0 (fast), 1 (balanced) or 2 (best)"))),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        if self.profile == Profile::Tier && self.tier.is_none() {
            return Err(Fault::new(
                "routor_tier",
                "\"routor_profile\" is \"tier\", so \"routor_tier\" must name one: NANO, SIMPLE, LIGHT, STANDARD, COMPLEX",
            ));
        }
        match (self.floor, self.ceiling) {
            (Some(floor), Some(ceiling)) if floor > ceiling => Err(Fault::new(
                "routor_tier_floor",
                format!("the tier floor {floor} is above \"routor_tier_ceiling\" {ceiling}; lower the floor or raise the ceiling"),
            )),
            _ => Ok(()),
        }
    }
}

fn read_model(text: &[u8]) -> Result<Option<String>, Fault> {
    if text == b"null" {
        return Ok(None);
    }
    let model = plain_string(text).map_or_else(|| serde_json::from_slice(text), |model| Ok(model.to_owned()));
    let model: String =
        model.map_err(|_| Fault::new("model", "\"model\" must be a string, such as \"auto\" or \"google/gemini-3.5-flash\""))?;
    Ok((!model.is_empty()).then_some(model))
}

fn read_flag(text: &[u8], param: &'static str) -> Result<bool, Fault> {
    match text {
        b"true" => Ok(true),
        b"false" | b"null" => Ok(false),
        _ => Err(Fault::new(param, format!("\"{param}\" must be true or false"))),
    }
}

fn read_profile(text: &[u8]) -> Result<Profile, Fault> {
    match text {
        b"\"auto\"" => Ok(Profile::Auto),
        b"\"tier\"" => Ok(Profile::Tier),
        b"\"direct\"" => Ok(Profile::Direct),
        _ => Err(Fault::new("routor_profile", "\"routor_profile\" must be \"auto\", \"tier\" or \"direct\"")),
    }
}

fn read_tier(param: &'static str, text: &[u8]) -> Result<Tier, Fault> {
    let tier = serde_json::from_slice::<Cow<'_, str>>(text).ok().and_then(|name| name.parse().ok());
    tier.ok_or_else(|| Fault::new(param, format!("\"{param}\" must be one of \"NANO\", \"SIMPLE\", \"LIGHT\", \"STANDARD\", \"COMPLEX\"")))
}

fn read_number(param: &'static str, text: &[u8], most: f64, wanted: &str) -> Result<f64, Fault> {
    let number = serde_json::from_slice::<f64>(text).ok().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| Fault::new(param, format!("\"{param}\" must be {wanted}")))
}

/// Whether a JSON text is a list with something in it.
fn filled_list(text: &[u8]) -> bool {
    text.strip_prefix(b"[").is_some_and(|rest| !rest.trim_ascii_start().starts_with(b"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Box<Ask>, Fault> {
        parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn reads_what_routing_needs() {
        let got = ask(r#" {"mod\u0065l":"auto", "stream" : true,"messages":[{"role":"user","content":[{"type":"image_url"}]}],"tools":[{}],"max_tokens":5,"max_completion_tokens":7}"#).unwrap();
        assert_eq!((got.model.as_deref(), got.stream, got.max_tokens), (Some("auto"), true, Some(7)));
        assert!(got.needs.tools && got.needs.vision && !got.needs.audio);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, param, says) in [
            ("", None, "empty"),
            ("  \n", None, "empty"),
            ("[]", None, "not a JSON object"),
            ("\"x\"", None, "not a JSON object"),
            ("{\"messages\":[1],}", None, "not a JSON object"),
            ("{\"messages\":[NaN]}", None, "not a JSON object"),
            ("{}", Some("messages"), "missing"),
            ("{\"messages\":[]}", Some("messages"), "empty"),
            ("{\"messages\":[ \n ]}", Some("messages"), "empty"),
            ("{\"messages\":\"hi\"}", Some("messages"), "list"),
            ("{\"messages\":null}", Some("messages"), "list"),
            ("{\"messages\":[1],\"model\":5}", Some("model"), "string"),
            ("{\"messages\":[1],\"stream\":\"true\"}", Some("stream"), "true or false"),
            ("{\"messages\":[1],\"stream\":1}", Some("stream"), "true or false"),
            ("{\"messages\":[1],\"model\":\"a\",\"mod\\u0065l\":\"b\"}", None, "twice"),
            ("{\"messages\":[1],\"routor_tier\":\"HUGE\"}", Some("routor_tier"), "LIGHT"),
            ("{\"messages\":[1],\"routor_profile\":\"tier\"}", Some("routor_tier"), "NANO"),
            ("{\"messages\":[1],\"routor_profile\":\"x\"}", Some("routor_profile"), "direct"),
            ("{\"messages\":[1],\"routor_max_cost\":-1}", Some("routor_max_cost"), "USD"),
            ("{\"messages\":[1],\"routor_bfcl_min\":2}", Some("routor_bfcl_min"), "0 to 1"),
            ("{\"messages\":[1],\"routor_code_quality\":3}", Some("routor_code_quality"), "balanced"),
            ("{\"messages\":[1],\"routor_tier_floor\":\"COMPLEX\",\"routor_tier_ceiling\":\"NANO\"}", Some("routor_tier_floor"), "ceiling"),
        ] {
            let fault = ask(text).expect_err(text);
            assert_eq!(fault.param, param, "{text}: {fault}");
            assert!(fault.message.contains(says), "{text}: {fault}");
        }
    }

    #[test]
    fn the_higher_of_floor_and_quality_wins() {
        let got = ask(r#"{"messages":[1],"routor_tier_floor":"simple","routor_chat_quality":1,"routor_code_quality":0}"#).unwrap();
        assert_eq!(got.wishes.floor, Some(Tier::Light));
    }

    #[test]
    fn ten_thousand_levels_are_no_trouble() {
        let deep = format!("{{\"messages\":[{}{}]}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(ask(&deep).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(Bytes::from(bytes));
        }
    }
}
