//! A trace in the format of the Azure LLM inference traces: when, how much in, how much out.
//!
//! `TIMESTAMP,ContextTokens,GeneratedTokens`, columns in any order, further columns ignored. Rows
//! have to be in the order of time: one that is earlier than the row before is malformed and left
//! out, because sorting would hide that a file is damaged or was joined wrongly.

use super::failure::Failure;
use super::malformed::{Lines, Malformed, Rejects};
use csv::{ByteRecord, ReaderBuilder};
use std::time::Duration;
use tollkeeper::Timestamp;

/// More tokens than any model takes or makes; a row that claims them is damaged.
const MOST_TOKENS: u64 = 10_000_000;
/// A longer silence between two rows is a damaged timestamp, not a quiet night.
const LONGEST_GAP: Duration = Duration::from_secs(24 * 60 * 60);
const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub at: Timestamp,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// Reads a trace, leaving malformed rows to `rejects`. It fails if no row can be used.
pub fn parse(name: &str, text: &[u8], rejects: &mut Rejects) -> Result<Vec<Row>, Failure> {
    // Quotes have no meaning in this format; giving them one would let a stray quote swallow the
    // rest of the file as one field.
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).quoting(false).from_reader(text);
    let (mut record, mut lines) = (ByteRecord::new(), Lines::new(text));
    let columns = header(name, read(name, &mut reader, &mut record)?.then_some(&record))?;
    let mut rows: Vec<Row> = Vec::new();
    while read(name, &mut reader, &mut record)? {
        match row(&record, columns).and_then(|row| in_order(rows.last(), row)) {
            Ok(row) => rows.push(row),
            Err(reason) => {
                let line = record.position().map_or(0, |start| lines.of(start));
                rejects.push(Malformed { file: name.to_owned(), line, reason })?;
            }
        }
    }
    if rows.is_empty() {
        return Err(Failure::Input(format!("{name}: no row of the trace can be used")));
    }
    Ok(rows)
}

fn read(
    name: &str,
    reader: &mut csv::Reader<&[u8]>,
    record: &mut ByteRecord,
) -> Result<bool, Failure> {
    reader.read_byte_record(record).map_err(|why| Failure::Input(format!("{name}: {why}")))
}

/// Finds the columns. Without them no row means anything, so this fails whether strict or not.
fn header(name: &str, first: Option<&ByteRecord>) -> Result<[usize; 3], Failure> {
    let Some(first) = first else {
        return Err(Failure::Input(format!("{name}: the file is empty")));
    };
    let mut columns = [0; 3];
    for (place, wanted) in columns.iter_mut().zip(COLUMNS) {
        *place = first
            .iter()
            .map(|field| field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field).trim_ascii())
            .position(|field| field.eq_ignore_ascii_case(wanted.as_bytes()))
            .ok_or_else(|| {
                let header = first.iter().map(String::from_utf8_lossy).collect::<Vec<_>>();
                Failure::Input(format!(
                    "{name}:1: the header {:?} has no column {wanted}; accepted is {}",
                    header.join(","),
                    COLUMNS.join(",")
                ))
            })?;
    }
    Ok(columns)
}

fn row(record: &ByteRecord, columns: [usize; 3]) -> Result<Row, String> {
    let mut fields = [""; 3];
    for ((field, column), name) in fields.iter_mut().zip(columns).zip(COLUMNS) {
        let bytes = record
            .get(column)
            .ok_or_else(|| format!("the row has {} columns and no {name}", record.len()))?;
        *field = std::str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?.trim();
    }
    Ok(Row {
        at: timestamp(fields[0])?,
        input_tokens: tokens(COLUMNS[1], fields[1])?,
        output_tokens: tokens(COLUMNS[2], fields[2])?,
    })
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    let accepted = "accepted is 2023-11-16 18:17:03.9799600, in UTC";
    let (date, time) =
        text.split_once(' ').ok_or_else(|| format!("TIMESTAMP {text:?}: {accepted}"))?;
    Timestamp::parse_rfc3339(&format!("{date}T{time}Z"))
        .map_err(|why| format!("TIMESTAMP {text:?}: {why}; {accepted}"))
}

fn tokens(column: &str, text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(count) if digits && count <= MOST_TOKENS => Ok(count),
        _ => Err(format!("{column} {text:?}: accepted is a whole number from 0 to {MOST_TOKENS}")),
    }
}

fn in_order(last: Option<&Row>, row: Row) -> Result<Row, String> {
    let Some(last) = last else { return Ok(row) };
    if row.at < last.at {
        return Err(format!("TIMESTAMP {} is before the row above, {}", row.at, last.at));
    }
    if row.at.saturating_since(last.at) > LONGEST_GAP {
        return Err(format!("TIMESTAMP {} is over a day after the row above, {}", row.at, last.at));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";

    type Told = Vec<(u64, String)>;

    fn read(body: &str) -> (Result<Vec<Row>, Failure>, Told) {
        let mut rejects = Rejects::new(false);
        let rows = parse("t.csv", format!("{HEADER}{body}").as_bytes(), &mut rejects);
        let rejects = rejects.rows().iter().map(|row| (row.line, row.reason.clone())).collect();
        (rows, rejects)
    }

    #[test]
    fn a_timestamp_has_seven_digits_of_fraction() {
        let (rows, rejects) = read("2023-11-16 18:17:03.9799600,4808,10\r\n");
        let at = Timestamp::parse_rfc3339("2023-11-16T18:17:03.97996Z").unwrap();
        assert_eq!(rows.unwrap(), [Row { at, input_tokens: 4808, output_tokens: 10 }]);
        assert_eq!(rejects, []);
    }

    #[test]
    fn every_malformed_row_is_reported_with_its_line_and_reason() {
        let good = "2023-11-16 18:00:00.0000000,1,1";
        for (row, reason) in [
            ("2023-11-16 18:00:01.0,5", "2 columns and no GeneratedTokens"),
            ("2023-11-16 18:00:01.0,five,5", "ContextTokens \"five\""),
            ("2023-11-16 18:00:01.0,5,-5", "GeneratedTokens \"-5\""),
            ("2023-11-16 18:00:01.0,+5,5", "ContextTokens \"+5\""),
            ("2023-11-16 18:00:01.0,,5", "ContextTokens \"\""),
            ("2023-11-16 18:00:01.0,1.5,5", "ContextTokens \"1.5\""),
            ("2023-11-16 18:00:01.0,10000001,5", "from 0 to 10000000"),
            ("2023-11-16 18:00:01.0,99999999999999999999999,5", "from 0 to 10000000"),
            ("2023-11-16,5,5", "TIMESTAMP \"2023-11-16\""),
            ("2023-02-30 18:00:01.0,5,5", "TIMESTAMP \"2023-02-30 18:00:01.0\""),
            ("yesterday at noon,5,5", "TIMESTAMP \"yesterday at noon\""),
            ("2023-11-16 17:59:59.9999999,5,5", "before the row above"),
            ("2033-11-16 18:00:00.0,5,5", "over a day after"),
            ("2023-11-16 18:00:01.0,\u{fffd}\",5", "ContextTokens"),
        ] {
            for (end, line) in [("\n", 3), ("\r\n", 3), ("\n\n", 4), ("\r\n\r\n", 4)] {
                let good = format!("{good}{end}");
                let (rows, rejects) = read(&format!("{good}{row}{end}{good}"));
                assert_eq!(rows.unwrap().len(), 2, "{row}: the rows around it are used");
                assert_eq!(rejects.len(), 1, "{row}");
                assert_eq!(rejects[0].0, line, "{row}: its line");
                assert!(rejects[0].1.contains(reason), "{row}: {} lacks {reason}", rejects[0].1);
            }
        }
    }

    #[test]
    fn strict_stops_at_the_first() {
        let text = format!("{HEADER}nonsense\n2023-11-16 18:00:00.0,1,1\n");
        let stopped = parse("t.csv", text.as_bytes(), &mut Rejects::new(true)).unwrap_err();
        assert!(stopped.to_string().starts_with("t.csv:2: the row has 1 columns"), "{stopped}");
    }

    #[test]
    fn a_file_without_header_or_rows_fails() {
        for (text, reason) in [
            ("", "t.csv: the file is empty"),
            (HEADER, "t.csv: no row of the trace can be used"),
            ("when,in,out\n1,2,3\n", "t.csv:1: the header \"when,in,out\" has no column TIMESTAMP"),
        ] {
            let failure = parse("t.csv", text.as_bytes(), &mut Rejects::new(false)).unwrap_err();
            assert!(failure.to_string().starts_with(reason), "{failure}");
        }
    }

    #[test]
    fn columns_may_stand_in_another_order_with_others_between() {
        let text = "\u{feff}GeneratedTokens,NumImages,TIMESTAMP,ContextTokens\n\
                    3,1,2023-11-16 18:00:00.0,7\n";
        let rows = parse("t.csv", text.as_bytes(), &mut Rejects::new(true)).unwrap();
        assert_eq!((rows[0].input_tokens, rows[0].output_tokens), (7, 3));
    }
}
