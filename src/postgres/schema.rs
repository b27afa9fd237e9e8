//! The tables, as this release knows them.

use ::postgres::Client;
use refinery::Migration;

use super::error::{Failure, told};
use crate::ledger::StoreError;

mod embedded {
    refinery::embed_migrations!("src/postgres/migrations");
}

/// Where it is written which migrations have run.
const APPLIED: &str = "tollkeeper.migrations";

/// The advisory lock under which tables are changed: `tollkeep` in ASCII.
const LOCK: i64 = 0x746f_6c6c_6b65_6570;

/// Makes what is missing. Where nothing is, it changes nothing and waits for nobody.
pub(super) fn prepare(client: &mut Client) -> Result<(), Failure> {
    let mut runner = embedded::migrations::runner().set_grouped(true);
    runner.set_migration_table_name(APPLIED);
    let known = sorted(runner.get_migrations());
    if is_current(client, &known)? {
        return Ok(());
    }
    // Of the session, not of a transaction: the migrations have one of their own.
    client.batch_execute("SET lock_timeout = '60s'; SET statement_timeout = '120s'")?;
    client.query_one("SELECT pg_advisory_lock($1)", &[&LOCK])?;
    let made = make(client, &known, &runner);
    // Whatever comes of it, the session gives the lock back, if only by its end.
    let freed = client.query_one("SELECT pg_advisory_unlock($1)", &[&LOCK]);
    made?;
    freed?;
    client.batch_execute("SET lock_timeout = '10s'; SET statement_timeout = '30s'")?;
    Ok(())
}

/// Under the lock: another process may have made it meanwhile.
fn make(client: &mut Client, known: &[Known], runner: &refinery::Runner) -> Result<(), Failure> {
    if is_current(client, known)? {
        return Ok(());
    }
    client.batch_execute("CREATE SCHEMA IF NOT EXISTS tollkeeper")?;
    runner.run(client).map_err(|e| told("changing the tables", e))?;
    Ok(())
}

/// A migration: version, name and checksum.
type Known = (i32, String, String);

fn sorted(migrations: &[Migration]) -> Vec<Known> {
    let known = |of: &Migration| (of.version(), of.name().to_owned(), of.checksum().to_string());
    let mut known: Vec<Known> = migrations.iter().map(known).collect();
    known.sort();
    known
}

/// Whether the tables are those of this release. If they are not those of an earlier one either,
/// that is an error.
fn is_current(client: &mut Client, known: &[Known]) -> Result<bool, Failure> {
    let there = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&APPLIED])?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let query = format!("SELECT version, name, checksum FROM {APPLIED} ORDER BY version");
    let rows = client.query(&query, &[])?;
    for (index, row) in rows.iter().enumerate() {
        let found: Known = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        match known.get(index) {
            Some(migration) if *migration == found => {}
            Some(migration) => {
                let found = format!("version {} ({}), with other contents", found.0, found.1);
                return Err(refused(found, &format!("version {}", migration.0)));
            }
            None => {
                let last = known.last().map_or(0, |migration| migration.0);
                let found = format!("version {} ({}), of a later release", found.0, found.1);
                return Err(refused(found, &format!("versions up to {last}")));
            }
        }
    }
    Ok(rows.len() == known.len())
}

fn refused(found: String, accepted: &str) -> Failure {
    let accepted = format!(
        "{accepted}, as this release of tollkeeper writes it; use the release that made the \
         tables or a later one, or another database"
    );
    StoreError::Schema { found, accepted }.into()
}
