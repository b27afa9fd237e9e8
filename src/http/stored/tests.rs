//! What is written down is read again, and what is not of that form is an error.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn record(response: &Response<Bytes>, most: usize) -> Vec<u8> {
    let (head, body) = response.clone().into_parts();
    let mut recording = Recording::new(&head, most);
    body.chunks(3).for_each(|piece| recording.add(piece));
    recording.into_bytes()
}

fn answer(fields: &[(&'static str, &'static str)], body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    for &(name, value) in fields {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    response
}

#[test]
fn fields_of_one_transfer_or_moment_are_left_out() {
    let mut first = answer(
        &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("x-request-id", "r1"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("content-length", "2"),
            ("transfer-encoding", "chunked"),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("set-cookie", "a=b"),
            ("retry-after", "1"),
            ("ratelimit", "\"k1\";r=1;t=2"),
            ("ratelimit-policy", "\"k1\";q=1;w=2"),
            ("x-ratelimit-remaining-tokens", "1"),
        ],
        "{}",
    );
    *first.status_mut() = StatusCode::CREATED;
    let again = read(&record(&first, 1_000)).unwrap();
    assert_eq!(again.status(), 201);
    assert_eq!(again.body(), "{}");
    let fields: Vec<_> = again.headers().iter().map(|(n, v)| (n.as_str(), v)).collect();
    let expected: [(&str, &str); 5] = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("x-request-id", "r1"),
        ("link", "<a>"),
        ("link", "<b>"),
    ];
    assert_eq!(fields.len(), expected.len(), "{fields:?}");
    for (name, value) in expected {
        assert!(fields.iter().any(|&(n, v)| n == name && v == value), "{name}: {fields:?}");
    }
}

#[test]
fn what_is_larger_than_is_kept_is_one_byte_longer_than_that_and_no_more() {
    let first = answer(&[("content-type", "text/plain")], "0123456789");
    let whole = record(&first, 1_000);
    assert_eq!(record(&first, whole.len()), whole);
    assert_eq!(record(&first, whole.len() - 1).len(), whole.len(), "as many as tell it");
    assert_eq!(record(&first, 20).len(), 21);
    assert_eq!(record(&first, 0).len(), 1);
    let _ = record(&first, usize::MAX);
}

#[test]
fn what_is_no_answer_is_an_error_that_says_what_is_wrong() {
    let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(message(b""), "it ends within its version");
    assert_eq!(message(b"{\"a\":1}"), "it is of version 123; accepted: 1");
    assert_eq!(message(&[1, 0]), "it ends within its status");
    assert_eq!(message(&[1, 0, 200, 0]), "it ends within its fields");
    assert_eq!(message(&[1, 0, 7, 0, 0]), "its status is 7; accepted: 200 to 999");
    assert_eq!(message(&[1, 0, 101, 0, 0]), "its status is 101; accepted: 200 to 999");
    assert_eq!(message(&[1, 0, 200, 0, 1, 0, 9, b'x']), "it ends within its fields");
    let named = [1, 0, 200, 0, 1, 0, 1, b' ', 0, 0, 0, 0];
    assert_eq!(message(&named), "the name of its field 1 is malformed");
    let valued = [1, 0, 200, 0, 1, 0, 1, b'x', 0, 0, 0, 1, b'\n'];
    assert_eq!(message(&valued), "the value of its field 1 is malformed");
    let long = [1, 0, 200, 0, 1, 0, 1, b'x', 255, 255, 255, 255, b'v'];
    assert_eq!(message(&long), "it ends within its fields");
}

#[test]
fn more_fields_than_a_map_takes_are_an_error() {
    let mut bytes = vec![1, 0, 200, 255, 255];
    (0..=u16::MAX).for_each(|_| bytes.extend([0, 1, b'x', 0, 0, 0, 0]));
    assert!(read(&bytes).is_ok(), "one name, many times");
    let mut bytes = vec![1, 0, 200, 255, 255];
    for index in 0..=u16::MAX {
        bytes.extend([0, 5]);
        bytes.extend(format!("x{index:04x}").into_bytes());
        bytes.extend([0, 0, 0, 0]);
    }
    let error = read(&bytes).unwrap_err();
    assert!(error.to_string().starts_with("it has more than "), "{error}");
}

fn field() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let value = vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..40);
    ("x-[a-z0-9]{1,12}", value).prop_map(|(name, value)| {
        (name.parse().expect("a name"), HeaderValue::from_bytes(&value).expect("a value"))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        status in 200_u16..1_000,
        fields in vec(field(), 0..20),
        body in vec(any::<u8>(), 0..300),
    ) {
        let mut first = Response::new(Bytes::from(body));
        *first.status_mut() = StatusCode::from_u16(status).expect("a status");
        for (name, value) in fields {
            if !name.as_str().starts_with("x-ratelimit-") {
                first.headers_mut().append(name, value);
            }
        }
        let bytes = record(&first, 1 << 20);
        let again = read(&bytes).expect("it was written by the same");
        prop_assert_eq!(again.status(), first.status());
        prop_assert_eq!(again.headers(), first.headers());
        prop_assert_eq!(again.body(), first.body());
    }

    #[test]
    fn whatever_is_read_panics_nowhere(bytes in vec(any::<u8>(), 0..200), cut in 0_usize..200) {
        let _ = read(&bytes);
        let mut first = answer(&[("content-type", "text/plain"), ("x-request-id", "r1")], "body");
        *first.status_mut() = StatusCode::NOT_FOUND;
        let mut written = record(&first, 1 << 20);
        if let (Some(byte), Some(other)) = (written.get_mut(cut), bytes.first()) {
            *byte = *other;
        }
        let _ = read(&written);
        written.truncate(cut);
        let _ = read(&written);
    }
}
