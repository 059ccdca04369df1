//! What kind of work a prompt asks for, and how the words vote on it. The
//! category never changes the tier: it is for the reader of a decision, and
//! for the ranking inside a tier.

use super::features::Shape;

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Category {
    /// Greetings, acknowledgements, casual talk.
    Chat,
    /// A question with one short answer.
    Fact,
    /// How or why something is.
    Explanation,
    /// A text to be written or improved.
    Writing,
    /// A text to be made shorter.
    Summarization,
    /// A text to be put into another language.
    Translation,
    /// Code to be written, changed or reviewed.
    Coding,
    /// An error to be found.
    Debugging,
    /// Something to calculate, derive or prove.
    Math,
    /// Logic, comparison, a decision to be argued.
    Reasoning,
    /// A plan, a schedule, a design.
    Planning,
    /// Sources to be gathered, data to be analysed.
    Research,
    /// Natural science, medicine, engineering.
    Science,
    /// About an image.
    Vision,
    /// Several languages in one request.
    Multilingual,
    /// Tools to be called.
    ToolUse,
    /// A form to be followed to the letter.
    InstructionFollowing,
}

impl Category {
    /// All categories. Where votes are equal, the later one wins: the later
    /// ones are the more particular.
    pub const ALL: [Category; 17] = [
        Category::Chat,
        Category::Fact,
        Category::Explanation,
        Category::Writing,
        Category::Reasoning,
        Category::Science,
        Category::Research,
        Category::Planning,
        Category::Coding,
        Category::Math,
        Category::Debugging,
        Category::Summarization,
        Category::Translation,
        Category::InstructionFollowing,
        Category::Multilingual,
        Category::ToolUse,
        Category::Vision,
    ];

    /// The name as it is written in answers.
    pub fn name(self) -> &'static str {
        match self {
            Category::Chat => "chat",
            Category::Fact => "fact",
            Category::Explanation => "explanation",
            Category::Writing => "writing",
            Category::Summarization => "summarization",
            Category::Translation => "translation",
            Category::Coding => "coding",
            Category::Debugging => "debugging",
            Category::Math => "math",
            Category::Reasoning => "reasoning",
            Category::Planning => "planning",
            Category::Research => "research",
            Category::Science => "science",
            Category::Vision => "vision",
            Category::Multilingual => "multilingual",
            Category::ToolUse => "tool_use",
            Category::InstructionFollowing => "instruction_following",
        }
    }
}

/// The votes of the words, and of what is known besides the words.
#[derive(Debug, Default)]
pub(super) struct Ballot([f64; Category::ALL.len()]);

impl Ballot {
    /// A vote for a category.
    pub(super) fn add(&mut self, category: Category, votes: f64) {
        let at = Category::ALL.iter().position(|one| *one == category);
        if let Some(count) = at.and_then(|at| self.0.get_mut(at)) {
            *count += votes;
        }
    }

    /// The category with the most votes. Without votes: a short question is
    /// about a fact, a message of a few words is chat, and the rest asks to
    /// be followed.
    pub(super) fn winner(&self, shape: &Shape) -> Category {
        let mut best = (0.0, None);
        for (votes, category) in self.0.iter().zip(Category::ALL) {
            if *votes > 0.0 && *votes >= best.0 {
                best = (*votes, Some(category));
            }
        }
        match best.1 {
            Some(category) => category,
            None if shape.words <= 2.0 => Category::Chat,
            None if shape.question => Category::Fact,
            None if shape.words <= 12.0 => Category::Chat,
            None => Category::InstructionFollowing,
        }
    }
}
