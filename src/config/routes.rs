//! `[tiers]`, `[aliases]` and `[models]`: names of the file and what they
//! stand for, every reference checked against what exists.

use std::collections::HashSet;

use super::load::{Reading, read_timeouts};
use super::problem::Problem;
use super::reader::{Entry, Placed, Section, nearest};
use super::settings::{Alias, Target, TimeoutSet};
use crate::catalog::{Capability, Facts, ModelRef, PerTier, Tier};

/// What the file says of models: facts to lay over the catalogue's, and time limits.
pub(super) struct Models {
    pub facts: Vec<Facts>,
    pub timeouts: Vec<(ModelRef, TimeoutSet)>,
}

/// The names that references are checked against.
pub(super) struct Known<'a> {
    /// Every provider that exists, in use or not.
    pub providers: Vec<&'a str>,
    /// Every model with known facts.
    pub facts: &'a [Facts],
}

impl Known<'_> {
    fn has(&self, model: &ModelRef) -> bool {
        self.facts.iter().any(|facts| *facts.provider == *model.provider && facts.answers_to(&model.model))
    }

    /// Reads `provider/model`; an unknown provider is a problem, an unknown
    /// model of a known provider a warning.
    fn model(&self, text: &Placed<String>, reading: &Reading<'_>) -> Option<ModelRef> {
        let model = match text.value.parse::<ModelRef>() {
            Ok(model) => model,
            Err(problem) => {
                reading.sink.push(Problem::at(text.span.clone(), format!("`{}`: {problem}", text.value)));
                return None;
            }
        };
        if !self.providers.contains(&model.provider.as_str()) {
            let problem = Problem::at(text.span.clone(), format!("there is no provider `{}`", model.provider));
            reading.sink.push(match nearest(&model.provider, self.providers.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}/{}`?", model.model)),
                None => problem.help(format!("add [providers.{}] with a base_url", model.provider)),
            });
            return None;
        }
        if !self.has(&model) {
            let ids = self.facts.iter().filter(|facts| *facts.provider == *model.provider).map(|facts| &*facts.id);
            if ids.clone().next().is_some() {
                let near = nearest(&model.model, ids).map(|near| format!("; did you mean `{}/{near}`?", model.provider));
                reading.warn(format!("the catalogue does not know the model `{model}`{}", near.unwrap_or_default()));
            }
        }
        Some(model)
    }

    fn list(&self, texts: &[Placed<String>], reading: &Reading<'_>) -> Vec<ModelRef> {
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for text in texts {
            let Some(model) = self.model(text, reading) else { continue };
            if seen.insert(model.clone()) {
                list.push(model);
            } else {
                reading.warn(format!("`{model}` stands twice in one chain; the second is left out"));
            }
        }
        list
    }
}

/// `[models."provider/model"]`, laid over the catalogue's facts.
pub(super) fn read_models(root: &mut Section<'_, '_>, providers: &[&str], reading: &Reading<'_>) -> Models {
    let mut facts = reading.catalog.models.clone();
    let mut timeouts = Vec::new();
    for (name, mut section) in root.entries("models") {
        let known = Known { providers: providers.to_vec(), facts: &[] };
        let Some(model) = known.model(&name, reading) else {
            continue;
        };
        let at = facts.iter().position(|entry| *entry.provider == *model.provider && entry.answers_to(&model.model));
        let at = at.unwrap_or_else(|| {
            facts.push(Facts::unknown(&model.provider, &model.model));
            facts.len() - 1
        });
        if let Some(entry) = facts.get_mut(at) {
            read_facts(&mut section, entry, reading);
        }
        timeouts.push((model, read_timeouts(&mut section)));
        section.finish();
    }
    Models { facts, timeouts }
}

fn read_facts(section: &mut Section<'_, '_>, facts: &mut Facts, reading: &Reading<'_>) {
    /// No model has a larger window; a larger number is a slip.
    const LARGEST: u64 = 1_000_000_000;
    let tokens = |section: &mut Section<'_, '_>, key, fact: &mut Option<u64>| {
        *fact = section.integer(key, 1..=LARGEST).or(*fact);
    };
    tokens(section, "context_window", &mut facts.context_window);
    tokens(section, "max_output", &mut facts.max_output);
    facts.input_usd_per_mtok = section.number("input_usd_per_mtok").or(facts.input_usd_per_mtok);
    facts.output_usd_per_mtok = section.number("output_usd_per_mtok").or(facts.output_usd_per_mtok);
    let tier = section.parsed("tier", "a tier", |text| text.parse::<Tier>().map_err(|problem| format!("is {problem}")));
    facts.tier = tier.map(|placed| placed.value).or(facts.tier);
    let Some(names) = section.strings("capabilities", "a list of capabilities") else { return };
    facts.has.clear();
    facts.lacks.clear();
    for name in names {
        match Capability::NAMES.iter().find(|(known, _)| *known == name.value) {
            Some((_, capability)) => facts.has.push(*capability),
            None => {
                let all = Capability::NAMES.map(|(name, _)| name).join(", ");
                reading.sink.push(Problem::at(name.span, format!("`{}` is not a capability", name.value)).help(format!("there are {all}")));
            }
        }
    }
}

/// `[tiers]`: the chains, and which of them the file set.
pub(super) fn read_tiers(root: &mut Section<'_, '_>, known: &Known<'_>, reading: &Reading<'_>) -> (PerTier<Vec<ModelRef>>, PerTier<bool>) {
    let mut section = root.table("tiers");
    let mut chains = reading.catalog.tiers.clone();
    let mut set = PerTier::default();
    for tier in Tier::ALL {
        let Some(texts) = section.strings(tier.name(), "a list of provider/model") else { continue };
        *set.get_mut(tier) = true;
        *chains.get_mut(tier) = known.list(&texts, reading);
        if texts.is_empty() {
            let span = section.span_of(tier.name()).unwrap_or_default();
            let problem = Problem::at(span, format!("the chain of {tier} is empty"));
            reading.sink.push(problem.help("name at least one provider/model, or remove the line to keep the built-in chain"));
        }
    }
    section.finish();
    (chains, set)
}

/// `[aliases]`.
pub(super) fn read_aliases(root: &mut Section<'_, '_>, known: &Known<'_>, reading: &Reading<'_>) -> Vec<Alias> {
    let entries = root.values("aliases");
    let names: HashSet<String> = entries.iter().map(|(name, _)| name.value.clone()).collect();
    let mut aliases = Vec::new();
    for (name, entry) in entries {
        if name.value.eq_ignore_ascii_case("auto") {
            reading.sink.push(Problem::at(name.span, "`auto` has a meaning of its own and cannot be an alias"));
            continue;
        }
        let (target, local_only) = read_alias(&name, &entry, &names, known, reading);
        if let Some(target) = target {
            aliases.push(Alias { name: name.value, target, local_only });
        }
    }
    aliases
}

fn read_alias(
    name: &Placed<String>,
    entry: &Entry<'_, '_>,
    aliases: &HashSet<String>,
    known: &Known<'_>,
    reading: &Reading<'_>,
) -> (Option<Target>, bool) {
    let wanted = "a model, a tier, \"auto\", a list of models, or { to = …, local_only = true }";
    let Some(mut table) = entry.table(&name.value) else {
        let texts = entry.strings(&name.value, wanted);
        return (texts.and_then(|texts| target(&texts, entry.is_list(), &entry.span(), aliases, known, reading)), false);
    };
    let span = table.span_of("to").unwrap_or(name.span.clone());
    let texts = table.strings("to", wanted);
    let local_only = table.flag("local_only").unwrap_or(false);
    table.finish();
    if texts.is_none() {
        reading
            .sink
            .push(Problem::at(name.span.clone(), format!("the alias `{}` does not say what it stands for", name.value)).help("add to = …"));
    }
    let several = texts.as_ref().is_some_and(|texts| texts.len() != 1);
    (texts.and_then(|texts| target(&texts, several, &span, aliases, known, reading)), local_only)
}

fn target(
    texts: &[Placed<String>],
    is_list: bool,
    span: &std::ops::Range<usize>,
    aliases: &HashSet<String>,
    known: &Known<'_>,
    reading: &Reading<'_>,
) -> Option<Target> {
    if is_list {
        let list = known.list(texts, reading);
        if texts.is_empty() {
            reading.sink.push(Problem::at(span.clone(), "this alias stands for an empty list"));
        }
        return (!list.is_empty()).then_some(Target::List(list));
    }
    let text = texts.first()?;
    if text.value.eq_ignore_ascii_case("auto") {
        return Some(Target::Auto);
    }
    if aliases.contains(&text.value) {
        let problem = Problem::at(
            text.span.clone(),
            format!("`{}` is an alias itself; an alias stands for a model, a tier, a list or auto", text.value),
        );
        reading.sink.push(problem);
        return None;
    }
    if let Ok(tier) = text.value.parse() {
        return Some(Target::Tier(tier));
    }
    if !text.value.contains('/')
        && let Some(facts) = known.facts.iter().find(|facts| facts.answers_to(&text.value))
    {
        return Some(Target::Model(ModelRef::new(&*facts.provider, &*facts.id)));
    }
    known.model(text, reading).map(Target::Model)
}
