//! Maps as files: the `columns` command, and what it shares with `predict`.

use std::path::Path;

use super::comparison::Comparison;
use crate::column::{self, COLUMNS_HEADER, ColumnMap, ColumnSettings, columns_csv};
use crate::crystal::polarization::PolarVector;
use crate::crystal::{Sublattice, Truth};
use crate::error::{Error, Result};
use crate::figure::histogram::displacement_histograms;
use crate::figure::map::{MapStyle, arrows_figure, columns_figure};
use crate::image::Image;
use crate::neighbours::{Neighbours, Point};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::registration::RegistrationSettings;
use crate::storage::frames::Frames;
use crate::storage::micrograph;
use crate::storage::output::{OutputFolder, refuse_inputs, write_file};
use crate::storage::polarization::{MapGrid, write_polarization};
use crate::storage::tables;

/// Measured and true columns closer than this part of a cell are the same.
const SAME_COLUMN: f64 = 0.35;
/// Deviation of the lattice from the nominal one at which the pixel size is in doubt; perovskites differ by less.
const CALIBRATION_IN_DOUBT: f64 = 0.06;

/// How an image file is read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Pixel size in place of the file's own [Å].
    pub sampling: Option<f64>,
    /// Which signal of the file.
    pub signal: Option<String>,
    /// Which image of a stack.
    pub frames: Frames,
}

/// Opens one image, says what was chosen, and notes it in the provenance.
///
/// # Errors
/// A file that cannot be read, a frame that is not there, no calibration.
pub(super) fn open_image(
    path: &Path,
    reading: &Reading,
    provenance: &mut Provenance,
    reporter: &Reporter,
) -> Result<(Image, Option<Truth>)> {
    if let Some(sampling) = reading.sampling.filter(|s| !(0.001..=10.0).contains(s)) {
        let allowed = "0.001 to 10 Å per pixel (Å, not nm or pm)".to_owned();
        return Err(Error::Setting {
            place: "--sampling".to_owned(),
            got: sampling.to_string(),
            allowed,
        });
    }
    let micrograph = micrograph::open(path, reading.signal.as_deref())?;
    for notice in &micrograph.notices {
        reporter.say(notice);
    }
    let settings = RegistrationSettings::default();
    let chosen = micrograph.chosen(reading.frames, reading.sampling, &settings)?;
    for notice in &chosen.notices {
        reporter.say(notice);
    }
    provenance.add_input(path)?;
    // The truth is that of single frames, and counts from their corner.
    let averaged = matches!(reading.frames, Frames::Average { .. });
    let truth = micrograph.truth.filter(|_| !averaged);
    Ok((chosen.image, truth))
}

/// Finds and fits the columns of an image file and writes the map to the folder `output`.
///
/// # Errors
/// An image that cannot be read or shows no columns, a finished `output` without `force`.
pub fn map_columns(
    path: &Path,
    reading: &Reading,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    let settings = ColumnSettings::default();
    let text = toml::to_string(&settings).unwrap_or_default();
    let mut provenance = Provenance::start("columns", text, None);
    refuse_inputs(output, &[path])?;
    let folder = OutputFolder::create(output, force)?;
    let (image, truth) = open_image(path, reading, &mut provenance, reporter)?;
    let map = measured(&image, &settings, path, reporter)?;
    let files = MapFiles {
        title: "Polar displacement from the column fit",
        image: &image,
        vectors: &map.vectors,
        truth: truth.as_ref(),
        columns: Some(&map),
        provenance: &provenance,
    };
    files.write(folder, reporter)
}

/// The columns of an image from a file; says so when the lattice contradicts the pixel size.
///
/// # Errors
/// The image shows no columns; the message names the file.
pub(super) fn measured(
    image: &Image,
    settings: &ColumnSettings,
    path: &Path,
    reporter: &Reporter,
) -> Result<ColumnMap> {
    let map = column::measure(image, settings, reporter).map_err(|error| error.of_file(path))?;
    if (map.calibration_ratio - 1.0).abs() > CALIBRATION_IN_DOUBT {
        reporter.say(format!(
            "warning: the lattice is {:.3} of a perovskite's {} Å: is the pixel size right? Displacements scale with it",
            map.calibration_ratio, settings.nominal_pitch_angstrom
        ));
    }
    Ok(map)
}

/// A map and what goes with it into a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapFiles<'a> {
    /// Over the figures.
    pub(super) title: &'a str,
    /// The image.
    pub(super) image: &'a Image,
    /// The map.
    pub(super) vectors: &'a [PolarVector],
    /// The truth, of simulated images.
    pub(super) truth: Option<&'a Truth>,
    /// The columns, if they were fitted.
    pub(super) columns: Option<&'a ColumnMap>,
    /// Birth certificate.
    pub(super) provenance: &'a Provenance,
}

impl MapFiles<'_> {
    /// Writes tables, `polarization.hspy`, figures and provenance; the folder appears whole.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn write(&self, folder: OutputFolder, reporter: &Reporter) -> Result<()> {
        let here = folder.partial();
        let provenance = self.provenance.finished();
        tables::write_polarization(&here.join("polarization.csv"), self.vectors)?;
        let grid = MapGrid::nearest(self.vectors, self.pitch())?;
        write_polarization(
            &here.join("polarization.hspy"),
            self.vectors,
            &grid,
            &provenance,
            true,
        )?;
        if let Some(map) = self.columns {
            let header: Vec<&str> = COLUMNS_HEADER.split(',').collect();
            tables::write_table(&here.join("columns.csv"), &header, columns_csv(map))?;
            let of = |sublattice| {
                map.of(sublattice)
                    .map(|column| column.position)
                    .collect::<Vec<Point>>()
            };
            let (a, b) = (of(Sublattice::A), of(Sublattice::B));
            columns_figure("Atom columns", self.image, &a, &b)?.save(here, "columns", true)?;
            write_file(&here.join("summary.txt"), map.summary().as_bytes())?;
        }
        arrows_figure(
            self.title,
            Some(self.image),
            self.vectors,
            &MapStyle::default(),
        )?
        .save(here, "polarization", true)?;
        displacement_histograms(self.title, self.vectors).save(here, "histogram", true)?;
        if let Some(truth) = self.truth {
            let comparison = Comparison::new(self.vectors, truth, SAME_COLUMN * self.pitch());
            if !comparison.is_empty() {
                reporter.say(comparison.line());
                write_file(&here.join("truth.txt"), comparison.line().as_bytes())?;
            }
        }
        write_file(
            &here.join("provenance.toml"),
            provenance.to_toml().as_bytes(),
        )?;
        folder.finish()
    }

    /// Distance of neighbouring vectors: the median to the nearest [Å].
    fn pitch(&self) -> f64 {
        let positions: Vec<Point> = self.vectors.iter().map(|vector| vector.position).collect();
        let tree = Neighbours::new(&positions);
        let mut distances: Vec<f64> = positions
            .iter()
            .filter_map(|&p| tree.nearest(p, 2).get(1).map(|(_, distance)| *distance))
            .collect();
        distances.sort_by(f64::total_cmp);
        distances.get(distances.len() / 2).copied().unwrap_or(1.0)
    }
}
