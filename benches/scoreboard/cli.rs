//! The command line.

use crate::scale::Scale;
use clap::Parser;

const AFTER: &str = "\
Examples:
  cargo bench --bench scoreboard
  cargo bench --bench scoreboard -- --quick
  cargo bench --bench scoreboard -- route15
  cargo bench --bench scoreboard --features sqlite,postgres -- settle

Prints a table in Markdown, for benches/README.md, and writes scoreboard.json to cargo's target
directory. Progress goes to stderr. A target that is missed is told and is no failure: exit status 0
if everything was measured, 1 if the result could not be written, 2 if the arguments are wrong.";

/// What the arguments say.
#[derive(Debug, Parser)]
#[command(
    name = "scoreboard",
    bin_name = "cargo bench --bench scoreboard --",
    about = "Measures decisions beside a bare fetch_add and beside other limiters.",
    max_term_width = 100,
    after_help = AFTER
)]
pub struct Cli {
    /// Measure only the rows that have this in their name
    #[arg(value_name = "NAME")]
    pub filter: Option<String>,

    /// Fewer rounds, and a tenth of the entries where there are a million: about a minute instead
    /// of up to six. Rows of many entries differ from those of a full run
    #[arg(long)]
    quick: bool,

    /// What `cargo bench` passes to every bench, and `cargo test` does not
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Cli {
    pub fn scale(&self) -> Scale {
        if self.quick { Scale::QUICK } else { Scale::FULL }
    }
}
