//! Which windows train, which validate, which calibrate and which test: by position, so that no pixel is in two parts, or by image.
//!
//! By position the image is cut at a line x = const into a left part to learn from and a right part to test on (Nelson et al. 2021
//! train on two thirds of each stack). The uppermost strip of the left part validates, and, where asked for, its lowermost strip
//! calibrates the uncertainty. Windows that touch a line are dropped.
//!
//! By image every image is in one part as a whole, in the same fractions.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::neighbours::Point;
use crate::settings::Source;
use crate::storage::dataset::Split;

/// `[split]`: where the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSettings {
    /// What is parted.
    pub by: SplitBy,
    /// Left of this fraction of the image's width is for learning, right of it for testing; by image, the fraction of images to learn
    /// from.
    pub train_fraction: f64,
    /// Uppermost fraction of the left part that validates; never less than the height of 1.5 windows.
    pub validation_fraction: f64,
    /// Lowermost fraction of the left part that calibrates the uncertainty; 0 for none, else never less than the height of 1.5 windows.
    pub calibration_fraction: f64,
}

/// What is parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// The windows of each image, by their position in it.
    #[default]
    Position,
    /// The images.
    Image,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self {
            by: SplitBy::Position,
            train_fraction: 2.0 / 3.0,
            validation_fraction: 0.15,
            calibration_fraction: 0.0,
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
        )?;
        source.in_range(
            "split.calibration_fraction",
            self.calibration_fraction,
            0.0..=0.4,
            hint,
            "0 for no calibration part",
        )
    }

    /// Part that image `index` belongs to as a whole.
    ///
    /// The fractional parts of multiples of the golden ratio fill 0 … 1 evenly, from the first images on, so that each part has its
    /// fraction of any number of images.
    #[must_use]
    pub fn part_of_image(&self, index: u64) -> Split {
        let place = ((index as f64 + 0.5) * 0.618_033_988_749_895).fract();
        let validation = self.train_fraction * self.validation_fraction;
        let calibration = self.train_fraction * self.calibration_fraction;
        if place < validation {
            Split::Validation
        } else if place < validation + calibration {
            Split::Calibration
        } else if place < self.train_fraction {
            Split::Train
        } else {
            Split::Test
        }
    }
}

/// Where the lines of an image of `extent` `[y, x]` [Å] are: `(x of the test line, y of the validation line)` [Å].
#[must_use]
pub fn split_lines(extent: [f64; 2], window: f64, settings: &SplitSettings) -> (f64, f64) {
    let strip = (settings.validation_fraction * extent[0]).max(1.5 * window);
    (settings.train_fraction * extent[1], strip)
}

/// Where the strip begins that calibrates [Å]; nothing without one.
fn calibration_line(extent: [f64; 2], window: f64, settings: &SplitSettings) -> Option<f64> {
    let fraction = settings.calibration_fraction;
    (fraction > 0.0).then(|| extent[0] - (fraction * extent[0]).max(1.5 * window))
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
    let lower = calibration_line(extent, window, settings).map(|lower| lower.max(strip));
    let part = |&[x, y]: &Point| {
        let half = window / 2.0;
        if x - half > line {
            Some(Split::Test)
        } else if x + half >= line && settings.train_fraction < 1.0 {
            None
        } else if y + half < strip {
            Some(Split::Validation)
        } else if lower.is_some_and(|lower| y - half > lower) {
            Some(Split::Calibration)
        } else if y - half > strip && lower.is_none_or(|lower| y + half < lower) {
            Some(Split::Train)
        } else {
            None
        }
    };
    centres.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_is_there_in_its_size() {
        let (window, extent) = (8.0, [60.0, 90.0]);
        let centres: Vec<Point> = (0..53 * 83)
            .map(|i| [4.0 + (i % 83) as f64, 4.0 + (i / 83) as f64])
            .collect();
        let count = |settings: &SplitSettings, part| {
            let split = split_by_position(&centres, window, extent, settings);
            split.iter().filter(|s| **s == Some(part)).count()
        };
        let plain = SplitSettings::default();
        assert!(count(&plain, Split::Train) > 5 * count(&plain, Split::Validation));
        assert!(count(&plain, Split::Validation) > 100 && count(&plain, Split::Test) > 1000);
        assert_eq!(count(&plain, Split::Calibration), 0);
        let calibrated = SplitSettings {
            calibration_fraction: 0.2,
            ..plain
        };
        // A strip as high as the other one holds as many windows, up to a row of the grid.
        let strips = [Split::Calibration, Split::Validation].map(|part| count(&calibrated, part));
        assert!(strips[0].abs_diff(strips[1]) <= 53, "{strips:?}");
        assert_eq!(count(&calibrated, Split::Test), count(&plain, Split::Test));
    }

    #[test]
    fn parts_of_images_have_their_fractions() {
        let settings = SplitSettings {
            by: SplitBy::Image,
            train_fraction: 0.8,
            validation_fraction: 0.2,
            calibration_fraction: 0.1,
        };
        for (part, fraction) in [
            (Split::Train, 0.56),
            (Split::Validation, 0.16),
            (Split::Calibration, 0.08),
            (Split::Test, 0.2),
        ] {
            let found = (0..1000)
                .filter(|&n| settings.part_of_image(n) == part)
                .count();
            // Multiples of the golden ratio are within a few of any fraction.
            assert!(
                (found as f64 - 1000.0 * fraction).abs() < 5.0,
                "{part:?} {found}"
            );
        }
    }

    proptest! {
        /// Whatever the image, the window and the fractions: windows of two parts share no pixel.
        #[test]
        fn no_two_windows_of_different_parts_overlap(
            window in 2.0..12.0_f64,
            extent in [20.0..120.0_f64, 20.0..120.0_f64],
            train_fraction in 0.1..=1.0_f64,
            validation_fraction in 0.01..=0.5_f64,
            calibration_fraction in prop_oneof![Just(0.0), 0.01..=0.4_f64],
            places in prop::collection::vec([0.0..1.0_f64, 0.0..1.0_f64], 80),
        ) {
            let settings = SplitSettings {
                by: SplitBy::Position,
                train_fraction,
                validation_fraction,
                calibration_fraction,
            };
            let centres: Vec<Point> = places.iter().map(|p| [p[0] * extent[1], p[1] * extent[0]]).collect();
            let split = split_by_position(&centres, window, extent, &settings);
            for (i, a) in centres.iter().enumerate() {
                for (j, b) in centres.iter().enumerate().skip(i) {
                    let (Some(of_a), Some(of_b)) = (split[i], split[j]) else { continue };
                    let apart = (a[0] - b[0]).abs() >= window || (a[1] - b[1]).abs() >= window;
                    prop_assert!(of_a == of_b || apart, "{:?} {:?} {:?} {:?}", a, of_a, b, of_b);
                }
            }
        }
    }
}
