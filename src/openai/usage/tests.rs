//! `usage` as servers send it, and as none should.

use super::*;

fn said(input: u64, output: u64, cached: u64, written: u64) -> Said {
    Said::Tokens(Usage {
        input_tokens: input,
        output_tokens: output,
        cached_tokens: cached,
        cache_write_tokens: written,
        ..Usage::default()
    })
}

#[test]
fn what_servers_send() {
    let table: &[(&str, Said)] = &[
        ("null", Said::Nothing),
        (r#"{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}"#, said(9, 7, 0, 0)),
        (r#"{"input_tokens":9,"output_tokens":7,"total_tokens":16}"#, said(9, 7, 0, 0)),
        (r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, said(0, 0, 0, 0)),
        (r#"{"prompt_tokens":9,"completion_tokens":7}"#, said(9, 7, 0, 0)),
        // One of the three follows from the others.
        (r#"{"prompt_tokens":9,"total_tokens":9}"#, said(9, 0, 0, 0)),
        (r#"{"prompt_tokens":9,"completion_tokens":null,"total_tokens":10}"#, said(9, 1, 0, 0)),
        (r#"{"completion_tokens":7,"total_tokens":16}"#, said(9, 7, 0, 0)),
        // Cached input is part of the input, by whatever name.
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,
                "prompt_tokens_details":{"cached_tokens":4}}"#,
            said(5, 7, 4, 0),
        ),
        (
            r#"{"input_tokens":9,"output_tokens":7,"input_tokens_details":{"cached_tokens":9},
                "output_tokens_details":{"reasoning_tokens":6}}"#,
            said(0, 7, 9, 0),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,"prompt_cache_hit_tokens":4,
                "prompt_cache_miss_tokens":5}"#,
            said(5, 7, 4, 0),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,"cache_read_input_tokens":4,
                "cache_creation_input_tokens":2}"#,
            said(3, 7, 4, 2),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,
                "prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2}}"#,
            said(3, 7, 4, 2),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,"prompt_tokens_details":null,
                "completion_tokens_details":{"reasoning_tokens":null}}"#,
            said(9, 7, 0, 0),
        ),
        // More in the cache than was sent: what was sent is what was sent.
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,
                "prompt_tokens_details":{"cached_tokens":10},"cache_creation_input_tokens":3}"#,
            said(0, 7, 9, 0),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":8},
                "cache_creation_input_tokens":18446744073709551615}"#,
            said(0, 7, 8, 1),
        ),
        // What was reasoned, where only the total has it, is output; a total too small is none.
        (
            r#"{"prompt_tokens":9,"completion_tokens":7,"total_tokens":116,
                "completion_tokens_details":{"reasoning_tokens":100}}"#,
            said(9, 107, 0, 0),
        ),
        (r#"{"prompt_tokens":9,"completion_tokens":7,"total_tokens":3}"#, said(9, 7, 0, 0)),
        // The largest numbers are numbers.
        (
            r#"{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}"#,
            said(u64::MAX, u64::MAX, 0, 0),
        ),
        // Costs and other things that are no tokens may be anything.
        (r#"{"prompt_tokens":9,"completion_tokens":7,"cost":0.0012,"x":[{}]}"#, said(9, 7, 0, 0)),
    ];
    for (text, wanted) in table {
        assert_eq!(read(text.as_bytes(), false), *wanted, "{text}");
    }
}

#[test]
fn embeddings_have_no_output() {
    let table: &[(&str, Said)] = &[
        (r#"{"prompt_tokens":9,"total_tokens":9}"#, said(9, 0, 0, 0)),
        (r#"{"prompt_tokens":9}"#, said(9, 0, 0, 0)),
        (r#"{"total_tokens":9}"#, said(9, 0, 0, 0)),
        (r#"{"prompt_tokens":9,"total_tokens":12}"#, said(9, 0, 0, 0)),
        ("{}", Said::Unreadable),
    ];
    for (text, wanted) in table {
        assert_eq!(read(text.as_bytes(), true), *wanted, "{text}");
    }
}

/// What is no count of tokens is not known: never zero, never wrapped, never rounded.
#[test]
fn what_is_no_usage() {
    let whole = [
        "{}",
        "[]",
        "1",
        "\"\"",
        "true",
        "{\"prompt_tokens\":9}",
        "{\"completion_tokens\":9}",
        "{\"total_tokens\":9}",
        "{\"prompt_tokens\":9,\"total_tokens\":8}",
        "",
        "{",
        "nul",
        "{\"completion_tokens\":9,\"total_tokens\":8}",
    ];
    for text in whole {
        assert_eq!(read(text.as_bytes(), false), Said::Unreadable, "{text}");
    }
    let counts = [
        "-1",
        "-0",
        "1.0",
        "1e2",
        "0.5",
        "18446744073709551616",
        "1e999",
        "\"9\"",
        "true",
        "[]",
        "[9]",
        "{}",
        "-9223372036854775808",
    ];
    for count in counts {
        for text in [
            format!("{{\"prompt_tokens\":{count},\"completion_tokens\":7,\"total_tokens\":16}}"),
            format!("{{\"prompt_tokens\":9,\"completion_tokens\":{count},\"total_tokens\":16}}"),
            format!("{{\"prompt_tokens\":9,\"completion_tokens\":7,\"total_tokens\":{count}}}"),
            format!(
                "{{\"prompt_tokens\":9,\"completion_tokens\":7,\
                 \"prompt_tokens_details\":{{\"cached_tokens\":{count}}}}}"
            ),
            format!(
                "{{\"prompt_tokens\":9,\"completion_tokens\":7,\
                 \"cache_creation_input_tokens\":{count}}}"
            ),
        ] {
            assert_eq!(read(text.as_bytes(), false), Said::Unreadable, "{text}");
        }
    }
    let text = br#"{"prompt_tokens":9,"completion_tokens":7,"prompt_tokens_details":4}"#;
    assert_eq!(read(text, false), Said::Unreadable);
}
