//! The words of a request, for the classifier: the last thing the user said,
//! the instructions, and a little of what came before. Nothing is read of a
//! request that names its model or tier.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ask::Ask;

/// What is looked at of the last user message, of the instructions and of
/// each earlier message; of a longer text the head and the tail.
const LAST: usize = 16 * 1024;
const SYSTEM: usize = 4 * 1024;
const EARLIER: usize = 2 * 1024;
/// How many earlier messages are looked at.
const HISTORY: usize = 6;

/// The words of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The last user message.
    pub last_user: String,
    /// Its whole length in bytes.
    pub last_user_bytes: usize,
    /// The instructions.
    pub system: String,
    /// Earlier messages of user and assistant, newest first.
    pub history: Vec<String>,
    /// How many tools are declared.
    pub tools: usize,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

impl Ask {
    /// Reads the words. What is not of the usual form is passed over: the
    /// provider will say what it thinks of it.
    pub fn conversation(&self) -> Conversation {
        let mut words = Conversation { tools: self.list("tools").len(), ..Conversation::default() };
        let messages = self.list("messages");
        let mut found_last = false;
        for raw in messages.iter().rev() {
            let Ok(message) = serde_json::from_str::<Message<'_>>(raw.get()) else { continue };
            let role = message.role.as_deref().unwrap_or("user");
            match role {
                "user" if !found_last => {
                    let text = text(message.content);
                    found_last = true;
                    words.last_user_bytes = text.len();
                    words.last_user = cut(text, LAST);
                }
                "user" | "assistant" if words.history.len() < HISTORY => words.history.push(cut(text(message.content), EARLIER)),
                _ => {}
            }
            if found_last && words.history.len() == HISTORY {
                break;
            }
        }
        for raw in messages.iter().take(2) {
            let Ok(message) = serde_json::from_str::<Message<'_>>(raw.get()) else { continue };
            if matches!(message.role.as_deref(), Some("system" | "developer")) {
                words.system = cut(text(message.content), SYSTEM);
                break;
            }
        }
        words
    }

    /// Shows every text that fills the context window: the contents of the
    /// messages, calls of tools, and the declared tools as they are. Returns how
    /// many messages there are.
    pub fn each_text(&self, mut show: impl FnMut(&str)) -> u64 {
        let messages = self.list("messages");
        for raw in &messages {
            let Ok(message) = serde_json::from_str::<Message<'_>>(raw.get()) else { continue };
            show(&text(message.content));
            message.tool_calls.iter().for_each(|calls| show(calls.get()));
        }
        for tools in ["tools", "functions"] {
            self.list(tools).iter().for_each(|tool| show(tool.get()));
        }
        messages.len() as u64
    }

    /// The items of a top-level list; empty when it is not one.
    fn list(&self, name: &str) -> Vec<&RawValue> {
        let member = self.members.iter().find(|member| member.bytes(&self.body) == name.as_bytes());
        let bytes = member.and_then(|member| self.body.get(member.value.clone()));
        bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
    }
}

/// The text of a message's content: a string, or the text parts of a list.
fn text(content: Option<&RawValue>) -> Cow<'_, str> {
    let Some(raw) = content else { return Cow::Borrowed("") };
    if let Ok(Text(text)) = serde_json::from_str(raw.get()) {
        return text;
    }
    let parts: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    let texts: Vec<Cow<'_, str>> = parts.iter().filter_map(|part| serde_json::from_str::<Part<'_>>(part.get()).ok()?.text).collect();
    Cow::Owned(texts.join("\n"))
}

/// A string that is borrowed when it holds no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text, or of a longer one the head and the tail.
fn cut(text: Cow<'_, str>, most: usize) -> String {
    if text.len() <= most {
        return text.into_owned();
    }
    let half = most / 2;
    let head = text.get(..text.floor_char_boundary(half)).unwrap_or_default();
    let tail = text.get(text.ceil_char_boundary(text.len() - half)..).unwrap_or_default();
    format!("{head}\n{tail}")
}

#[cfg(test)]
mod tests {
    use crate::wire::parse;

    fn words(body: &str) -> super::Conversation {
        parse(body.to_owned().into()).unwrap().conversation()
    }

    #[test]
    fn finds_the_last_user_message_and_what_surrounds_it() {
        let got = words(
            r#"{"tools":[{},{}],"messages":[{"role":"system","content":"be \"brief\""},{"role":"user","content":"one"},
                {"role":"assistant","content":null},{"role":"user","content":[{"type":"text","text":"two"},{"type":"image_url"},{"type":"text","text":"three"}]},
                {"role":"tool","content":"result"}]}"#,
        );
        assert_eq!((got.last_user.as_str(), got.last_user_bytes, got.tools), ("two\nthree", 9, 2));
        assert_eq!(got.system, "be \"brief\"");
        assert_eq!(got.history, ["", "one"]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", "é".repeat(20_001));
        let got = words(&body);
        assert_eq!(got.last_user_bytes, 40_002);
        assert!(got.last_user.len() <= super::LAST + 2);
    }

    #[test]
    fn odd_messages_are_passed_over() {
        for body in [
            r#"{"messages":[1,null,"x",[],{"content":5},{"role":7,"content":"y"}]}"#,
            r#"{"messages":[{"role":"user"}]}"#,
            r#"{"messages":[{"role":"user","content":"\ud800"}],"tools":{}}"#,
            r#"{"messages":[{"role":"user","content":[1,{"text":5}]}],"tools":[1]}"#,
        ] {
            assert_eq!(words(body).last_user, "", "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_messages_make_it_panic(inside in "[\\[\\]{}\":,a-z0-9\\\\ ]{0,80}") {
            if let Ok(ask) = parse(format!("{{\"messages\":[{inside}]}}").into()) {
                let _ = ask.conversation();
            }
        }
    }
}
