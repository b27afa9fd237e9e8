//! `proxy_saturated*` and `proxy_p99*`: what the layer adds to a proxy, beside the same proxy
//! without it: with an SQLite ledger, every answer held until it is recorded. Without a suffix the
//! upstream answers at once, in some hundred bytes, so there is little that the layer is added to;
//! `_stream` is an answer of a hundred pieces, `_20ms` an upstream that takes that long. What the
//! durable record alone takes is seen by the proxy with nothing else added.

use super::Group;

pub const GROUP: Group = Group {
    rows: &["proxy_saturated", "proxy_saturated_stream", "proxy_p99", "proxy_p99_20ms"],
    measure,
};

#[cfg(not(all(feature = "http", feature = "sqlite")))]
fn measure(_: &crate::scale::Scale, _: &crate::progress::Progress, _: &mut crate::report::Report) {
    eprintln!("    left out: built without --features http,sqlite");
}

#[cfg(all(feature = "http", feature = "sqlite"))]
use layered::measure;

#[cfg(all(feature = "http", feature = "sqlite"))]
mod layered {
    use crate::progress::Progress;
    use crate::proxy::{Answers, Proxies};
    use crate::report::{Report, Row};
    use crate::scale::Scale;
    use crate::side::median;
    use std::time::Duration;

    /// So many clients keep a connection to each proxy,
    const CONNECTIONS: usize = 64;
    /// and so many where it is to be saturated: enough that work is left while others wait for the
    /// disk.
    const CROWD: usize = 256;
    /// So many requests come in a second where there is a rate.
    const RATE: u32 = 1_000;
    /// 0.85 of the proxy's own throughput.
    const SATURATED: f64 = 1.176;
    const P99: f64 = 1.15;
    const PEER: &str = "the proxy alone";
    const RECORDED: &str = "the proxy, and plain statements";

    pub fn measure(scale: &Scale, progress: &Progress, report: &mut Report) {
        let at_once = Answers::Whole(Duration::ZERO);
        saturated("proxy_saturated", at_once, (scale, progress, report));
        saturated("proxy_saturated_stream", Answers::Stream(100), (scale, progress, report));
        at_rate("proxy_p99", at_once, (scale, progress, report));
        let slow = Answers::Whole(Duration::from_millis(20));
        at_rate("proxy_p99_20ms", slow, (scale, progress, report));
    }

    fn start(
        answers: Answers,
        connections: usize,
    ) -> (tokio::runtime::Runtime, tempfile::TempDir, Proxies) {
        let folder = crate::rows::disk();
        let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
        let proxies = runtime.block_on(Proxies::start(folder.path(), connections, answers));
        (runtime, folder, proxies)
    }

    /// What the sides took, round by round.
    #[derive(Default)]
    struct Taken {
        layered: Vec<f64>,
        bare: Vec<f64>,
        recorded: Vec<f64>,
    }

    impl Taken {
        fn report(self, name: &'static str, clients: usize, target: f64, report: &mut Report) {
            let ours = median(self.layered);
            let row = |peer, theirs| Row::of(name, 1, ours, peer, median(theirs));
            report.add(row(PEER, self.bare).threads(clients).target(target));
            if !self.recorded.is_empty() {
                report.add(row(RECORDED, self.recorded).threads(clients));
            }
        }
    }

    fn saturated(
        name: &'static str,
        answers: Answers,
        (scale, progress, report): (&Scale, &Progress, &mut Report),
    ) {
        let (runtime, _folder, mut proxies) = start(answers, CROWD);
        let (batch, rounds) = (scale.saturated.batch, scale.saturated.rounds);
        progress.begin(rounds);
        let mut each = 1;
        loop {
            let took = runtime.block_on(proxies.bare.saturate(each));
            let with = runtime.block_on(proxies.layered.saturate(each));
            proxies.check((each * CROWD) as u64);
            if took.max(with) >= batch / 2 {
                break;
            }
            each *= 2;
        }
        let by_requests = |took: Duration| took.as_nanos() as f64 / (each * CROWD) as f64;
        let mut taken = Taken::default();
        for round in 0..rounds {
            // Who begins changes, so that neither has the better half of the round.
            for is_bare in [round % 2 == 0, round % 2 == 1] {
                if is_bare {
                    taken.bare.push(by_requests(runtime.block_on(proxies.bare.saturate(each))));
                } else {
                    let took = runtime.block_on(proxies.layered.saturate(each));
                    taken.layered.push(by_requests(took));
                    proxies.check((each * CROWD) as u64);
                }
            }
            if let Some(recorded) = &mut proxies.recorded {
                taken.recorded.push(by_requests(runtime.block_on(recorded.saturate(each))));
            }
            progress.step();
        }
        taken.report(name, CROWD, SATURATED, report);
    }

    fn at_rate(
        name: &'static str,
        answers: Answers,
        (scale, progress, report): (&Scale, &Progress, &mut Report),
    ) {
        let (runtime, _folder, mut proxies) = start(answers, CONNECTIONS);
        let (batch, rounds) = (scale.at_rate.batch, scale.at_rate.rounds);
        let requests = (batch.as_secs_f64() * f64::from(RATE)) as usize;
        progress.begin(rounds);
        let mut taken = Taken::default();
        for round in 0..=rounds {
            // The first round warms up.
            if round == 1 {
                taken = Taken::default();
            }
            taken.bare.push(p99(runtime.block_on(proxies.bare.at_rate(RATE, requests))));
            taken.layered.push(p99(runtime.block_on(proxies.layered.at_rate(RATE, requests))));
            proxies.check(requests as u64);
            if let Some(recorded) = &mut proxies.recorded {
                taken.recorded.push(p99(runtime.block_on(recorded.at_rate(RATE, requests))));
            }
            if round > 0 {
                progress.step();
            }
        }
        taken.report(name, CONNECTIONS, P99, report);
    }

    /// Of a hundred, the longest but one.
    fn p99(mut took: Vec<f64>) -> f64 {
        took.sort_by(f64::total_cmp);
        took[took.len() * 99 / 100]
    }
}
