//! The table: what is looked at, how much it weighs, and why.
//!
//! A dimension has a value: how many of its words were found, or a measure
//! of the text. The value, at most `cap`, times `weight` is what it adds to
//! the score. 0 is the middle of LIGHT and a tier is 0.2 wide, so a weight of
//! 0.2 reads as "one tier up". The weights were set on the tune half of
//! `tests/routing/prompts.tsv`; its README says how well they do on the other.

/// Something that is looked at, by its place in [`DIMENSIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(super) enum Dimension {
    SmallTalk,
    Brevity,
    FactQuestion,
    SmallScope,
    Explanation,
    ShortTask,
    Rework,
    DetailedWork,
    Design,
    Reasoning,
    CodePresence,
    TechnicalTerms,
    ExpertTerms,
    Agentic,
    Constraints,
    Steps,
    Deliverable,
    Length,
    Context,
    Setting,
    // Three kinds of words have no row, and so no weight.
    /// `Yes`, `do it`, `go on`: small talk that hands on the task before it.
    Assent,
    /// What may stand between greetings and thanks.
    Filler,
    /// What only votes for a category.
    Mention,
}

/// How many dimensions there are.
pub(super) const COUNT: usize = DIMENSIONS.len();

/// One dimension.
#[derive(Debug)]
pub(super) struct Row {
    pub dimension: Dimension,
    /// As it is written in signals.
    pub name: &'static str,
    /// What a value of 1 adds to the score.
    pub weight: f64,
    /// The highest value that counts.
    pub cap: f64,
    /// Why it is looked at, and why it weighs what it weighs. Read by people only.
    #[allow(dead_code, reason = "the table's documentation, kept beside its numbers")]
    pub reason: &'static str,
}

const fn row(dimension: Dimension, name: &'static str, weight: f64, cap: f64, reason: &'static str) -> Row {
    Row { dimension, name, weight, cap, reason }
}

/// All dimensions, in the order of [`Dimension`].
#[rustfmt::skip]
pub(super) const DIMENSIONS: [Row; 20] = [
    row(Dimension::SmallTalk, "small_talk", -0.40, 1.0,
        "nothing but greetings, thanks or assent: the smallest model will do"),
    row(Dimension::Brevity, "brevity", -0.18, 1.0,
        "1 for one word, 0 from eight on: few words ask for little, whatever they say"),
    row(Dimension::FactQuestion, "fact_question", -0.15, 1.0,
        "a short question with one short answer, or a short remark that asks for no work; silent beside words of larger work"),
    row(Dimension::SmallScope, "small_scope", -0.02, 2.0,
        "short, simple, one sentence, a typo: the asker says that it is small; it silences the subject of an explanation"),
    row(Dimension::Explanation, "explanation", 0.02, 1.0,
        "explain, difference, how does it work: a paragraph; it silences fact_question, and that is most of what it does"),
    row(Dimension::ShortTask, "short_task", 0.02, 1.0,
        "write an email, a function, a list: more than a fact, and not yet detailed work"),
    row(Dimension::Rework, "rework", 0.03, 1.0,
        "summarise, translate, reword: the text is there, only its form changes"),
    row(Dimension::DetailedWork, "detailed_work", 0.05, 3.0,
        "refactor, analyse, implement, compare: two such words, or one and its conditions, make STANDARD"),
    row(Dimension::Design, "design", 0.15, 3.0,
        "design, architecture, from scratch, a long document: one makes STANDARD, two make COMPLEX"),
    row(Dimension::Reasoning, "reasoning", 0.34, 1.5,
        "prove, derive, refute: one wrong step spoils the whole, so the demand alone makes COMPLEX"),
    row(Dimension::CodePresence, "code_presence", 0.01, 3.0,
        "code words and code itself; small code is LIGHT, so it only tips the scale"),
    row(Dimension::TechnicalTerms, "technical_terms", 0.02, 4.0,
        "terms of software and systems that a small model knows only by name"),
    row(Dimension::ExpertTerms, "expert_terms", 0.05, 4.0,
        "terms of science, medicine, law, finance: in a larger task, knowledge that only large models have"),
    row(Dimension::Agentic, "agentic", 0.03, 2.0,
        "run, deploy, until the tests pass: acts that build on each other"),
    row(Dimension::Constraints, "constraints", 0.03, 4.0,
        "must, at least, without: each condition has to be kept along with the others"),
    row(Dimension::Steps, "steps", 0.01, 12.0,
        "numbered or first-then steps, and how many things are asked for at once, told by commas and list items in any language"),
    row(Dimension::Deliverable, "deliverable", 0.02, 2.0,
        "a report, a guide, in detail: the answer itself is long"),
    row(Dimension::Length, "length", 0.04, 1.5,
        "0 up to 15 words, 1 at 300, by the logarithm: more is said, more is to be kept in mind"),
    row(Dimension::Context, "context", 0.30, 1.5,
        "0 up to 8 KiB of conversation, 1 at 128 KiB: details from far back are lost by small models"),
    row(Dimension::Setting, "setting", 0.04, 2.0,
        "tools are declared, and the system prompt speaks of a trade: together a third of a tier, for `hi` stays `hi`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_dimensions() {
        for (at, row) in DIMENSIONS.iter().enumerate() {
            assert_eq!(row.dimension as usize, at, "{}", row.name);
            assert!(row.cap > 0.0 && !row.reason.is_empty(), "{}", row.name);
        }
    }
}
