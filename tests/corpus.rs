//! Runs the bodies of the fuzz targets over the committed corpus, on the stable toolchain: what a
//! fuzzer once found stays found, on every machine.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder, sorted, without those that are hidden.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} cannot be listed: {error}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn every_target_holds_on_its_corpus() {
    let mut failed = Vec::new();
    for (target, body) in bodies::TARGETS {
        let corpus = fuzz_folder().join("corpus").join(target);
        let inputs = names_in(&corpus);
        for input in &inputs {
            let data = fs::read(corpus.join(input)).unwrap();
            // The panic message is in the output; the names of all inputs that fail come below.
            if panic::catch_unwind(|| body(&data)).is_err() {
                failed.push(format!("fuzz/corpus/{target}/{input}"));
            }
        }
        // Straight to the stream, because the test harness shows what `println!` said only when
        // a test fails, and these counts are for those that pass.
        writeln!(io::stdout(), "corpus: {target}: {} inputs ran", inputs.len()).unwrap();
        assert!(!inputs.is_empty(), "fuzz/corpus/{target} is empty: nothing was checked");
    }
    assert!(failed.is_empty(), "these inputs fail:\n{}", failed.join("\n"));
}

#[test]
fn every_target_has_its_body_its_door_and_its_corpus() {
    let bodies: BTreeSet<String> =
        bodies::TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(bodies, names_in(&fuzz_folder().join("corpus")), "TARGETS, corpus folders");
    let files: BTreeSet<String> = bodies.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(files, names_in(&fuzz_folder().join("fuzz_targets")), "TARGETS, fuzz_targets/*.rs");
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for (name, _) in bodies::TARGETS {
        let binary = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&binary), "fuzz/Cargo.toml lacks\n{binary}");
    }
}
