//! Whether a prompt fits a model's context window, from bounds alone.

use crate::catalog::Facts;
use crate::wire::Ask;

/// No tokenizer in use makes running text out of fewer tokens than one for
/// each eight bytes: English and code are near four, Chinese and Japanese near
/// three, and only one letter repeated thousands of times comes to eight.
const MOST_BYTES_PER_TOKEN: u64 = 8;

/// What can be said of prompt and window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Nothing speaks against it.
    May,
    /// It surely does not fit.
    Never {
        /// The fewest tokens that prompt and answer can be, together.
        needs: u64,
        /// The tokens that the model has room for.
        window: u64,
    },
}

/// Compares the fewest tokens that the prompt can be, and the answer's limit,
/// with the model's window. Images, audio and files are billed in other ways
/// than their bytes, so a prompt that has any is never called too long here.
pub fn fit(facts: &Facts, ask: &Ask) -> Fit {
    let attached = ask.needs.vision || ask.needs.audio || ask.needs.files;
    let prompt = if attached { 0 } else { ask.prompt_bytes / MOST_BYTES_PER_TOKEN };
    let needs = prompt.saturating_add(ask.max_tokens.unwrap_or(0));
    match (facts.context_window, facts.max_input) {
        (Some(window), _) if needs > window => Fit::Never { needs, window },
        (_, Some(window)) if prompt > window => Fit::Never { needs: prompt, window },
        _ => Fit::May,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn ask(content: &str, extra: &str) -> Ask {
        parse(format!("{{\"messages\":[{{\"content\":\"{content}\"}}]{extra}}}").into()).unwrap()
    }

    #[test]
    fn only_what_surely_does_not_fit_is_too_long() {
        let small = Facts { context_window: Some(1000), ..Facts::default() };
        assert_eq!(fit(&small, &ask(&"x".repeat(7900), "")), Fit::May);
        assert!(matches!(fit(&small, &ask(&"x".repeat(8100), "")), Fit::Never { window: 1000, .. }));
        assert!(matches!(fit(&small, &ask("x", ",\"max_tokens\":1001")), Fit::Never { .. }));
        assert_eq!(fit(&Facts::default(), &ask(&"x".repeat(90_000), "")), Fit::May);
        let image = format!("\"}},{{\"image_url\":\"{}", "x".repeat(9000));
        assert_eq!(fit(&small, &ask(&image, "")), Fit::May);
    }
}
