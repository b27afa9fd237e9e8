//! A few values out of a JSON text of any length, read as it arrives, in bounded memory.
//!
//! The whole text is checked for its grammar, because a value taken out of what is no JSON text
//! means nothing. Of strings outside the values that are kept, the characters are not looked at.

mod number;

use std::mem;

use memchr::memchr2;

use number::Number;

/// How long a kept value may be, in bytes.
const KEPT_MAX: usize = 64 * 1024;

/// How deep arrays and objects may be in each other: what fits in the bits of `objects`.
const DEPTH_MAX: u32 = u128::BITS;

/// The longest key that is compared. A byte of a key takes at most six, as `\u0075`.
const KEY_MAX: usize = 6 * 16;

/// Where a value is, as the keys of the objects around it, outermost first.
pub(super) type Path = &'static [&'static str];

/// What is known of the value at a path. Where a key is given twice, the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Kept {
    #[default]
    Absent,
    /// The text of the value.
    Value(Vec<u8>),
    TooLong,
}

/// Reads one JSON text.
#[derive(Debug)]
pub(super) struct Scanner {
    paths: &'static [Path],
    kept: Vec<Kept>,
    state: State,
    depth: u32,
    /// One bit for each open array (0) or object (1), the innermost lowest.
    objects: u128,
    /// The keys on the way to the innermost object that a path goes through. An object at depth
    /// `n` is on the way exactly when `n - 1` keys lead to it.
    trail: Vec<&'static str>,
    /// The text of the key that is read, as far as it may be one of a path.
    key: Vec<u8>,
    next: Next,
    keeping: Option<Keeping>,
}

/// What is to be done with the next value.
#[derive(Clone, Copy, Debug)]
enum Next {
    Pass,
    Keep(usize),
    Enter(&'static str),
}

/// The value that is being kept.
#[derive(Debug)]
struct Keeping {
    path: usize,
    depth: u32,
    text: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Value,
    /// A value, or the end of the array.
    FirstItem,
    /// A key, or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// Behind a value.
    After,
    Text(Text),
    Number(Number),
    /// A word of which this is still to come.
    Word(&'static [u8]),
    /// No JSON text.
    Broken,
}

/// Where in a string.
#[derive(Clone, Copy, Debug)]
struct Text {
    is_key: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Plain,
    Escape,
    /// So many hexadecimal digits are to come.
    Digits(u8),
}

impl Scanner {
    /// A reader that keeps what is at these paths.
    pub(super) fn new(paths: &'static [Path]) -> Self {
        Self {
            paths,
            kept: vec![Kept::Absent; paths.len()],
            state: State::Value,
            depth: 0,
            objects: 0,
            trail: Vec::new(),
            key: Vec::new(),
            next: Next::Pass,
            keeping: None,
        }
    }

    /// Makes it the reader of another text.
    pub(super) fn begin_again(&mut self) {
        self.kept.fill(Kept::Absent);
        self.state = State::Value;
        self.depth = 0;
        self.trail.clear();
        self.next = Next::Pass;
        self.keeping = None;
    }

    /// What was kept, path by path. `None` when what was read is no JSON text, or too deep.
    pub(super) fn kept(&self) -> Option<&[Kept]> {
        (!matches!(self.state, State::Broken)).then_some(&self.kept)
    }

    /// Whether a whole text was read, with nothing but space behind it.
    pub(super) fn is_whole(&self) -> bool {
        self.depth == 0 && matches!(self.state, State::After)
    }

    /// Reads the next bytes. Linear in them.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        // Where in these bytes the rest of the kept value begins.
        let mut from = 0;
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Text(Text { is_key, place: Place::Plain }) => {
                    let end = find_special(&bytes[at..]);
                    let end = end.map_or(bytes.len(), |end| at + end);
                    self.key_text(is_key, &bytes[at..end]);
                    at = end;
                    if at < bytes.len() {
                        self.in_text(is_key, bytes[at]);
                        at += 1;
                        self.keep_ended(bytes, from, at);
                    }
                }
                State::Number(number) => match number.then(bytes[at]) {
                    Ok(number) => {
                        self.state = State::Number(number);
                        at += 1;
                        if let Number::Whole = number {
                            // More of the same, which nearly all numbers are.
                            at += bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                        }
                    }
                    // The byte behind a number is not of it.
                    Err(whole) => {
                        self.state = if whole { State::After } else { State::Broken };
                        self.keep_ended(bytes, from, at);
                    }
                },
                State::Word(rest) => {
                    let come = rest.len().min(bytes.len() - at);
                    self.state = match rest.strip_prefix(&bytes[at..at + come]) {
                        Some([]) => State::After,
                        Some(rest) => State::Word(rest),
                        None => State::Broken,
                    };
                    at += come;
                    self.keep_ended(bytes, from, at);
                }
                State::Broken => return,
                _ => {
                    let kept_before = self.keeping.is_some();
                    self.step(bytes[at]);
                    if !kept_before && self.keeping.is_some() {
                        from = at;
                    }
                    at += 1;
                    self.keep_ended(bytes, from, at);
                }
            }
        }
        if let Some(keeping) = &mut self.keeping {
            keeping.push(&bytes[from..]);
        }
    }

    /// Puts the kept value away if it ends here.
    #[inline]
    fn keep_ended(&mut self, bytes: &[u8], from: usize, to: usize) {
        if self.keeping.is_some() && matches!(self.state, State::After) {
            self.put_away(bytes, from, to);
        }
    }

    fn put_away(&mut self, bytes: &[u8], from: usize, to: usize) {
        if let Some(mut keeping) = self.keeping.take_if(|keeping| keeping.depth == self.depth) {
            keeping.push(&bytes[from..to]);
            self.kept[keeping.path] = keeping.text.map_or(Kept::TooLong, Kept::Value);
        }
    }

    fn step(&mut self, byte: u8) {
        let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.state = match (self.state, byte) {
            (State::Text(text), _) => {
                self.key_text(text.is_key, &[byte]);
                text.then(byte)
            }
            (state, _) if space => state,
            (State::FirstItem, b']') | (State::FirstKey, b'}') => self.close(byte),
            (State::Value | State::FirstItem, _) => self.begin(byte),
            (State::FirstKey | State::Key, b'"') => {
                self.key.clear();
                State::Text(Text { is_key: true, place: Place::Plain })
            }
            (State::Colon, b':') => State::Value,
            (State::After, b',') if self.depth > 0 => {
                if self.in_object() {
                    State::Key
                } else {
                    State::Value
                }
            }
            (State::After, b']' | b'}') => self.close(byte),
            _ => State::Broken,
        };
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Whether the innermost object is one that a path goes through.
    fn on_the_way(&self) -> bool {
        self.trail.len() + 1 == self.depth as usize
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> State {
        let next = mem::replace(&mut self.next, Next::Pass);
        if let Next::Keep(path) = next {
            self.keeping = Some(Keeping { path, depth: self.depth, text: Some(Vec::new()) });
        }
        match byte {
            b'"' => State::Text(Text { is_key: false, place: Place::Plain }),
            b'{' | b'[' if self.depth == DEPTH_MAX => State::Broken,
            b'{' => {
                self.depth += 1;
                self.objects = self.objects << 1 | 1;
                if let Next::Enter(key) = next {
                    self.trail.push(key);
                }
                State::FirstKey
            }
            b'[' => {
                self.depth += 1;
                self.objects <<= 1;
                State::FirstItem
            }
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Whole),
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            _ => State::Broken,
        }
    }

    fn close(&mut self, byte: u8) -> State {
        if self.depth == 0 || self.in_object() != (byte == b'}') {
            return State::Broken;
        }
        if self.in_object() && self.on_the_way() {
            self.trail.pop();
        }
        self.depth -= 1;
        self.objects >>= 1;
        State::After
    }

    /// A byte of a string that is not plain text.
    fn in_text(&mut self, is_key: bool, byte: u8) {
        self.state = match byte {
            b'"' if is_key => {
                self.key_ended();
                State::Colon
            }
            b'"' => State::After,
            b'\\' => {
                self.key_text(is_key, b"\\");
                State::Text(Text { is_key, place: Place::Escape })
            }
            _ => State::Broken,
        };
    }

    fn key_text(&mut self, is_key: bool, text: &[u8]) {
        if is_key && self.on_the_way() {
            // One byte too many is enough to see that it is too long.
            let room = KEY_MAX + 1 - self.key.len();
            self.key.extend_from_slice(&text[..text.len().min(room)]);
        }
    }

    /// Looks whether a path goes through the key that was read.
    fn key_ended(&mut self) {
        self.next = Next::Pass;
        if !self.on_the_way() || self.key.len() > KEY_MAX {
            return;
        }
        if self.key.contains(&b'\\') {
            let quoted = [b"\"", &*self.key, b"\""].concat();
            let Ok(key) = serde_json::from_slice::<String>(&quoted) else { return };
            self.key = key.into_bytes();
        }
        for (index, path) in self.paths.iter().enumerate() {
            let Some([first, behind @ ..]) = path.strip_prefix(&*self.trail) else { continue };
            if first.as_bytes() != self.key {
                continue;
            }
            // What an earlier value of the same key held no longer counts.
            self.kept[index] = Kept::Absent;
            self.next = if behind.is_empty() { Next::Keep(index) } else { Next::Enter(first) };
        }
    }
}

impl Keeping {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(text) = &mut self.text {
            if text.len() + bytes.len() > KEPT_MAX {
                self.text = None;
            } else {
                text.extend_from_slice(bytes);
            }
        }
    }
}

impl Text {
    /// Behind one more byte of an escape.
    fn then(self, byte: u8) -> State {
        let place = match (self.place, byte) {
            (Place::Escape, b'u') => Place::Digits(4),
            (Place::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Place::Plain,
            (Place::Digits(1), _) if byte.is_ascii_hexdigit() => Place::Plain,
            (Place::Digits(n), _) if byte.is_ascii_hexdigit() => Place::Digits(n - 1),
            _ => return State::Broken,
        };
        State::Text(Text { place, ..self })
    }
}

/// Where the first byte of a string is that is not plain text: its end, an escape, or what may not
/// be in one.
fn find_special(bytes: &[u8]) -> Option<usize> {
    let end = memchr2(b'"', b'\\', bytes);
    let text = &bytes[..end.unwrap_or(bytes.len())];
    // Without a branch for each byte, which compilers make a few instructions of.
    let least = text.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    if least < 0x20 { text.iter().position(|byte| *byte < 0x20) } else { end }
}

#[cfg(test)]
mod tests;
