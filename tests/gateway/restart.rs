//! What was used is known after a restart.

use http::Method;
use serde_json::Value;

use crate::kit::{ALICE, Place};
use crate::process::Process;

async fn usage(process: &Process) -> Value {
    process.caller.admin(Method::GET, "/admin/usage", None).await.ok().json()["limits"].take()
}

/// What was settled.
fn settled(usage: &Value) -> Vec<(String, u64)> {
    let each = usage.as_array().expect("it is a list").iter().map(|limit| {
        let amount = limit["counters"][0]["settled"].as_u64().expect("it is a number");
        (limit["limit"].as_str().expect("it is text").to_owned(), amount)
    });
    each.collect()
}

async fn is_restored(end: impl Fn(&mut Process)) {
    let place = Place::new(&[]);
    let mut process = Process::start(&place, &[], &[]);
    for _ in 0..5 {
        process.caller.chat(ALICE).await.ok();
    }
    let before = settled(&usage(&process).await);
    assert!(before.iter().any(|(limit, amount)| limit == "search-daily" && *amount > 0));
    end(&mut process);
    let mut process = Process::start(&place, &[], &[]);
    assert_eq!(settled(&usage(&process).await), before);
    process.caller.chat(ALICE).await.ok();
    let after = settled(&usage(&process).await);
    let sixth = |usage: &[(String, u64)]| usage.iter().map(|(_, amount)| amount).sum::<u64>();
    assert_eq!(sixth(&after) * 5, sixth(&before) * 6, "each costs the same");
    process.signal("TERM");
    assert!(process.end().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_restored_after_an_orderly_end() {
    is_restored(|process| {
        process.signal("TERM");
        assert!(process.end().success());
    })
    .await;
}

/// What was answered whole is recorded: the end of an answer waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_restored_after_a_kill() {
    is_restored(|process| {
        process.signal("KILL");
        assert!(!process.end().success());
    })
    .await;
}
