//! From what was found to a score, and from the score to a tier.

use super::category::Category;
use super::dimensions::{DIMENSIONS, Dimension};
use super::features::shape;
use super::split::{head_and_tail, parts};
use super::tally::Tally;
use super::{MESSAGE_BYTES, SYSTEM_BYTES, Signal, Talk};
use crate::catalog::Tier;

/// A message, read and weighed.
pub(super) struct Reading {
    pub tally: Tally,
    pub tier: Tier,
    pub category: Category,
    pub confidence: f64,
    pub score: f64,
    pub signals: Vec<Signal>,
}

/// Reads the last message in its setting, and weighs it.
pub(super) fn weigh(talk: &Talk<'_>) -> Reading {
    let mut tally = read_message(talk);
    add_setting(talk, &mut tally);
    settle(&mut tally);
    let (score, signals) = sum(&tally);
    let tier = tier_of(score);
    let category = tally.ballot.winner(&tally.shape);
    let confidence = confidence(score, signals.len());
    Reading { tally, tier, category, confidence, score, signals }
}

/// Reads the last message. Where a part of it asks for rework of the rest,
/// only that part is weighed.
fn read_message(talk: &Talk<'_>) -> Tally {
    let (head, tail) = head_and_tail(talk.last_user, MESSAGE_BYTES);
    let joined;
    let text = if tail.is_empty() {
        head
    } else {
        joined = [head, "\n", tail].concat();
        &joined
    };
    let rework = parts(text).map(|part| (part, Tally::read(part))).find(|(_, tally)| asks_for_rework(tally));
    // Code is to be changed, whatever the sentence beside it says.
    let whole = rework.as_ref().map(|_| shape(text)).filter(|whole| whole.code < 2);
    let material_words = whole.map(|whole| whole.words);
    let (read, mut tally) = rework.filter(|_| whole.is_some()).unwrap_or_else(|| (text, Tally::read(text)));
    let shape = tally.shape;
    let material = material_words.map_or(0.0, |all| all - shape.words);
    if tally.value(Dimension::Rework) > 0.0 && shape.words + material > BRIEF_WORDS {
        // `Translate hello` asks for a word, and `Translate: …` for a text.
        tally.set(Dimension::FactQuestion, 0.0);
    }
    // What was cut off, and what is only to be reworked, is long but not hard.
    let unread = talk.last_user_bytes.max(talk.last_user.len()).saturating_sub(read.len());
    let words = shape.words + unread as f64 / BYTES_PER_WORD / MATERIAL_SHARE;
    tally.set(Dimension::Brevity, ((BRIEF_WORDS - words - material) / (BRIEF_WORDS - 1.0)).clamp(0.0, 1.0).powf(1.5));
    tally.set(Dimension::Length, ((words / SHORT_WORDS).ln() / (LONG_WORDS / SHORT_WORDS).ln()).max(0.0));
    tally.set(Dimension::CodePresence, tally.value(Dimension::CodePresence) + f64::from(shape.code));
    tally.set(Dimension::Steps, tally.value(Dimension::Steps) * 2.0 + f64::from(shape.clauses));
    tally.set(Dimension::Design, tally.value(Dimension::Design) + (f64::from(shape.pages) / LONG_PAGES).min(1.0));
    if shape.arithmetic {
        tally.ballot.add(Category::Math, 1.0);
    }
    if shape.code >= 2 {
        tally.ballot.add(Category::Coding, 0.5);
    }
    if shape.scripts >= 3 {
        tally.ballot.add(Category::Multilingual, 1.0);
    }
    tally
}

/// Words up to which a message is brief.
const BRIEF_WORDS: f64 = 8.0;
/// Words up to which a question is answered by an explanation, whatever it is about.
const SHORT_QUESTION: f64 = 10.0;
/// A word, or two letters of a script without spaces.
const ONE_WORD: f64 = 1.2;
/// Words up to which a message without a word of any task is casual talk.
const REMARK_WORDS: f64 = 7.0;
/// Words from which on length counts.
const SHORT_WORDS: f64 = 15.0;
/// Words of a long message.
const LONG_WORDS: f64 = 300.0;
/// Bytes of a word and its space, in the languages seen most.
const BYTES_PER_WORD: f64 = 6.0;
/// One word that asks is worth so many that are only to be reworked.
const MATERIAL_SHARE: f64 = 16.0;
/// Pages of a document that is as hard to keep in mind as a design.
const LONG_PAGES: f64 = 40.0;

fn asks_for_rework(tally: &Tally) -> bool {
    tally.value(Dimension::Rework) > 0.0
        && tally.value(Dimension::DetailedWork) + tally.value(Dimension::Design) + tally.value(Dimension::Reasoning) == 0.0
}

/// Adds what is known besides the message: conversation, tools, system prompt.
fn add_setting(talk: &Talk<'_>, tally: &mut Tally) {
    let kib = talk.prompt_bytes as f64 / 1024.0;
    tally.set(Dimension::Context, ((kib / 8.0).ln() / 16f64.ln()).max(0.0));
    let (system, _) = head_and_tail(talk.system, SYSTEM_BYTES);
    let system = Tally::read(system);
    let trade = [Dimension::CodePresence, Dimension::Agentic, Dimension::TechnicalTerms, Dimension::ExpertTerms];
    let skilled = trade.into_iter().map(|dimension| system.value(dimension)).sum::<f64>() >= 2.0;
    tally.set(Dimension::Setting, f64::from(u8::from(talk.tools > 0)) + f64::from(u8::from(skilled)));
    if talk.images {
        tally.ballot.add(Category::Vision, 4.0);
    }
    if talk.tools > 0 && tally.value(Dimension::Agentic) > 0.0 {
        tally.ballot.add(Category::ToolUse, 1.0);
    }
}

/// What may be only the subject of a short explanation.
const SUBJECTS: [Dimension; 5] =
    [Dimension::Design, Dimension::Reasoning, Dimension::DetailedWork, Dimension::TechnicalTerms, Dimension::ExpertTerms];

/// Where dimensions contradict each other, one is silent.
fn settle(tally: &mut Tally) {
    let unknown = DIMENSIONS.iter().all(|row| row.weight <= 0.0 || row.dimension == Dimension::Steps || tally.value(row.dimension) == 0.0);
    if unknown && tally.shape.words <= ONE_WORD {
        // A single word of which nothing is known.
        tally.set(Dimension::SmallTalk, 1.0);
    } else if unknown && tally.shape.words <= REMARK_WORDS && tally.value(Dimension::SmallScope) == 0.0 {
        // `I just got a puppy` asks for no work at all.
        tally.set(Dimension::FactQuestion, tally.value(Dimension::FactQuestion).max(1.0));
    }
    let says_small = tally.value(Dimension::SmallScope) > 0.0;
    let explains = tally.value(Dimension::Explanation) > 0.0;
    if explains && (says_small || tally.shape.words <= SHORT_QUESTION) || says_small && tally.value(Dimension::FactQuestion) > 0.0 {
        // `Explain microservices in one paragraph` designs none.
        for dimension in SUBJECTS {
            tally.set(dimension, 0.0);
        }
    }
    let work = tally.value(Dimension::DetailedWork) + tally.value(Dimension::Design) + tally.value(Dimension::Reasoning);
    if work >= 1.0 {
        // `What is the proof of …` is no fact, and `Prove it` is not small.
        tally.set(Dimension::FactQuestion, 0.0);
        tally.set(Dimension::SmallTalk, 0.0);
        tally.set(Dimension::Brevity, tally.value(Dimension::Brevity) / 2.0);
    } else if explains || tally.value(Dimension::ShortTask) > 0.0 {
        // `Why is …` and `Can you write …` begin like facts, and take a paragraph.
        tally.set(Dimension::FactQuestion, 0.0);
    } else if tally.value(Dimension::FactQuestion) > 0.0 {
        // A fact is asked for, however much is told around it.
        tally.set(Dimension::Length, 0.0);
        tally.set(Dimension::Steps, 0.0);
    }
    if tally.value(Dimension::SmallTalk) >= 1.0 {
        for dimension in [Dimension::Explanation, Dimension::FactQuestion, Dimension::Steps, Dimension::Length] {
            tally.set(dimension, 0.0);
        }
    }
}

/// The sum of all dimensions, and those that spoke, the weightiest first.
fn sum(tally: &Tally) -> (f64, Vec<Signal>) {
    let mut score = 0.0;
    let mut signals = Vec::new();
    for row in &DIMENSIONS {
        let contribution = row.weight * tally.value(row.dimension).min(row.cap);
        if contribution != 0.0 {
            score += contribution;
            signals.push(Signal { dimension: row.name, contribution, matched: tally.named(row.dimension).collect() });
        }
    }
    if score > ROUTINE_CEILING && is_routine(tally) {
        signals.push(Signal { dimension: "routine", contribution: ROUTINE_CEILING - score, matched: Vec::new() });
        score = ROUTINE_CEILING;
    }
    signals.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
    // Sums that should meet a border do.
    ((score * 1000.0).round() / 1000.0, signals)
}

/// Whether nothing of a message is hard by itself. Many parts, conditions and
/// steps of routine work make STANDARD, however many they are; COMPLEX takes
/// something to design, to prove, to know, or a long conversation.
fn is_routine(tally: &Tally) -> bool {
    tally.value(Dimension::Design) + tally.value(Dimension::Reasoning) < 0.5
        && tally.value(Dimension::ExpertTerms) < EXPERT
        && tally.value(Dimension::Context) < 0.5
}

/// Terms of a profession that make a task one for its experts.
const EXPERT: f64 = 3.0;
/// The highest score of routine work: near the upper border of STANDARD.
const ROUTINE_CEILING: f64 = 0.28;

/// The scores at which the tiers above NANO begin.
const BANDS: [(f64, Tier); 4] = [(0.3, Tier::Complex), (0.1, Tier::Standard), (-0.1, Tier::Light), (-0.3, Tier::Simple)];

/// The tier in whose band a score lies.
pub(super) fn tier_of(score: f64) -> Tier {
    BANDS.into_iter().find(|(from, _)| score >= *from).map_or(Tier::Nano, |(_, tier)| tier)
}

/// How far a score is from the nearest other tier, as a confidence: 0.5 at a
/// border, 0.95 in the middle of a band. With nothing to go by it is 0.5.
fn confidence(score: f64, signals: usize) -> f64 {
    if signals == 0 {
        return 0.5;
    }
    let margin = BANDS.into_iter().map(|(from, _)| (score - from).abs()).fold(f64::INFINITY, f64::min);
    0.5 + 0.45 * (margin / 0.1).min(1.0)
}
