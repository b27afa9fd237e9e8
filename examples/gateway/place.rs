//! Where in a text something is that has a path, such as `owners[3].budgets[0].limit`.

use toml::de::{DeTable, DeValue};

/// The line of what is at a path, or of the nearest thing around it that there is.
pub fn line_of(text: &str, table: &DeTable<'_>, path: &str) -> Option<usize> {
    let mut found = None;
    let mut within = Within::Table(table);
    for step in steps(path) {
        let next = match (&within, step) {
            (Within::Table(table), Step::Name(name)) => {
                let entry = table.iter().find(|(key, _)| &**key.get_ref() == name);
                entry.map(|(key, value)| (key.span().start, value.get_ref()))
            }
            (Within::Value(DeValue::Table(table)), Step::Name(name)) => {
                let entry = table.iter().find(|(key, _)| &**key.get_ref() == name);
                entry.map(|(key, value)| (key.span().start, value.get_ref()))
            }
            (Within::Value(DeValue::Array(list)), Step::Place(place)) => {
                list.get(place).map(|value| (value.span().start, value.get_ref()))
            }
            _ => None,
        };
        let Some((start, value)) = next else { break };
        (found, within) = (Some(start), Within::Value(value));
    }
    found.map(|start| 1 + text[..start.min(text.len())].matches('\n').count())
}

enum Within<'a> {
    Table(&'a DeTable<'a>),
    Value(&'a DeValue<'a>),
}

enum Step<'a> {
    Name(&'a str),
    Place(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|part| {
        let mut pieces = part.split('[');
        let name = pieces.next().filter(|name| !name.is_empty()).map(Step::Name);
        let places = pieces.filter_map(|piece| piece.strip_suffix(']')?.parse().ok());
        name.into_iter().chain(places.map(Step::Place))
    })
}
