//! What pipelines read, taken apart: JUnit XML as a tree, and GitHub's workflow
//! commands as its runner would understand them.

// What a test file does not use is no mistake.
#![allow(dead_code)]

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// An element with everything in it.
#[derive(Debug, Default)]
pub struct Node {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Node>,
    pub text: String,
}

impl Node {
    /// The attribute; it must be there.
    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{} has no {name}: {self:?}", self.name))
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> usize {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} is no number: {self:?}"))
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The cases of all suites.
    pub fn cases(&self) -> Vec<&Node> {
        self.all("testsuite").flat_map(|suite| suite.all("testcase")).collect()
    }

    /// The case of this name.
    #[track_caller]
    pub fn case(&self, name: &str) -> &Node {
        let cases = self.cases();
        cases.iter().find(|case| case.get("name") == name).unwrap_or_else(|| panic!("no case {name:?}: {self:?}"))
    }
}

/// Reads XML.
///
/// # Panics
/// When it is not well-formed XML 1.0.
#[track_caller]
pub fn xml(text: &str) -> Node {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let illegal: Vec<char> = text.chars().filter(|c| !legal(*c)).collect();
    assert!(illegal.is_empty(), "characters that XML 1.0 does not have: {illegal:?} in {text:?}");
    read(text).unwrap_or_else(|problem| panic!("not well-formed ({problem}):\n{text}"))
}

fn read(text: &str) -> Result<Node, String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    let mut open = vec![Node::default()];
    loop {
        match reader.read_event().map_err(|problem| problem.to_string())? {
            Event::Start(start) => open.push(node(&start)?),
            Event::Empty(start) => {
                let node = node(&start)?;
                last(&mut open)?.children.push(node);
            }
            Event::End(_) => {
                let node = open.pop().ok_or("an end too many")?;
                last(&mut open)?.children.push(node);
            }
            Event::Text(part) => {
                let part = part.xml_content(XmlVersion::Implicit1_0).into_owned();
                if part.contains("]]>") {
                    return Err("the end of a CDATA section in a text".to_owned());
                }
                last(&mut open)?.text.push_str(&part);
            }
            Event::GeneralRef(reference) => {
                let named = match &*reference {
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "amp" => Some('&'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => reference.resolve_char_ref().map_err(|problem| problem.to_string())?,
                };
                last(&mut open)?.text.push(named.ok_or("an entity that nobody declared")?);
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof => break,
            other => return Err(format!("not expected: {other:?}")),
        }
    }
    let mut document = open.pop().filter(|_| open.is_empty()).ok_or("an element without an end")?;
    if document.children.len() != 1 || !document.text.trim().is_empty() {
        return Err(format!("not one root: {document:?}"));
    }
    document.children.pop().ok_or_else(String::new)
}

fn last(open: &mut [Node]) -> Result<&mut Node, String> {
    open.last_mut().ok_or_else(|| "an end too many".to_owned())
}

fn node(start: &BytesStart<'_>) -> Result<Node, String> {
    let mut node = Node { name: start.name().0.to_owned(), ..Node::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|problem| problem.to_string())?;
        if attribute.value.contains('<') {
            return Err("a < in an attribute".to_owned());
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|problem| problem.to_string())?.into_owned();
        node.attributes.insert(attribute.key.0.to_owned(), value);
    }
    Ok(node)
}

/// A workflow command.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub name: String,
    pub title: String,
    pub message: String,
}

/// The workflow commands in what a step printed, as GitHub's runner finds them:
/// any line that begins with `::` after blanks, and `##[name]` anywhere in another.
pub fn commands(printed: &str) -> Vec<Command> {
    printed.split(['\n', '\r']).filter_map(command).collect()
}

fn command(line: &str) -> Option<Command> {
    let Some(rest) = line.trim_start().strip_prefix("::") else {
        let at = line.find("##[")?;
        return Some(Command { name: line[at..].to_owned(), title: String::new(), message: String::new() });
    };
    let (head, message) = rest.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let title = properties.split(',').find_map(|property| property.trim().strip_prefix("title="));
    Some(Command { name: name.to_owned(), title: decoded(title.unwrap_or_default()), message: decoded(message) })
}

fn decoded(text: &str) -> String {
    [("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")]
        .iter()
        .fold(text.to_owned(), |text, (coded, plain)| text.replace(coded, plain))
}
