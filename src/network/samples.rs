//! Sub-images with labels, in memory.

use ndarray::{Array2, Array4, s};

use crate::error::{Error, Result};

/// Sub-images and the polar displacement that belongs to each.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// `(n, 1, y, x)`, cut from standardized images ([`super::cut_at`]), square.
    pub subimages: Array4<f32>,
    /// D `(n, 2)`, `[dx, dy]` [pm]; for a model that is to say more, followed by that (`model.auxiliary`): tilt `[x, y]` [mrad],
    /// thickness [nm].
    pub targets: Array2<f32>,
}

impl Samples {
    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> usize {
        self.subimages.dim().0
    }

    /// Checks shapes against the side `window` [px] and the number of `components` of the labels, and that every number is
    /// finite; `what` names the samples in messages.
    ///
    /// # Errors
    /// No samples, other shapes, a number that is not finite.
    pub fn check(&self, what: &str, window: usize, components: usize) -> Result<()> {
        let what = format!("the {what} samples");
        let count = self.count();
        if count == 0 {
            return Err(Error::unmeasurable(what, "none", "at least one"));
        }
        if self.subimages.dim() != (count, 1, window, window)
            || self.targets.dim() != (count, components)
        {
            let got = format!(
                "{:?} with labels {:?}",
                self.subimages.dim(),
                self.targets.dim()
            );
            let needed =
                format!("({count}, 1, {window}, {window}) with labels ({count}, {components})");
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

    /// Root of the mean square of the labels in the columns `components`; 1 where all are zero, when any scale will do.
    pub(super) fn label_rms(&self, components: std::ops::Range<usize>) -> f64 {
        let labels = self.targets.slice(s![.., components]);
        let squares = labels.iter().map(|&label| f64::from(label).powi(2));
        let rms = (squares.sum::<f64>() / labels.len() as f64).sqrt();
        if rms > 0.0 { rms } else { 1.0 }
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
