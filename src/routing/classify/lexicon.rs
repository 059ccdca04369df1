//! The words of `words.rs`, compiled once into one automaton, so that a text
//! is read once for all of them.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::category::Category;
use super::dimensions::Dimension;
use super::fold::{fold, is_unspaced};
use super::words::LINES;

/// A word of the lexicon.
#[derive(Debug)]
pub(super) struct Word {
    /// As it is written in the lexicon.
    pub written: &'static str,
    pub dimension: Dimension,
    pub category: Option<Category>,
    /// Whether other letters may stand directly before or behind it.
    open: (bool, bool),
    /// Whether it has to begin a sentence.
    first: bool,
}

/// A word found in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit<'a> {
    pub word: &'a Word,
    /// Its number among all words.
    pub id: usize,
    /// Where it begins and ends in the folded text.
    pub start: usize,
    pub end: usize,
}

/// Words, ready to be looked for.
pub(super) struct Lexicon {
    words: Vec<Word>,
    /// `None` only if the lexicon were too large to compile; a test looks.
    automaton: Option<AhoCorasick>,
}

/// The words that tell of a task.
pub(super) static TASKS: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::compile(|dimension| !is_talk(dimension)));

/// The words of small talk. They are short and many, and only short messages
/// can be small talk, so longer ones are not searched for them.
pub(super) static TALK: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::compile(is_talk));

fn is_talk(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::SmallTalk | Dimension::Assent | Dimension::Filler)
}

impl Lexicon {
    fn compile(wanted: fn(Dimension) -> bool) -> Self {
        let (mut words, mut patterns) = (Vec::new(), Vec::new());
        for line in LINES.iter().filter(|line| wanted(line.0)) {
            for written in line.2.split('|').map(str::trim) {
                let inner = written.trim_matches(['*', '^']);
                let mut pattern = String::new();
                fold(inner, &mut pattern);
                let open = (is_open(pattern.chars().next()), is_open(pattern.chars().next_back()));
                let open = (open.0 || written.starts_with('*'), open.1 || written.ends_with('*'));
                words.push(Word { written, dimension: line.0, category: line.1, open, first: written.starts_with('^') });
                patterns.push(pattern);
            }
        }
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::ContiguousNFA)).dense_depth(DENSE_DEPTH);
        Self { words, automaton: builder.build(&patterns).ok() }
    }

    /// How many words there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// Every word in a folded text, overlapping ones too, in the order of
    /// their ends.
    pub(super) fn find<'a>(&'a self, folded: &'a str) -> impl Iterator<Item = Hit<'a>> {
        let matches = self.automaton.iter().flat_map(move |automaton| automaton.find_overlapping_iter(folded));
        matches.filter_map(move |found| {
            let (id, start, end) = (found.pattern().as_usize(), found.start(), found.end());
            let word = self.words.get(id)?;
            // Most of what is found lies inside of an English word: one byte tells.
            let bytes = folded.as_bytes();
            let behind = || bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
            let before = || start.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
            if !word.open.1 && behind() || !word.open.0 && before() {
                return None;
            }
            let before = || folded.get(..start).and_then(|text| text.chars().next_back());
            let behind = || folded.get(end..).and_then(|text| text.chars().next());
            let whole = (word.open.0 || is_edge(before())) && (word.open.1 || is_edge(behind()));
            let placed = !word.first || folded.get(..start).is_none_or(begins_sentence);
            (whole && placed).then_some(Hit { word, id, start, end })
        })
    }
}

/// How many letters deep the automaton answers by table: 3 was the fastest
/// that was measured.
const DENSE_DEPTH: usize = 3;

/// Whether a sentence, or a clause behind a comma, begins behind this text.
fn begins_sentence(before: &str) -> bool {
    let ended = before.trim_end();
    before.is_empty()
        || before.ends_with(['¿', '¡', '"', '“'])
        || before.ends_with(", ")
        || ended.ends_with(['.', '!', '?', ':', ';', '。', '？'])
}

/// Whether a word with this first or last letter may touch other letters.
fn is_open(letter: Option<char>) -> bool {
    letter.is_none_or(|c| !c.is_alphanumeric() || is_unspaced(c))
}

/// Whether a letter beside a word leaves the word whole. Latin words may
/// stand directly in Chinese or Japanese text.
fn is_edge(neighbour: Option<char>) -> bool {
    neighbour.is_none_or(|c| !(c.is_alphanumeric() || c == '_') || is_unspaced(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&'static str> {
        let mut folded = String::new();
        fold(text, &mut folded);
        TASKS.find(&folded).chain(TALK.find(&folded)).map(|hit| hit.word.written).collect()
    }

    #[test]
    fn every_word_can_be_found() {
        for lexicon in [&*TASKS, &*TALK] {
            assert!(lexicon.automaton.is_some());
            for word in &lexicon.words {
                assert!(found(word.written.trim_matches(['*', '^'])).contains(&word.written), "{:?} is never found", word.written);
            }
        }
    }

    #[test]
    fn latin_words_are_found_whole_and_stems_at_the_beginning() {
        assert!(found("Refactoring!").contains(&"refactor*"));
        assert!(!found("this is shiny").contains(&"hi"));
        assert!(found("用python写").contains(&"python"));
        assert!(found("请证明它").contains(&"证明"));
    }
}
