//! What was found in a text: a value for each dimension, the words behind it,
//! and the votes for a category.

use super::category::{Ballot, Category};
use super::dimensions::{COUNT, Dimension};
use super::features::{Shape, shape};
use super::fold::fold;
use super::lexicon::{TALK, TASKS};

/// How many words a signal names.
const NAMED: usize = 3;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    values: [f64; COUNT],
    named: [[Option<&'static str>; NAMED]; COUNT],
    pub ballot: Ballot,
    pub shape: Shape,
    /// Greetings, thanks, refusals were found.
    pub courtesy: bool,
    /// Assent was found: `yes`, `do it`, `go on`.
    pub assent: bool,
}

impl Tally {
    /// Reads a text: folds it, looks for all words, and sees its form.
    pub(super) fn read(text: &str) -> Self {
        let mut folded = String::new();
        fold(text, &mut folded);
        let mut tally = Self { shape: shape(text), ..Self::default() };
        tally.read_tasks(&folded);
        if folded.len() <= SHORT_BYTES {
            tally.read_talk(&folded);
        }
        tally
    }

    /// Counts the words that tell of a task, each once.
    fn read_tasks(&mut self, folded: &str) {
        let mut seen = Seen::new();
        let question_from = if self.shape.words <= QUESTION_WORDS { 0 } else { last_question(folded) };
        // Where the last word of an explanation began that counted.
        let mut explains_from = None;
        for hit in TASKS.find(folded) {
            let dimension = hit.word.dimension;
            if dimension == Dimension::FactQuestion && hit.start < question_from || !seen.is_new(hit.id) {
                continue;
            }
            if dimension == Dimension::Explanation {
                explains_from = Some(hit.start);
            } else if dimension == Dimension::FactQuestion && explains_from == Some(hit.start) {
                // `How do you say …` goes on where `how do …` began, and knows better.
                self.set(Dimension::Explanation, (self.value(Dimension::Explanation) - 1.0).max(0.0));
                explains_from = None;
            }
            self.count(dimension, hit.word.written);
            if let Some(category) = hit.word.category {
                self.ballot.add(category, vote(dimension, category));
            }
        }
    }

    /// How much of a short text is small talk.
    fn read_talk(&mut self, folded: &str) {
        let (mut talk, mut filler) = (Cover(0), Cover(0));
        for hit in TALK.find(folded) {
            match hit.word.dimension {
                Dimension::Filler => filler.add(hit.start, hit.end),
                dimension => {
                    talk.add(hit.start, hit.end);
                    self.assent |= dimension == Dimension::Assent;
                    self.courtesy |= dimension == Dimension::SmallTalk;
                }
            }
        }
        if talk.0 != 0 && !self.shape.question {
            talk.0 |= filler.0;
        }
        self.set(Dimension::SmallTalk, talk.value(folded));
        if self.value(Dimension::SmallTalk) > 0.0 {
            self.ballot.add(Category::Chat, 3.0);
        }
    }

    /// The value of a dimension, not capped.
    pub(super) fn value(&self, dimension: Dimension) -> f64 {
        self.values.get(dimension as usize).copied().unwrap_or_default()
    }

    /// Sets the value of a dimension.
    pub(super) fn set(&mut self, dimension: Dimension, value: f64) {
        if let Some(slot) = self.values.get_mut(dimension as usize) {
            *slot = value;
        }
    }

    /// The first words that a dimension was found by.
    pub(super) fn named(&self, dimension: Dimension) -> impl Iterator<Item = &'static str> {
        self.named.get(dimension as usize).into_iter().flatten().filter_map(|word| *word)
    }

    fn count(&mut self, dimension: Dimension, word: &'static str) {
        self.set(dimension, self.value(dimension) + 1.0);
        let named = self.named.get_mut(dimension as usize).into_iter().flatten();
        if let Some(free) = named.into_iter().find(|slot| slot.is_none()) {
            *free = Some(word);
        }
    }
}

/// Up to so many words, a question word tells of a fact wherever it stands;
/// in a longer message only in its last sentence.
const QUESTION_WORDS: f64 = 24.0;

/// Where the last sentence of a folded text begins, if it is a question.
fn last_question(folded: &str) -> usize {
    let text = folded.trim_end();
    if !text.ends_with(['?', '？']) {
        return text.len();
    }
    let inside = text.trim_end_matches(['?', '？']);
    inside.rfind(['.', '!', '?', ',', ':', '。', '，', '、', '।']).map_or(0, |at| at + 1)
}

/// What a word is worth as a vote. An image, an error or a proof settles the
/// matter; the language of a program only hints at it.
fn vote(dimension: Dimension, category: Category) -> f64 {
    match (dimension, category) {
        (_, Category::Vision) => 3.0,
        (_, Category::Debugging) => 1.5,
        (Dimension::Rework, _) => 2.0,
        (Dimension::Reasoning, _) => 1.5,
        (_, Category::Science) => 1.2,
        (Dimension::FactQuestion, Category::Fact) => 0.7,
        (Dimension::CodePresence, _) => 0.4,
        _ => 1.0,
    }
}

/// Which words were seen already: each counts once.
struct Seen([u64; Seen::BLOCKS]);

impl Seen {
    /// Room for 8192 words; a test compares it with the lexicon.
    const BLOCKS: usize = 128;

    fn new() -> Self {
        Self([0; Self::BLOCKS])
    }

    /// Whether a word is seen for the first time.
    fn is_new(&mut self, id: usize) -> bool {
        let Some(block) = self.0.get_mut(id / 64) else { return false };
        let bit = 1u64 << (id % 64);
        let new = *block & bit == 0;
        *block |= bit;
        new
    }
}

/// The longest folded text that can be small talk.
const SHORT_BYTES: usize = u128::BITS as usize;

/// Which bytes of a short text belong to small talk, a bit for each.
struct Cover(u128);

impl Cover {
    fn add(&mut self, start: usize, end: usize) {
        let upto = |at: usize| if at >= SHORT_BYTES { u128::MAX } else { (1u128 << at) - 1 };
        self.0 |= upto(end) & !upto(start);
    }

    /// 0 when up to half of the letters belong to small talk, 1 from 80 % on,
    /// and when there are no letters.
    fn value(&self, folded: &str) -> f64 {
        let (mut all, mut covered) = (0u32, 0u32);
        for (at, _) in folded.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            all += 1;
            covered += u32::from(self.0 >> at.min(SHORT_BYTES - 1) & 1 == 1);
        }
        if all == 0 { 1.0 } else { ((f64::from(covered) / f64::from(all) - 0.5) / 0.3).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_bit() {
        assert!(TASKS.len() <= Seen::BLOCKS * 64, "{} words", TASKS.len());
    }

    #[test]
    fn small_talk_is_a_share_of_the_letters() {
        assert_eq!(Tally::read("thanks a lot!").value(Dimension::SmallTalk), 1.0);
        assert_eq!(Tally::read("🎉🎉").value(Dimension::SmallTalk), 1.0);
        assert_eq!(Tally::read("hi, prove the theorem of Pythagoras").value(Dimension::SmallTalk), 0.0);
    }
}
