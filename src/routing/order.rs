//! In which order the candidates of a tier are tried, when the configuration
//! asks for another than the tier's own.

use std::time::Duration;

use super::filter::cost;
use super::table::Candidate;
use crate::config::Order;
use crate::wire::Ask;

/// An index of intelligence that is not known counts as the middle of those
/// that are; a price that is not known as the highest.
const UNKNOWN_QUALITY: f64 = 0.5;

/// The candidates in the wanted order; those that are equal by it keep the
/// tier's. `latency` tells a provider's median time to the first content, by
/// its place.
pub(super) fn arrange(order: Order, mut chain: Vec<(u32, &Candidate)>, ask: &Ask, latency: &dyn Fn(usize) -> Option<Duration>) -> Vec<u32> {
    match order {
        Order::Listed => {}
        Order::Cost => chain.sort_by(|(_, a), (_, b)| price(a, ask).total_cmp(&price(b, ask))),
        Order::Latency => chain.sort_by_cached_key(|(_, candidate)| latency(candidate.provider).unwrap_or(Duration::MAX)),
        Order::Value => by_value(&mut chain, ask),
    }
    chain.into_iter().map(|(id, _)| id).collect()
}

fn price(candidate: &Candidate, ask: &Ask) -> f64 {
    cost(&candidate.facts, ask).unwrap_or(f64::INFINITY)
}

/// Half quality (the intelligence index, scaled to the chain's range), half
/// saving against the most expensive candidate, which goes last.
fn by_value(chain: &mut Vec<(u32, &Candidate)>, ask: &Ask) {
    let prices = chain.iter().map(|(_, candidate)| price(candidate, ask)).filter(|price| price.is_finite());
    let highest = prices.fold(0.0, f64::max);
    let known: Vec<f64> = chain.iter().filter_map(|(_, candidate)| candidate.facts.intelligence).collect();
    let (low, high) = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), index| (low.min(*index), high.max(*index)));
    let value = |candidate: &Candidate| {
        let quality =
            candidate.facts.intelligence.map_or(UNKNOWN_QUALITY, |index| if high > low { (index - low) / (high - low) } else { 1.0 });
        let price = price(candidate, ask);
        let saving = if !price.is_finite() || highest == 0.0 { 0.0 } else { 1.0 - price / highest };
        (quality + saving) / 2.0
    };
    chain.sort_by(|(_, a), (_, b)| value(b).total_cmp(&value(a)));
    let premium = chain.iter().position(|(_, candidate)| highest > 0.0 && price(candidate, ask) == highest);
    if let Some(at) = premium {
        let last = chain.remove(at);
        chain.push(last);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Facts;
    use crate::wire::parse;

    /// Name, USD per million tokens either way, intelligence.
    const MODELS: [(&str, Option<f64>, Option<f64>); 4] =
        [("premium", Some(30.0), Some(60.0)), ("middle", Some(6.0), Some(50.0)), ("cheap", Some(1.0), Some(20.0)), ("unknown", None, None)];

    fn arranged(order: Order) -> Vec<&'static str> {
        let candidates: Vec<Candidate> = MODELS
            .iter()
            .enumerate()
            .map(|(provider, (name, price, intelligence))| {
                let facts = Facts {
                    input_usd_per_mtok: *price,
                    output_usd_per_mtok: *price,
                    intelligence: *intelligence,
                    ..Facts::unknown("p", name)
                };
                Candidate { label: Arc::from(*name), provider, facts: Arc::new(facts), in_pool: true, loopback: false }
            })
            .collect();
        let ask = parse(r#"{"messages":[{"role":"user","content":"hello"}]}"#.into()).unwrap();
        let latency = |provider: usize| [Some(900), None, Some(200), Some(400)][provider].map(Duration::from_millis);
        let chain = (0..).zip(&candidates).collect();
        arrange(order, chain, &ask, &latency).into_iter().map(|id| MODELS[id as usize].0).collect()
    }

    #[test]
    fn each_order_on_one_chain() {
        assert_eq!(arranged(Order::Listed), ["premium", "middle", "cheap", "unknown"]);
        assert_eq!(arranged(Order::Cost), ["cheap", "middle", "premium", "unknown"]);
        assert_eq!(arranged(Order::Latency), ["cheap", "unknown", "premium", "middle"]);
        // middle: 0.75 quality, 0.80 saving; cheap: 0 and 0.97; unknown: 0.5 and 0; premium last.
        assert_eq!(arranged(Order::Value), ["middle", "cheap", "unknown", "premium"]);
    }
}
