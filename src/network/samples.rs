//! Sub-images with labels, in memory.

use ndarray::{Array2, Array4};

use crate::error::{Error, Result};

/// Sub-images and the polar displacement that belongs to each.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// `(n, 1, y, x)`, cut from standardized images ([`super::cut_at`]), square.
    pub subimages: Array4<f32>,
    /// D `(n, 2)`, `[dx, dy]` [pm].
    pub targets: Array2<f32>,
}

impl Samples {
    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> usize {
        self.subimages.dim().0
    }

    /// Checks shapes against the side `window` [px] and that every number is finite; `what` names the samples in messages.
    ///
    /// # Errors
    /// No samples, other shapes, a number that is not finite.
    pub fn check(&self, what: &str, window: usize) -> Result<()> {
        let what = format!("the {what} samples");
        let count = self.count();
        if count == 0 {
            return Err(Error::unmeasurable(what, "none", "at least one"));
        }
        if self.subimages.dim() != (count, 1, window, window) || self.targets.dim() != (count, 2) {
            let got = format!(
                "{:?} with labels {:?}",
                self.subimages.dim(),
                self.targets.dim()
            );
            let needed = format!("({count}, 1, {window}, {window}) with labels ({count}, 2)");
            return Err(Error::unmeasurable(what, got, needed));
        }
        if !self
            .subimages
            .iter()
            .chain(&self.targets)
            .all(|v| v.is_finite())
        {
            return Err(Error::unmeasurable(
                what,
                "a number that is not finite",
                "finite numbers",
            ));
        }
        Ok(())
    }

    /// Root of the mean square of the components of D [pm].
    pub(super) fn target_rms(&self) -> f64 {
        let squares = self.targets.iter().map(|&d| f64::from(d).powi(2));
        (squares.sum::<f64>() / self.targets.len() as f64).sqrt()
    }

    /// Feeds all numbers to a hash.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        for image in self.subimages.outer_iter() {
            let bytes: Vec<u8> = image.iter().flat_map(|v| v.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        let bytes: Vec<u8> = self.targets.iter().flat_map(|v| v.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
}
