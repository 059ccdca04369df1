//! The table of providers, the same for `serve`, `check` and `status`.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, LineStyle, Table, TableStyle};

use crate::config::Provider;
use crate::redact::printable;
use crate::upstream::{Checked, Standing};

/// A line under the header and nothing else: easy to read, and to cut from.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with routor's looks.
pub fn new(header: &[&str], colour: bool) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|text| Cell::new(text).add_attribute(Attribute::Bold)));
    table
}

/// The result of each provider. A server on this machine that nobody named
/// and that is not there is not shown.
pub fn of_providers<'a>(results: impl Iterator<Item = (&'a Provider, &'a Checked)>, colour: bool) -> Table {
    let mut table = new(&["provider", "result", "base URL", "models", "time", "key", ""], colour);
    for (provider, checked) in results.filter(|(provider, checked)| is_shown(provider, checked)) {
        let models = checked.models.as_ref().map_or(String::new(), |models| models.len().to_string());
        let time = if checked.took.is_zero() { String::new() } else { format!("{} ms", checked.took.as_millis()) };
        let source = provider.key_source.clone().filter(|_| !matches!(provider.key, crate::config::KeyState::NotNeeded));
        table.add_row([
            Cell::new(&provider.name),
            Cell::new(checked.standing.name()).fg(colour_of(checked.standing)),
            Cell::new(provider.endpoint.as_str()),
            Cell::new(models),
            Cell::new(time),
            Cell::new(source.unwrap_or_default()),
            Cell::new(printable(&checked.detail, 200)),
        ]);
    }
    table
}

/// Whether a result is worth a line.
pub fn is_shown(provider: &Provider, checked: &Checked) -> bool {
    !(provider.optional && checked.standing == Standing::Unreachable)
}

fn colour_of(standing: Standing) -> Color {
    match standing {
        Standing::Ok => Color::Green,
        Standing::Unverified | Standing::NoCredit => Color::Yellow,
        Standing::Rejected | Standing::Unreachable | Standing::NoKey => Color::Red,
    }
}
