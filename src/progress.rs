//! Progress of long work, with the time left; silent when not on a terminal or when asked to be quiet.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How much the program says while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// One line per stage, progress bars on a terminal.
    Normal,
    /// Details: sizes, choices and their reasons.
    Verbose,
}

/// Speaks to the person at the terminal; lines go to standard error, so that standard output stays for results.
#[derive(Debug, Clone, Copy)]
pub struct Reporter {
    verbosity: Verbosity,
}

impl Reporter {
    /// A reporter that says as much as `verbosity` allows.
    #[must_use]
    pub fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// A reporter that says nothing (tests, library use).
    #[must_use]
    pub fn quiet() -> Self {
        Self::new(Verbosity::Quiet)
    }

    /// One line about a stage.
    pub fn say(&self, line: impl AsRef<str>) {
        if self.verbosity != Verbosity::Quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// One line of detail, for `--verbose`.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbosity == Verbosity::Verbose {
            eprintln!("{}", line.as_ref());
        }
    }

    /// A bar over `total` units of work called `what`.
    #[must_use]
    pub fn bar(&self, what: &str, total: u64) -> ProgressBar {
        let target = match self.verbosity {
            Verbosity::Quiet => ProgressDrawTarget::hidden(),
            Verbosity::Normal | Verbosity::Verbose => ProgressDrawTarget::stderr_with_hz(5),
        };
        let style = ProgressStyle::with_template(
            "{prefix:24} {wide_bar} {human_pos}/{human_len}  {elapsed} gone, {eta} left  {msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        bar.set_prefix(what.to_owned());
        bar
    }
}
