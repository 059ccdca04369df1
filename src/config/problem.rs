//! What is wrong with a configuration, all of it at once, shown where it stands.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the file it is about; `None` for what no line can be named for.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place in the file.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into(), help: None }
    }

    /// A problem that no line of the file is the cause of.
    pub fn general(message: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), help: None }
    }

    /// Adds what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Everything that is wrong with one configuration. `Display` is the report
/// without colour; [`Problems::render`] takes a choice.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    /// The file's name as the user knows it.
    pub file: String,
    /// The file's text with everything that may be a secret blanked.
    source: String,
    /// In the order of the file.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Collects the problems of a file, ordered by place.
    pub fn new(file: impl Into<String>, source: &str, mut list: Vec<Problem>) -> Self {
        // A key that was pasted where a name belongs would be repeated in the message.
        for problem in &mut list {
            let one_line: String = problem.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            problem.message = blank_runs(&one_line, looks_like_a_key);
            problem.help = problem.help.take().map(|help| blank_runs(&help, looks_like_a_key));
        }
        list.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        Self { file: file.into(), source: blank_secrets(source), list }
    }

    /// A single problem that has nothing to do with a place in a file.
    pub fn one(message: impl Into<String>) -> Self {
        Self { list: vec![Problem::general(message)], ..Self::default() }
    }

    /// The report: for each problem what it is, `file:line:column`, the line
    /// with a marker, and what to write instead.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let reports: Vec<String> = self.list.iter().map(|problem| self.render_one(problem, &renderer)).collect();
        reports.join("\n")
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let mut groups = Vec::new();
        match &problem.span {
            Some(span) => {
                let end = span.end.clamp(span.start, self.source.len());
                let marker = AnnotationKind::Primary.span(span.start.min(end)..end);
                groups.push(title.element(Snippet::source(self.source.as_str()).path(self.file.as_str()).annotation(marker)));
            }
            None => groups.push(Group::with_title(title)),
        }
        if let Some(help) = &problem.help {
            groups.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
        }
        renderer.render(&groups)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// The beginnings of keys that providers give out.
pub(super) const KEY_PREFIXES: [&str; 14] =
    ["sk-", "sk_", "gsk_", "AIza", "xai-", "nvapi-", "hf_", "pplx-", "csk-", "fw_", "tgp_", "r8_", "ghp_", "Bearer "];

/// Whether a value looks like a provider's key.
pub(super) fn looks_like_a_key(value: &str) -> bool {
    KEY_PREFIXES.iter().any(|prefix| value.starts_with(prefix)) && value.len() >= 12
}

/// Whether a setting's or header's name is one that a secret is kept under.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.ends_with("_env")
        && !name.ends_with("_file")
        && ["key", "token", "secret", "authorization", "cookie", "password", "credential"].iter().any(|word| name.contains(word))
}

/// The same text, byte for byte as long, with the values of secret-sounding
/// settings and everything that looks like a key replaced by asterisks.
fn blank_secrets(source: &str) -> String {
    source.split_inclusive('\n').map(blank_line).collect()
}

/// Goes through the line's `name = value` pairs, of which an inline table has several.
fn blank_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut secret = false;
    let mut pieces = line.split('=').peekable();
    let mut first = true;
    while let Some(piece) = pieces.next() {
        if !first {
            out.push('=');
        }
        // The last word of a piece is the name of the next one's value.
        let end = piece.trim_end();
        let last = end.rsplit(|c: char| c.is_whitespace() || "{,".contains(c)).next().unwrap_or(end);
        let value_ends = if pieces.peek().is_none() { piece.len() } else { end.len() - last.len() };
        let (value, name) = piece.split_at(if first && pieces.peek().is_some() { 0 } else { value_ends });
        let value = blank_address(value);
        out.push_str(&blank_runs(&value, |word| secret || looks_secret(word)));
        out.push_str(&blank_runs(name, looks_secret));
        secret = names_a_secret(name.trim_matches(|c: char| c.is_whitespace() || "\"'{,".contains(c)));
        first = false;
    }
    // What follows an equals sign inside an address is its query.
    if line.contains("://") && line.contains('?') { blank_query(&out) } else { out }
}

/// Blanks the user part of a web address.
fn blank_address(value: &str) -> String {
    let Some((before, rest)) = value.split_once("://") else { return value.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, host)) => format!("{before}://{}@{host}", "*".repeat(user.len())),
        None => value.to_owned(),
    }
}

/// Blanks what follows a question mark.
fn blank_query(line: &str) -> String {
    let (before, query) = line.split_once('?').unwrap_or((line, ""));
    format!("{before}?{}", blank_runs(query, |_| true))
}

fn looks_secret(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    looks_like_a_key(word) || word.len() >= 32 && !word.contains('/')
}

/// Replaces each run of word characters that `secret` picks by as many asterisks.
fn blank_runs(text: &str, secret: impl Fn(&str) -> bool) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(word) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !word(c)).unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        out.push_str(before);
        if secret(run) {
            out.extend(std::iter::repeat_n('*', run.len()))
        } else {
            out.push_str(run)
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_file_line_column_and_help() {
        let source = "[server]\nlisten = 5\n";
        let problem = Problem::at(18..19, "`listen` is an address").help("listen = \"127.0.0.1:4117\"");
        let text = Problems::new("routor.toml", source, vec![problem]).render(false);
        assert!(text.contains("routor.toml:2:10"), "{text}");
        assert!(text.contains("listen = 5"), "{text}");
        assert!(text.contains("127.0.0.1:4117"), "{text}");
    }

    #[test]
    fn secrets_are_blanked_and_places_kept() {
        let source = "[providers.x]\napi_key = \"sk-canary-canary-1\"\nheaders = { a = \"gsk_canarycanary\" }\napi_key_env = \"NAME\"\n";
        let blanked = blank_secrets(source);
        assert_eq!(blanked.len(), source.len());
        assert!(!blanked.contains("canary"), "{blanked}");
        assert!(blanked.contains("api_key_env = \"NAME\""), "{blanked}");
        for line in ["api_key = \"canary\"", "base_url = \"https://user:canary@x/v1\"", "base_url = \"https://x/v1?key=canary&k=canary\""] {
            let blanked = blank_secrets(line);
            assert!(!blanked.contains("canary") && blanked.len() == line.len(), "{blanked}");
        }
    }
}
