//! The others, each used as its documentation says, with limits that nothing comes near.

pub mod direct;
pub mod floor;
pub mod governor;
pub mod keyed;
pub mod limitador;
pub mod naive;
pub mod plain;
#[cfg(feature = "postgres")]
pub mod plain_postgres;
#[cfg(feature = "sqlite")]
pub mod plain_sqlite;
