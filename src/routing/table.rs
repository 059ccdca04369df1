//! Every model that can be named, and the chains of the tiers, worked out
//! once whenever the pool changes, so that a request only looks things up.

use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::{Capability, Facts, ModelRef, PerTier, Tier};
use crate::config::{Alias, Settings, Target};

/// A model's place in [`Table::candidates`].
pub type CandidateId = u32;

/// A provider as routing sees it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it may be used now.
    pub in_pool: bool,
    /// Whether it is on this machine.
    pub loopback: bool,
    /// Whether it fills the tiers only when nothing else does.
    pub local: bool,
    /// The model ids it said it has; empty when it was not asked or does not say.
    pub listed: &'a [String],
}

/// A model at a provider that could serve a request.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// `provider/model`.
    pub label: Arc<str>,
    /// The provider's place among the members that the table was built from.
    pub provider: usize,
    /// What is known of the model; `id` goes upstream.
    pub facts: Arc<Facts>,
    /// Whether its provider is in the pool.
    pub in_pool: bool,
    /// Whether its provider is on this machine.
    pub loopback: bool,
}

impl Candidate {
    /// Reasoning models and servers on this machine are slow to start.
    pub fn is_patient(&self) -> bool {
        self.loopback || self.facts.has(Capability::Reasoning)
    }
}

/// The chain of a tier.
#[derive(Debug, Clone, Default)]
pub struct TierChain {
    /// The candidates in the pool, preferred first.
    pub chain: Vec<CandidateId>,
    /// Those the tier lists whose provider is configured and not in the pool.
    pub missing: Vec<CandidateId>,
    /// The tier that lent its chain, when the tier's own has no candidate.
    pub borrowed_from: Option<Tier>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    Auto,
    Tier(Tier),
    /// The named model at one or more providers.
    Model(Vec<CandidateId>),
    List(Vec<CandidateId>),
}

/// An alias as the table holds it.
#[derive(Debug, Clone)]
pub(super) struct Nickname {
    pub meaning: Meaning,
    pub local_only: bool,
}

/// What can be asked for, and what it leads to.
#[derive(Debug, Default)]
pub struct Table {
    pub(super) candidates: Vec<Candidate>,
    pub(super) tiers: PerTier<TierChain>,
    pub(super) aliases: HashMap<String, Nickname>,
    /// `provider/model` and bare names.
    pub(super) names: HashMap<String, Vec<CandidateId>>,
    pub(super) families: HashMap<String, Vec<CandidateId>>,
    /// Providers in the pool that gave no list: any model may be named at them.
    pub(super) unlisted: Vec<(String, usize, bool)>,
    alias_order: Vec<String>,
}

impl Table {
    /// Works out the table for the providers as they are now.
    pub fn build(settings: &Settings, members: &[Member<'_>]) -> Self {
        let mut table = Self::default();
        table.add_candidates(settings, members);
        table.tiers = table.tier_chains(settings, members);
        for alias in &settings.aliases {
            table.add_alias(alias);
        }
        table
    }

    /// A candidate of a decision.
    pub fn candidate(&self, id: CandidateId) -> Option<&Candidate> {
        self.candidates.get(usize::try_from(id).ok()?)
    }

    /// All candidates with their ids.
    pub fn candidates(&self) -> impl Iterator<Item = (CandidateId, &Candidate)> {
        (0..).zip(&self.candidates)
    }

    /// The chain of a tier, borrowed if it has none of its own.
    pub fn tier(&self, tier: Tier) -> &TierChain {
        self.tiers.get(tier)
    }

    /// The names of the aliases that can be asked for, in the order of the file.
    pub fn alias_names(&self) -> impl Iterator<Item = &str> {
        self.alias_order.iter().map(String::as_str).filter(|name| *name != "*")
    }

    fn add_candidates(&mut self, settings: &Settings, members: &[Member<'_>]) {
        for facts in &settings.models {
            match members.iter().position(|member| *member.name == *facts.provider) {
                Some(provider) => self.add_candidate(facts.clone(), provider, members),
                None => self.add_known(facts),
            };
        }
        let chains = settings.tiers.iter().flatten();
        let aliased = settings.aliases.iter().flat_map(|alias| match &alias.target {
            Target::Model(model) => std::slice::from_ref(model),
            Target::List(list) => list.as_slice(),
            Target::Auto | Target::Tier(_) => &[],
        });
        for model in chains.chain(aliased) {
            self.find_or_add(model, members);
        }
        for member in members {
            for id in member.listed {
                self.find_or_add(&ModelRef::new(member.name, id), members);
            }
        }
        let unlisted = members.iter().enumerate().filter(|(_, member)| member.in_pool && member.listed.is_empty());
        self.unlisted = unlisted.map(|(at, member)| (member.name.to_owned(), at, member.loopback)).collect();
    }

    fn find_or_add(&mut self, model: &ModelRef, members: &[Member<'_>]) {
        if self.names.contains_key(&model.to_string()) {
            return;
        }
        if let Some(provider) = members.iter().position(|member| member.name == model.provider) {
            self.add_candidate(Facts::unknown(&model.provider, &model.model), provider, members);
        }
    }

    /// A model of a provider that nobody configured: it can be named, and its
    /// tier and its siblings at other providers then serve.
    fn add_known(&mut self, facts: &Facts) {
        self.push(Candidate { label: label(facts), provider: usize::MAX, facts: Arc::new(facts.clone()), in_pool: false, loopback: false });
    }

    fn add_candidate(&mut self, facts: Facts, provider: usize, members: &[Member<'_>]) {
        let Some(member) = members.get(provider) else { return };
        let (in_pool, loopback) = (member.in_pool, member.loopback);
        self.push(Candidate { label: label(&facts), provider, facts: Arc::new(facts), in_pool, loopback });
    }

    fn push(&mut self, candidate: Candidate) {
        let Ok(id) = CandidateId::try_from(self.candidates.len()) else { return };
        let facts = &candidate.facts;
        for name in std::iter::once(&*facts.id).chain(facts.aliases.iter().map(String::as_str)) {
            self.names.entry(format!("{}/{name}", facts.provider)).or_default().push(id);
            self.names.entry(name.to_owned()).or_default().push(id);
        }
        self.families.entry(facts.family()).or_default().push(id);
        self.candidates.push(candidate);
    }

    fn tier_chains(&self, settings: &Settings, members: &[Member<'_>]) -> PerTier<TierChain> {
        let mut own = PerTier::from_fn(|tier| self.own_chain(settings, tier));
        if own.iter().all(Vec::is_empty) {
            own = PerTier::from_fn(|tier| self.filled_chain(members, tier));
        }
        PerTier::from_fn(|tier| {
            let lenders = std::iter::once(tier).chain(tier.borrow_order());
            let lender = lenders.into_iter().find(|lender| !own.get(*lender).is_empty()).unwrap_or(tier);
            let missing = self.missing(settings, tier);
            TierChain { chain: own.get(lender).clone(), missing, borrowed_from: (lender != tier).then_some(lender) }
        })
    }

    fn missing(&self, settings: &Settings, tier: Tier) -> Vec<CandidateId> {
        let listed = settings.tiers.get(tier).iter().filter_map(|model| self.names.get(&model.to_string())).flatten();
        let out = |id: &&CandidateId| self.candidate(**id).is_some_and(|candidate| !candidate.in_pool && candidate.provider != usize::MAX);
        listed.filter(out).copied().collect()
    }

    /// The tier's list, with what is in the pool. To a built-in list the
    /// models are added that the file puts into this tier.
    fn own_chain(&self, settings: &Settings, tier: Tier) -> Vec<CandidateId> {
        let mut chain = Vec::new();
        for model in settings.tiers.get(tier) {
            let ids = self.names.get(&model.to_string()).into_iter().flatten();
            ids.for_each(|id| self.append(&mut chain, *id));
        }
        if !settings.tiers_set.get(tier) {
            let of_the_file = settings.model_timeouts.iter().map(|(model, _)| model.to_string());
            for id in of_the_file.filter_map(|label| self.names.get(&label)).flatten() {
                if self.candidate(*id).is_some_and(|candidate| candidate.facts.tier == Some(tier)) {
                    self.append(&mut chain, *id);
                }
            }
        }
        chain
    }

    /// A chain from whatever the pool has, those of this tier first: for a
    /// pool of which no tier's list knows anything. Local servers serve only
    /// when nothing else does, and only with what they say they have.
    fn filled_chain(&self, members: &[Member<'_>], tier: Tier) -> Vec<CandidateId> {
        /// More candidates than this are not a chain but a catalogue.
        const MOST: usize = 8;
        let usable = |local: bool| -> Vec<CandidateId> {
            let there = |candidate: &Candidate| {
                let member = members.get(candidate.provider).filter(|member| candidate.in_pool && member.local == local);
                member.is_some_and(|member| member.listed.is_empty() || member.listed.iter().any(|id| candidate.facts.answers_to(id)))
            };
            self.candidates().filter(|(_, candidate)| there(candidate)).map(|(id, _)| id).collect()
        };
        let mut ids = usable(false);
        if ids.is_empty() {
            ids = usable(true);
        }
        ids.sort_by_key(|id| self.candidate(*id).is_none_or(|candidate| candidate.facts.tier != Some(tier)));
        ids.truncate(MOST);
        ids
    }

    fn append(&self, chain: &mut Vec<CandidateId>, id: CandidateId) {
        if self.candidate(id).is_some_and(|candidate| candidate.in_pool) && !chain.contains(&id) {
            chain.push(id);
        }
    }

    fn add_alias(&mut self, alias: &Alias) {
        let ids = |model: &ModelRef| self.names.get(&model.to_string()).cloned().unwrap_or_default();
        let meaning = match &alias.target {
            Target::Auto => Meaning::Auto,
            Target::Tier(tier) => Meaning::Tier(*tier),
            Target::Model(model) => Meaning::Model(ids(model)),
            Target::List(list) => Meaning::List(list.iter().flat_map(ids).collect()),
        };
        self.alias_order.push(alias.name.clone());
        self.aliases.insert(alias.name.clone(), Nickname { meaning, local_only: alias.local_only });
    }

    /// A named model's tier, and what stands before that tier's chain: the
    /// model itself, then the same model at other providers.
    pub(super) fn siblings(&self, ids: &[CandidateId]) -> (Tier, Vec<CandidateId>) {
        let mut chain = Vec::new();
        ids.iter().for_each(|id| self.append(&mut chain, *id));
        let facts = ids.first().and_then(|id| self.candidate(*id)).map(|candidate| &candidate.facts);
        if let Some(facts) = facts {
            let same = self.families.get(&facts.family()).into_iter().flatten();
            same.for_each(|id| self.append(&mut chain, *id));
        }
        (facts.and_then(|facts| facts.tier).unwrap_or(Tier::Light), chain)
    }
}

fn label(facts: &Facts) -> Arc<str> {
    Arc::from(format!("{}/{}", facts.provider, facts.id))
}
