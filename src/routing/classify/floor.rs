//! How far a conversation lets a message fall: `yes, do it` in the middle of
//! a refactoring is not for the smallest model.

use super::dimensions::{DIMENSIONS, Dimension};
use super::split::head_and_tail;
use super::tally::Tally;
use super::weigh::tier_of;
use crate::catalog::Tier;

/// How many earlier messages are looked at.
const MESSAGES: usize = 6;
/// Bytes of each that are read.
const MESSAGE_BYTES: usize = 2 * 1024;

/// What makes an earlier message work that goes on. Its length does not: the
/// answers of models are long.
const LASTING: [Dimension; 5] =
    [Dimension::DetailedWork, Dimension::Design, Dimension::Reasoning, Dimension::CodePresence, Dimension::Agentic];

/// The floor that the earlier messages, newest first, set for a message.
///
/// Assent hands the earlier task on, so it needs that task's tier. Anything
/// else may be one tier smaller, and at most STANDARD is held, so that one
/// hard question does not make a whole conversation expensive.
pub(super) fn history_floor(history: &[&str], message: &Tally) -> Option<Tier> {
    let hardest = history.iter().take(MESSAGES).map(|text| tier_of_work(text)).max()?;
    let assent = message.assent && !message.courtesy && message.value(Dimension::SmallTalk) >= 1.0;
    let floor = match hardest {
        _ if assent => hardest,
        Tier::Complex => Tier::Standard,
        Tier::Standard => Tier::Light,
        _ => Tier::Simple,
    };
    (hardest > Tier::Nano).then_some(floor)
}

/// The tier of the work that an earlier message speaks of; NANO without any.
fn tier_of_work(text: &str) -> Tier {
    let (head, tail) = head_and_tail(text, MESSAGE_BYTES);
    let (head, tail) = (Tally::read(head), Tally::read(tail));
    let mut score = 0.0;
    for row in DIMENSIONS.iter().filter(|row| LASTING.contains(&row.dimension)) {
        let form = if row.dimension == Dimension::CodePresence { head.shape.code + tail.shape.code } else { 0 };
        let value = head.value(row.dimension).max(tail.value(row.dimension)) + f64::from(form);
        score += row.weight * value.min(row.cap);
    }
    if score > 0.0 { tier_of(score) } else { Tier::Nano }
}
