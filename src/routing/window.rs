//! Whether a prompt fits a model's context window. Bounds decide nearly
//! always; between them the tokens are counted.

use crate::catalog::Facts;
use crate::wire::Ask;

/// Text of more bytes than this for each token of a window surely does not
/// fit it. Measured: English and code are near four bytes a token, Chinese and
/// Japanese near three, one letter repeated thousands of times eight.
const MOST_BYTES_PER_TOKEN: u64 = 8;

/// Other vocabularies than the one that is counted with (Llama, Mistral,
/// Claude) were seen to differ by up to 20 %: for their models, a prompt is
/// only called too long when it is so by more than that.
const MARGIN_PERCENT: u64 = 20;

/// What can be said of prompt and window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Nothing speaks against it.
    May,
    /// The bounds cannot tell; counting can.
    Near,
    /// It surely does not fit.
    Never {
        /// About how many tokens prompt and answer are, together.
        needs: u64,
        /// The tokens that the model has room for.
        window: u64,
    },
}

/// Compares by bounds alone. A text has at most as many tokens as bytes, so
/// one of at most a byte for each token surely fits. Images, audio and files
/// are billed in other ways than their bytes, so a prompt that has any is
/// never called too long.
pub fn fit(facts: &Facts, ask: &Ask) -> Fit {
    let attached = ask.needs.vision || ask.needs.audio || ask.needs.files;
    let most = if attached { 0 } else { ask.prompt_bytes };
    let least = most / MOST_BYTES_PER_TOKEN;
    match (compare(facts, ask, least), compare(facts, ask, most)) {
        (Fit::May, Fit::May) => Fit::May,
        (Fit::May, _) => Fit::Near,
        (never, _) => never,
    }
}

/// Compares by a count of the prompt's tokens ([`super::count`]).
pub fn fit_counted(facts: &Facts, ask: &Ask, tokens: u64) -> Fit {
    let exact = facts.id.contains("gpt");
    let least = if exact { tokens } else { tokens * (100 - MARGIN_PERCENT) / 100 };
    match compare(facts, ask, least) {
        Fit::Never { window, .. } => Fit::Never { needs: tokens.saturating_add(ask.max_tokens.unwrap_or(0)), window },
        fit => fit,
    }
}

/// Whether a prompt of so many tokens leaves room for the answer.
fn compare(facts: &Facts, ask: &Ask, prompt: u64) -> Fit {
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

    fn ask(content: &str, extra: &str) -> Box<Ask> {
        parse(format!("{{\"messages\":[{{\"content\":\"{content}\"}}]{extra}}}").into()).unwrap()
    }

    #[test]
    fn bounds_decide_what_they_can() {
        let small = Facts { context_window: Some(1000), ..Facts::default() };
        assert_eq!(fit(&small, &ask(&"x".repeat(900), "")), Fit::May);
        assert_eq!(fit(&small, &ask(&"x".repeat(7900), "")), Fit::Near);
        assert!(matches!(fit(&small, &ask(&"x".repeat(8100), "")), Fit::Never { window: 1000, .. }));
        assert!(matches!(fit(&small, &ask("x", ",\"max_tokens\":1001")), Fit::Never { .. }));
        assert_eq!(fit(&small, &ask("x", ",\"max_tokens\":900")), Fit::May);
        assert_eq!(fit(&Facts::default(), &ask(&"x".repeat(90_000), "")), Fit::May);
        let image = format!("\"}},{{\"image_url\":\"{}", "x".repeat(9000));
        assert_eq!(fit(&small, &ask(&image, "")), Fit::May);
    }

    #[test]
    fn a_count_decides_the_rest_with_a_margin_for_other_vocabularies() {
        let facts = |id: &str| Facts { context_window: Some(1000), ..Facts::unknown("p", id) };
        let asked = ask("x", "");
        assert_eq!(fit_counted(&facts("gpt-5.5"), &asked, 1000), Fit::May);
        assert_eq!(fit_counted(&facts("gpt-5.5"), &asked, 1001), Fit::Never { needs: 1001, window: 1000 });
        assert_eq!(fit_counted(&facts("kimi-k2.6"), &asked, 1200), Fit::May);
        assert!(matches!(fit_counted(&facts("kimi-k2.6"), &asked, 1300), Fit::Never { needs: 1300, .. }));
        let limited = Facts { max_input: Some(500), ..facts("gpt-5.5") };
        assert!(matches!(fit_counted(&limited, &asked, 501), Fit::Never { window: 500, .. }));
    }
}
