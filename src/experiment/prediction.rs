//! The `predict` command: a network's map of an image, at its columns or on a dense grid.

use std::path::Path;

use super::mapping::{MapFiles, Reading, measured, open_image};
use crate::column::ColumnSettings;
use crate::crystal::Sublattice;
use crate::error::{Error, Result};
use crate::network::{Mode, Regressor};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::storage::micrograph::require_finite;
use crate::storage::output::{OutputFolder, refuse_inputs};

/// Distance of neighbouring predictions of a dense map, as a part of the window, where nothing else is known.
const DENSE_STRIDE: f64 = 0.125;

/// Predicts the map of an image with the network in `model` and writes it to the folder `output`.
///
/// # Errors
/// A model or an image that cannot be read, an image in which no columns are found (unless `dense`), a finished `output`
/// without `force`.
pub fn predict(
    model: &Path,
    image: &Path,
    reading: &Reading,
    dense: bool,
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
    let vectors = if dense || subimages.mode == Mode::Grid {
        let stride = subimages
            .stride_angstrom
            .unwrap_or(subimages.window_angstrom * DENSE_STRIDE);
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
        provenance: &provenance,
    };
    files.write(folder, reporter)
}
