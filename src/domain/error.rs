//! What every error of Katagami can say about itself.
//!
//! Modules define their own error enums; this trait is how `api` finds a
//! status and `cli` an exit code without knowing any of them.

/// Whose fault an error is, and what the asker can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request or file is wrong; asking again unchanged fails again.
    Invalid,
    /// No valid credential was given.
    Unauthenticated,
    /// The credential is valid but does not allow this.
    Forbidden,
    /// There is no such thing (or the asker may not know of it).
    NotFound,
    /// The state of the thing forbids this now.
    Conflict,
    /// A precondition named by the asker does not hold.
    PreconditionFailed,
    /// A limit of size or number was passed.
    TooLarge,
    /// Too many requests or a quota used up.
    Exhausted,
    /// Something that is needed is not there now; asking again later may help.
    Unavailable,
    /// A fault of the server.
    Internal,
}

/// An error with a stable code.
pub trait Problem: std::error::Error {
    /// Whose fault it is.
    fn kind(&self) -> ErrorKind;
    /// A stable snake_case code, such as `no_such_mask`.
    fn code(&self) -> &'static str;
}
