//! How demanding a request is, told from its words and its form.
//!
//! A message is read once for the words of all dimensions (`words`), its form
//! is looked at (`features`), the values are weighed (`dimensions`), and the
//! sum falls into the band of a tier. No model is asked. What it must not
//! know: providers, models, prices, and who asks.

mod category;
mod dimensions;
mod features;
mod floor;
mod fold;
mod lexicon;
mod split;
mod tally;
mod weigh;
mod words;

use crate::catalog::Tier;
use weigh::weigh;

pub use category::Category;

/// What the classifier looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Talk<'a> {
    /// The last user message, decoded; a caller may cut it at 16 KiB (head and tail).
    pub last_user: &'a str,
    /// Its whole length in bytes.
    pub last_user_bytes: usize,
    /// The system prompt; a caller may cut it at 4 KiB.
    pub system: &'a str,
    /// Up to the last 6 earlier messages of user and assistant, newest first,
    /// each maybe cut at 2 KiB.
    pub history: &'a [&'a str],
    /// Bytes of the whole conversation.
    pub prompt_bytes: usize,
    /// How many tools are declared.
    pub tools: usize,
    /// Whether an image is part of the request.
    pub images: bool,
}

/// What a request was taken for.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The tier, the conversation's floor included.
    pub tier: Tier,
    /// The kind of work.
    pub category: Category,
    /// 0 to 1: from 0.75 clear, from 0.55 reasonable, below it borderline.
    pub confidence: f64,
    /// The weighed sum: 0 is the middle of LIGHT, a tier is 0.2 wide.
    pub score: f64,
    /// The dimensions that spoke, the weightiest first.
    pub signals: Vec<Signal>,
    /// The tier below which the conversation so far does not let it fall.
    pub history_floor: Option<Tier>,
}

/// A dimension that spoke.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// Its name.
    pub dimension: &'static str,
    /// What it added to the score.
    pub contribution: f64,
    /// Up to three of the words that it was found by, as the lexicon writes them.
    pub matched: Vec<&'static str>,
}

/// Bytes of the last message that are read, when a caller did not cut it.
const MESSAGE_BYTES: usize = 16 * 1024;
/// Bytes of the system prompt that are read.
const SYSTEM_BYTES: usize = 4 * 1024;

/// Classifies a request. The same talk gives the same answer.
pub fn classify(talk: &Talk<'_>) -> Classification {
    let mut reading = weigh(talk);
    let history_floor = floor::history_floor(talk.history, &reading.tally);
    let tier = reading.tier.max(history_floor.unwrap_or(Tier::Nano));
    if tier != reading.tier {
        // The floor decides, and says little about this message.
        reading.confidence = reading.confidence.min(FLOOR_CONFIDENCE);
    }
    Classification {
        tier,
        category: reading.category,
        confidence: reading.confidence,
        score: reading.score,
        signals: reading.signals,
        history_floor,
    }
}

/// The confidence of a tier that the conversation's floor gave: reasonable,
/// not clear.
const FLOOR_CONFIDENCE: f64 = 0.7;
