//! Sub-images with labels, in memory.

use ndarray::{Array2, Array4, Axis};

use crate::error::{Error, Result};

/// Sub-images and the polar displacement that belongs to each.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// `(n, 1, y, x)`, cut from standardized images ([`super::cut_at`]), square.
    pub subimages: Array4<f32>,
    /// D `(n, 2)`, `[dx, dy]` [pm]; for a model that is to say more, followed by that (`model.auxiliary`): tilt `[x, y]` [mrad],
    /// thickness [nm].
    pub targets: Array2<f32>,
    /// Mean of the image of each over its standard deviation, for noise that counts electrons; empty where not known.
    pub levels: Vec<f32>,
}

impl Samples {
    /// Sub-images `(n, 1, y, x)` and their labels, nothing else being known.
    #[must_use]
    pub fn new(subimages: Array4<f32>, targets: Array2<f32>) -> Self {
        Self {
            subimages,
            targets,
            levels: Vec::new(),
        }
    }

    /// Those in `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let level = |row: &usize| self.levels.get(*row).copied();
        Self {
            subimages: self.subimages.select(Axis(0), rows),
            targets: self.targets.select(Axis(0), rows),
            levels: rows.iter().filter_map(level).collect(),
        }
    }

    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> usize {
        self.subimages.dim().0
    }

    /// Checks shapes against the side `window` [px] and the number of `components` of the labels, and that every number is
    /// finite; `what` names the samples in messages.
    ///
    /// # Errors
    /// Other shapes, a number that is not finite.
    pub fn check(&self, what: &str, window: usize, components: usize) -> Result<()> {
        let what = format!("the {what} samples");
        let count = self.count();
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

    /// Feeds all numbers to a hash, sample by sample, so that the pieces that they come in do not matter.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        for (row, image) in self.subimages.outer_iter().enumerate() {
            let numbers = image.iter().chain(self.targets.row(row));
            let bytes: Vec<u8> = numbers
                .chain(self.levels.get(row))
                .flat_map(|v| v.to_le_bytes())
                .collect();
            hasher.update(&bytes);
        }
    }
}
