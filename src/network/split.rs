//! Which windows train, which validate and which test: by position, so that no pixel is in two parts.
//!
//! The image is cut at a line x = const into a left part to learn from and a right part to test on (Nelson et al. 2021 train
//! on two thirds of each stack). The uppermost strip of the left part validates. Windows that touch a line are dropped.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::neighbours::Point;
use crate::settings::Source;
use crate::storage::dataset::Split;

/// `[split]`: where the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSettings {
    /// Left of this fraction of the image's width is for learning, right of it for testing.
    pub train_fraction: f64,
    /// Uppermost fraction of the left part that validates; never less than the height of 1.5 windows.
    pub validation_fraction: f64,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self {
            train_fraction: 2.0 / 3.0,
            validation_fraction: 0.15,
        }
    }
}

impl SplitSettings {
    /// Checks the fractions.
    ///
    /// # Errors
    /// A fraction out of range.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let hint = "of the image";
        source.in_range(
            "split.train_fraction",
            self.train_fraction,
            0.1..=1.0,
            hint,
            "1 for no test part",
        )?;
        source.in_range(
            "split.validation_fraction",
            self.validation_fraction,
            0.01..=0.5,
            hint,
            "",
        )
    }
}

/// Where the lines of an image of `extent` `[y, x]` [Å] are: `(x of the test line, y of the validation line)` [Å].
#[must_use]
pub fn split_lines(extent: [f64; 2], window: f64, settings: &SplitSettings) -> (f64, f64) {
    let strip = (settings.validation_fraction * extent[0]).max(1.5 * window);
    (settings.train_fraction * extent[1], strip)
}

/// The part of each window of side `window` [Å] around `centres` [Å] on an image of `extent` `[y, x]` [Å]; `None` for windows
/// that touch a line.
#[must_use]
pub fn split_by_position(
    centres: &[Point],
    window: f64,
    extent: [f64; 2],
    settings: &SplitSettings,
) -> Vec<Option<Split>> {
    let (line, strip) = split_lines(extent, window, settings);
    let part = |&[x, y]: &Point| {
        let half = window / 2.0;
        if x - half > line {
            Some(Split::Test)
        } else if x + half >= line && settings.train_fraction < 1.0 {
            None
        } else if y + half < strip {
            Some(Split::Validation)
        } else if y - half > strip {
            Some(Split::Train)
        } else {
            None
        }
    };
    centres.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_windows_of_different_parts_overlap() {
        let (window, extent) = (8.0, [60.0, 90.0]);
        let centres: Vec<Point> = (0..53 * 83)
            .map(|i| [4.0 + (i % 83) as f64, 4.0 + (i / 83) as f64])
            .collect();
        let split = split_by_position(&centres, window, extent, &SplitSettings::default());
        let count = |part| split.iter().filter(|s| **s == Some(part)).count();
        assert!(count(Split::Train) > 5 * count(Split::Validation));
        assert!(count(Split::Validation) > 100 && count(Split::Test) > 1000);
        for (i, a) in centres
            .iter()
            .enumerate()
            .filter(|(i, _)| split[*i].is_some())
        {
            for (j, b) in centres
                .iter()
                .enumerate()
                .skip(i)
                .filter(|(j, _)| split[*j].is_some())
            {
                let apart = (a[0] - b[0]).abs() >= window || (a[1] - b[1]).abs() >= window;
                assert!(split[i] == split[j] || apart, "{a:?} {b:?}");
            }
        }
    }
}
