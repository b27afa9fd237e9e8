//! Who the requests come from: clients, and the share of the requests that each of them makes.
//!
//! Real shares are very uneven; one hot client is the normal case. They come from a file
//! (`client,share`) or from the built-in law. Shares need not add up to one.

use super::draw::{Dice, running_sums};
use super::failure::Failure;
use super::malformed::{Lines, Malformed, Rejects};
use csv::{ByteRecord, ReaderBuilder};
use std::collections::HashSet;

/// Shares are drawn by as integers: parts in a billion.
const PARTS: f64 = 1e9;
/// The ten largest clients of the built-in law, in parts in a billion: 63 % together.
const LARGEST: [u64; 10] = [160, 80, 70, 65, 60, 55, 50, 40, 28, 22];
/// The law's other clients share the rest, the one of rank `r` in proportion to `1/r`.
const OTHERS: u64 = 90;

/// The clients, largest first.
#[derive(Debug)]
pub struct Clients {
    pub names: Vec<String>,
    pub weights: Vec<u64>,
    running: Vec<u64>,
}

impl Clients {
    fn new(mut clients: Vec<(String, u64)>) -> Clients {
        // A stable sort: clients of one share keep the order of the file.
        clients.sort_by_key(|client| std::cmp::Reverse(client.1));
        let (names, weights): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        let running = running_sums(weights.iter().copied());
        Clients { names, weights, running }
    }

    /// The built-in law: 100 clients, the first with 16 % of the requests, ten with 63 %.
    pub fn law() -> Clients {
        let largest = LARGEST.map(|thousandths| thousandths * 1_000_000);
        let rest = 1_000_000_000 - largest.iter().sum::<u64>();
        let ranks = 11..11 + OTHERS;
        let inverse = |rank: u64| 1_000_000_000 / rank;
        let sum: u64 = ranks.clone().map(inverse).sum();
        let others = ranks.map(|rank| inverse(rank) * rest / sum);
        let named = |(rank, weight)| (format!("client-{:03}", rank + 1), weight);
        Clients::new(largest.into_iter().chain(others).enumerate().map(named).collect())
    }

    /// Reads `client,share`, leaving malformed rows to `rejects`. Fails if no row can be used.
    pub fn parse(name: &str, text: &[u8], rejects: &mut Rejects) -> Result<Clients, Failure> {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let (mut clients, mut seen) = (Vec::new(), HashSet::new());
        let (mut record, mut lines) = (ByteRecord::new(), Lines::new(text));
        let mut first = true;
        while reader
            .read_byte_record(&mut record)
            .map_err(|why| Failure::Input(format!("{name}: {why}")))?
        {
            if std::mem::take(&mut first) {
                header(name, &record)?;
                continue;
            }
            match client(&record, &mut seen) {
                Ok(client) => clients.push(client),
                Err(reason) => {
                    let line = record.position().map_or(0, |start| lines.of(start));
                    rejects.push(Malformed { file: name.to_owned(), line, reason })?;
                }
            }
        }
        match (first, clients.is_empty()) {
            (true, _) => Err(Failure::Input(format!("{name}: the file is empty"))),
            (_, true) => Err(Failure::Input(format!("{name}: no client can be used"))),
            _ => Ok(Clients::new(clients)),
        }
    }

    /// Draws one request's client.
    pub fn draw(&self, dice: &mut Dice) -> usize {
        dice.pick(&self.running)
    }

    /// The share of the first `count` clients, in per cent rounded down.
    pub fn percent_of_first(&self, count: usize) -> u64 {
        let first: u64 = self.weights.iter().take(count).sum();
        first * 100 / self.running.last().copied().unwrap_or(1).max(1)
    }
}

fn header(name: &str, record: &ByteRecord) -> Result<(), Failure> {
    let clean = |field: &[u8]| {
        let field = field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field);
        String::from_utf8_lossy(field.trim_ascii()).to_lowercase()
    };
    let header: Vec<String> = record.iter().map(clean).collect();
    if header == ["client", "share"] {
        return Ok(());
    }
    let header = header.join(",");
    Err(Failure::Input(format!("{name}:1: the header {header:?}; accepted is client,share")))
}

fn client(record: &ByteRecord, seen: &mut HashSet<String>) -> Result<(String, u64), String> {
    if record.len() != 2 {
        return Err(format!("the row has {} columns; accepted are 2: client,share", record.len()));
    }
    let text = |field: &[u8]| {
        let text = std::str::from_utf8(field).map_err(|_| "the row is not UTF-8".to_owned())?;
        Ok::<_, String>(text.trim().to_owned())
    };
    let (client, share) = (text(&record[0])?, text(&record[1])?);
    if client.is_empty() {
        return Err("the client has no name".to_owned());
    }
    let weight = weight(&share)?;
    if !seen.insert(client.clone()) {
        return Err(format!("the client {client:?} is there already"));
    }
    Ok((client, weight))
}

/// Reading a decimal, multiplying it and rounding are the same on every machine.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn weight(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(share) if (1e-9..=1e3).contains(&share) => Ok((share * PARTS).round() as u64),
        _ => Err(format!("share {text:?}: accepted is a number from 0.000000001 to 1000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Result<Clients, Failure>, Vec<(u64, String)>) {
        let mut rejects = Rejects::new(false);
        let text = format!("client,share\n{body}");
        let clients = Clients::parse("c.csv", text.as_bytes(), &mut rejects);
        let rejects = rejects.rows().iter().map(|row| (row.line, row.reason.clone())).collect();
        (clients, rejects)
    }

    #[test]
    fn shares_are_weights_and_the_largest_comes_first() {
        let (clients, rejects) = read("a,0.25\nb,1\nc,0.25\n");
        let clients = clients.unwrap();
        assert_eq!(clients.names, ["b", "a", "c"]);
        assert_eq!(clients.weights, [1_000_000_000, 250_000_000, 250_000_000]);
        assert_eq!(clients.percent_of_first(1), 66);
        assert_eq!(rejects, []);
    }

    #[test]
    fn a_share_that_is_none_is_reported_with_its_line() {
        for share in ["0", "-0.1", "NaN", "inf", "", "much", "0.0000000001", "1e300"] {
            let (clients, rejects) = read(&format!("a,0.5\nb,{share}\n"));
            assert_eq!(clients.unwrap().names, ["a"], "{share}");
            assert_eq!(rejects.len(), 1, "{share}");
            assert_eq!(rejects[0].0, 3, "{share}");
            assert!(rejects[0].1.starts_with(&format!("share {share:?}")), "{}", rejects[0].1);
        }
    }

    #[test]
    fn a_client_is_named_once_and_has_two_columns() {
        let (clients, rejects) = read("a,0.5\na,0.2\n,0.2\nb\nc,1,2\n");
        assert_eq!(clients.unwrap().weights, [500_000_000], "the first mention counts");
        let lines: Vec<u64> = rejects.iter().map(|row| row.0).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
    }

    #[test]
    fn a_file_of_nothing_fails() {
        assert!(read("").0.unwrap_err().to_string().ends_with("no client can be used"));
        let mut rejects = Rejects::new(false);
        let failure = Clients::parse("c.csv", b"", &mut rejects).unwrap_err();
        assert_eq!(failure.to_string(), "c.csv: the file is empty");
        let failure = Clients::parse("c.csv", b"name,part\n", &mut rejects).unwrap_err();
        assert!(failure.to_string().starts_with("c.csv:1: the header \"name,part\""), "{failure}");
    }

    #[test]
    fn the_law_is_what_it_says() {
        let law = Clients::law();
        assert_eq!(law.names.len(), 100);
        assert_eq!(law.percent_of_first(1), 16);
        assert_eq!(law.percent_of_first(10), 63);
        assert!(law.weights.windows(2).all(|pair| pair[0] >= pair[1]), "largest first");
    }
}
