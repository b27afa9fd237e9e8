//! The API that the tests speak: `POST /work` with `{"model": "m1", "tokens": 5}` asks for at most
//! five tokens, and is answered in lines. `used 3` says what was used, `done` that this was all.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode, response};
use tollkeeper::Usage;
use tollkeeper::http::{Asked, Class, Protocol, Refusal, UsageReader};

pub struct Lines;

impl Protocol for Lines {
    fn class(&self, request: &Parts) -> Class {
        match (&request.method, request.uri.path()) {
            (&Method::POST | &Method::HEAD, "/work") => Class::Metered,
            (&Method::GET, _) => Class::Free,
            _ => Class::Refused(Refusal::new(StatusCode::NOT_FOUND, "unknown_url", "no such url")),
        }
    }

    fn read(&self, request: &Parts, body: Bytes) -> Result<Asked, Refusal> {
        let mut asked = Asked::new("work", body);
        if request.method == Method::HEAD {
            asked.model = Some("m1".to_owned());
            asked.tokens = Some(tokens(0));
            return Ok(asked);
        }
        let read: serde_json::Value = serde_json::from_slice(&asked.body)
            .map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, "not_json", e.to_string()))?;
        assert_ne!(read["model"], "panic", "a protocol that panics");
        asked.model = read["model"].as_str().map(str::to_owned);
        asked.tokens = read["tokens"].as_u64().map(tokens);
        asked.at_least = tokens(read["at_least"].as_u64().unwrap_or(0));
        Ok(asked)
    }

    fn usage_of(&self, _: &Asked, response: &response::Parts) -> Box<dyn UsageReader> {
        assert!(!response.headers.contains_key("panic-in-protocol"), "it was asked to");
        Box::new(Reader::default())
    }
}

pub fn tokens(output_tokens: u64) -> Usage {
    Usage { output_tokens, ..Usage::default() }
}

#[derive(Default)]
struct Reader {
    line: Vec<u8>,
    used: Option<u64>,
    done: bool,
}

impl UsageReader for Reader {
    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
            assert_ne!(line, "panic", "a reader that panics");
            self.done |= line == "done";
            self.used = line.strip_prefix("used ").map(|n| n.parse().unwrap()).or(self.used);
        }
    }

    fn tokens(&self) -> Option<Usage> {
        assert_ne!(self.used, Some(666), "a reader that panics when it is asked");
        self.used.map(tokens)
    }

    fn is_whole(&self) -> bool {
        self.done
    }
}
