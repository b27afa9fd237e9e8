//! `proxy_saturated` and `proxy_p99*`: what the layer adds to a proxy, beside the same proxy
//! without it: with an SQLite ledger, every answer held until it is recorded.

use super::Group;

pub const GROUP: Group =
    Group { rows: &["proxy_saturated", "proxy_p99", "proxy_p99_20ms"], measure };

#[cfg(not(all(feature = "http", feature = "sqlite")))]
fn measure(_: &crate::scale::Scale, _: &crate::progress::Progress, _: &mut crate::report::Report) {
    eprintln!("    left out: built without --features http,sqlite");
}

#[cfg(all(feature = "http", feature = "sqlite"))]
use layered::measure;

#[cfg(all(feature = "http", feature = "sqlite"))]
mod layered {
    use crate::progress::Progress;
    use crate::proxy::Proxies;
    use crate::report::{Report, Row};
    use crate::scale::Scale;
    use crate::side::median;
    use std::sync::Arc;
    use std::time::Duration;

    /// So many clients keep a connection to each proxy.
    const CONNECTIONS: usize = 64;
    /// So many requests come in a second where there is a rate.
    const RATE: u32 = 1_000;
    /// 0.85 of the proxy's own throughput.
    const SATURATED: f64 = 1.0 / 0.85;
    const P99: f64 = 1.15;
    const PEER: &str = "the proxy alone";

    pub fn measure(scale: &Scale, progress: &Progress, report: &mut Report) {
        saturated(scale, progress, report);
        for (name, latency) in [("proxy_p99", 0), ("proxy_p99_20ms", 20)] {
            at_rate(name, Duration::from_millis(latency), (scale, progress, report));
        }
    }

    fn start(latency: Duration) -> (tokio::runtime::Runtime, tempfile::TempDir, Proxies) {
        let folder = crate::rows::disk();
        let opened = tollkeeper::Sqlite::open(folder.path().join("proxy.sqlite"));
        let store = Arc::new(opened.expect("a file can be made"));
        let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
        let proxies = runtime.block_on(Proxies::start(store, CONNECTIONS, latency));
        (runtime, folder, proxies)
    }

    fn saturated(scale: &Scale, progress: &Progress, report: &mut Report) {
        let (runtime, _folder, mut proxies) = start(Duration::ZERO);
        let (batch, rounds) = (scale.proxy.batch, scale.proxy.rounds);
        progress.begin(rounds);
        let mut each = 8;
        loop {
            let took = runtime.block_on(proxies.bare.saturate(each));
            let with = runtime.block_on(proxies.layered.saturate(each));
            proxies.check((each * CONNECTIONS) as u64);
            if took.max(with) >= batch / 2 {
                break;
            }
            each *= 2;
        }
        let requests = (each * CONNECTIONS) as f64;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let alone = runtime.block_on(proxies.bare.saturate(each));
            theirs.push(alone.as_nanos() as f64 / requests);
            let with = runtime.block_on(proxies.layered.saturate(each));
            ours.push(with.as_nanos() as f64 / requests);
            proxies.check((each * CONNECTIONS) as u64);
            progress.step();
        }
        let row = Row::of("proxy_saturated", 1, median(ours), PEER, median(theirs));
        report.add(row.threads(CONNECTIONS).target(SATURATED));
    }

    fn at_rate(
        name: &'static str,
        latency: Duration,
        (scale, progress, report): (&Scale, &Progress, &mut Report),
    ) {
        let (runtime, _folder, mut proxies) = start(latency);
        let (batch, rounds) = (scale.proxy.batch, scale.proxy.rounds);
        let requests = (batch.as_secs_f64() * f64::from(RATE)) as usize;
        progress.begin(rounds);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let alone = runtime.block_on(proxies.bare.at_rate(RATE, requests));
            let with = runtime.block_on(proxies.layered.at_rate(RATE, requests));
            proxies.check(requests as u64);
            // The first round warms up.
            if round > 0 {
                theirs.push(p99(alone));
                ours.push(p99(with));
                progress.step();
            }
        }
        let row = Row::of(name, 1, median(ours), PEER, median(theirs));
        report.add(row.threads(CONNECTIONS).target(P99));
    }

    /// Of a hundred, the longest but one.
    fn p99(mut took: Vec<f64>) -> f64 {
        took.sort_by(f64::total_cmp);
        took[took.len() * 99 / 100]
    }
}
