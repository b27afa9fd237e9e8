//! The checks behind the tables of `tests/tidy.rs`: each takes one text and lists what is wrong.

use crate::source::{Name, Source, word_places};
use crate::*;

/// Imports go down, never up.
pub fn floors(source: &Source, house: &House) -> Vec<Finding> {
    let Some(module) = source.module() else { return Vec::new() };
    if source.is_in(OUTSIDE) {
        return Vec::new();
    }
    let room = module.split('/').next().expect("a split has a first part");
    let Some(own) = floor_of(room) else {
        return vec![(1, format!("room `{room}` is on no floor: name it in FLOORS"))];
    };
    let mut found = Vec::new();
    for name in source.names() {
        if source.is_test(name.at) {
            continue;
        }
        let Some(target) = room_named(source, module, &name) else { continue };
        let target = front_door(house, target).unwrap_or(target.to_string());
        if target == room {
            continue;
        }
        let path = name.segments.join("::");
        let wrong = match floor_of(&target) {
            // A room without a floor is told once, by its own file.
            None if house.get(&format!("src/{target}.rs")).is_some() => None,
            None => Some("that is no room: name the one where it lives"),
            Some(floor) if floor > own => Some("imports go down, never up"),
            Some(floor) if floor == own && !FLOORS[own].sideways => {
                Some("rooms of this floor do not import each other")
            }
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            found.push((source.line(name.at), format!("`{room}` names `{path}`: {wrong}")));
        }
    }
    found
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.rooms.contains(&room))
}

/// The first module below the root of the crate that `name` goes through, if it goes that way:
/// `crate::room`, or enough times `super`.
fn room_named<'a>(source: &Source, module: &str, name: &'a Name) -> Option<&'a str> {
    let climbs = name.segments.iter().take_while(|part| *part == "super").count();
    let first = if climbs > 0 {
        let depth = module.split('/').count() + source.inline_depth(name.at);
        (climbs >= depth).then_some(climbs)?
    } else {
        (name.segments[0] == "crate").then_some(1)?
    };
    name.segments.get(first).map(String::as_str)
}

/// The room of what the root of the crate shows as `name`.
fn front_door(house: &House, name: &str) -> Option<String> {
    let shown = house.get("src/lib.rs")?.names();
    let shown = shown.into_iter().filter(|shown| shown.imported && shown.segments.len() > 1);
    let mut found = shown.filter(|shown| shown.segments.last().is_some_and(|last| last == name));
    found.next().map(|shown| shown.segments[0].clone())
}

/// Who may name what.
pub fn doors(source: &Source, _: &House) -> Vec<Finding> {
    if source.module().is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in source.names() {
        for door in DOORS.iter().filter(|door| !source.is_in(door.rooms)) {
            for wanted in door.names.iter().filter(|wanted| name.contains(wanted)) {
                let message = format!(
                    "`{}` names `{wanted}`, which only {} may: {}",
                    name.segments.join("::"),
                    door.rooms.join(", "),
                    door.because
                );
                found.push((source.line(name.at), message));
            }
        }
    }
    found
}

/// Orderings stand in few rooms, spelled `Ordering::X`, each below its reason.
pub fn orderings(source: &Source, _: &House) -> Vec<Finding> {
    if source.module().is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in source.names() {
        let Some(ordering) = ORDERINGS.iter().find(|ordering| {
            name.contains(&format!("Ordering::{ordering}"))
                || name.segments.join("::").ends_with("Ordering::*")
        }) else {
            continue;
        };
        let line = source.line(name.at);
        let wrong = if name.imported {
            "spell it where it is used, so that its reason stands beside it".to_string()
        } else if !source.is_in(ORDERING_ROOMS) && !source.is_in(&["tests"]) {
            format!("only {} choose memory orderings", ORDERING_ROOMS.join(", "))
        } else if !source.is_test(name.at) && !has_reason(source, line) {
            format!("no comment within the {REASON_WITHIN_LINES} lines above says why")
        } else {
            continue;
        };
        found.push((line, format!("`Ordering::{ordering}`: {wrong}")));
    }
    found
}

/// Whether a plain comment stands on the line or close above it.
fn has_reason(source: &Source, line: usize) -> bool {
    let here = line - 1;
    let above = here.saturating_sub(REASON_WITHIN_LINES);
    source.plain_comments.iter().any(|comment| (above..=here).contains(comment))
}

pub fn file_length(source: &Source, _: &House) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let max = if source.is_test_file() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if source.is_rust() && lines > max {
        return vec![(max + 1, format!("{lines} lines, at most {max}: look for the second noun"))];
    }
    Vec::new()
}

pub fn function_length(source: &Source, _: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for function in source.functions() {
        let test = source.is_test(function.at);
        let max = if test { TEST_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX };
        if function.lines > max {
            let message =
                format!("`{}` has {} lines, at most {max}", function.name, function.lines);
            found.push((source.line(function.at), message));
        }
    }
    found
}

pub fn columns(source: &Source, _: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate().filter(|_| source.is_rust()) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            found.push((index + 1, format!("{columns} columns, at most {COLUMNS_MAX}")));
        }
    }
    found
}

/// Outside tests a panic says why it cannot happen.
pub fn unwrap(source: &Source, _: &House) -> Vec<Finding> {
    source
        .words("unwrap")
        .filter(|&at| source.code[..at].ends_with('.') && source.code[at..].starts_with("unwrap()"))
        .filter(|&at| !source.is_test(at))
        .map(|at| (source.line(at), "`unwrap()`: use `expect` with the reason".to_string()))
        .collect()
}

/// Nothing unfinished is committed.
pub fn unfinished(source: &Source, _: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in UNFINISHED_MACROS {
        for at in source.words(name) {
            if source.code[at + name.len()..].starts_with('!') {
                found.push((source.line(at), format!("`{name}!` is unfinished work")));
            }
        }
    }
    for word in UNFINISHED_WORDS {
        for at in word_places(&source.text, word) {
            found.push((source.line(at), format!("`{word}` is unfinished work")));
        }
    }
    found
}

/// A test that does not run shows nothing, and neither does an example.
pub fn ignored_tests(source: &Source, _: &House) -> Vec<Finding> {
    let attributes = source.code.match_indices("#[ignore").map(|(at, _)| at);
    let conditional = source.code.match_indices("#[cfg_attr(").filter_map(|(at, _)| {
        let rest = &source.code[at..];
        let attribute = &rest[..rest.find(']').unwrap_or(rest.len())];
        word_places(attribute, "ignore").next().map(|_| at)
    });
    let tests = attributes.chain(conditional);
    let mut found: Vec<Finding> =
        tests.map(|at| (source.line(at), "an ignored test shows nothing".to_string())).collect();
    for (index, line) in source.text.lines().enumerate().filter(|_| source.is_rust()) {
        let text = line.trim_start();
        let doc = text.strip_prefix("///").or_else(|| text.strip_prefix("//!"));
        let fence = doc.and_then(|doc| doc.trim_start().strip_prefix("```"));
        if fence.is_some_and(|fence| word_places(fence, "ignore").next().is_some()) {
            found.push((index + 1, "an example that is not compiled shows nothing".to_string()));
        }
    }
    found
}

/// A public enum of errors can grow a variant without breaking its users.
pub fn open_errors(source: &Source, _: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for at in source.words("enum").filter(|_| source.module().is_some()) {
        let name = source.code[at + "enum".len()..].split_whitespace().next().unwrap_or_default();
        let name = name.split(['<', '{']).next().unwrap_or_default();
        let before = &source.code[..at];
        // The item begins behind the end of the one before it, with its attributes.
        let item = &before[before.rfind([';', '{', '}']).map_or(0, |end| end + 1)..];
        let public = item.trim_end().ends_with("pub");
        if public && name.ends_with("Error") && !item.contains("#[non_exhaustive]") {
            found.push((source.line(at), format!("`{name}` is not #[non_exhaustive]")));
        }
    }
    found
}

/// Modules are `room.rs` with `room/`, and every file is one.
pub fn module_form(source: &Source, house: &House) -> Vec<Finding> {
    if source.path.ends_with("/mod.rs") {
        let message = "a module is `room.rs` beside `room/`, not `room/mod.rs`";
        return vec![(1, message.to_string())];
    }
    let Some(module) = source.module() else { return Vec::new() };
    if module == "lib" {
        return Vec::new();
    }
    let (parent, name) = match module.rsplit_once('/') {
        Some((parent, name)) => (format!("src/{parent}.rs"), name),
        None => ("src/lib.rs".to_string(), module),
    };
    let named = house.get(&parent).is_some_and(|parent| {
        parent.words("mod").any(|at| {
            let rest = parent.code[at + "mod".len()..].trim_start();
            rest.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(';'))
        })
    });
    if named {
        return Vec::new();
    }
    vec![(1, format!("no `mod {name};` in {parent}: the file is not compiled"))]
}

/// Nothing of one machine is committed.
pub fn machine(source: &Source, _: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in MACHINE_PATHS {
        for (at, _) in source.text.match_indices(path) {
            // Behind a name, a dot or a variable it is the rest of a longer path.
            let before = source.text[..at].chars().next_back().unwrap_or(' ');
            if !(before.is_alphanumeric() || "_-.~})".contains(before)) {
                found.push((source.line(at), format!("`{path}` is a place of one machine")));
            }
        }
    }
    for host in REGISTRY_HOSTS {
        for (at, _) in source.text.match_indices(host) {
            found.push((source.line(at), format!("`{host}` is the host of a registry")));
        }
    }
    found
}
