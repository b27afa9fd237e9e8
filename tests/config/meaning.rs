//! What documents that are accepted mean, in TOML and in JSON alike.

use tollkeeper::{
    Alignment, Budget, Concurrency, Config, Enforcement, Engine, Limit, Money, Period, Price,
    PriceError, PriceTable, RateLimit, TokenWeights, Usage, Weekday,
};

use super::{config, limit, money, owner};

const DOCUMENT: &str = r#"
    [[owners]]
    id = "key:k1"
    parents = ["team:search", "customer:acme"]
    rate_limits = [
        { id = "k1-rate", requests = "60/m", thresholds = [95, 80],
          tokens = { limit = 100_000, period = "1h30m",
                     weights = { cached = "0.1", cache_write = "1.25" } } },
        { id = "k1-daily", requests = { limit = 1000, period = "1d", calendar = {} } },
        { id = "k1-ever", requests = "5000/never" },
        { id = "k1-counted", requests = { period = "12h" } },
    ]
    concurrency = [{ id = "k1-in-flight", limit = 8 }]

    [[owners]]
    id = "team:search"

    [[owners]]
    id = "customer:acme"
    budgets = [
        { id = "acme-quarter", limit = "$1_500.50", period = "1Q",
          calendar = { fiscal_start = 4 } },
        { id = "acme-week", limit = "100", period = "1w", calendar = { week_start = "sunday" } },
        { id = "acme-prepaid", limit = "$20", period = "never" },
        { id = "acme-counted", period = "1M@UTC" },
    ]

    [[owners]]
    id = "model:large&key:k1"

    [[prices]]
    model = "large"
    input = "$2.50"
    output = "10"
    cached = "1.25"

    [[prices]]
    model = "flat"
    input = "0"
    output = "0"
    cache_write = "0.5"
    per_request = "0.0075"
    input_multiplier = "1.2"
    output_multiplier = "0.8"
"#;

fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

fn calendar(length: &str, alignment: Alignment) -> Period {
    Period::calendar(length, &alignment).expect("a period of the calendar")
}

fn rate_limit() -> RateLimit {
    RateLimit::new()
}

#[test]
fn a_document_is_what_the_definitions_would_be() {
    let config = config(DOCUMENT);
    let (key, acme) = (owner("key:k1"), owner("customer:acme"));
    let owners: Vec<_> = config.owners().map(|(id, parents)| (id.clone(), parents)).collect();
    let parents = [owner("team:search"), acme.clone()];
    assert_eq!(
        owners,
        [
            (key.clone(), parents.as_slice()),
            (owner("team:search"), &[]),
            (acme.clone(), &[]),
            (owner("key:k1&model:large"), &[]),
        ]
    );
    let weights = TokenWeights { cached: 100, cache_write: 1_250, ..TokenWeights::default() };
    let first = rate_limit()
        .requests(60, period("1m"))
        .tokens(100_000, period("1h30m"))
        .weights(weights)
        .thresholds(&[95, 80]);
    let april = Alignment::new().fiscal_start(4);
    let sunday = Alignment::new().week_start(Weekday::Sunday);
    let expected: [(_, _, Limit); 9] = [
        (&key, "k1-rate", first.into()),
        (&key, "k1-daily", rate_limit().requests(1000, period("1d@UTC")).into()),
        (&key, "k1-ever", rate_limit().requests(5000, Period::NEVER).into()),
        (&key, "k1-counted", rate_limit().requests(None, period("12h")).into()),
        (&key, "k1-in-flight", Concurrency::new(8).into()),
        (&acme, "acme-quarter", Budget::new(money("1500.5"), calendar("1Q", april)).into()),
        (&acme, "acme-week", Budget::new(money("100"), calendar("1w", sunday)).into()),
        (&acme, "acme-prepaid", Budget::prepaid(money("20")).into()),
        (&acme, "acme-counted", Budget::uncapped(period("1M@UTC")).into()),
    ];
    let limits: Vec<_> = config.limits().map(|(o, id, d)| (o, id.as_str(), d.clone())).collect();
    assert_eq!(limits, expected);
    let flat = Price::per_million(Money::ZERO, Money::ZERO)
        .cache_write(money("0.5"))
        .per_request(money("0.0075"))
        .input_multiplier_ppm(1_200_000)
        .output_multiplier_ppm(800_000);
    let large = Price::per_million(money("2.5"), money("10")).cached(money("1.25"));
    assert_eq!(*config.prices(), PriceTable::from_iter([("flat", flat), ("large", large)]));
}

#[test]
fn json_says_the_same() {
    let json: serde_json::Value = toml::from_str(DOCUMENT).expect("well-formed");
    let text = json.to_string();
    let from_value = Config::deserialize(json).expect("the same document");
    let from_text = Config::deserialize(&mut serde_json::Deserializer::from_str(&text));
    let toml = config(DOCUMENT);
    for other in [from_value, from_text.expect("the same document")] {
        assert!(toml.owners().eq(other.owners()));
        assert!(toml.limits().eq(other.limits()));
        assert_eq!(toml.prices(), other.prices());
    }
}

#[test]
fn json_as_text_keeps_the_place_in_its_words() {
    let text = "{\"owners\": [\n{\"id\": \"key:a\", \"budget\": []}]}";
    let error = Config::deserialize(&mut serde_json::Deserializer::from_str(text));
    assert_eq!(
        error.map(|_| ()).expect_err("no such field").to_string(),
        "owners[0].budget: unknown field `budget`, expected one of `id`, `parents`, `budgets`, \
         `rate_limits`, `concurrency` at line 2 column 24"
    );
}

#[test]
fn nothing_is_a_document() {
    for text in ["", "\n# nothing yet\n", "owners = []", "prices = []", "owners = []\nprices = []"]
    {
        let config = config(text);
        assert_eq!((config.owners().count(), config.limits().count()), (0, 0), "{text}");
        assert!(config.prices().is_empty(), "{text}");
    }
}

#[test]
fn the_line_of_an_error_is_that_of_its_value() {
    let text =
        "# one\n\nowners = [\r\n  { id = \"key:a\" },\r\n\r\n  { id = \"nokind\" },\r\n]\r\n";
    let error = Config::from_toml(text).map(|_| ()).expect_err("no kind");
    assert_eq!((error.line, error.path.as_str()), (Some(6), "owners[1].id"));
}

/// Limits that differ in nothing else share no definition.
#[test]
fn each_limit_has_its_own_enforcement() {
    let limit = |enforcement| {
        let written = match enforcement {
            Some(enforcement) => format!("enforcement = \"{enforcement}\""),
            None => "thresholds = []".to_owned(),
        };
        let of = |kind, rest| format!("{kind} = [{{ id = \"{kind}\", {rest}, {written} }}]");
        let limits = [
            of("budgets", "limit = \"$5\", period = \"1d\""),
            of("rate_limits", "requests = \"60/m\""),
            match enforcement {
                Some(_) => of("concurrency", "limit = 8"),
                None => "concurrency = [{ id = \"concurrency\", limit = 8 }]".to_owned(),
            },
        ];
        format!("[[owners]]\nid = \"key:a\"\n{}\n", limits.join("\n"))
    };
    let as_written = |enforcement| -> Vec<Limit> {
        let written = config(&limit(enforcement));
        written.limits().map(|(_, _, definition)| definition.clone()).collect()
    };
    let as_defined = |enforcement: Enforcement| -> [Limit; 3] {
        let budget = Budget::new(money("5"), period("1d"));
        let requests = rate_limit().requests(60, period("1m"));
        [
            budget.enforcement(enforcement).into(),
            requests.enforcement(enforcement).into(),
            Concurrency::new(8).enforcement(enforcement).into(),
        ]
    };
    for enforcement in Enforcement::ALL {
        assert_eq!(as_written(Some(enforcement)), as_defined(enforcement));
    }
    assert_eq!(as_written(None), as_defined(Enforcement::Hard), "unless it says otherwise");

    let side_by_side = config(
        "owners = [{ id = \"key:a\", concurrency = [{ id = \"hard\", limit = 1 }, \
         { id = \"soft\", limit = 1, enforcement = \"soft\" }, \
         { id = \"shadow\", limit = 1, enforcement = \"shadow\" }] }]",
    );
    let engine = Engine::new();
    engine.apply(&side_by_side).expect("an empty engine takes any document");
    for enforcement in Enforcement::ALL {
        assert_eq!(super::used(&engine, enforcement.name()).enforcement, enforcement);
    }
}

/// (d) of every document: what it says of prices is what the engine computes with.
#[test]
fn prices_are_in_force_when_applied() {
    let engine = Engine::new();
    let unknown = |model: &str| Err(PriceError::UnknownModel { model: model.to_owned() });
    let usage = Usage {
        input_tokens: 1_000,
        output_tokens: 500,
        cached_tokens: 2_000,
        cache_write_tokens: 3,
        requests: 1,
        cost: money("99"),
    };
    assert_eq!(engine.prices().cost("large", &usage), unknown("large"));
    engine.apply(&config(DOCUMENT)).expect("fits");
    // 1000 * 2.5 + 500 * 10 + 2000 * 1.25 + 3 * 2.5 millionths: cache writes cost as input.
    assert_eq!(engine.prices().cost("large", &usage), Ok(money("0.0100075")));
    // 0.0075 + 3 * 0.5 * 1.2 millionths.
    assert_eq!(engine.prices().cost("flat", &usage), Ok(money("0.0075018")));
    assert_eq!(engine.prices().cost("Large", &usage), unknown("Large"));
    let mut other = config("[[prices]]\nmodel = \"m\"\ninput = \"1\"\noutput = \"2\"");
    engine.apply(&other).expect("fits");
    assert_eq!(engine.prices().cost("large", &usage), unknown("large"));
    assert_eq!(engine.prices().cost("m", &usage), Ok(money("0.004003")));
    other = config("");
    engine.apply(&other).expect("fits");
    assert_eq!(engine.prices().cost("m", &usage), unknown("m"));
}

#[test]
fn an_anchor_is_where_windows_begin() {
    let text = |anchor: &str| {
        format!(
            "owners = [{{ id = \"key:a\", budgets = [{{ id = \"b\", limit = \"1\", \
             period = \"1d\", anchor = \"{anchor}\" }}] }}]"
        )
    };
    let clock = tollkeeper::ManualClock::new("2026-03-04T12:00:00Z".parse().expect("an instant"));
    let engine = Engine::builder().clock(clock).build();
    let window = |anchor: &str| {
        engine.apply(&config(&text(anchor))).expect("fits");
        let window = engine.usage(&limit("b")).expect("is there").counters[0].window;
        (window.start.to_string(), window.end.to_string())
    };
    let span = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    assert_eq!(
        window("2026-01-01T06:30:00Z"),
        span("2026-03-04T06:30:00Z", "2026-03-05T06:30:00Z")
    );
    assert_eq!(
        window("2026-01-01T22:00:00+01:00"),
        span("2026-03-03T21:00:00Z", "2026-03-04T21:00:00Z")
    );
}
