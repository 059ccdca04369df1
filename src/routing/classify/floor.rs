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
/// hard question does not make a whole conversation expensive. Where code was
/// written, LIGHT is held.
pub(super) fn history_floor(history: &[&str], message: &Tally) -> Option<Tier> {
    let earlier = history.iter().take(MESSAGES).map(|text| tier_of_work(text));
    let (hardest, holds_code) = earlier.reduce(|one, other| (one.0.max(other.0), one.1 || other.1))?;
    let code_floor = if holds_code { Tier::Light } else { Tier::Nano };
    let floor = match hardest {
        tier if assents(message) => tier,
        Tier::Complex => Tier::Standard,
        Tier::Standard => Tier::Light,
        Tier::Light => Tier::Simple,
        Tier::Simple | Tier::Nano => Tier::Nano,
    };
    Some(floor.max(code_floor)).filter(|floor| *floor > Tier::Nano)
}

/// Whether a message only says yes; thanks and goodbyes hand nothing on.
fn assents(message: &Tally) -> bool {
    message.assent && !message.courtesy && message.value(Dimension::SmallTalk) >= 1.0
}

/// The tier of the work that an earlier message speaks of, NANO without any,
/// and whether it holds code.
fn tier_of_work(text: &str) -> (Tier, bool) {
    let (head, tail) = head_and_tail(text, MESSAGE_BYTES);
    let (head, tail) = (Tally::read(head), Tally::read(tail));
    let code = head.shape.code + tail.shape.code;
    let mut score = 0.0;
    for row in DIMENSIONS.iter().filter(|row| LASTING.contains(&row.dimension)) {
        score += row.weight * head.value(row.dimension).max(tail.value(row.dimension)).min(row.cap);
    }
    (if score > 0.0 { tier_of(score) } else { Tier::Nano }, code >= 2)
}
