//! The decision: a tier, a chain, and what was left out.

use std::time::Duration;

use super::classify::{Classification, Talk, classify};
use super::filter::{Why, misfit};
use super::names::Found;
use super::order::arrange;
use super::table::{Candidate, CandidateId, Table};
use crate::catalog::Tier;
use crate::config::{Order, Routing};
use crate::wire::{Ask, Profile};

/// What was decided for a request.
#[derive(Debug)]
pub struct Decision {
    /// The tier that the chain is from; `None` for a list and for a chain of one.
    pub tier: Option<Tier>,
    /// How sure the classifier is of the tier, 0 to 1; 1 when nothing had to be guessed.
    pub confidence: f64,
    /// How the model was chosen.
    pub profile: Profile,
    /// The candidates, preferred first; never empty.
    pub chain: Vec<CandidateId>,
    /// Candidates that were left out, and why.
    pub skipped: Vec<(CandidateId, Why)>,
    /// A candidate before the chain that is not in the table.
    pub unlisted: Option<Box<Candidate>>,
    /// What the classifier said, when it was asked.
    pub classification: Option<Box<Classification>>,
}

/// Why there is no chain.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Nobody knows the model; these names are near.
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// Names that exist, nearest first.
        near: Vec<String>,
    },
    /// No candidate can do what the request needs.
    NoCapableModel(Why),
    /// The name is known, but none of its models is in the pool.
    NotInPool(String),
    /// No provider is in the pool.
    EmptyPool,
}

/// What a decision depends on beside the table and the request.
#[derive(Clone, Copy)]
pub struct Bearings<'a> {
    /// The configuration's order and limits.
    pub routing: Routing,
    /// A provider's median time to the first content over the last five
    /// minutes, by its place; looked at only for the order by latency.
    pub latency: &'a dyn Fn(usize) -> Option<Duration>,
}

impl std::fmt::Debug for Bearings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.routing.fmt(f)
    }
}

/// Decides. The same request, table and bearings always give the same decision.
pub fn decide(table: &Table, ask: &Ask, bearings: Bearings<'_>) -> Result<Decision, Refusal> {
    let name = ask.model.as_deref();
    let (found, local_only) = match ask.wishes.profile {
        Profile::Tier => (Found::Tier(ask.wishes.tier.unwrap_or(Tier::Light)), false),
        Profile::Auto | Profile::Direct => table.find(name).ok_or_else(|| unknown(table, name))?,
    };
    let direct = match (&found, ask.wishes.profile) {
        (Found::Model(ids), Profile::Direct) => Some(ids.clone()),
        _ => None,
    };
    let mut choice = Choice::of(&Desk { table, ask, bearings }, found);
    if let Some(ids) = direct {
        // Not the first of what it falls back to: the model itself, or nothing.
        choice.chain = ids.into_iter().filter(|id| table.candidate(*id).is_some_and(|candidate| candidate.in_pool)).collect();
    }
    if ask.wishes.profile == Profile::Direct {
        choice.keep_first();
    }
    if choice.chain.is_empty() && choice.unlisted.is_none() {
        let any = table.candidates().any(|(_, candidate)| candidate.in_pool) || !table.unlisted.is_empty();
        return Err(if any { Refusal::NotInPool(name.unwrap_or("auto").to_owned()) } else { Refusal::EmptyPool });
    }
    choice.filter(table, ask, local_only)
}

fn unknown(table: &Table, name: Option<&str>) -> Refusal {
    let name = name.unwrap_or_default();
    Refusal::UnknownModel { name: name.chars().take(200).collect(), near: table.nearest(name) }
}

/// The candidates before filters.
struct Choice {
    tier: Option<Tier>,
    classification: Option<Box<Classification>>,
    /// Whether other tiers may lend when the filters leave nothing.
    may_borrow: bool,
    confidence: f64,
    profile: Profile,
    chain: Vec<CandidateId>,
    unlisted: Option<Box<Candidate>>,
}

/// The confidence in a tier that was chosen for want of words: borderline.
const UNSURE: f64 = 0.3;

/// What every step of a decision looks at.
struct Desk<'a> {
    table: &'a Table,
    ask: &'a Ask,
    bearings: Bearings<'a>,
}

impl Desk<'_> {
    /// A tier's chain in the wanted order, with the chains of the tiers above
    /// behind it when chains spill.
    fn tier_chain(&self, tier: Tier) -> Vec<CandidateId> {
        let mut chain = self.ordered(tier);
        if self.bearings.routing.spill_up {
            for above in Tier::ALL.into_iter().filter(|above| *above > tier) {
                let more: Vec<CandidateId> = self.ordered(above).into_iter().filter(|id| !chain.contains(id)).collect();
                chain.extend(more);
            }
        }
        chain
    }

    fn ordered(&self, tier: Tier) -> Vec<CandidateId> {
        let listed = &self.table.tier(tier).chain;
        if self.bearings.routing.order == Order::Listed {
            return listed.clone();
        }
        let candidates = listed.iter().filter_map(|id| Some((*id, self.table.candidate(*id)?))).collect();
        arrange(self.bearings.routing.order, candidates, self.ask, self.bearings.latency)
    }

    /// The tier of a request that names none: the classifier's, within floor
    /// and ceiling.
    fn automatic(&self) -> (Tier, Classification) {
        let words = self.ask.conversation();
        let history: Vec<&str> = words.history.iter().map(String::as_str).collect();
        let mut found = classify(&Talk {
            last_user: &words.last_user,
            last_user_bytes: words.last_user_bytes,
            system: &words.system,
            history: &history,
            prompt_bytes: usize::try_from(self.ask.prompt_bytes).unwrap_or(usize::MAX),
            tools: words.tools,
            images: self.ask.needs.vision,
        });
        if words.last_user.trim().is_empty() {
            // Nothing was said that could be judged.
            found.tier = found.tier.max(Tier::Light);
            found.confidence = found.confidence.min(UNSURE);
        }
        let (wishes, routing) = (&self.ask.wishes, &self.bearings.routing);
        let tier = wishes.floor.max(routing.floor).map_or(found.tier, |floor| floor.max(found.tier));
        let tier = wishes.ceiling.or(routing.ceiling).map_or(tier, |ceiling| ceiling.min(tier));
        (tier, found)
    }
}

impl Choice {
    fn of(desk: &Desk<'_>, found: Found) -> Self {
        let (table, profile) = (desk.table, desk.ask.wishes.profile);
        let tiered = |tier: Tier, confidence| {
            let chain = desk.tier_chain(tier);
            Self { tier: Some(tier), may_borrow: true, confidence, profile, chain, unlisted: None, classification: None }
        };
        match found {
            Found::Auto => {
                let (tier, found) = desk.automatic();
                Self { classification: Some(Box::new(found)), ..tiered(tier, 1.0) }
            }
            Found::Tier(tier) => tiered(tier, 1.0),
            Found::Model(ids) => {
                let (tier, mut chain) = table.siblings(&ids);
                let behind: Vec<CandidateId> = desk.tier_chain(tier).into_iter().filter(|id| !chain.contains(id)).collect();
                chain.extend(behind);
                Self { tier: Some(tier), may_borrow: true, confidence: 1.0, profile, chain, unlisted: None, classification: None }
            }
            Found::List(ids) => {
                let mut chain = Vec::new();
                for id in ids {
                    if table.candidate(id).is_some_and(|candidate| candidate.in_pool) && !chain.contains(&id) {
                        chain.push(id);
                    }
                }
                Self { tier: None, may_borrow: false, confidence: 1.0, profile, chain, unlisted: None, classification: None }
            }
            Found::Unlisted(candidate) => Self { unlisted: Some(candidate), ..tiered(Tier::Light, 1.0) },
        }
    }

    /// A chain of one: exactly the model that was named.
    fn keep_first(&mut self) {
        let keep = usize::from(self.unlisted.is_none());
        self.chain.truncate(keep);
        self.tier = None;
        self.may_borrow = false;
    }

    fn filter(mut self, table: &Table, ask: &Ask, local_only: bool) -> Result<Decision, Refusal> {
        let missing = self.tier.map(|tier| table.tier(tier).missing.as_slice()).unwrap_or_default();
        let mut skipped: Vec<(CandidateId, Why)> = missing.iter().map(|id| (*id, Why::NotInPool)).collect();
        let mut first_misfit = None;
        if let Some(why) = self.unlisted.as_ref().and_then(|candidate| misfit(candidate, ask, local_only)) {
            self.unlisted = None;
            first_misfit = Some(why);
        }
        let mut keep = |chain: &[CandidateId]| -> Vec<CandidateId> {
            let fits = |id: &CandidateId| match table.candidate(*id).and_then(|candidate| misfit(candidate, ask, local_only)) {
                Some(why) => {
                    first_misfit.get_or_insert(why);
                    if !skipped.iter().any(|(other, _)| other == id) {
                        skipped.push((*id, why));
                    }
                    false
                }
                None => true,
            };
            chain.iter().copied().filter(fits).collect()
        };
        let mut chain = keep(&self.chain);
        if chain.is_empty() && self.unlisted.is_none() && self.may_borrow && !local_only {
            let lenders = self.tier.into_iter().flat_map(Tier::borrow_order);
            chain = lenders.map(|tier| keep(&table.tier(tier).chain)).find(|chain| !chain.is_empty()).unwrap_or_default();
        }
        if chain.is_empty() && self.unlisted.is_none() {
            return Err(Refusal::NoCapableModel(first_misfit.unwrap_or(Why::LocalOnly)));
        }
        let confidence = self.classification.as_ref().map_or(self.confidence, |found| found.confidence);
        let (tier, profile) = (self.tier, self.profile);
        Ok(Decision { tier, confidence, profile, chain, skipped, unlisted: self.unlisted, classification: self.classification })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog;
    use crate::config::{Settings, Surroundings, load};
    use crate::routing::Member;
    use crate::wire::parse;

    fn settings(text: &str) -> Settings {
        let around = Surroundings { env: &|_| None, key_file: &|_| Err(String::new()), catalog: catalog::builtin() };
        load(Some((Path::new("t.toml"), text)), None, &around).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn table(text: &str, pool: &[&str]) -> Table {
        let settings = settings(text);
        let listed = ["qwen3.5".to_owned()];
        let members: Vec<Member<'_>> = pool
            .iter()
            .map(|name| Member {
                name,
                in_pool: true,
                loopback: matches!(*name, "ollama" | "lab"),
                local: matches!(*name, "ollama" | "lab"),
                listed: if *name == "lab" { &[] } else { &listed },
            })
            .collect();
        Table::build(&settings, &members)
    }

    fn chain(table: &Table, body: &str) -> Result<Vec<String>, Refusal> {
        let bearings = Bearings { routing: Routing::default(), latency: &|_| None };
        let decision = decide(table, &parse(body.to_owned().into()).unwrap(), bearings)?;
        let first = decision.unlisted.iter().map(|candidate| candidate.label.to_string());
        let rest = decision.chain.iter().filter_map(|id| table.candidate(*id)).map(|candidate| candidate.label.to_string());
        Ok(first.chain(rest).collect())
    }

    fn ask_for(model: &str) -> String {
        format!("{{\"model\":\"{model}\",\"messages\":[1]}}")
    }

    #[test]
    fn auto_without_words_is_light_and_tiers_are_named_in_any_case() {
        let table = table("", &["google", "deepseek", "anthropic"]);
        let light = chain(&table, "{\"messages\":[1]}").unwrap();
        assert_eq!(light[..2], ["google/gemini-3.5-flash", "deepseek/deepseek-flash"]);
        for name in ["auto", "LIGHT", "light"] {
            assert_eq!(chain(&table, &ask_for(name)).unwrap(), light, "{name}");
        }
        let tier = chain(&table, r#"{"messages":[1],"model":"x","routor_profile":"tier","routor_tier":"COMPLEX"}"#).unwrap();
        assert_eq!(tier[0], "anthropic/claude-opus-4-8");
        let floor = chain(&table, r#"{"messages":[1],"routor_tier_floor":"COMPLEX"}"#).unwrap();
        assert_eq!(floor, tier);
    }

    #[test]
    fn a_named_model_comes_first_then_its_like_then_its_tier() {
        let table = table("", &["zai", "together", "fireworks", "google"]);
        let got = chain(&table, &ask_for("together/zai-org/GLM-5.3")).unwrap();
        assert_eq!(got[0], "together/zai-org/GLM-5.3");
        assert!(got[1..3].contains(&"zai/glm-5.3".to_owned()) && got[1..3].iter().any(|label| label.contains("glm-5p3")), "{got:?}");
        assert!(got.len() > 3);
        let bare = chain(&table, &ask_for("glm-5.3")).unwrap();
        assert_eq!(bare[0], "zai/glm-5.3");
    }

    #[test]
    fn a_known_model_of_a_provider_without_a_key_is_served_by_its_tier() {
        let table = table("", &["google"]);
        let got = chain(&table, &ask_for("openai/gpt-5.4")).unwrap();
        assert!(got[0].starts_with("google/"), "{got:?}");
    }

    #[test]
    fn direct_is_a_chain_of_one() {
        let table = table("", &["google", "zai"]);
        let direct = |model: &str| chain(&table, &format!("{{\"model\":\"{model}\",\"messages\":[1],\"routor_profile\":\"direct\"}}"));
        assert_eq!(direct("google/gemini-3.5-flash").unwrap(), ["google/gemini-3.5-flash"]);
        assert_eq!(direct("openai/gpt-5.5"), Err(Refusal::NotInPool("openai/gpt-5.5".to_owned())), "its provider has no key");
    }

    #[test]
    fn unknown_names_get_the_nearest_ones() {
        let table = table("", &["google"]);
        let Err(Refusal::UnknownModel { near, .. }) = chain(&table, &ask_for("google/gemini-3.5-flsh")) else { panic!("found") };
        assert_eq!(near[0], "google/gemini-3.5-flash");
    }

    #[test]
    fn aliases_come_before_tiers_and_a_star_catches_the_rest() {
        let text = "[aliases]\n\"light\" = \"google/gemini-2.5-pro\"\n\"two\" = [\"google/gemini-2.5-flash\", \"google/gemini-3.5-flash\"]\n\"*\" = \"two-is-not-this\"\n";
        let text = text.replace("\"two-is-not-this\"", "\"NANO\"");
        let table = table(&text, &["google"]);
        assert_eq!(chain(&table, &ask_for("light")).unwrap()[0], "google/gemini-2.5-pro");
        assert_eq!(chain(&table, &ask_for("two")).unwrap(), ["google/gemini-2.5-flash", "google/gemini-3.5-flash"]);
        assert_eq!(chain(&table, &ask_for("whatever")).unwrap()[0], "google/gemini-3.1-flash-lite");
    }

    #[test]
    fn a_provider_without_a_list_may_be_asked_for_anything() {
        let text = "[providers.lab]\nbase_url = \"http://127.0.0.1:8000/v1\"\n";
        let table = table(text, &["google", "lab"]);
        let got = chain(&table, &ask_for("lab/mine")).unwrap();
        assert_eq!(got[..2], ["lab/mine", "google/gemini-3.5-flash"]);
        assert!(chain(&table, &ask_for("google/mine")).is_err());
    }

    #[test]
    fn local_models_fill_the_tiers_only_when_nothing_else_is_there() {
        assert_eq!(chain(&table("", &["ollama"]), &ask_for("auto")).unwrap(), ["ollama/qwen3.5"]);
        let mixed = chain(&table("", &["google", "ollama"]), &ask_for("auto")).unwrap();
        assert!(mixed.iter().all(|label| !label.starts_with("ollama/")), "{mixed:?}");
        assert_eq!(chain(&table("", &["google", "ollama"]), &ask_for("ollama/qwen3.5")).unwrap()[0], "ollama/qwen3.5");
    }

    #[test]
    fn an_empty_tier_borrows_upwards_first() {
        let text = "[tiers]\nNANO = [\"openai/gpt-5.5\"]\nCOMPLEX = [\"openai/gpt-5.5\"]\n";
        let table = table(text, &["google"]);
        assert_eq!(table.tier(Tier::Nano).borrowed_from, Some(Tier::Simple));
        assert_eq!(table.tier(Tier::Complex).borrowed_from, Some(Tier::Standard));
    }

    #[test]
    fn what_a_model_lacks_leaves_it_out_and_other_tiers_lend() {
        let text = "[tiers]\nLIGHT = [\"perplexity/sonar\", \"google/gemini-3.5-flash\"]\nSTANDARD = [\"perplexity/sonar\"]\n";
        let table = table(text, &["perplexity", "google"]);
        let body = |tier: &str| format!("{{\"model\":\"{tier}\",\"messages\":[1],\"tools\":[{{}}]}}");
        assert_eq!(chain(&table, &body("LIGHT")).unwrap(), ["google/gemini-3.5-flash"]);
        assert!(chain(&table, &body("STANDARD")).unwrap()[0].starts_with("google/"));
        let only = self::table("", &["perplexity"]);
        assert_eq!(chain(&only, &body("LIGHT")), Err(Refusal::NoCapableModel(Why::Tools)));
        let cheap = r#"{"messages":[1],"routor_max_cost":0.0000001}"#;
        assert_eq!(chain(&only, cheap), Err(Refusal::NoCapableModel(Why::MaxCost)));
    }

    #[test]
    fn local_only_is_a_hard_boundary() {
        let text = "[aliases]\n\"mine\" = { to = [\"google/gemini-3.5-flash\", \"ollama/qwen3.5\"], local_only = true }\n\"cloud\" = { to = \"LIGHT\", local_only = true }\n";
        let table = table(text, &["google", "ollama"]);
        assert_eq!(chain(&table, &ask_for("mine")).unwrap(), ["ollama/qwen3.5"]);
        assert_eq!(chain(&table, &ask_for("cloud")), Err(Refusal::NoCapableModel(Why::LocalOnly)));
    }

    #[test]
    fn an_empty_pool_says_so() {
        assert_eq!(chain(&table("", &[]), &ask_for("auto")), Err(Refusal::EmptyPool));
    }
}
