//! Opening a database, its connections, and who is woken by its commits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::migrations;
use super::{CatalogError, Tx};

/// How long a transaction waits for a connection, or for SQLite's writer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before listening again when PostgreSQL went away.
const RETRY: Duration = Duration::from_secs(1);
/// PostgreSQL's channel for what happened.
pub(super) const CHANNEL: &str = "katagami";

/// Where a catalog is: `sqlite:PATH` or `postgres://…`. Its `Debug` and
/// `Display` leave out the password.
#[derive(Clone)]
pub struct DatabaseUrl(Place);

#[derive(Clone)]
enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// The text is no address of a database.
#[derive(Debug, Clone, thiserror::Error)]
#[error("this is not a database's address ({0}); write `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
pub struct InvalidDatabaseUrl(String);

impl DatabaseUrl {
    /// The SQLite database in the file `path`, which need not exist.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Place::Sqlite(path.into()))
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The error may quote the address, so only its kind is told.
            let options = text
                .parse()
                .map_err(|_| InvalidDatabaseUrl("PostgreSQL's part of it is wrong".to_owned()))?;
            return Ok(Self(Place::Postgres(Box::new(options))));
        }
        let path = text.strip_prefix("sqlite:").unwrap_or_default();
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path == ":memory:" {
            return Err(InvalidDatabaseUrl("neither a file nor PostgreSQL".to_owned()));
        }
        Ok(Self::sqlite(path))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Place::Postgres(options) => write!(
                f,
                "postgres://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The database of a server. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Catalog {
    pools: Pools,
    shared: Arc<Shared>,
    /// Ends with the last clone, or when it is closed.
    listener: Option<Arc<AbortOnDropHandle<()>>>,
}

#[derive(Clone)]
enum Pools {
    Postgres(PgPool),
    Sqlite {
        /// One connection: SQLite has one writer, and waiting here is fairer
        /// and cheaper than in SQLite's busy loop.
        write: SqlitePool,
        read: SqlitePool,
    },
}

/// What a catalog shares with its transactions.
pub struct Shared {
    /// Microseconds that tests have added to the clock.
    advanced: AtomicU64,
    /// Counts commits after which there is something to look at.
    woken: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn advanced(&self) -> Duration {
        Duration::from_micros(self.advanced.load(Ordering::Relaxed))
    }

    pub(super) fn wake(&self) {
        self.woken.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Catalog {
    /// Opens the database at `url`, makes it if it is an SQLite file that is not
    /// there, and brings its schema up to date.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, CatalogError> {
        let shared = Arc::new(Shared {
            advanced: AtomicU64::new(0),
            woken: watch::Sender::new(0),
        });
        let (pools, listener) = match &url.0 {
            Place::Sqlite(path) => (open_sqlite(path).await?, None),
            Place::Postgres(options) => {
                let pool = PgPoolOptions::new()
                    .max_connections(16)
                    .acquire_timeout(PATIENCE)
                    .connect_with((**options).clone())
                    .await?;
                migrations::postgres().run(&pool).await?;
                let listener = listen(pool.clone(), shared.clone()).await?;
                (Pools::Postgres(pool), Some(Arc::new(listener)))
            }
        };
        Ok(Self {
            pools,
            shared,
            listener,
        })
    }

    /// Begins a transaction that may write. On SQLite it waits for the writer.
    pub async fn begin(&self) -> Result<Tx, CatalogError> {
        Ok(match &self.pools {
            Pools::Postgres(pool) => Tx::postgres(pool.begin().await?, self.shared.clone()),
            // IMMEDIATE: a transaction that reads first and writes later could
            // otherwise not become the writer (SQLITE_BUSY without waiting).
            Pools::Sqlite { write, .. } => {
                Tx::sqlite(write.begin_with("BEGIN IMMEDIATE").await?, self.shared.clone())
            }
        })
    }

    /// Begins a transaction that only reads, on one state of the database.
    pub async fn read(&self) -> Result<Tx, CatalogError> {
        const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        Ok(match &self.pools {
            Pools::Postgres(pool) => Tx::postgres(pool.begin_with(READ).await?, self.shared.clone()),
            Pools::Sqlite { read, .. } => Tx::sqlite(read.begin().await?, self.shared.clone()),
        })
    }

    /// Is changed after each commit that recorded an event or made a job
    /// available, here or (PostgreSQL) by another server, and after a lost
    /// connection to PostgreSQL came back. Subscribe before you look.
    pub fn notified(&self) -> watch::Receiver<u64> {
        self.shared.woken.subscribe()
    }

    /// Moves the clock of this catalog: for tests, which cannot wait.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.shared.advanced.fetch_add(micros, Ordering::Relaxed);
    }

    /// Ends all connections; transactions that are open are waited for.
    pub async fn close(&self) {
        if let Some(listener) = &self.listener {
            // It keeps a connection of the pool, which waits for all of them.
            listener.abort();
        }
        match &self.pools {
            Pools::Postgres(pool) => pool.close().await,
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}

async fn open_sqlite(path: &std::path::Path) -> Result<Pools, CatalogError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(PATIENCE);
    let writer = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL would lose the last commits in a power cut.
        .synchronous(SqliteSynchronous::Full);
    // Connections are never given up: they cost nothing, and the last one that
    // closes would delete the write-ahead log under a reader that opens.
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let write = pool().max_connections(1).connect_with(writer).await?;
    migrations::sqlite().run(&write).await?;
    let reader = options.pragma("query_only", "ON");
    let read = pool().max_connections(8).connect_with(reader).await?;
    Ok(Pools::Sqlite { write, read })
}

/// Wakes `shared` when another server's commit, or a new connection, may have
/// brought something.
async fn listen(pool: PgPool, shared: Arc<Shared>) -> Result<AbortOnDropHandle<()>, CatalogError> {
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    // Ends with the catalog, which holds its handle.
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            match listener.try_recv().await {
                // None: the connection was lost, and with it who knows what.
                Ok(_) => shared.wake(),
                Err(sqlx::Error::PoolClosed) => return,
                Err(error) => {
                    tracing::warn!(%error, "PostgreSQL cannot be listened to; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    })))
}
