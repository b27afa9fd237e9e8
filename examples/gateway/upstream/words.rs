//! What the built-in upstream says, and how it counts.

/// A token is a piece of so many characters.
const TOKEN: usize = 4;

/// So many tokens does it say unasked.
const TOKENS: usize = 64;

const SAYING: &str = "Whoever comes to a bridge pays the toll before crossing, and the keeper \
    writes down what was paid when the traveller has left on the other side. ";

/// What it says, in tokens, and whether that is all it wanted to say.
pub struct Said {
    pub tokens: Vec<String>,
    pub whole: bool,
}

/// The tokens of a text.
pub fn count(text: &str) -> usize {
    text.chars().count().div_ceil(TOKEN)
}

/// Answers a text, with so many tokens at most.
pub fn say(asked: &str, at_most: Option<usize>) -> Said {
    let excerpt: String = asked.chars().take(80).collect();
    let mut text = format!("You said: {excerpt:?}. ");
    text.extend(SAYING.chars().cycle().take(TOKENS * TOKEN));
    let mut tokens = tokens(&text);
    tokens.truncate(TOKENS);
    let whole = at_most.is_none_or(|at_most| tokens.len() <= at_most);
    tokens.truncate(at_most.unwrap_or(TOKENS));
    Said { tokens, whole }
}

fn tokens(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(TOKEN).map(|piece| piece.iter().collect()).collect()
}
