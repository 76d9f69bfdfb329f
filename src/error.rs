//! The one error type of the library. Every message says what is wrong, where, what was found and what is allowed.

use std::path::{Path, PathBuf};

/// Result of every fallible function of the library.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, worded for the person who has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong: unknown, out of range, or at odds with another one.
    #[error("{place}: got {got}; allowed: {allowed}")]
    Setting {
        /// File, line and key, such as `sim.toml:12: probe.energy_kev`.
        place: String,
        /// The value found.
        got: String,
        /// What would have been accepted, and a hint where one helps.
        allowed: String,
    },
    /// A settings file does not parse; the message is the parser's, with line and key.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The settings file.
        path: PathBuf,
        /// The parser's message, with line, column and what was expected.
        message: String,
    },
    /// A data file cannot be understood: truncated, of another kind, or without what is needed.
    #[error("{}: {place}: got {got}; allowed: {allowed}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Where in it: a data set, a byte offset, an axis.
        place: String,
        /// What was found.
        got: String,
        /// What would have been accepted.
        allowed: String,
    },
    /// A measurement is impossible on this input: no atoms, too few cells, nothing to train on.
    #[error("{what}: got {got}; needed: {needed}")]
    Unmeasurable {
        /// What was attempted, on what.
        what: String,
        /// What was found.
        got: String,
        /// What would have been needed.
        needed: String,
    },
    /// A result is already there.
    #[error("{}: got a finished result that is already there; allowed: another name, or --force to replace it", path.display())]
    Exists {
        /// The result.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as a verb phrase: `write`, `rename to`.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A numerical library failed inside; this is a fault of the program, told with its place.
    #[error("{doing}: {message}")]
    Compute {
        /// What was being computed.
        doing: &'static str,
        /// The library's message.
        message: String,
    },
}

impl Error {
    /// An [`Error::Io`] for `map_err`: `fs::read(p).map_err(Error::io("read", p))`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io {
            path,
            doing,
            source,
        }
    }

    /// An [`Error::Data`] at a place in a file.
    pub fn data(
        path: &Path,
        place: impl Into<String>,
        got: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Error {
        Error::Data {
            path: path.to_owned(),
            place: place.into(),
            got: got.into(),
            allowed: allowed.into(),
        }
    }

    /// An [`Error::Unmeasurable`].
    pub fn unmeasurable(
        what: impl Into<String>,
        got: impl Into<String>,
        needed: impl Into<String>,
    ) -> Error {
        Error::Unmeasurable {
            what: what.into(),
            got: got.into(),
            needed: needed.into(),
        }
    }

    /// The same error, saying in which file what was measured lies.
    #[must_use]
    pub fn of_file(self, path: &Path) -> Error {
        match self {
            Error::Unmeasurable { what, got, needed } => Error::Unmeasurable {
                what: format!("{}: {what}", path.display()),
                got,
                needed,
            },
            other => other,
        }
    }

    /// An [`Error::Compute`] for `map_err` on errors of numerical libraries.
    pub fn compute<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |error| Error::Compute {
            doing,
            message: error.to_string(),
        }
    }
}
