//! Configuration files for tests.

use super::provider::Provider;

const TIERS: [&str; 5] = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"];

/// A configuration with these providers, no keys needed, whose every tier is the
/// chain `NAME/m1` in this order; no other provider is in the pool.
pub fn chain_config(providers: &[(&str, &Provider)]) -> String {
    chain_config_with(providers, "")
}

/// The same with more TOML at the end: further tables, as `[timeouts]`,
/// `[server]` or `[providers.NAME.timeouts]`.
pub fn chain_config_with(providers: &[(&str, &Provider)], extra: &str) -> String {
    let tables = providers.iter().map(|(name, provider)| {
        let url = provider.base_url();
        format!("[providers.{name}]\nbase_url = \"{url}\"\napi_key_env = \"\"\n\n")
    });
    let names: Vec<String> = providers.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let chain: Vec<String> = providers.iter().map(|(name, _)| format!("\"{name}/m1\"")).collect();
    let tiers = TIERS.map(|tier| format!("{tier} = [{}]\n", chain.join(", ")));
    format!("{}[pool]\nonly = [{}]\n\n[tiers]\n{}\n{extra}\n", tables.collect::<String>(), names.join(", "), tiers.concat())
}
