//! Who listens: a recorder of metrics as gateways have it, and a subscriber that collects.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// What a scrape shows: `name{label="value"}` and its value.
pub type Shown = BTreeMap<String, f64>;

pub struct Listener {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// One that was told something.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub level: Level,
    pub target: String,
    /// The message, and the fields after it: `name=value`.
    pub text: String,
}

impl Listener {
    pub fn new() -> Listener {
        Listener::with(PrometheusBuilder::new())
    }

    pub fn with(builder: PrometheusBuilder) -> Listener {
        let recorder = builder.build_recorder();
        Listener { handle: recorder.handle(), recorder }
    }

    /// Does this where metrics of this thread come here, and says what was told meanwhile.
    pub fn hear(&self, act: impl FnOnce()) -> Vec<Told> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let subscriber = Registry::default().with(Collector(Arc::clone(&told)));
        tracing::subscriber::with_default(subscriber, || {
            metrics::with_local_recorder(&self.recorder, act);
        });
        let told = told.lock().unwrap();
        told.clone()
    }

    pub fn text(&self) -> String {
        self.handle.render()
    }

    pub fn shown(&self) -> Shown {
        shown(&self.text())
    }
}

/// Reads what a scrape shows.
pub fn shown(text: &str) -> Shown {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let each = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    each.collect()
}

/// Those whose name begins with this, of which there is a value.
pub fn of<'a>(shown: &'a Shown, name: &str) -> Vec<(&'a str, f64)> {
    let named = shown.iter().filter(|(key, _)| key.split('{').next() == Some(name));
    named.filter(|(_, value)| !value.is_nan()).map(|(key, value)| (&**key, *value)).collect()
}

pub struct Collector(pub Arc<Mutex<Vec<Told>>>);

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("tollkeeper") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let text = std::iter::once(fields.message).chain(fields.others).collect::<Vec<_>>();
        let (level, target) = (*metadata.level(), metadata.target().to_owned());
        self.0.lock().unwrap().push(Told { level, target, text: text.join(" ") });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<String>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        match field.name() {
            "message" => self.message = value.to_string(),
            name => self.others.push(format!("{name}={value}")),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
}
