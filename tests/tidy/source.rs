//! One text of the tree, and what the rules ask about it.

use std::ops::Range;

pub struct Source {
    /// From the root of the tree, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and literals turned into blanks: same length, same lines. Empty for
    /// what is not Rust.
    pub code: String,
    /// The lines, from 0, that hold a plain comment (not documentation).
    pub plain_comments: Vec<usize>,
    line_starts: Vec<usize>,
    test_ranges: Vec<Range<usize>>,
}

/// A path such as `crate::sync::Arc`, written out in full, or one leaf of a `use` tree.
pub struct Name {
    pub at: usize,
    pub segments: Vec<String>,
    pub imported: bool,
}

impl Name {
    /// Whether `wanted`, a path or a part of one, occurs in this one, segment for segment. The
    /// import of a module above `wanted`, whole or by glob, brings `wanted` in, so it counts.
    pub fn contains(&self, wanted: &str) -> bool {
        let wanted: Vec<&str> = wanted.split("::").collect();
        let glob = self.segments.last().is_some_and(|last| last == "*");
        let stem = &self.segments[..self.segments.len() - usize::from(glob)];
        let here = stem.windows(wanted.len()).any(|part| part == wanted);
        let above = stem.len() > 1 && stem.len() < wanted.len() && *stem == wanted[..stem.len()];
        here || (self.imported && above)
    }
}

pub struct Function {
    pub at: usize,
    pub name: String,
    pub lines: usize,
}

impl Source {
    pub fn new(path: &str, text: String) -> Source {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut source = Source {
            path: path.to_string(),
            text,
            code: String::new(),
            plain_comments: Vec::new(),
            line_starts,
            test_ranges: Vec::new(),
        };
        if path.ends_with(".rs") {
            source.blank_out();
            source.find_tests();
        }
        source
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The line of a byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    /// The module of a file under `src`, without its extension: `engine/route`.
    pub fn module(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.strip_suffix(".rs")
    }

    /// Whether the file lies in one of `rooms`.
    pub fn is_in(&self, rooms: &[&str]) -> bool {
        self.module().is_some_and(|module| {
            rooms.iter().any(|room| {
                module
                    .strip_prefix(room)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        })
    }

    /// Whether the whole file is test code.
    pub fn is_test_file(&self) -> bool {
        let outside = ["tests/", "benches/", "fuzz/"].iter().any(|dir| self.path.starts_with(dir));
        outside || self.module().is_some_and(|module| module.split('/').any(|part| part == "tests"))
    }

    /// Whether the byte is in test code.
    pub fn is_test(&self, at: usize) -> bool {
        self.is_test_file() || self.test_ranges.iter().any(|range| range.contains(&at))
    }

    /// Every place in the code where `word` stands between characters that are not of a word.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        word_places(&self.code, word)
    }

    /// Turns comments and literals into blanks.
    fn blank_out(&mut self) {
        let bytes = self.text.as_bytes();
        let mut code = bytes.to_vec();
        let mut at = 0;
        while at < bytes.len() {
            let end = token_end(&self.text, at);
            if let Some(end) = end {
                let line = self.line(at) - 1;
                let token = &self.text[at..end];
                let plain = token.starts_with("//")
                    && (token.starts_with("////")
                        || !(token.starts_with("///") || token.starts_with("//!")));
                if plain {
                    self.plain_comments.push(line);
                }
                for byte in &mut code[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
            } else {
                at += 1;
            }
        }
        self.code = String::from_utf8(code).expect("whole tokens became blanks");
    }

    /// Finds the items under a `#[cfg(test)]`, with or without more conditions beside `test`.
    fn find_tests(&mut self) {
        let mut ranges = Vec::new();
        for (at, _) in self.code.match_indices("#[cfg(") {
            let open = at + "#[".len() - 1;
            let Some(close) = matching(&self.code, open) else { continue };
            let condition = &self.code[at..close];
            let only_tests = word_places(condition, "test").next().is_some()
                && !condition.contains("not(")
                && !condition.contains("any(");
            if only_tests && let Some(end) = item_end(&self.code, close + 1) {
                ranges.push(at..end);
            }
        }
        self.test_ranges = ranges;
    }

    /// All the names in the code: the leaves of `use` trees, and paths of two segments or more.
    pub fn names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        let mut imports = Vec::new();
        for at in self.words("use") {
            let end = self.code[at..].find(';').map_or(self.code.len(), |length| at + length);
            if self.code[at + 3..end].trim_start().starts_with('<') {
                continue;
            }
            let tree = &self.code[at + 3..end];
            imports.push(at..end);
            use_leaves(tree, at + 3, &[], &mut names);
        }
        let bytes = self.code.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if !is_word(bytes[at]) {
                at += 1;
                continue;
            }
            let start = at;
            let mut segments = vec![word_at(&self.code, at).to_string()];
            at += segments[0].len();
            while self.code[at..].starts_with("::")
                && bytes.get(at + 2).is_some_and(|byte| is_word(*byte))
            {
                let next = word_at(&self.code, at + 2).to_string();
                at += 2 + next.len();
                segments.push(next);
            }
            if segments.len() > 1 && !imports.iter().any(|range| range.contains(&start)) {
                names.push(Name { at: start, segments, imported: false });
            }
        }
        names.sort_by_key(|name| name.at);
        names
    }

    /// How many `mod x { ... }` blocks of the file are around the byte.
    pub fn inline_depth(&self, at: usize) -> usize {
        self.words("mod")
            .take_while(|&start| start < at)
            .filter(|&start| item_end(&self.code, start).is_some_and(|end| at < end))
            .count()
    }

    /// The functions that have a body.
    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for at in self.words("fn") {
            let rest = self.code[at + 2..].trim_start();
            let name = word_at(rest, 0);
            // `fn(u64) -> u64` is a type, and a function without a body has no length.
            if name.is_empty() {
                continue;
            }
            let Some(end) = item_end(&self.code, at) else { continue };
            if self.code[..end].ends_with('}') {
                let lines = self.line(end - 1) - self.line(at) + 1;
                functions.push(Function { at, name: name.to_string(), lines });
            }
        }
        functions
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn word_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    let length = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
    &rest[..length]
}

/// Every place in `text` where `word` stands alone.
pub fn word_places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = at == 0 || !is_word(bytes[at - 1]);
        let after = bytes.get(at + word.len()).is_none_or(|byte| !is_word(*byte));
        before && after
    })
}

/// The end of the comment or literal that starts at `at`, if one does.
fn token_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let rest = &text.as_bytes()[at..];
    let to_end = |length: Option<usize>| Some(length.map_or(bytes.len(), |length| at + length));
    let after_word = at > 0 && is_word(bytes[at - 1]);
    match rest[0] {
        b'/' if rest.starts_with(b"//") => to_end(rest.iter().position(|&byte| byte == b'\n')),
        b'/' if rest.starts_with(b"/*") => Some(block_comment_end(bytes, at)),
        b'"' => Some(string_end(bytes, at + 1)),
        b'r' if !after_word || raw_prefix(bytes, at) => raw_string_end(text, at),
        b'\'' => char_end(text, at),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Whether the `r` at `at` is the second letter of `br"` or `cr"`.
fn raw_prefix(bytes: &[u8], at: usize) -> bool {
    let prefix = matches!(bytes[at - 1], b'b' | b'c');
    prefix && (at < 2 || !is_word(bytes[at - 2]))
}

fn raw_string_end(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at + 1..];
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    if !rest[hashes..].starts_with('"') {
        return None;
    }
    let body = at + 1 + hashes + 1;
    let closing = format!("\"{}", "#".repeat(hashes));
    Some(text[body..].find(&closing).map_or(text.len(), |end| body + end + closing.len()))
}

/// A quote opens a character, unless it is that of a lifetime.
fn char_end(text: &str, at: usize) -> Option<usize> {
    let mut characters = text[at + 1..].char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        let body = at + 3;
        return text.get(body..)?.find('\'').map(|end| body + end + 1);
    }
    let (after, second) = characters.next()?;
    (second == '\'').then_some(at + 1 + after + 1)
}

/// The place of the bracket that closes the one at `open`.
fn matching(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Behind the end of the item at `at`: its `;`, or the brace that closes its body.
fn item_end(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    for (place, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return Some(place + 1),
            b'{' if depth == 0 => return matching(code, place).map(|end| end + 1),
            _ => {}
        }
    }
    None
}

/// The leaves of the `use` tree `tree`, which starts at byte `at` of the file.
fn use_leaves(tree: &str, at: usize, prefix: &[String], names: &mut Vec<Name>) {
    let (path, group) = match tree.find('{') {
        Some(open) => (&tree[..open], Some(open)),
        None => (tree, None),
    };
    let path = path.split(" as ").next().expect("a split has a first part");
    let mut segments = prefix.to_vec();
    segments.extend(
        path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_string),
    );
    let Some(open) = group else {
        if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
            segments.pop();
        }
        let blanks = tree.len() - tree.trim_start().len();
        if !tree.trim().is_empty() {
            names.push(Name { at: at + blanks, segments, imported: true });
        }
        return;
    };
    let close = matching(tree, open).unwrap_or(tree.len());
    let mut depth = 0;
    let mut start = open + 1;
    for (place, byte) in tree.bytes().enumerate().take(close).skip(open + 1) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                use_leaves(&tree[start..place], at + start, &segments, names);
                start = place + 1;
            }
            _ => {}
        }
    }
    use_leaves(&tree[start..close], at + start, &segments, names);
}
