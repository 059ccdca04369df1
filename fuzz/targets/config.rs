//! Configuration: any text is settings or problems, and no key is in either,
//! be it from the environment, from a file, or pasted into the text.
//!
//! Input: the text; `CANARY` at the start of a word in it stands for a key.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use routor::catalog;
use routor::config::{Problems, Settings, Surroundings, load};

/// A key that the surroundings hold.
const OUTSIDE: &str = "sk-outside-7Hq2xW9vKp4mZt";
/// A key that stands in the file, where it does not belong.
const INSIDE: &str = "sk-inside-3Rf8yB5nLc1jDs";

/// How variables and key files go wrong.
const BROKEN: [&str; 6] = ["\"KEY\"", "Bearer KEY", "KEY\n", "a KEY", "KEYé", "KEY\0"];

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains("outside-7Hq") || text.contains("inside-3Rf") {
        return;
    }
    let text = pasted(text);
    check(&text, &|_| None);
    check(&text, &|_| Some(OUTSIDE.to_owned()));
    check(&text, &|name| {
        let form = BROKEN.get(name.bytes().map(usize::from).sum::<usize>() % BROKEN.len())?;
        Some(form.replace("KEY", OUTSIDE))
    });
});

/// Puts the key where it can be told from what is around it.
fn pasted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split("CANARY").enumerate() {
        let inside = out.ends_with(|c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c));
        out.push_str(if at == 0 || inside { "" } else { INSIDE });
        out.push_str(part);
    }
    out
}

fn check(text: &str, env: &dyn Fn(&str) -> Option<String>) {
    let key_file = |path: &Path| env(&path.display().to_string()).ok_or_else(|| format!("{} is not there", path.display()));
    let around = Surroundings { env, key_file: &key_file, catalog: catalog::builtin() };
    match load(Some((Path::new("routor.toml"), text)), None, &around) {
        Ok(settings) => settled(&settings),
        Err(problems) => reported(&problems),
    }
}

fn settled(settings: &Settings) {
    let shown = format!("{settings:?}");
    assert!(!shown.contains(OUTSIDE), "a key from outside is shown: {shown}");
    for provider in &settings.providers {
        if let Some(key) = provider.key.key() {
            assert!(key.expose().contains(OUTSIDE), "a key from nowhere");
        }
        assert!(provider.headers.iter().all(|header| !header.value.expose().contains(INSIDE)), "a key in the file goes out");
    }
}

fn reported(problems: &Problems) {
    assert!(!problems.list.is_empty(), "refused, and nothing is wrong");
    for report in [problems.render(false), problems.render(true), problems.to_string(), format!("{problems:?}")] {
        assert!(!report.contains(OUTSIDE), "a key from outside is shown:\n{report}");
        assert!(!report.contains(INSIDE), "a key from the file is shown:\n{report}");
    }
}
