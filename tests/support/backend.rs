//! The two databases that everything runs on.

use crate::postgres;

/// A database to test with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// An empty database, gone when this is dropped.
pub struct Database {
    /// What `--database-url` takes.
    pub url: String,
    kept: Kept,
}

enum Kept {
    Sqlite { _folder: tempfile::TempDir },
    Postgres(postgres::TestDatabase),
}

impl Backend {
    /// Makes an empty database.
    pub fn database(self) -> Database {
        match self {
            Self::Sqlite => {
                let folder = tempfile::tempdir().expect("there is room for a database");
                Database {
                    url: format!("sqlite:{}", folder.path().join("catalog.sqlite").display()),
                    kept: Kept::Sqlite { _folder: folder },
                }
            }
            Self::Postgres => {
                let database = postgres::TestDatabase::fresh();
                Database {
                    url: database.url.clone(),
                    kept: Kept::Postgres(database),
                }
            }
        }
    }
}

impl Database {
    /// Cuts every connection to it, where there are connections that can be cut.
    pub fn cut(&self) {
        match &self.kept {
            Kept::Sqlite { .. } => {}
            Kept::Postgres(database) => database.cut(),
        }
    }
}
