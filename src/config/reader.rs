//! Walks a parsed TOML file section by section. Every wrong type, impossible
//! value and unknown name becomes a [`Problem`]; reading goes on behind it, so
//! that one run reports them all.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Where problems are collected while a file is read.
#[derive(Debug, Default)]
pub(super) struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    pub fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub fn into_list(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A value with the bytes it stands at.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// One table of the file. Each getter names a key that may be there;
/// [`Section::finish`] reports the keys that no getter named.
pub(super) struct Section<'a, 'i> {
    table: Option<&'a DeTable<'i>>,
    name: String,
    known: Vec<&'static str>,
    sink: &'a Sink,
}

impl<'a, 'i> Section<'a, 'i> {
    pub fn root(table: &'a DeTable<'i>, sink: &'a Sink) -> Self {
        Self { table: Some(table), name: String::new(), known: Vec::new(), sink }
    }

    fn raw(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.known.push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some(value)
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        self.sink.push(Problem::at(value.span(), format!("`{key}` is {wanted}, this is {} {found}", article(found))));
    }

    /// A string.
    pub fn string(&mut self, key: &'static str, wanted: &str) -> Option<Placed<String>> {
        let value = self.raw(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(value, key, wanted);
        }
        text.map(|text| Placed { value: text.to_owned(), span: value.span() })
    }

    /// A string that `read` makes something of; its error becomes a problem.
    pub fn parsed<T>(&mut self, key: &'static str, wanted: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<Placed<T>> {
        let text = self.string(key, wanted)?;
        match read(&text.value) {
            Ok(value) => Some(Placed { value, span: text.span }),
            Err(problem) => {
                self.sink.push(Problem::at(text.span, format!("`{key}` {problem}")));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.raw(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(value, key, "true or false");
        }
        flag
    }

    /// A whole number within a range.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.raw(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value.get_ref() else {
            self.wrong(value, key, &wanted);
            return None;
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.sink.push(Problem::at(value.span(), format!("`{key}` is {wanted}, this is {number}")));
                None
            }
        }
    }

    /// A number that is not negative.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.raw(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            self.wrong(value, key, "a number that is not negative");
        }
        number
    }

    /// A length of time within a range, such as `"30s"`.
    pub fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let wanted = format!("a time with its unit, such as \"{}\"", humantime::format_duration(example(&range)));
        self.parsed(key, &wanted, |text| read_duration(text, &range)).map(|placed| placed.value)
    }

    /// A number of bytes within a range, such as `"32MiB"`.
    pub fn size(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, "a size with its unit, such as \"32MiB\"", |text| read_size(text, &range)).map(|placed| placed.value)
    }

    /// One string or a list of strings.
    pub fn strings(&mut self, key: &'static str, wanted: &str) -> Option<Vec<Placed<String>>> {
        let value = self.raw(key)?;
        self.strings_of(value, key, wanted)
    }

    fn strings_of(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) -> Option<Vec<Placed<String>>> {
        match value.get_ref() {
            DeValue::String(text) => Some(vec![Placed { value: text.to_string(), span: value.span() }]),
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for item in items.iter() {
                    match item.get_ref().as_str() {
                        Some(text) => list.push(Placed { value: text.to_owned(), span: item.span() }),
                        None => self.wrong(item, key, wanted),
                    }
                }
                Some(list)
            }
            _ => {
                self.wrong(value, key, wanted);
                None
            }
        }
    }

    /// A sub-table, empty when it is not there.
    pub fn table(&mut self, key: &'static str) -> Section<'a, 'i> {
        let value = self.raw(key);
        self.enter(key, value)
    }

    fn enter(&self, key: &str, value: Option<&'a Spanned<DeValue<'i>>>) -> Section<'a, 'i> {
        if let Some(value) = value
            && value.get_ref().as_table().is_none()
        {
            self.wrong(value, key, &format!("a table: [{}]", self.path(key)));
        }
        let table = value.and_then(|value| value.get_ref().as_table());
        Section { table, name: self.path(key), known: Vec::new(), sink: self.sink }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The sub-tables of a table whose keys are free names, in the order of the file.
    pub fn entries(&mut self, key: &'static str) -> Vec<(Placed<String>, Section<'a, 'i>)> {
        let inside = self.table(key);
        let Some(table) = inside.table else { return Vec::new() };
        table
            .iter()
            .map(|(name, value)| {
                let name = Placed { value: name.get_ref().to_string(), span: name.span() };
                let section = inside.enter(&name.value, Some(value));
                (name, section)
            })
            .collect()
    }

    /// The values of this table, whose keys are free names, in the order of the file.
    pub fn values(&mut self, key: &'static str) -> Vec<(Placed<String>, Entry<'a, 'i>)> {
        let inside = self.table(key);
        let Some(table) = inside.table else { return Vec::new() };
        table
            .iter()
            .map(|(name, value)| {
                let placed = Placed { value: name.get_ref().to_string(), span: name.span() };
                let entry = Entry { value, within: Section { table: None, name: inside.name.clone(), known: Vec::new(), sink: self.sink } };
                (placed, entry)
            })
            .collect()
    }

    /// Whether the key is there, whatever it holds.
    pub fn span_of(&self, key: &str) -> Option<Range<usize>> {
        let (name, _) = self.table?.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some(name.span())
    }

    /// Takes a key that is refused, with its own message, rather than as unknown.
    pub fn refuse(&mut self, key: &'static str, message: &str, help: &str) {
        if let Some(span) = self.span_of(key) {
            self.known.push(key);
            self.sink.push(Problem::at(span, message).help(help));
        }
    }

    /// Reports every key that no getter asked for, with the nearest one that exists.
    pub fn finish(self) {
        let Some(table) = self.table else { return };
        for (name, _) in table.iter() {
            let found = name.get_ref().as_ref();
            if self.known.contains(&found) {
                continue;
            }
            let place = if self.name.is_empty() { "here".to_owned() } else { format!("in [{}]", self.name) };
            let problem = Problem::at(name.span(), format!("`{found}` is not a setting {place}"));
            self.sink.push(match nearest(found, self.known.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!("the settings {place} are {}", self.known.join(", "))),
            });
        }
    }
}

/// A value under a free name: a string, a list, or a table of its own.
pub(super) struct Entry<'a, 'i> {
    value: &'a Spanned<DeValue<'i>>,
    within: Section<'a, 'i>,
}

impl<'a, 'i> Entry<'a, 'i> {
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// The strings of a string or a list of strings.
    pub fn strings(&self, key: &str, wanted: &str) -> Option<Vec<Placed<String>>> {
        self.within.strings_of(self.value, key, wanted)
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    /// The value as a table, if it is one.
    pub fn table(&self, key: &str) -> Option<Section<'a, 'i>> {
        self.value.get_ref().as_table()?;
        Some(self.within.enter(key, Some(self.value)))
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// The name most like `word`, if one is like enough to be meant.
pub(super) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn example(range: &RangeInclusive<Duration>) -> Duration {
    Duration::from_secs(30).clamp(*range.start(), *range.end())
}

fn read_duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let allowed = || {
        let (low, high) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        format!("is a time from {low} to {high}, with its unit: \"500ms\", \"30s\", \"5m\", \"1h\"; this is \"{text}\"")
    };
    humantime::parse_duration(text).ok().filter(|time| range.contains(time)).ok_or_else(allowed)
}

fn read_size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let show = |bytes: u64| bytesize::ByteSize::b(bytes).display().iec().to_string().replace(' ', "");
    let allowed = || format!("is a size from {} to {}, such as \"32MiB\"; this is \"{text}\"", show(*range.start()), show(*range.end()));
    let size: bytesize::ByteSize = text.parse().map_err(|_| allowed())?;
    if range.contains(&size.as_u64()) { Ok(size.as_u64()) } else { Err(allowed()) }
}
