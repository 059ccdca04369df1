//! A routing decision for people.

use serde_json::Value;

use super::screen::{Screen, Tone, Unprinted};
use crate::redact::printable;

/// Prints the decision: what was found, the chain, and what was left out.
pub fn print(body: &[u8], screen: &Screen) -> Result<(), Unprinted> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let decision = value.get("decision").cloned().unwrap_or_default();
    let text = |name: &str| decision.get(name).and_then(Value::as_str).map(|text| printable(text, 500));
    let number = |name: &str| decision.get(name).and_then(Value::as_f64);
    let row = |name: &str, value: Option<String>| match value {
        Some(value) => screen.line(&format!("{:<12}{value}", name)),
        None => Ok(()),
    };
    row("tier", text("tier"))?;
    row("category", text("category"))?;
    row("confidence", number("confidence").map(|number| format!("{number:.2}")))?;
    row("floor", text("historyFloor").map(|floor| format!("{floor} (from the conversation)")))?;
    row("reasoning", text("reasoning"))?;
    row("cost", number("costEstimate").map(|cost| format!("about ${cost:.5}{}", saving(&decision))))?;
    let chain = decision.get("filteredChain").and_then(Value::as_array).cloned().unwrap_or_default();
    screen.line("chain")?;
    for (place, model) in (1..).zip(chain.iter().filter_map(Value::as_str)) {
        screen.line(&format!("  {place:>2}  {}", printable(model, 200)))?;
    }
    for skipped in decision.get("skipped").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| skipped.get(name).and_then(Value::as_str).map(|text| printable(text, 200)).unwrap_or_default();
        let sizes = match (skipped.get("needs_tokens").and_then(Value::as_u64), skipped.get("has_tokens").and_then(Value::as_u64)) {
            (Some(needs), Some(has)) => format!(" (needs about {needs} tokens, the model has {has})"),
            _ => String::new(),
        };
        let line = format!("   -  {}/{}: {}{sizes}", part("provider"), part("model"), part("why"));
        screen.line(&screen.paint(Tone::Faint, &line))?;
    }
    Ok(())
}

fn saving(decision: &Value) -> String {
    match decision.get("savings").and_then(Value::as_f64) {
        Some(savings) if savings >= 0.0 => format!(", {:.0} % less than the baseline", savings * 100.0),
        Some(savings) => format!(", {:.0} % more than the baseline", -savings * 100.0),
        None => String::new(),
    }
}
