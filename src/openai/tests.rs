//! Which requests are metered, free and refused.

use super::*;
use http::Request;

fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> head::Parts {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// What an upstream may read otherwise is not read here.
#[test]
fn bodies_are_json_in_utf_8() {
    let body = r#"{"model":"m","input":"a"}"#;
    let status = |fields: &[(&str, &str)]| {
        let asked = OpenAi::new().read(&head("POST", "/v1/embeddings", fields), body.into());
        asked.err().map(|refusal| refusal.status().as_u16())
    };
    assert_eq!(status(&[]), None);
    for fine in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
        "application/json; x=y",
    ] {
        assert_eq!(status(&[("content-type", fine)]), None, "{fine}");
    }
    for other in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-7",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json, text/plain",
    ] {
        assert_eq!(status(&[("content-type", other)]), Some(415), "{other}");
    }
    let twice = [("content-type", "application/json"), ("content-type", "text/plain")];
    assert_eq!(status(&twice), Some(415));
}

#[test]
fn a_method_that_stands_for_another_is_not_free() {
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Upgrade"] {
        let request = head("GET", "/v1/chat/completions", &[(name, "POST")]);
        assert!(matches!(OpenAi::new().class(&request), Class::Refused(_)), "{name}");
    }
}

#[test]
fn classes() {
    let metered = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/embeddings?api-version=1",
        "http://example.com/v1/embeddings",
    ];
    for path in metered {
        assert!(matches!(OpenAi::new().class(&head("POST", path, &[])), Class::Metered), "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/models"),
        ("GET", "/"),
        ("HEAD", "/v1/models"),
        ("OPTIONS", "/v1/embeddings"),
        ("GET", "/v1/responses/r"),
        ("GET", "/v1/chat/completions"),
    ] {
        assert!(matches!(OpenAi::new().class(&head(method, path, &[])), Class::Free), "{path}");
    }
    let refused = [
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1//chat/completions"),
        ("POST", "/"),
        ("POST", "/V1/chat/completions"),
        ("POST", "/v1/chat/completion%73"),
        ("POST", "/v1/chat/../chat/completions"),
        ("POST", "/x/v1/chat/completions"),
        ("POST", "/chat/completions"),
        ("PUT", "/v1/chat/completions"),
        ("DELETE", "/v1/responses/r"),
        ("POST", "/v1/responses/r/cancel"),
        ("TRACE", "/v1/models"),
        ("CONNECT", "example.com:1"),
        ("post", "/v1/embeddings"),
    ];
    for (method, path) in refused {
        let class = OpenAi::new().class(&head(method, path, &[]));
        let Class::Refused(refusal) = class else { panic!("{method} {path}: {class:?}") };
        assert_eq!(refusal.status(), 404, "{method} {path}");
    }
    // What a socket opened by GET costs is not known either.
    let socket = head("GET", "/v1/realtime", &[("upgrade", "websocket")]);
    assert!(matches!(OpenAi::new().class(&socket), Class::Refused(_)));
}

#[test]
fn a_prefix_is_what_it_is() {
    let openai = OpenAi::new().prefix("/openai");
    let class = |path| openai.class(&head("POST", path, &[]));
    assert!(matches!(class("/openai/v1/embeddings"), Class::Metered));
    for path in ["/v1/embeddings", "/openai/openai/v1/embeddings", "/openaiv1/embeddings"] {
        assert!(matches!(class(path), Class::Refused(_)), "{path}");
    }
    let body = Bytes::from(r#"{"model":"m","input":"a"}"#);
    assert!(openai.read(&head("POST", "/openai/v1/embeddings", &[]), body.clone()).is_ok());
    assert_eq!(openai.read(&head("POST", "/v1/embeddings", &[]), body).unwrap_err().status(), 404);
}

#[test]
fn compressed_requests_are_refused() {
    let head = head("POST", "/v1/embeddings", &[("content-encoding", "gzip")]);
    let refusal = OpenAi::new().read(&head, Bytes::from_static(b"\x1f\x8b")).unwrap_err();
    assert_eq!(refusal.status(), 415);
}
