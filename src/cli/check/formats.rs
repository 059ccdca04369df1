//! The result for people, for scripts, and for two kinds of pipelines.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::report::{ChainRow, ProviderRow, Report};
use crate::cli::screen::{Screen, Unprinted};
use crate::cli::table;
use crate::config::Provider;
use crate::engine::Fleet;
use crate::redact::printable;
use crate::upstream::{Checked, Standing};

/// One JSON object.
pub fn json(report: &Report, screen: &Screen) -> Result<(), Unprinted> {
    screen.line(&serde_json::to_string(report).unwrap_or_default())
}

/// Tables.
pub fn table(fleet: &Fleet, results: &[(&Provider, Checked)], report: &Report, screen: &Screen) -> Result<(), Unprinted> {
    let providers = table::of_providers(results.iter().map(|(provider, checked)| (*provider, checked)), screen.out_colour());
    screen.line(&providers.to_string())?;
    if fleet.pool_size() == 0 {
        return Ok(());
    }
    let live: Vec<&ProviderRow> = report.providers.iter().filter(|row| row.live.is_some()).collect();
    if !live.is_empty() {
        screen.line(&format!("\n{}", live_table(&live, screen)))?;
    }
    let (chains, aliases): (Vec<_>, Vec<_>) = report.chains.iter().partition(|chain| !chain.local_only);
    screen.line(&format!("\n{}", chain_table("tier", chains.into_iter(), screen)))?;
    for alias in aliases.iter().filter(|alias| alias.usable) {
        screen.line(&format!("`{}` stays on this machine: {}", printable(&alias.name, 100), alias.candidates.join(", ")))?;
    }
    for without in &report.without {
        let title = format!("without {}", without.provider);
        screen.line(&format!("\n{}", chain_table(&title, without.chains.iter(), screen)))?;
    }
    Ok(())
}

fn chain_table<'a>(title: &str, chains: impl Iterator<Item = &'a ChainRow>, screen: &Screen) -> comfy_table::Table {
    let mut table = table::new(&[title, "models", "first", "largest window"], screen.out_colour());
    for row in chains {
        let first: Vec<&str> = row.candidates.iter().take(3).map(String::as_str).collect();
        let window = row.largest_window.map_or(String::new(), |window| window.to_string());
        let first = if row.usable { first.join(" → ") } else { "no answer".to_owned() };
        table.add_row([row.name.clone(), row.candidates.len().to_string(), first, window]);
    }
    table
}

fn live_table(rows: &[&ProviderRow], screen: &Screen) -> comfy_table::Table {
    let mut table = table::new(&["real call", "answer", "status", "time"], screen.out_colour());
    for live in rows.iter().filter_map(|row| row.live.as_ref()) {
        let status = live.status.map_or(String::new(), |status| status.to_string());
        table.add_row([printable(&live.model, 100), live.class.name().to_owned(), status, format!("{} ms", live.ms)]);
    }
    table
}

/// A provider's result in a line.
fn told(row: &ProviderRow) -> String {
    let mut text = row.result.name().to_owned();
    if let Some(status) = row.status {
        text.push_str(&format!(" (status {status})"));
    }
    if !row.detail.is_empty() {
        text.push_str(&format!(": {}", printable(&row.detail, 300)));
    }
    if let Some(live) = row.live.as_ref().filter(|live| !live.is_good()) {
        text.push_str(&format!("; a real call to {} came to {}", printable(&live.model, 100), live.class));
    }
    if let Some(source) = row.key_env.as_ref().filter(|_| row.fails) {
        text.push_str(&format!(" [{source}]"));
    }
    text
}

/// Workflow commands that GitHub shows beside a run: an error for each thing
/// that fails the check, a warning for each warning, a notice for the rest.
pub fn github(report: &Report, screen: &Screen) -> Result<(), Unprinted> {
    for row in &report.providers {
        let level = match (row.fails, row.result) {
            (true, _) => "error",
            (false, Standing::Ok) => "notice",
            (false, _) => "warning",
        };
        command(level, &format!("routor check: {}", row.provider), &told(row), screen)?;
    }
    for (name, _) in report.dead_chains() {
        command("error", &format!("routor check: {name}"), "no model of this chain is in the pool", screen)?;
    }
    if report.fails_for_warnings() {
        command("error", "routor check", "--strict: the warnings make this check fail", screen)?;
    }
    for warning in &report.warnings {
        command("warning", "routor check", warning, screen)?;
    }
    Ok(())
}

/// One workflow command. What would end it or begin another is coded.
fn command(level: &str, title: &str, text: &str, screen: &Screen) -> Result<(), Unprinted> {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = data(title).replace(':', "%3A").replace(',', "%2C");
    screen.line(&format!("::{level} title={property}::{}", data(text)))
}

/// JUnit XML, the dialect that CI servers read: a case for each provider and
/// each chain.
pub fn junit(report: &Report, screen: &Screen) -> Result<(), Unprinted> {
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 2);
    junit_to(&mut out, report)?;
    screen.line(&String::from_utf8_lossy(&out.into_inner()))
}

/// One case of a suite.
struct Case {
    name: String,
    millis: u64,
    failure: Option<(String, String)>,
    skipped: Option<String>,
    out: String,
}

fn junit_to(out: &mut Writer<Vec<u8>>, report: &Report) -> std::io::Result<()> {
    let provider = |row: &ProviderRow| Case {
        name: row.provider.clone(),
        millis: row.ms,
        failure: row.fails.then(|| (row.result.name().to_owned(), told(row))),
        skipped: (!row.fails && row.result == Standing::NoKey).then(|| told(row)),
        out: told(row),
    };
    let chain = |name: String, row: &ChainRow| Case {
        name,
        millis: 0,
        // An alias that must stay on this machine and cannot is a warning.
        failure: (!row.usable && !row.local_only).then(|| ("no_answer".to_owned(), "no model of this chain is in the pool".to_owned())),
        skipped: None,
        out: row.candidates.join(" → "),
    };
    let providers: Vec<Case> = report.providers.iter().map(provider).collect();
    let own = report.chains.iter().map(|row| chain(row.name.clone(), row));
    let without = report
        .without
        .iter()
        .flat_map(|without| without.chains.iter().map(move |row| chain(format!("{} without {}", row.name, without.provider), row)));
    let mut chains: Vec<Case> = own.chain(without).collect();
    if report.fails_for_warnings() {
        let failure = Some(("warnings".to_owned(), report.warnings.join("\n")));
        chains.push(Case { name: "warnings".to_owned(), millis: 0, failure, skipped: None, out: String::new() });
    }
    let count = |cases: &[Case]| (cases.len(), cases.iter().filter(|case| case.failure.is_some()).count());
    let ((tests, failures), (more, more_failures)) = (count(&providers), count(&chains));
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let (tests, failures) = ((tests + more).to_string(), (failures + more_failures).to_string());
    let attributes = [("name", "routor check"), ("tests", tests.as_str()), ("failures", failures.as_str()), ("errors", "0")];
    out.create_element("testsuites").with_attributes(attributes).write_inner_content(|out| {
        suite(out, "providers", &providers, "")?;
        suite(out, "chains", &chains, &report.warnings.join("\n"))
    })?;
    Ok(())
}

fn suite(out: &mut Writer<Vec<u8>>, name: &str, cases: &[Case], said: &str) -> std::io::Result<()> {
    let count = |met: fn(&Case) -> bool| cases.iter().filter(|case| met(case)).count().to_string();
    let (tests, failures) = (cases.len().to_string(), count(|case| case.failure.is_some()));
    let (skipped, time) = (count(|case| case.skipped.is_some()), seconds(cases.iter().map(|case| case.millis).max().unwrap_or(0)));
    let attributes = [("name", name), ("tests", &tests), ("failures", &failures), ("errors", "0"), ("skipped", &skipped), ("time", &time)];
    out.create_element("testsuite").with_attributes(attributes).write_inner_content(|out| {
        for own in cases {
            case(out, name, own)?;
        }
        if !said.is_empty() {
            out.create_element("system-out").write_text_content(BytesText::new(&clean(said)))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(out: &mut Writer<Vec<u8>>, suite: &str, case: &Case) -> std::io::Result<()> {
    let (name, class, time) = (clean(&case.name), format!("routor.{suite}"), seconds(case.millis));
    let element = out.create_element("testcase").with_attributes([("name", name.as_str()), ("classname", &class), ("time", &time)]);
    element.write_inner_content(|out| {
        if let Some((kind, text)) = &case.failure {
            let text = clean(text);
            let failure = out.create_element("failure").with_attributes([("type", kind.as_str()), ("message", &text)]);
            failure.write_text_content(BytesText::new(&text))?;
        } else if let Some(text) = &case.skipped {
            out.create_element("skipped").with_attribute(("message", clean(text).as_str())).write_empty()?;
        }
        if !case.out.is_empty() {
            out.create_element("system-out").write_text_content(BytesText::new(&clean(&case.out)))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// XML 1.0 knows no control characters and no non-characters.
fn clean(text: &str) -> String {
    let unknown = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if unknown(c) { '\u{fffd}' } else { c }).collect()
}
