//! Documents that are long enough to be read in pieces: they mean and say what they would in one.

use tollkeeper::{Config, Engine};

use super::{config, limit, owner};

/// Far more owners than are in a piece.
const MANY: usize = 200;

/// Owners, of which the one at `odd` has `instead` for its budgets.
fn owners(odd: usize, instead: &str) -> String {
    let block = |i: usize| {
        let right = format!("[{{ id = \"b{i}\", limit = \"$5\", period = \"1M\" }}]");
        let budgets = if i == odd { instead } else { &right };
        format!("[[owners]]\nid = \"key:{i}\"\nbudgets = {budgets}\n")
    };
    (0..MANY).map(block).collect()
}

fn wrong(text: &str) -> String {
    Config::from_toml(text).map(|_| ()).expect_err("it is wrong").to_string()
}

#[test]
fn what_is_in_pieces_is_what_is_in_one() {
    let tables = config(&owners(MANY, ""));
    let list = (0..MANY).map(|i| {
        let budget = format!("{{ id = \"b{i}\", limit = \"$5\", period = \"1M\" }}");
        format!("{{ id = \"key:{i}\", budgets = [{budget}] }}")
    });
    let list = config(&format!("owners = [{}]", list.collect::<Vec<_>>().join(",\n")));
    assert!(tables.owners().eq(list.owners()) && tables.limits().eq(list.limits()));
    assert_eq!(tables.limits().count(), MANY);
    let engine = Engine::new();
    engine.apply(&tables).expect("fits");
    assert_eq!(engine.apply(&list), Ok(tollkeeper::Applied::default()));
}

/// Parents and what hangs on an owner may be far from it, or in a table of their own.
#[test]
fn owners_of_one_piece_have_to_do_with_those_of_another() {
    let child = "[]\nparents = [\"key:199\", \"key:0\"]\n\
        [[owners.concurrency]]\nid = \"c\"\nlimit = 1\n";
    let config = config(&owners(100, child));
    let (id, parents) = config.owners().nth(100).expect("it is there");
    assert_eq!((id, parents), (&owner("key:100"), &[owner("key:199"), owner("key:0")][..]));
    assert_eq!(config.limits().filter(|(id, ..)| **id == owner("key:100")).count(), 1);
    let twice = wrong(&owners(100, "[{ id = \"b7\", period = \"1d\" }]"));
    assert_eq!(
        twice,
        "owners[100].budgets[0].id: the limit b7 is there twice (the other is key:7's); ids are \
         unique over all owners"
    );
    let again = format!("{}[[owners]]\nid = \"key:3\"\n", owners(MANY, ""));
    assert_eq!(wrong(&again), "owners[200].id: the owner key:3 is there twice; each once");
}

#[test]
fn an_error_has_its_line_and_place_in_the_whole() {
    assert_eq!(
        wrong(&owners(150, "[{ id = \"b\", periode = \"1d\" }]")),
        "line 453: owners[150].budgets[0].periode: unknown field `periode`, expected one of `id`, \
         `limit`, `period`, `calendar`, `anchor`, `thresholds`, `enforcement`"
    );
    let lines = wrong(&owners(150, "[{ id = \"b\" period = \"1d\" }]"));
    assert_eq!(lines, "line 453: missing comma between key-value pairs, expected `,`");
    let meaning = wrong(&owners(150, "[{ id = \"b\", period = \"0s\" }]"));
    assert!(meaning.starts_with("owners[150].budgets[0].period: the period \"0s\" is zero"));
    // What is wrong with the form is told before what is wrong with the meaning.
    let both = owners(20, "[{ id = \"b\", period = \"0s\" }]") + "[[owners]]\nid = 1\n";
    assert!(wrong(&both).starts_with("line 602: owners[200].id: invalid type: integer `1`"));
}

#[test]
fn prices_may_be_anywhere() {
    let price =
        |model: &str| format!("[[prices]]\nmodel = \"{model}\"\ninput = \"$1\"\noutput = \"$2\"\n");
    let many = owners(MANY, "");
    let text = price("a") + &many + &price("b") + "[[owners]]\nid = \"key:last\"\n" + &price("c");
    let apart = config(&text);
    assert_eq!((apart.prices().len(), apart.owners().count()), (3, MANY + 1));
    assert_eq!(
        wrong(&(text + &price("b"))),
        "prices[3].model: the model b is there twice; each once"
    );
    let list = "prices = [{ model = \"a\", input = \"$1\", output = \"$2\" }]\n";
    assert!(wrong(&(list.to_owned() + &many + &price("b"))).starts_with("line 602: "));
}

/// A line `[[owners]]` is none of an owner in a text, a list or a second document.
#[test]
fn lines_that_only_look_like_owners() {
    let model = "[[owners]]\n".repeat(MANY);
    let text = format!("prices = [{{ model = '''\n{model}''', input = \"$1\", output = \"$1\" }}]");
    let inside = config(&text);
    assert!(inside.prices().get(&model).is_ok());
    assert_eq!(inside.owners().count(), 0);
    let unclosed = "owners = [\n".to_owned() + &owners(MANY, "");
    assert!(wrong(&unclosed).starts_with("line "));
    let closed = "owners = []\n".to_owned() + &owners(MANY, "");
    assert!(wrong(&closed).starts_with("line 2: "));
    let engine = Engine::new();
    engine.apply(&config(&owners(MANY, "[] # [[owners]]"))).expect("fits");
    assert!(engine.usage(&limit("b199")).is_some());
}
