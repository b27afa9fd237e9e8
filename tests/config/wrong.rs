//! Documents that are refused: each with the exact words.

use tollkeeper::{Config, ConfigError};

/// A case: what is written in the place of `@`, and the error, in which `@` is the path there.
type Case = (&'static str, &'static str);

const PERIOD: &str = "accepted: numbers with units, larger units first, such as `1h30m`, `1.5d` \
    or `3M` (ms, s, m for minutes, h, d, w, M for months, Q for quarters, Y for years), or `never`";
const CALENDAR: &str = "accepted with the calendar: 1d, 1w, 1M, 2M, 3M, 4M, 6M, 12M, 1Q, 2Q, 4Q, \
    1Y";
const MONEY: &str = "accepted: digits with at most 9 after one point, such as `12.5` or `1_000`, \
    at most 4611686018.427387903, with or without one of `$`, `€`, `£` in front";
const COUNT: &str = "expected a whole number from 0 to 4611686018427387903";

const RATE: &str =
    "expected a rate such as \"60/m\" or \"1000/12h\", or a table of limit and period";

fn without_line(mut error: ConfigError) -> ConfigError {
    error.line = None;
    error
}

/// Checks every case as TOML, and as JSON where JSON can say the same: line apart, the same error.
fn check(place: &str, path: &str, cases: &[Case]) {
    for (written, expected) in cases {
        let text = place.replace('@', written);
        let expected = expected
            .replace('@', path)
            .replace("<period>", PERIOD)
            .replace("<calendar>", CALENDAR)
            .replace("<money>", MONEY)
            .replace("<count>", COUNT)
            .replace("<rate>", RATE);
        let error = Config::from_toml(&text).map(|_| ()).expect_err(&text);
        assert_eq!(error.to_string(), expected, "in\n{text}");
        if let Ok(json) = toml::from_str::<serde_json::Value>(&text) {
            let in_json = Config::deserialize(json).map(|_| ()).expect_err(&text);
            assert_eq!(in_json, without_line(error), "as JSON, in\n{text}");
        }
    }
}

#[test]
fn a_document() {
    check(
        "@",
        "",
        &[
            ("owner = []", "line 1: owner: unknown field `owner`, expected `owners` or `prices`"),
            (
                "\n[owners]\nid = \"key:a\"",
                "line 2: owners: invalid type: map, expected a sequence",
            ),
            (
                "owners = [\n\"key:a\"]",
                "line 2: owners[0]: invalid type: string \"key:a\", expected a table with an id, \
                 such as { id = \"key:k1\" }, and what hangs on it",
            ),
            (
                "[[owners]]\nid = \"key:a\"\nbudgets = [{ id = \"b\" limit = \"1\" }]",
                "line 3: missing comma between key-value pairs, expected `,`",
            ),
            ("[[owners]\nid = \"key:a\"", "line 1: unclosed array table, expected `]`"),
            ("[[owners]]\nid = \"key:a\"\nid = \"key:b\"", "line 3: duplicate key"),
        ],
    );
}

#[test]
fn an_owner() {
    check(
        "owners = [@]",
        "owners[0]",
        &[
            ("{ parents = [] }", "line 1: @: missing field `id`"),
            (
                "[\"key:a\"]",
                "line 1: @: invalid type: sequence, expected a table with an id, such as \
                 { id = \"key:k1\" }, and what hangs on it",
            ),
            (
                "{ id = \"key:a\", parent = [\"team:b\"] }",
                "line 1: @.parent: unknown field `parent`, expected one of `id`, `parents`, \
                 `budgets`, `rate_limits`, `concurrency`",
            ),
            (
                "{ id = 1 }",
                "line 1: @.id: invalid type: integer `1`, expected an owner as text, such as \
                 \"key:k1\"",
            ),
            (
                "{ id = \"k1\" }",
                "line 1: @.id: the owner \"k1\" has no kind; accepted: `kind:name`, such as \
                 `key:k1`",
            ),
            (
                "{ id = \"Key:k1\" }",
                "line 1: @.id: the owner's kind \"Key\" is malformed; accepted: a letter a to z, \
                 then letters a to z, digits, `_` and `-`",
            ),
            (
                "{ id = \"\"\"key:a\nb\"\"\" }",
                "line 1: @.id: the owner's name \"a\\nb\" contains '\\n'; accepted: any text \
                 without control characters, in owners' names also without `&`",
            ),
            (
                "{ id = \"key:a&key:a\" }",
                "line 1: @.id: key:a cannot be paired with itself; accepted: two different owners",
            ),
            (
                "{ id = \"key:a\", parents = \"team:a\" }",
                "line 1: @.parents: invalid type: string \"team:a\", expected a sequence",
            ),
            (
                "{ id = \"key:a\", parents = [\"a\"] }",
                "line 1: @.parents[0]: the owner \"a\" has no kind; accepted: `kind:name`, such \
                 as `key:k1`",
            ),
        ],
    );
}

#[test]
fn what_is_there_twice() {
    check(
        "@",
        "",
        &[
            (
                "owners = [{ id = \"key:a\" }, { id = \"key:b\" }, { id = \"key:a\" }]",
                "owners[2].id: the owner key:a is there twice; each once",
            ),
            (
                "owners = [{ id = \"key:a\", budgets = [{ id = \"x\", limit = \"1\", \
                 period = \"1d\" }], concurrency = [{ id = \"c\", limit = 1 }, \
                 { id = \"x\", limit = 1 }] }]",
                "owners[0].concurrency[1].id: the limit x is there twice (the other is key:a's); \
                 ids are unique over all owners",
            ),
            (
                "owners = [{ id = \"key:a\", concurrency = [{ id = \"x\", limit = 1 }] }, \
                 { id = \"key:b\", rate_limits = [{ id = \"r\", requests = \"1/m\" }, \
                 { id = \"x\", requests = \"1/m\" }] }]",
                "owners[1].rate_limits[1].id: the limit x is there twice (the other is key:a's); \
                 ids are unique over all owners",
            ),
            (
                "prices = [{ model = \"m\", input = \"1\", output = \"1\" }, \
                 { model = \"m\", input = \"2\", output = \"1\" }]",
                "prices[1].model: the model m is there twice; each once",
            ),
        ],
    );
}

#[test]
fn parents() {
    check(
        "owners = [@]",
        "",
        &[
            (
                "{ id = \"team:a\" }, { id = \"key:a\", parents = [\"team:a\", \"team:a\"] }",
                "owners[1].parents[1]: the parent team:a is there twice; each once",
            ),
            (
                "{ id = \"key:a\", parents = [\"team:a\"] }",
                "owners[0].parents[0]: there is no owner team:a in the document; parents are \
                 owners of it",
            ),
            (
                "{ id = \"key:a\", parents = [\"key:a\"] }",
                "owners[0].parents[0]: key:a cannot have key:a for a parent: it is among key:a's \
                 ancestors",
            ),
            (
                "{ id = \"key:a\", parents = [\"key:b\"] }, \
                 { id = \"key:b\", parents = [\"key:a\"] }",
                "owners[1].parents[0]: key:b cannot have key:a for a parent: it is among key:a's \
                 ancestors",
            ),
            (
                "{ id = \"key:a\", parents = [\"key:d\", \"key:b\"] }, { id = \"key:d\" }, \
                 { id = \"key:b\", parents = [\"key:c\"] }, \
                 { id = \"key:c\", parents = [\"key:d\", \"key:a\"] }",
                "owners[3].parents[1]: key:c cannot have key:a for a parent: it is among key:a's \
                 ancestors",
            ),
            (
                "{ id = \"team:a\" }, { id = \"key:a&model:m\", parents = [\"team:a\"] }",
                "owners[1].parents[0]: the pair key:a&model:m has no parents and is no parent: \
                 its members have theirs",
            ),
            (
                "{ id = \"key:b\", parents = [\"key:a&model:m\"] }, { id = \"key:a&model:m\" }",
                "owners[0].parents[0]: the pair key:a&model:m has no parents and is no parent: \
                 its members have theirs",
            ),
        ],
    );
}

#[test]
fn a_budget() {
    check(
        "[[owners]]\nid = \"key:a\"\nbudgets = [@]",
        "owners[0].budgets[0]",
        &[
            (
                "\"b\"",
                "line 3: @: invalid type: string \"b\", expected a table with id, limit and period",
            ),
            ("{ id = \"b\", limit = \"5\" }", "line 3: @: missing field `period`"),
            (
                "{ id = \"b\", period = \"1d\", resets = true }",
                "line 3: @.resets: unknown field `resets`, expected one of `id`, `limit`, \
                 `period`, `calendar`, `anchor`, `thresholds`, `enforcement`",
            ),
            (
                "{ id = \"\", period = \"1d\" }",
                "line 3: @.id: the limit id is empty; accepted: 1 to 256 bytes of text",
            ),
        ],
    );
}

#[test]
fn money() {
    check(
        "owners = [{ id = \"key:a\", budgets = [{ id = \"b\", period = \"1d\", limit = @ }] }]",
        "line 1: owners[0].budgets[0].limit",
        &[
            (
                "5",
                "@: invalid type: integer `5`, expected an amount of money as text, such as \
                 \"12.50\"",
            ),
            (
                "5.5",
                "@: invalid type: floating point `5.5`, expected an amount of money as text, \
                 such as \"12.50\"",
            ),
            (
                "\"$1,000\"",
                "@: not an amount of money: the number \"1,000\" has ',' at byte 1; <money>",
            ),
            (
                "\"-5\"",
                "@: not an amount of money: the number \"-5\" has a sign, amounts are never \
                 negative; <money>",
            ),
            (
                "\"4611686018.427387904\"",
                "@: not an amount of money: the number \"4611686018.427387904\" is too large; \
                 <money>",
            ),
            (
                "\"0.0000000001\"",
                "@: not an amount of money: the number \"0.0000000001\" has 10 fraction digits; \
                 <money>",
            ),
            ("\"\"", "@: not an amount of money: the number is empty; <money>"),
        ],
    );
}

#[test]
fn periods_and_calendars() {
    check(
        "owners = [{ id = \"key:a\", budgets = [{ id = \"b\", period = @ }] }]",
        "owners[0].budgets[0]",
        &[
            (
                "60",
                "line 1: @.period: invalid type: integer `60`, expected a period as text, such \
                 as \"1h30m\", \"1M\" or \"never\"",
            ),
            (
                "\"1month\"",
                "@.period: the period \"1month\" has the unknown unit \"month\": M is months, m \
                 is minutes; <period>",
            ),
            ("\"0s\"", "@.period: the period \"0s\" is zero, the shortest is `1ms`; <period>"),
            (
                "\"1h\", calendar = {}",
                "@.period: the period \"1h\" cannot follow the calendar: the shortest calendar \
                 window is a day; <calendar>",
            ),
            (
                "\"5M\", calendar = {}",
                "@.period: the period \"5M\" cannot follow the calendar: that many months divide \
                 no year; <calendar>",
            ),
            (
                "\"2d\", calendar = {}",
                "@.period: the period \"2d\" cannot follow the calendar: that many days divide \
                 no week; <calendar>",
            ),
            (
                "\"never\", calendar = {}",
                "@.period: the period \"never\" cannot follow the calendar: it never ends; \
                 <calendar>",
            ),
            (
                "\"1d\", calendar = { tz = \"UTC\" }",
                "line 1: @.calendar.tz: unknown field `tz`, expected one of `zone`, `week_start`, \
                 `fiscal_start`",
            ),
            (
                "\"1d\", calendar = \"UTC\"",
                "line 1: @.calendar: invalid type: string \"UTC\", expected a table that may have \
                 zone, week_start and fiscal_start",
            ),
            (
                "\"1d\", calendar = [\"UTC\"]",
                "line 1: @.calendar: invalid type: sequence, expected a table that may have zone, \
                 week_start and fiscal_start",
            ),
            (
                "\"1d\", calendar = { zone = 1 }",
                "line 1: @.calendar.zone: invalid type: integer `1`, expected a time zone as \
                 text, such as \"Europe/Berlin\" or \"UTC\"",
            ),
            (
                "\"1w\", calendar = { week_start = \"Sun\" }",
                "line 1: @.calendar.week_start: \"Sun\" is not a weekday; accepted: monday, \
                 tuesday, and so on to sunday",
            ),
            (
                "\"1Q\", calendar = { fiscal_start = 13 }",
                "line 1: @.calendar.fiscal_start: invalid value: integer `13`, expected a whole \
                 number from 1 to 12",
            ),
            (
                "\"1Q\", calendar = { fiscal_start = \"april\" }",
                "line 1: @.calendar.fiscal_start: invalid type: string \"april\", expected a \
                 whole number from 1 to 12",
            ),
            (
                "\"1d\", anchor = \"yesterday\"",
                "line 1: @.anchor: \"yesterday\" is not an RFC 3339 timestamp; accepted: date, \
                 `T`, time with at most nine fraction digits, and `Z` or an offset, such as \
                 `2026-02-28T23:59:59.5Z`",
            ),
        ],
    );
}

#[cfg(feature = "tz")]
#[test]
fn zones() {
    check(
        "owners = [{ id = \"key:a\", budgets = [{ id = \"b\", period = \"1d\", calendar = @ }] }]",
        "line 1: owners[0].budgets[0].calendar.zone",
        &[(
            "{ zone = \"Europe/Berlim\" }",
            "@: \"Europe/Berlim\" is not a time zone; accepted: UTC and IANA names, such as \
             `Europe/Berlin`",
        )],
    );
}

#[test]
fn thresholds() {
    check(
        "owners = [{ id = \"key:a\", budgets = [{ id = \"b\", period = \"1d\", \
         thresholds = @ }] }]",
        "owners[0].budgets[0].thresholds",
        &[
            ("80", "line 1: @: invalid type: integer `80`, expected a sequence"),
            (
                "[\"80%\"]",
                "line 1: @[0]: invalid type: string \"80%\", expected a whole number from 1 to 100",
            ),
            (
                "[80, 101]",
                "line 1: @[1]: invalid value: integer `101`, expected a whole number from 1 to 100",
            ),
            (
                "[0]",
                "line 1: @[0]: invalid value: integer `0`, expected a whole number from 1 to 100",
            ),
            (
                "[-1]",
                "line 1: @[0]: invalid value: integer `-1`, expected a whole number from 1 to 100",
            ),
            ("[1, 2, 3, 4, 5, 6, 7, 8, 9]", "@: 9 thresholds are too many: at most 8"),
        ],
    );
}

#[test]
fn a_rate_limit() {
    check(
        "owners = [{ id = \"key:a\", rate_limits = [{ id = \"r\"@ }] }]",
        "owners[0].rate_limits[0]",
        &[
            ("", "@: a rate limit needs tokens, requests, or both"),
            (
                ", request = \"1/m\"",
                "line 1: @.request: unknown field `request`, expected one of `id`, `tokens`, \
                 `requests`, `anchor`, `thresholds`, `enforcement`",
            ),
            (
                ", tokens = 100",
                "line 1: @.tokens: invalid type: integer `100`, expected a table with limit and \
                 period",
            ),
            (
                ", tokens = { limit = 1, per = \"1m\" }",
                "line 1: @.tokens.per: unknown field `per`, expected one of `limit`, `period`, \
                 `calendar`, `weights`",
            ),
            (
                ", tokens = { limit = -1, period = \"1m\" }",
                "line 1: @.tokens.limit: invalid value: integer `-1`, <count>",
            ),
            (
                ", tokens = { limit = \"100k\", period = \"1m\" }",
                "line 1: @.tokens.limit: invalid type: string \"100k\", <count>",
            ),
            (
                ", tokens = { limit = 1e6, period = \"1m\" }",
                "line 1: @.tokens.limit: invalid type: floating point `1000000.0`, <count>",
            ),
            (
                ", tokens = { limit = 4611686018427387904, period = \"1m\" }",
                "line 1: @.tokens.limit: invalid value: integer `4611686018427387904`, <count>",
            ),
            (
                ", tokens = { limit = 18446744073709551616, period = \"1m\" }",
                "line 1: @.tokens.limit: invalid type: integer `18446744073709551616` as i128, \
                 <count>",
            ),
            (
                ", requests = \"1/m\", tokens = { limit = 1, period = \"1h\", calendar = {} }",
                "@.tokens.period: the period \"1h\" cannot follow the calendar: the shortest \
                 calendar window is a day; <calendar>",
            ),
        ],
    );
}

#[test]
fn token_weights() {
    check(
        "owners = [{ id = \"key:a\", rate_limits = [{ id = \"r\", tokens = { limit = 1, \
         period = \"1m\", weights = @ } }] }]",
        "owners[0].rate_limits[0].tokens.weights",
        &[
            (
                "{ image = \"1\" }",
                "line 1: @.image: unknown field `image`, expected one of `input`, `output`, \
                 `cached`, `cache_write`",
            ),
            (
                "{ input = 1 }",
                "line 1: @.input: invalid type: integer `1`, expected a weight as text, such as \
                 \"0.1\"",
            ),
            (
                "{ cached = \"0.0001\" }",
                "line 1: @.cached: the number \"0.0001\" has 4 fraction digits; accepted: digits \
                 with at most 3 after one point, such as `12.5` or `1_000`, at most 4294967.295",
            ),
            (
                "{ input = \"0\", output = \"0\", cached = \"0\", cache_write = \"0\" }",
                "@: at least one kind of token must weigh more than zero",
            ),
            (
                "\"0.1\"",
                "line 1: @: invalid type: string \"0.1\", expected a table of weights as text, \
                 such as { cached = \"0.1\" }, for input, output, cached, cache_write",
            ),
        ],
    );
}

#[test]
fn rates() {
    check(
        "owners = [{ id = \"key:a\", rate_limits = [{ id = \"r\", requests = @ }] }]",
        "owners[0].rate_limits[0].requests",
        &[
            ("60", "line 1: @: invalid type: integer `60`, <rate>"),
            ("\"60 per minute\"", "line 1: @: invalid value: string \"60 per minute\", <rate>"),
            (
                "\"/m\"",
                "line 1: @: the number is empty; accepted: digits, such as `100000` or `100_000`, \
                 at most 18446744073709551615",
            ),
            (
                "\"60k/m\"",
                "line 1: @: the number \"60k\" has 'k' at byte 2; accepted: digits, such as \
                 `100000` or `100_000`, at most 18446744073709551615",
            ),
            (
                "\"4611686018427387904/m\"",
                "line 1: @: invalid value: integer `4611686018427387904`, <count>",
            ),
            ("\"60/\"", "line 1: @: the period is empty; <period>"),
            (
                "\"60/min\"",
                "line 1: @: the period \"1min\" has the unknown unit \"min\": m is minutes, M is \
                 months; <period>",
            ),
            (
                "{ limit = 1, period = \"1m\", burst = 5 }",
                "line 1: @.burst: unknown field `burst`, expected one of `limit`, `period`, \
                 `calendar`",
            ),
            (
                "{ limit = \"60\", period = \"1m\" }",
                "line 1: @.limit: invalid type: string \"60\", <count>",
            ),
            ("{ limit = 60 }", "line 1: @: missing field `period`"),
            (
                "{ limit = 60, period = \"m\" }",
                "@.period: the period \"m\" has no number before \"m\"; <period>",
            ),
        ],
    );
}

#[test]
fn an_enforcement() {
    let cases: &[Case] = &[
        ("\"Shadow\"", "line 1: @: \"Shadow\" is not an enforcement; accepted: hard, soft, shadow"),
        ("\"\"", "line 1: @: \"\" is not an enforcement; accepted: hard, soft, shadow"),
        (
            "true",
            "line 1: @: invalid type: boolean `true`, expected an enforcement as text: \"hard\", \
             \"soft\" or \"shadow\"",
        ),
    ];
    for (kind, rest) in [
        ("budgets", "limit = \"1\", period = \"1d\""),
        ("rate_limits", "requests = \"1/m\""),
        ("concurrency", "limit = 1"),
    ] {
        let text = format!(
            "owners = [{{ id = \"key:a\", {kind} = [{{ id = \"l\", {rest}, enforcement = @ }}] }}]"
        );
        check(&text, &format!("owners[0].{kind}[0].enforcement"), cases);
    }
    let long = format!("\"{}\"", "x".repeat(10_000));
    let cut = format!(
        "line 1: @: \"{}\" is not an enforcement; accepted: hard, soft, shadow",
        "x".repeat(64)
    );
    let text =
        "owners = [{ id = \"key:a\", concurrency = [{ id = \"l\", limit = 1, enforcement = @ }] }]";
    let error = Config::from_toml(&text.replace('@', &long)).map(|_| ()).expect_err("too long");
    assert_eq!(error.to_string(), cut.replace('@', "owners[0].concurrency[0].enforcement"));
}

#[test]
fn a_concurrency_limit() {
    check(
        "owners = [{ id = \"key:a\", concurrency = [@] }]",
        "owners[0].concurrency[0]",
        &[
            ("8", "line 1: @: invalid type: integer `8`, expected a table with id and limit"),
            ("{ id = \"c\" }", "line 1: @: missing field `limit`"),
            (
                "{ id = \"c\", limit = 1, period = \"1m\" }",
                "line 1: @.period: unknown field `period`, expected one of `id`, `limit`, \
                 `enforcement`",
            ),
            (
                "{ id = \"c\", limit = 4611686018427387904 }",
                "line 1: @.limit: invalid value: integer `4611686018427387904`, <count>",
            ),
        ],
    );
}

#[test]
fn prices() {
    check(
        "prices = [@]",
        "prices[0]",
        &[
            (
                "\"m\"",
                "line 1: @: invalid type: string \"m\", expected a table with model, input and \
                 output",
            ),
            ("{ model = \"m\", input = \"1\" }", "line 1: @: missing field `output`"),
            (
                "{ model = \"m\", input = \"1\", output = \"1\", reasoning = \"1\" }",
                "line 1: @.reasoning: unknown field `reasoning`, expected one of `model`, \
                 `input`, `output`, `cached`, `cache_write`, `per_request`, `input_multiplier`, \
                 `output_multiplier`",
            ),
            (
                "{ model = 4, input = \"1\", output = \"1\" }",
                "line 1: @.model: invalid type: integer `4`, expected a string",
            ),
            (
                "{ model = \"m\", input = \"1e-6\", output = \"1\" }",
                "line 1: @.input: not an amount of money: the number \"1e-6\" has 'e' at byte 1; \
                 <money>",
            ),
            (
                "{ model = \"m\", input = \"1\", output = \"1\", input_multiplier = \"x2\" }",
                "line 1: @.input_multiplier: the number \"x2\" has 'x' at byte 0; accepted: \
                 digits with at most 6 after one point, such as `12.5` or `1_000`, at most \
                 4294.967295",
            ),
            (
                "{ model = \"m\", input = \"1\", output = \"1\", output_multiplier = 2 }",
                "line 1: @.output_multiplier: invalid type: integer `2`, expected a multiplier \
                 as text, such as \"1.2\"",
            ),
        ],
    );
}
