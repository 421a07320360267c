//! Two databases, one text: what lets a query be written once, and how the
//! domain's types look in a column.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};
use uuid::Uuid;

use crate::domain::health::Exclusion;
use crate::domain::image::PerceptualHash;
use crate::domain::job::JobState;
use crate::domain::permission::Role;
use crate::domain::report::Kpi;
use crate::domain::{
    ChannelName, DeviceId, Digest, JobId, MaskVersion, SiteName, SnapshotId, Split, Timestamp, TokenId,
    ValidationVersion,
};

/// Runs `$body` with `$db` as the connection of `$tx`. Both arms are the same
/// text; only the type of `$db` differs.
macro_rules! on {
    ($tx:expr, $db:ident => $body:expr) => {
        match $tx.connection() {
            $crate::catalog::tx::Connection::Postgres($db) => $body,
            $crate::catalog::tx::Connection::Sqlite($db) => $body,
        }
    };
}

/// A statement that the databases do not share, both texts side by side.
#[derive(Clone, Copy)]
pub struct PerDialect {
    /// What PostgreSQL is asked.
    pub postgres: &'static str,
    /// What SQLite is asked.
    pub sqlite: &'static str,
}

/// The same statement with a clause that locks rows. SQLite has one writer and
/// locks the whole database before: there the clause is empty.
macro_rules! locking {
    ($sql:literal, $lock:literal) => {
        $crate::catalog::dialect::PerDialect {
            postgres: concat!($sql, " ", $lock),
            sqlite: $sql,
        }
    };
}

/// A type of the domain as a column of a simpler type.
macro_rules! column {
    ($type:ty as $column:ty, $write:expr, $read:expr) => {
        impl<DB: Database> Type<DB> for $type
        where
            $column: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$column as Type<DB>>::type_info()
            }

            fn compatible(other: &DB::TypeInfo) -> bool {
                <$column as Type<DB>>::compatible(other)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $type
        where
            $column: Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buffer: &mut <DB as Database>::ArgumentBuffer,
            ) -> Result<IsNull, BoxDynError> {
                let write: fn(&$type) -> $column = $write;
                write(self).encode(buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $type
        where
            $column: Decode<'r, DB>,
        {
            fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let read: fn($column) -> Result<$type, BoxDynError> = $read;
                read(<$column as Decode<'r, DB>>::decode(value)?)
            }
        }
    };
}

/// The value of a word, or an error that shows it.
fn of_word<T>(found: Option<T>, word: &str) -> Result<T, BoxDynError> {
    found.ok_or_else(|| format!("unknown word `{word}`").into())
}

column!(Timestamp as i64, |time| time.as_micros(), |micros| Ok(
    Timestamp::from_micros(micros)
));
column!(Digest as Vec<u8>, |digest| digest.as_bytes().to_vec(), |bytes| {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| "a digest has 32 bytes")?;
    Ok(Digest::from_bytes(bytes))
});
column!(SiteName as String, |name| name.as_str().to_owned(), |name| Ok(
    name.parse()?
));
column!(ChannelName as String, |name| name.as_str().to_owned(), |name| Ok(
    name.parse()?
));
column!(JobId as Uuid, |id| id.0, |id| Ok(JobId(id)));
column!(SnapshotId as Uuid, |id| id.0, |id| Ok(SnapshotId(id)));
column!(DeviceId as Uuid, |id| id.0, |id| Ok(DeviceId(id)));
column!(TokenId as Uuid, |id| id.0, |id| Ok(TokenId(id)));
column!(MaskVersion as i64, |version| i64::from(version.0), |number| Ok(
    MaskVersion(number.try_into()?)
));
column!(
    ValidationVersion as i64,
    |version| i64::from(version.0),
    |number| { Ok(ValidationVersion(number.try_into()?)) }
);
// The 64 bits as they are, read as a signed number.
column!(PerceptualHash as i64, |hash| hash.0 as i64, |bits| Ok(
    PerceptualHash(bits as u64)
));
column!(JobState as String, |state| state.word().to_owned(), |word| {
    of_word(JobState::of_word(&word), &word)
});
column!(Role as String, |role| role.word().to_owned(), |word| of_word(
    Role::of_word(&word),
    &word
));
column!(Split as String, |split| split.word().to_owned(), |word| of_word(
    Split::of_word(&word),
    &word
));
column!(Kpi as String, |kpi| kpi.to_string(), |text| Ok(text.parse()?));

column!(Exclusion as String, |exclusion| exclusion.to_string(), |text| Ok(
    text.parse()?
));

/// A count: never negative, and never so large that a database could not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub u64);

column!(
    Count as i64,
    |count| i64::try_from(count.0).unwrap_or(i64::MAX),
    |number| Ok(Count(number.try_into()?))
);

/// A document as JSON text.
#[derive(Debug, Clone, PartialEq)]
pub struct Json<T>(pub T);

impl<T, DB: Database> Type<DB> for Json<T>
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as Type<DB>>::type_info()
    }

    fn compatible(other: &DB::TypeInfo) -> bool {
        <String as Type<DB>>::compatible(other)
    }
}

impl<'q, T: serde::Serialize, DB: Database> Encode<'q, DB> for Json<T>
where
    String: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buffer: &mut <DB as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        serde_json::to_string(&self.0)?.encode(buffer)
    }
}

impl<'r, T: serde::de::DeserializeOwned, DB: Database> Decode<'r, DB> for Json<T>
where
    String: Decode<'r, DB>,
{
    fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <String as Decode<'r, DB>>::decode(value)?;
        Ok(Self(serde_json::from_str(&text)?))
    }
}

/// Text that both databases can hold: PostgreSQL knows no NUL.
pub fn text(given: &str) -> String {
    given.replace('\0', "\u{fffd}")
}
