//! How many tokens a prompt is, counted. Slow (about 20 MB/s, and 150 ms for
//! the first time), so only what the bounds cannot tell is counted, and not on
//! a thread that serves requests.

use tiktoken_rs::o200k_base_singleton;

use crate::wire::Ask;

/// What a message takes beside its text: role and separators.
const PER_MESSAGE: u64 = 4;

/// Counts the prompt of a request, texts and tools, with OpenAI's o200k
/// vocabulary. Blocks for as long as it takes.
pub fn count(ask: &Ask) -> u64 {
    let encoder = o200k_base_singleton();
    let mut tokens = 0u64;
    let messages = ask.each_text(|text| tokens += encoder.count_ordinary(text) as u64);
    tokens + messages * PER_MESSAGE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    #[test]
    fn counts_texts_and_tools_and_no_images() {
        let ask = |body: &str| parse(body.to_owned().into()).unwrap();
        let words =
            count(&ask(r#"{"messages":[{"role":"user","content":"hello world"},{"content":[{"type":"text","text":"hello world"}]}]}"#));
        assert_eq!(words, 2 * (2 + PER_MESSAGE));
        let image = format!(r#"{{"messages":[{{"content":[{{"type":"image_url","image_url":{{"url":"data:{}"}}}}]}}]}}"#, "x".repeat(9000));
        assert_eq!(count(&ask(&image)), PER_MESSAGE);
        let tools = count(&ask(r#"{"messages":[{"content":""}],"tools":[{"type":"function","function":{"name":"f"}}]}"#));
        assert!(tools > PER_MESSAGE + 5, "{tools}");
    }
}
