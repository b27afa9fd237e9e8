//! What a person sees on the page, and does with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::browser::Browser;

/// What each line says: by limit and dimension, the texts and widths of its parts.
pub type Lines = BTreeMap<(String, String), Line>;

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub section: String,
    pub settled: String,
    pub held: String,
    pub remaining: String,
    pub limit: String,
    pub percent: String,
    pub meter: Option<String>,
    pub meter_now: Option<String>,
    /// Widths of the two parts of its bar, in percent of the bar.
    pub settled_width: f64,
    pub held_width: f64,
    pub reset: String,
    pub text: String,
}

const LINES: &str = r#"
return [...document.querySelectorAll(".lines > .line:not([hidden])")].map((line) => {
  const text = (selector) => line.querySelector(selector)?.textContent ?? "";
  const figures = [...line.querySelectorAll(".figures > .number > span:last-child")];
  const bar = line.querySelector(".bar");
  const width = (selector) => bar.hidden ? 0
    : 100 * line.querySelector(selector).getBoundingClientRect().width
      / bar.getBoundingClientRect().width;
  return {
    limit: line.dataset.limit, dimension: line.dataset.dimension,
    section: line.closest("section").id, figures: figures.map((figure) => figure.textContent),
    percent: text(".percent"), meter: bar.getAttribute("aria-valuetext"),
    now: bar.getAttribute("aria-valuenow"), role: bar.getAttribute("role"),
    settled: width(".settled-part"), held: width(".held-part"), reset: text(".reset time"),
    text: line.textContent,
  };
});"#;

impl Browser {
    pub async fn script(&self, script: &str) -> Value {
        let ran = self.client.execute(script, Vec::new()).await;
        ran.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    /// Opens the page and signs in by the keyboard alone.
    pub async fn sign_in(&self, url: &str, token: &str) {
        self.client.goto(url).await.expect("the page opens");
        self.type_token(token).await;
        self.until("the limits are shown", "return document.body.dataset.drawn === 'true'").await;
    }

    /// Types into what has the focus.
    pub async fn type_token(&self, token: &str) {
        let field = self.client.active_element().await.expect("something has the focus");
        let text = format!("{token}{}", char::from(Key::Enter));
        field.send_keys(&text).await.expect("it can be typed into");
    }

    /// Waits until the page answers true.
    pub async fn until(&self, what: &str, script: &str) {
        let begun = Instant::now();
        while self.script(script).await != json!(true) {
            if begun.elapsed() > Duration::from_secs(30) {
                let shown = self.text("body").await;
                panic!("for 30 seconds it was not so: {what}\n{shown}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the page shows this text somewhere.
    pub async fn until_shown(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        self.until(text, &script).await;
    }

    pub async fn text(&self, selector: &str) -> String {
        let found = self.client.find(Locator::Css(selector)).await;
        let found = found.unwrap_or_else(|e| panic!("{selector}: {e}"));
        found.text().await.expect("it has a text")
    }

    pub async fn lines(&self) -> Lines {
        let lines = self.script(LINES).await;
        let lines = lines.as_array().expect("a list").iter().map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let figure = |at: usize| line["figures"][at].as_str().unwrap_or_default().to_owned();
            let is_meter = line["role"] == "meter";
            let read = Line {
                section: text("section"),
                settled: figure(0),
                held: figure(1),
                remaining: figure(2),
                limit: figure(3),
                percent: text("percent"),
                meter: is_meter.then(|| text("meter")),
                meter_now: is_meter.then(|| text("now")),
                settled_width: line["settled"].as_f64().expect("a width"),
                held_width: line["held"].as_f64().expect("a width"),
                reset: text("reset"),
                text: text("text"),
            };
            ((text("limit"), text("dimension")), read)
        });
        lines.collect()
    }

    /// A screen of this size, in this scheme, from now on.
    pub async fn screen(&self, width: u32, height: u32, scale: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Keeps a picture of what is seen, and says where.
    pub async fn picture(&self, name: &str) {
        let picture = self.client.screenshot().await.expect("a picture");
        let folder = std::env::var_os("TOLLKEEPER_SCREENSHOTS").map_or_else(
            || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"),
            PathBuf::from,
        );
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, picture).expect("the picture is written");
        println!("screenshot: {}", file.display());
    }
}
