//! The schema's versions, inside the executable: each line of the list below is
//! one file in both folders of `migrations/`. A file that was released never
//! changes: its checksum is compared.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($dialect:literal) => {
        migrations!($dialect: 1 "0001_catalog", 2 "0002_deltas", 3 "0003_health", 4 "0004_priors", 5 "0005_view")
    };
    ($dialect:literal: $($version:literal $name:literal),+) => {
        Migrator::with_migrations(vec![$(Migration::new(
            $version,
            $name.into(),
            MigrationType::Simple,
            include_str!(concat!("../../migrations/", $dialect, "/", $name, ".sql")).into_sql_str(),
            false,
        )),+])
    };
}

/// What SQLite goes through.
pub fn sqlite() -> Migrator {
    migrations!("sqlite")
}

/// What PostgreSQL goes through.
pub fn postgres() -> Migrator {
    migrations!("postgres")
}
