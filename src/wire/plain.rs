//! The quick look at a whole answer: nearly all are plain completions.
//! Whatever has another form is left to the careful look, which takes four times
//! as long.

use std::ops::Range;

use super::answer::Usage;
use super::skim::Skim;

/// The fields that were seen, a bit for each: one that comes twice is not plain.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn first(&mut self, bit: u8) -> Option<()> {
        let is_first = self.0 & 1 << bit == 0;
        self.0 |= 1 << bit;
        is_first.then_some(())
    }
}

/// The usage of a completion in which nothing hints at an error, and the model
/// that it names.
pub(super) fn read_plain(body: &[u8]) -> Option<(Usage, Option<&str>)> {
    let (mut seen, mut says, mut usage, mut model) = (Seen::default(), false, Usage::default(), None);
    Skim::whole(body, |skim| {
        skim.object(|skim, name| match body.get(name)? {
            b"choices" => {
                seen.first(0)?;
                skim.list(|skim| {
                    says |= choice(skim, body)?;
                    Some(())
                })
            }
            b"usage" => {
                seen.first(1)?;
                skim.null().or_else(|| {
                    usage = counts(skim, body)?;
                    Some(())
                })
            }
            // In a completion they are empty, or there is more to look at.
            b"error" => seen.first(2).and_then(|()| skim.null()),
            b"base_resp" => seen.first(3).and_then(|()| skim.null()),
            b"type" => seen.first(4).and_then(|()| skim.null()),
            b"model" => {
                model = named(body, skim.value()?);
                Some(())
            }
            _ => skim.value().map(|_| ()),
        })
    })?;
    says.then_some((usage, model))
}

/// The model that an answer, or an event of a stream, names, unless its name has escapes.
pub fn model_of(json: &[u8]) -> Option<&str> {
    let mut model = None;
    Skim::whole(json, |skim| {
        skim.object(|skim, name| {
            let value = skim.value()?;
            if json.get(name)? == b"model" {
                model = named(json, value);
            }
            Some(())
        })
    })?;
    model
}

/// The text of a value that is a string without escapes.
fn named(json: &[u8], value: Range<usize>) -> Option<&str> {
    let text = std::str::from_utf8(json.get(value)?).ok()?.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

/// Whether a choice has a message or a text.
fn choice(skim: &mut Skim<'_>, body: &[u8]) -> Option<bool> {
    let (mut seen, mut says) = (Seen::default(), false);
    skim.object(|skim, name| match body.get(name)? {
        name @ (b"message" | b"text") => {
            seen.first(u8::from(name == b"text"))?;
            skim.null().or_else(|| {
                says = true;
                skim.value().map(|_| ())
            })
        }
        b"finish_reason" => {
            seen.first(2)?;
            skim.null().or_else(|| {
                let reason = body.get(skim.plain_string()?)?;
                (!matches!(reason, b"error" | b"network_error" | b"model_context_window_exceeded")).then_some(())
            })
        }
        b"index" => {
            seen.first(3)?;
            skim.null().or_else(|| u32::try_from(skim.integer()?).ok().map(|_| ()))
        }
        b"error" => seen.first(4).and_then(|()| skim.null()),
        b"delta" => seen.first(5).and_then(|()| skim.null()),
        _ => skim.value().map(|_| ()),
    })?;
    Some(says)
}

fn counts(skim: &mut Skim<'_>, body: &[u8]) -> Option<Usage> {
    let (mut seen, mut usage) = (Seen::default(), Usage::default());
    skim.object(|skim, name| {
        let (bit, count) = match body.get(name)? {
            b"prompt_tokens" => (0, &mut usage.prompt),
            b"completion_tokens" => (1, &mut usage.completion),
            _ => return skim.value().map(|_| ()),
        };
        seen.first(bit)?;
        skim.null().or_else(|| {
            *count = skim.integer()?.try_into().ok();
            Some(())
        })
    })?;
    Some(usage)
}
