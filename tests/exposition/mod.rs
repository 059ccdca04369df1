//! Reads Prometheus's text format, and knows the rules that
//! `promtool check metrics` has for it.

// What a test file does not use is no mistake.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashSet};

/// A family of series.
#[derive(Debug)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub kind: String,
}

/// One line with a value.
#[derive(Debug)]
pub struct Sample {
    pub name: String,
    /// The family that its TYPE line opened.
    pub family: String,
    /// Sorted, escapes undone.
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }
}

/// One reading of `/metrics`.
#[derive(Debug)]
pub struct Scrape {
    pub text: String,
    pub families: Vec<Family>,
    pub samples: Vec<Sample>,
}

impl Scrape {
    /// Reads it.
    ///
    /// # Panics
    /// At the first line that Prometheus would not take.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let mut scrape = Self { text: text.to_owned(), families: Vec::new(), samples: Vec::new() };
        assert!(text.ends_with('\n'), "the last line has no end");
        for line in text.split_terminator('\n') {
            if let Err(problem) = scrape.line(line) {
                panic!("{problem}: {line:?}\n{text}");
            }
        }
        scrape
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("a HELP without a text")?;
            if self.families.iter().any(|family| family.name == name) {
                return Err("a second HELP of a family");
            }
            self.families.push(Family { name: name.to_owned(), help: help.to_owned(), kind: String::new() });
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a TYPE without a kind")?;
            let family = self.families.last_mut().filter(|family| family.name == name).ok_or("a TYPE without its HELP before it")?;
            if !family.kind.is_empty() || !matches!(kind, "counter" | "gauge" | "histogram") {
                return Err("a second TYPE, or one that is not known");
            }
            kind.clone_into(&mut family.kind);
            return Ok(());
        }
        if line.starts_with('#') || line.is_empty() {
            return Err("a line that says nothing");
        }
        let sample = self.sample(line)?;
        self.samples.push(sample);
        Ok(())
    }

    fn sample(&self, line: &str) -> Result<Sample, &'static str> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => read_labels(inside)?,
            None => (BTreeMap::new(), rest),
        };
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().map_err(|_| "not a number")? };
        let family = self.families.last().filter(|family| !family.kind.is_empty()).ok_or("a value before any TYPE")?;
        let parts = ["", "_bucket", "_sum", "_count"];
        let parts = if family.kind == "histogram" { &parts[1..] } else { &parts[..1] };
        if !parts.iter().any(|part| name == format!("{}{part}", family.name)) {
            return Err("a value of another family than the one above it");
        }
        Ok(Sample { name: name.to_owned(), family: family.name.clone(), labels, value })
    }

    /// The value of the series with exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels.iter().all(|(name, value)| sample.label(name) == Some(*value))
        };
        self.samples.iter().find(fits).map(|sample| sample.value)
    }

    /// All series of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// Checks what promtool checks.
    #[track_caller]
    pub fn check(&self) {
        let mut wrong = Vec::new();
        for family in &self.families {
            wrong.extend(problems_of(family).into_iter().map(|problem| format!("{}: {problem}", family.name)));
            if !self.samples.iter().any(|sample| sample.family == family.name) {
                wrong.push(format!("{}: no series", family.name));
            }
            if family.kind == "histogram" {
                wrong.extend(self.histogram_problems(&family.name));
            }
        }
        let mut seen = HashSet::new();
        for sample in &self.samples {
            if !seen.insert((&sample.name, &sample.labels)) {
                wrong.push(format!("twice: {} {:?}", sample.name, sample.labels));
            }
            wrong.extend(sample_problems(sample));
        }
        assert!(wrong.is_empty(), "{}\nin\n{}", wrong.join("\n"), self.text);
    }

    /// Buckets rise, the last one is the count, and there is a sum.
    fn histogram_problems(&self, family: &str) -> Vec<String> {
        let mut groups: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.all(&format!("{family}_bucket")) {
            let mut labels = sample.labels.clone();
            let le = labels.remove("le").map_or(f64::NAN, |le| if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap_or(f64::NAN) });
            groups.entry(labels).or_default().push((le, sample.value));
        }
        let mut wrong = Vec::new();
        for (labels, buckets) in &groups {
            let exact: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let count = self.value(&format!("{family}_count"), &exact);
            let sum = self.value(&format!("{family}_sum"), &exact);
            let last = buckets.last().copied().unwrap_or_default();
            if last.0 != f64::INFINITY || count != Some(last.1) || sum.is_none_or(|sum| sum < 0.0) {
                wrong.push(format!("{family} {labels:?}: the last bucket {last:?}, the count {count:?}, the sum {sum:?}"));
            }
            if !buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1) {
                wrong.push(format!("{family} {labels:?}: the buckets do not rise: {buckets:?}"));
            }
        }
        if self.all(&format!("{family}_count")).count() != groups.len() {
            wrong.push(format!("{family}: counts without buckets"));
        }
        wrong
    }
}

/// What stands between the braces, and what comes behind them.
fn read_labels(inside: &str) -> Result<(BTreeMap<String, String>, &str), &'static str> {
    let mut labels = BTreeMap::new();
    let mut rest = inside;
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().ok_or("a label value without an end")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, escaped @ ('\\' | '"'))) => escaped,
                    _ => return Err("an unknown escape"),
                }),
                (_, c) => value.push(c),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err("a label twice");
        }
        rest = &after[end + 1..];
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((labels, behind));
        }
        rest = rest.strip_prefix(',').ok_or("no comma between labels")?;
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}

/// Units that are not base units, and short forms of those that are.
const NOT_BASE: [&str; 20] = [
    "ms",
    "us",
    "ns",
    "s",
    "sec",
    "secs",
    "m",
    "min",
    "mins",
    "minutes",
    "hours",
    "days",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "kb",
    "mb",
    "kilobytes",
    "megabytes",
    "percent",
];

fn problems_of(family: &Family) -> Vec<String> {
    let Family { name, help, kind } = family;
    let mut wrong = Vec::new();
    let mut rule = |kept: bool, text: &str| {
        if !kept {
            wrong.push(text.to_owned());
        }
    };
    rule(is_name(name), "not a name in snake_case");
    rule(!help.trim().is_empty(), "no help");
    rule(!kind.is_empty(), "no type");
    rule((kind == "counter") == name.ends_with("_total"), "only counters, and all of them, end in _total");
    rule(!["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)), "an end that only parts of histograms have");
    rule(!["counter", "gauge", "histogram", "summary"].iter().any(|kind| name.contains(kind)), "the type is in the name");
    rule(!name.split('_').any(|word| NOT_BASE.contains(&word)), "a unit that is no base unit");
    rule(name.starts_with("routor_"), "no prefix");
    wrong
}

fn sample_problems(sample: &Sample) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in &sample.labels {
        if !is_name(name) || name.starts_with("__") {
            wrong.push(format!("{}: the label {name}", sample.name));
        }
        if name == "le" && !sample.name.ends_with("_bucket") {
            wrong.push(format!("{}: le outside a histogram", sample.name));
        }
        if value.is_empty() {
            wrong.push(format!("{}: {name} is empty", sample.name));
        }
    }
    if !sample.value.is_finite() {
        wrong.push(format!("{}: {}", sample.name, sample.value));
    }
    wrong
}
