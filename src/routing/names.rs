//! From the `model` field to what it means, in the documented order.

use std::sync::Arc;

use super::table::{Candidate, CandidateId, Meaning, Table};
use crate::catalog::{Facts, Tier};

/// What a name was found to mean.
#[derive(Debug, Clone)]
pub enum Found {
    /// The classifier picks a tier.
    Auto,
    /// A tier's chain.
    Tier(Tier),
    /// A model, at the first of these and then at the others.
    Model(Vec<CandidateId>),
    /// Exactly these.
    List(Vec<CandidateId>),
    /// A model that only its provider can know; it is not in the table.
    Unlisted(Box<Candidate>),
}

impl From<&Meaning> for Found {
    fn from(meaning: &Meaning) -> Self {
        match meaning {
            Meaning::Auto => Found::Auto,
            Meaning::Tier(tier) => Found::Tier(*tier),
            Meaning::Model(ids) => Found::Model(ids.clone()),
            Meaning::List(ids) => Found::List(ids.clone()),
        }
    }
}

impl Table {
    /// Looks a name up: `auto`, an alias, a tier in any case, `provider/model`,
    /// a bare model name, the alias `*`. Also tells whether the alias keeps the
    /// request on this machine.
    pub fn find(&self, name: Option<&str>) -> Option<(Found, bool)> {
        let Some(name) = name.filter(|name| !name.eq_ignore_ascii_case("auto")) else { return Some((Found::Auto, false)) };
        if let Some(alias) = self.aliases.get(name).filter(|_| name != "*") {
            return Some(((&alias.meaning).into(), alias.local_only));
        }
        if let Ok(tier) = name.parse() {
            return Some((Found::Tier(tier), false));
        }
        if let Some(ids) = self.names.get(name) {
            return Some((Found::Model(ids.clone()), false));
        }
        if let Some(candidate) = self.unlisted(name) {
            return Some((Found::Unlisted(Box::new(candidate)), false));
        }
        self.aliases.get("*").map(|alias| ((&alias.meaning).into(), alias.local_only))
    }

    /// `provider/model` at a provider that gave no list of its models: only
    /// the provider can tell whether it has it.
    fn unlisted(&self, name: &str) -> Option<Candidate> {
        let (provider, model) = name.split_once('/')?;
        let (_, at, loopback) = self.unlisted.iter().find(|(name, ..)| name == provider)?;
        let sane = !model.is_empty() && model.len() <= 256 && !model.chars().any(char::is_control);
        sane.then(|| Candidate {
            label: Arc::from(name),
            provider: *at,
            facts: Arc::new(Facts::unknown(provider, model)),
            in_pool: true,
            loopback: *loopback,
        })
    }

    /// The names most like one that nobody knows, nearest first.
    pub fn nearest<'t>(&'t self, name: &str) -> Vec<String> {
        let wanted: String = name.chars().take(200).collect::<String>().to_lowercase();
        let usable = |ids: &[CandidateId]| ids.iter().any(|id| self.candidate(*id).is_some_and(|candidate| candidate.in_pool));
        let models = self.names.iter().filter(|(_, ids)| usable(ids.as_slice())).map(|(name, _)| name.as_str());
        let fixed = Tier::ALL.into_iter().map(Tier::name).chain(["auto"]).map(|name| -> &'t str { name });
        let mut near: Vec<(f64, &'t str)> = models
            .chain(self.alias_names())
            .chain(fixed)
            .map(|known| (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known))
            .filter(|(likeness, _)| *likeness > 0.75)
            .collect();
        near.sort_by(|(a, first), (b, second)| b.total_cmp(a).then(first.cmp(second)));
        near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }
}
