//! A group of entries, written in one transaction.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, params};

use super::error::{failed, is_missing_reference};
use super::postings::Postings;
use super::row::malformed;
use super::windows::{Sums, Windows};
use crate::id::OwnerId;
use crate::ledger::columns::{self, WRITING, instant, number};
use crate::ledger::{Entry, Fate, Nulled, StoreError, UsageRecord, Written};

/// The statements of a group at work.
pub(super) struct Group<'a> {
    connection: &'a Connection,
    record: CachedStatement<'a>,
    postings: Postings,
    sums: Sums<'a>,
}

impl<'a> Group<'a> {
    /// Within a transaction of this connection.
    pub(super) fn new(connection: &'a Connection, windows: &'a mut Windows) -> Result<Self> {
        Ok(Self {
            connection,
            record: connection.prepare_cached(RECORD)?,
            postings: Postings::default(),
            sums: Sums::new(connection, windows)?,
        })
    }

    /// Writes all of the entries.
    pub(super) fn write(
        mut self,
        group: &'a [Entry],
    ) -> std::result::Result<Vec<Written>, StoreError> {
        let written = group.iter().map(|entry| self.entry(entry));
        let written = written.collect::<std::result::Result<Vec<Written>, StoreError>>()?;
        self.postings.write(self.connection).map_err(failed(WRITING))?;
        self.sums.write(self.connection, failed(WRITING))?;
        Ok(written)
    }

    fn entry(&mut self, entry: &'a Entry) -> std::result::Result<Written, StoreError> {
        let failed = failed(WRITING);
        let Some(record) = &entry.record else {
            for posting in &entry.postings {
                self.sums.add(posting, None).map_err(&failed)?;
            }
            return Ok(Written { fate: Fate::Now, nulled: Nulled::default() });
        };
        let (is_new, nulled) = self.insert(record, entry.attempt).map_err(&failed)?;
        if !is_new {
            return self.there_already(record, entry.attempt);
        }
        let seq = self.connection.last_insert_rowid();
        for posting in entry.kept(nulled) {
            let window = self.sums.add(posting, Some(seq)).map_err(&failed)?;
            self.postings.add(seq, window, posting.amount);
        }
        Ok(Written { fate: Fate::Now, nulled })
    }

    /// Inserts a record, with those references NULL that refer to nothing. Whether it was inserted,
    /// and which they are.
    fn insert(&mut self, record: &UsageRecord, attempt: u64) -> Result<(bool, Nulled)> {
        let mut nulled = Nulled::default();
        match self.try_insert(record, nulled, attempt) {
            Err(error) if is_missing_reference(&error) => {
                // Nobody else can write now, so what is missing here is what was missing there.
                nulled.api_key = self.is_missing(record.api_key.as_ref())?;
                nulled.upstream = self.is_missing(record.upstream.as_ref())?;
                if !nulled.any() {
                    return Err(error);
                }
                let inserted = self.try_insert(record, nulled, attempt)?;
                Ok((inserted, nulled))
            }
            inserted => Ok((inserted?, nulled)),
        }
    }

    fn try_insert(&mut self, record: &UsageRecord, nulled: Nulled, attempt: u64) -> Result<bool> {
        let api_key = record.api_key.as_ref().filter(|_| !nulled.api_key);
        let upstream = record.upstream.as_ref().filter(|_| !nulled.upstream);
        let usage = &record.usage;
        let inserted = self.record.execute(params![
            record.id.as_u128().to_be_bytes(),
            api_key.map(OwnerId::as_str),
            upstream.map(OwnerId::as_str),
            record.model,
            record.outcome.name(),
            record.reason,
            number(usage.input_tokens),
            number(usage.output_tokens),
            number(usage.cached_tokens),
            number(usage.cache_write_tokens),
            number(usage.requests),
            number(usage.cost.as_nanos()),
            instant(record.admitted_at),
            instant(record.settled_at),
            record.corrects.map(|corrected| corrected.as_u128().to_be_bytes()),
            columns::nulled(nulled),
            columns::attempt(attempt),
        ])?;
        Ok(inserted == 1)
    }

    fn is_missing(&self, reference: Option<&OwnerId>) -> Result<bool> {
        let Some(owner) = reference else { return Ok(false) };
        Ok(!self.connection.prepare_cached(OWNER)?.exists([owner.as_str()])?)
    }

    /// What became of an entry whose record was not inserted.
    fn there_already(
        &self,
        record: &UsageRecord,
        attempt: u64,
    ) -> std::result::Result<Written, StoreError> {
        let find = || -> Result<Option<(i64, i64)>> {
            let mut find = self.connection.prepare_cached(ATTEMPT)?;
            let id = record.id.as_u128().to_be_bytes();
            find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        };
        match find().map_err(failed(WRITING))? {
            Some((there, nulled)) if there == columns::attempt(attempt) => {
                let nulled = columns::to_nulled(nulled)
                    .ok_or_else(|| malformed(WRITING, "records.nulled", nulled))?;
                Ok(Written { fate: Fate::Before, nulled })
            }
            // Another entry's, or no record of this id, but another correction of the same.
            _ => Ok(Written { fate: Fate::Duplicate, nulled: Nulled::default() }),
        }
    }
}

const RECORD: &str = "INSERT INTO records \
    (id, api_key, upstream, model, outcome, reason, input_tokens, output_tokens, cached_tokens, \
    cache_write_tokens, requests, cost, admitted_at, settled_at, corrects, nulled, attempt) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) \
    ON CONFLICT DO NOTHING";

const OWNER: &str = "SELECT 1 FROM owners WHERE id = ?1";

const ATTEMPT: &str = "SELECT attempt, nulled FROM records WHERE id = ?1";
