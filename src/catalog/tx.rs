//! A transaction: the one thing that all functions of the catalog take.

use std::sync::Arc;

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};

use super::CatalogError;
use super::database::Shared;
use super::dialect::PerDialect;
use crate::domain::{SiteName, Timestamp};
use crate::wire::v1::events::Happening;

/// A transaction on either database. Dropped without [`Tx::commit`], it is rolled back.
pub struct Tx {
    db: Db,
    shared: Arc<Shared>,
    /// Written by [`Tx::commit`], last: see there.
    pub(super) happenings: Vec<(Option<SiteName>, Happening)>,
}

/// The transaction of one of the databases.
enum Db {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

/// The connection behind a transaction; see the macro `on!`.
pub enum Connection<'t> {
    /// PostgreSQL's.
    Postgres(&'t mut PgConnection),
    /// SQLite's.
    Sqlite(&'t mut SqliteConnection),
}

impl Tx {
    pub(super) fn postgres(transaction: Transaction<'static, Postgres>, shared: Arc<Shared>) -> Self {
        Self {
            db: Db::Postgres(transaction),
            shared,
            happenings: Vec::new(),
        }
    }

    pub(super) fn sqlite(transaction: Transaction<'static, Sqlite>, shared: Arc<Shared>) -> Self {
        Self {
            db: Db::Sqlite(transaction),
            shared,
            happenings: Vec::new(),
        }
    }

    /// The connection, for the macro `on!`.
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match &mut self.db {
            Db::Postgres(transaction) => Connection::Postgres(transaction),
            Db::Sqlite(transaction) => Connection::Sqlite(transaction),
        }
    }

    /// The text of `statement` for this database.
    pub(super) const fn text(&self, statement: PerDialect) -> &'static str {
        match self.db {
            Db::Postgres(_) => statement.postgres,
            Db::Sqlite(_) => statement.sqlite,
        }
    }

    /// The database's clock (SQLite's is this machine's), plus what tests added
    /// with [`super::Catalog::advance`]. Asked anew at each call: a transaction
    /// that waited for a lock must not decide by the time before.
    pub async fn now(&mut self) -> Result<Timestamp, CatalogError> {
        let clock = match &mut self.db {
            Db::Postgres(transaction) => {
                let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
                Timestamp::from_micros(sqlx::query_scalar(sql).fetch_one(&mut **transaction).await?)
            }
            Db::Sqlite(_) => Timestamp::now(),
        };
        Ok(clock.after(self.shared.advanced()))
    }

    /// Makes everything that was done durable and visible, and wakes those who
    /// watch if something happened.
    ///
    /// What happened is written here, after everything else, so that the lock
    /// that keeps events in order is the last one taken and held shortly.
    pub async fn commit(mut self) -> Result<(), CatalogError> {
        let happened = !self.happenings.is_empty();
        if happened {
            super::events::write(&mut self).await?;
        }
        match self.db {
            Db::Postgres(transaction) => transaction.commit().await?,
            Db::Sqlite(transaction) => transaction.commit().await?,
        }
        if happened {
            self.shared.wake();
        }
        Ok(())
    }
}
