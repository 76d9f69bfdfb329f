//! The `predict` command: a network's map of an image, at its columns or on a dense grid.

use std::path::Path;

use super::mapping::{MapFiles, Reading, measured, open_image};
use crate::column::ColumnSettings;
use crate::crystal::Sublattice;
use crate::crystal::polarization::flags;
use crate::error::{Error, Result};
use crate::network::{Mode, Regressor, SubimageSettings};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::storage::micrograph::require_finite;
use crate::storage::output::{OutputFolder, refuse_inputs};

/// Distance of neighbouring predictions of a dense map, as a part of the window, where nothing else is known.
const DENSE_STRIDE: f64 = 0.125;

/// Where a map is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Density {
    /// At the columns; on a grid for a network that was trained on one.
    #[default]
    Columns,
    /// On a grid as dense as the sub-images of the training, or an eighth of a window.
    Dense,
    /// On a grid of this distance [Å].
    Every(f64),
}

/// Predicts the map of an image with the network in `model` and writes it to the folder `output`.
///
/// # Errors
/// A model or an image that cannot be read, an image in which no columns are found (at columns), a finished `output`
/// without `force`.
pub fn predict(
    model: &Path,
    image: &Path,
    reading: &Reading,
    density: Density,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    refuse_inputs(output, &[image, model])?;
    let folder = OutputFolder::create(output, force)?;
    let regressor = Regressor::load(model)?;
    let mut provenance = Provenance::start(
        "predict",
        toml::to_string(regressor.description()).unwrap_or_default(),
        None,
    );
    provenance.add_input(&model.join("model.toml"))?;
    let (picture, truth) = open_image(image, reading, &mut provenance, reporter)?;
    require_finite(image, "image", &picture.data)?;
    let in_file = |error: Error| error.of_file(image);
    let subimages = &regressor.description().subimages;
    let vectors = if density != Density::Columns || subimages.mode == Mode::Grid {
        let usual = subimages
            .stride_angstrom
            .unwrap_or(subimages.window_angstrom * DENSE_STRIDE);
        let stride = match density {
            Density::Every(stride) => stride,
            _ => usual,
        };
        check_stride(stride, subimages)?;
        regressor.predict_map(&picture, stride).map_err(in_file)?
    } else {
        let map = measured(&picture, &ColumnSettings::default(), image, reporter)?;
        let sublattice = if subimages.mode == Mode::CentredA {
            Sublattice::A
        } else {
            Sublattice::B
        };
        let points: Vec<_> = map
            .of(sublattice)
            .filter(|column| column.flags == 0)
            .map(|c| c.position)
            .collect();
        regressor.predict_at(&picture, &points).map_err(in_file)?
    };
    let files = MapFiles {
        title: "Polar displacement from the network",
        image: Some(&picture),
        vectors: &vectors,
        truth: truth.as_ref(),
        columns: None,
        conformal: Some(&regressor.description().conformal),
        provenance: &provenance,
    };
    let unlike = vectors
        .iter()
        .filter(|v| v.flags & flags::UNLIKE != 0)
        .count();
    if unlike > 0 {
        reporter.say(format!(
            "{unlike} of {} windows are unlike the training data (flag {}): do not trust what is said there",
            vectors.len(),
            flags::UNLIKE
        ));
    }
    files.write(folder, reporter)
}

/// Fails for a stride that is no length, or finer than a pixel of the network.
fn check_stride(stride: f64, subimages: &SubimageSettings) -> Result<()> {
    let (least, most) = (
        subimages.sampling_angstrom,
        100.0 * subimages.window_angstrom,
    );
    // Whole pixels are made of it, so half of one still counts as one.
    if (0.5 * least..=most).contains(&stride) {
        return Ok(());
    }
    Err(Error::Setting {
        place: "--stride".to_owned(),
        got: stride.to_string(),
        allowed: format!("{least} to {most} Å, in whole pixels of {least} Å"),
    })
}
