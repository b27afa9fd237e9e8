//! What `tracing` is told by the layer that no count tells.

use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Channel, Full};
use tollkeeper::http::{Caller, Forwarded, Toll};
use tollkeeper::openai::OpenAi;
use tollkeeper::{Ledger, MemoryLedger};
use tower::{Layer, ServiceExt, service_fn};
use tracing::Level;

use crate::kit::{kit, owner};
use crate::listener::Listener;

#[test]
fn why_an_answer_broke_off_before_it_began() {
    let kit = kit();
    kit.owner("key:k", &[]);
    let ledger = Ledger::builder(&kit.engine).start(MemoryLedger::default()).expect("it starts");
    let caller = |_: &http::request::Parts| Ok(Caller::new(&owner("key:k")));
    let toll = Toll::builder(&ledger, caller, OpenAi::new(), |task| drop(tokio::spawn(task)));
    let service = toll.build().layer(service_fn(|_: Request<Forwarded<Full<Bytes>>>| async {
        let (sender, body) = Channel::<Bytes, io::Error>::new(1);
        sender.abort(io::Error::other("the wire was cut"));
        let answer = Response::builder().header("content-length", 100).body(body);
        Ok::<_, io::Error>(answer.expect("a response"))
    }));
    let chat = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"?"}]}"#;
    let request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    let request = request.body(Full::from(chat)).expect("a request");
    let told = Listener::new().hear(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.expect("a runtime").block_on(service.oneshot(request));
        assert_eq!(answer.expect("an answer").status(), 502);
    });
    let told: Vec<_> = told.iter().filter(|one| one.level == Level::WARN).collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    let text = "an upstream's answer broke off before it had begun operation=chat.completions \
                error=the wire was cut";
    assert_eq!(told.text, text);
}
