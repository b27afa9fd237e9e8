//! Scopes keep tenants and operations apart; fingerprints keep requests apart.

use tollkeeper::{Fingerprint, Idempotency, IdempotencyError, MemoryKeys, Scope};

use crate::kit::*;

#[test]
fn a_scope_says_what_it_does_not_accept() {
    let error = |tenant: &str, operation: &str, key: &str| {
        Scope::new(tenant, operation, key).expect_err("it is not accepted").to_string()
    };
    let any = "1 to 256 bytes of any text without control characters";
    let printable = "1 to 255 printable ASCII characters";
    assert_eq!(error("", "o", "k"), format!("the tenant is empty; accepted: {any}"));
    assert_eq!(error("t", "", "k"), format!("the operation is empty; accepted: {any}"));
    assert_eq!(error("t", "o", ""), format!("the client's key is empty; accepted: {printable}"));
    assert_eq!(
        error("t", "o", &"k".repeat(256)),
        format!("the client's key is 256 bytes long; accepted: {printable}")
    );
    assert_eq!(
        error("t", "o", "kä"),
        format!("the client's key contains 'ä' at byte 1; accepted: {printable}")
    );
    assert_eq!(
        error("t\n", "o", "k"),
        format!("the tenant contains '\\n' at byte 1; accepted: {any}")
    );
    assert!(Scope::new(&"ä".repeat(128), "o", &"k".repeat(255)).is_ok());
    assert!(Scope::new(&"ä".repeat(129), "o", "k").is_err());
}

#[test]
fn no_tenant_and_no_operation_reaches_the_answer_of_another() {
    let mut node = Node::new(&Shaky::new(10));
    let lease = node.own("k", "b");
    node.complete(lease, "secret");
    for other in [("acme2", "POST /v1/chat"), ("acme", "POST /v1/embed"), ("acmeP", "OST /v1/chat")]
    {
        let scope = Scope::new(other.0, other.1, "k").expect("a scope");
        let mut claim = node.keys.claim(&scope, body("b"), AT_ONCE);
        node.turn();
        assert_eq!(owned(answered(&mut claim)).fence(), 1, "{other:?}");
    }
    assert_eq!(replayed(node.claim("k", "b")).as_deref(), Some("secret"));
}

#[test]
fn parts_of_a_fingerprint_do_not_run_together() {
    let parts: [&[&[u8]]; 6] =
        [&[], &[b""], &[b"", b""], &[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"]];
    for (i, one) in parts.iter().enumerate() {
        for (j, other) in parts.iter().enumerate() {
            assert_eq!(Fingerprint::of(one) == Fingerprint::of(other), i == j, "{one:?} {other:?}");
        }
    }
    let kept = Fingerprint::of(&[b"x"]);
    assert_eq!(Fingerprint::from_bytes(*kept.as_bytes()), kept);
}

#[test]
fn terms_that_cannot_be_kept_are_refused() {
    let lease = |lease| {
        let builder = Idempotency::builder(in_a_thread).lease(lease);
        builder.by_hand(MemoryKeys::new(1)).err().map(|error| error.to_string())
    };
    assert_eq!(lease(ms(10)), None);
    assert_eq!(lease(ms(9)).as_deref(), Some("the lease is 9ms; accepted: 10ms to 24 hours"));
    assert!(lease(secs(86_401)).is_some());
    let ttl = Idempotency::builder(in_a_thread).ttl(AT_ONCE).start(MemoryKeys::new(1));
    assert!(matches!(ttl, Err(IdempotencyError::Ttl { ttl: AT_ONCE })));
}
