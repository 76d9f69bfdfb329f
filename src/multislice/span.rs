//! Pixels of a box along one axis of a periodic specimen.

/// Pixels `first..first + count`, counted on the grid of a specimen and of its periodic images, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// First pixel.
    pub(super) first: i64,
    /// Number of pixels.
    pub(super) count: usize,
    /// Whether this is the whole specimen along this axis, from pixel 0.
    pub(super) whole: bool,
}

impl Span {
    /// Where the periodic images of what is at `position` lie in the box, from its first pixel; all lengths in Å.
    pub(super) fn images(
        self,
        position: f64,
        pixel: f64,
        period: f64,
    ) -> impl Iterator<Item = f64> + Clone {
        let start = self.first as f64 * pixel;
        let end = start + self.count as f64 * pixel;
        // A whole specimen is periodic itself: one image of each atom, wherever it lies.
        let numbers = if self.whole {
            0..1
        } else {
            let image = |border: f64| ((border - position) / period).ceil() as i64;
            image(start)..image(end)
        };
        let origin = if self.whole { 0.0 } else { start };
        numbers.map(move |n| position + n as f64 * period - origin)
    }

    /// Length of the box [Å].
    pub(super) fn length(self, pixel: f64, period: f64) -> f64 {
        if self.whole {
            period
        } else {
            self.count as f64 * pixel
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_inside_is_found_once() {
        for (first, count) in [(-7, 20), (3, 4), (-30, 100), (12, 16)] {
            let span = Span {
                first,
                count,
                whole: false,
            };
            // A period of 8 Å, pixels of 0.5 Å.
            for position in [0.0, 1.3, 7.9, -0.4, 9.0] {
                let found: Vec<f64> = span.images(position, 0.5, 8.0).collect();
                let start = 0.5 * first as f64;
                let expected: Vec<f64> = (-20..20)
                    .map(|n| position + 8.0 * f64::from(n) - start)
                    .filter(|r| (0.0..0.5 * count as f64).contains(r))
                    .collect();
                assert_eq!(found, expected, "{span:?} {position}");
            }
        }
    }
}
