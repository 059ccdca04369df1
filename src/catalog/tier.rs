//! The five tiers, from the smallest job to the hardest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How demanding a request is, and so which chain serves it. Ordered from the
/// smallest to the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Tier {
    /// Greetings, acknowledgements, single words.
    Nano,
    /// Basic facts, casual chat.
    Simple,
    /// Explanations, simple code, summaries; the default when unsure.
    Light,
    /// Detailed coding, analysis, several steps.
    Standard,
    /// Expert knowledge, architecture, proofs.
    Complex,
}

impl Tier {
    /// How many tiers there are.
    pub const COUNT: usize = 5;
    /// All tiers, smallest first.
    pub const ALL: [Tier; Tier::COUNT] = [Tier::Nano, Tier::Simple, Tier::Light, Tier::Standard, Tier::Complex];

    /// The name in capitals, as it is written in configuration and answers.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Nano => "NANO",
            Tier::Simple => "SIMPLE",
            Tier::Light => "LIGHT",
            Tier::Standard => "STANDARD",
            Tier::Complex => "COMPLEX",
        }
    }

    /// The tiers to borrow a chain from when this one is empty: those above,
    /// nearest first, then those below, nearest first.
    pub fn borrow_order(self) -> impl Iterator<Item = Tier> {
        let above = Tier::ALL.into_iter().filter(move |tier| *tier > self);
        let below = Tier::ALL.into_iter().rev().filter(move |tier| *tier < self);
        above.chain(below)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something for each tier.
#[derive(Debug, Clone, Default)]
pub struct PerTier<T>([T; Tier::COUNT]);

impl<T> PerTier<T> {
    /// From a function of the tier.
    pub fn from_fn(make: impl FnMut(Tier) -> T) -> Self {
        Self(Tier::ALL.map(make))
    }

    /// What belongs to a tier.
    pub fn get(&self, tier: Tier) -> &T {
        let [nano, simple, light, standard, complex] = &self.0;
        match tier {
            Tier::Nano => nano,
            Tier::Simple => simple,
            Tier::Light => light,
            Tier::Standard => standard,
            Tier::Complex => complex,
        }
    }

    /// What belongs to a tier, to change it.
    pub fn get_mut(&mut self, tier: Tier) -> &mut T {
        let [nano, simple, light, standard, complex] = &mut self.0;
        match tier {
            Tier::Nano => nano,
            Tier::Simple => simple,
            Tier::Light => light,
            Tier::Standard => standard,
            Tier::Complex => complex,
        }
    }

    /// All of them, smallest tier first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// The text is not the name of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tier; the tiers are NANO, SIMPLE, LIGHT, STANDARD and COMPLEX")]
pub struct NotATier;

impl FromStr for Tier {
    type Err = NotATier;

    /// Reads a tier's name in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Tier::ALL.into_iter().find(|tier| tier.name().eq_ignore_ascii_case(text)).ok_or(NotATier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_upwards_first_then_downwards() {
        let order: Vec<Tier> = Tier::Light.borrow_order().collect();
        assert_eq!(order, [Tier::Standard, Tier::Complex, Tier::Simple, Tier::Nano]);
    }

    #[test]
    fn reads_names_in_any_case() {
        assert_eq!("light".parse(), Ok(Tier::Light));
        assert_eq!("COMPLEX".parse(), Ok(Tier::Complex));
        assert_eq!("lite".parse::<Tier>(), Err(NotATier));
    }
}
