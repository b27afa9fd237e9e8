//! The program `examples/load`, run as a whole on small documents.

#![cfg(not(tollkeeper_loom))]

#[path = "../examples/load.rs"]
#[allow(dead_code)] // Its `main` is for the command line.
mod load;

use std::ffi::OsString;

/// The exit code, and what is printed to stdout and stderr.
fn run(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("load").chain(args.iter().copied()).map(OsString::from);
    let code = load::load(args, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("what is printed is text");
    (code, text(out), text(err))
}

#[test]
fn made_up_documents_are_loaded() {
    for (format, named) in [("json", "JSON"), ("toml", "TOML")] {
        for owners in ["0", "1", "1000"] {
            let (code, out, err) = run(&["--owners", owners, "--format", format]);
            assert_eq!((code, &*err), (0, ""), "{out}");
            assert!(out.lines().next().is_some_and(|line| line.ends_with(named)), "{out}");
        }
        let (_, out, _) = run(&["--owners", "1000", "--format", format]);
        for line in ["          1,000 owners, 2,000 limits", "created   2,000 limits"] {
            assert!(out.lines().any(|other| other == line), "{out}");
        }
    }
}

#[test]
fn files_are_loaded_or_said_to_be_wrong() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the file can be written");
        path.to_str().expect("temporary paths are UTF-8").to_owned()
    };
    let toml = file("a.toml", "[[owners]]\nid = \"key:a\"\n");
    let (code, out, _) = run(&[&toml]);
    assert!(code == 0 && out.contains("1 owners, 0 limits"), "{out}");
    for (path, said) in [
        (file("b.toml", "[[owners]]\nid = 1\n"), "load: line 2: owners[0].id: invalid type"),
        (file("c.json", "{\"owners\": []} more"), "load: trailing characters"),
        (file("d.yaml", ""), "accepted: names in .toml or .json"),
        ("nowhere.toml".to_owned(), "load: cannot read nowhere.toml: "),
    ] {
        let (code, _, err) = run(&[&path]);
        assert!(code == 2 && err.contains(said), "{err}");
    }
}

#[test]
fn help_is_an_answer() {
    let (code, out, err) = run(&["--help"]);
    assert!(code == 0 && err.is_empty() && out.contains("--owners <N>"), "{out}");
    let (code, _, err) = run(&["--owners", "many"]);
    assert!(code == 2 && err.contains("invalid value 'many'"), "{err}");
}
