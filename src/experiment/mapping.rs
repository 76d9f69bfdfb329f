//! Maps as files: the `columns` command, and what it shares with `predict`.

use std::path::Path;

use super::comparison::Comparison;
use super::evaluation::{Evaluation, Judged};
use super::map_figures::MapFigures;
use super::map_settings::{FigureSettings, MapSettings};
use crate::column::analysis::{Analysis, Convention, Table, calibration_warning};
use crate::column::{self, COLUMNS_HEADER, ColumnMap, ColumnSettings, Method, columns_csv};
use crate::crystal::Truth;
use crate::crystal::polarization::{PolarVector, flags};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::figure::histogram::displacement_histograms;
use crate::figure::map::{Layer, MapStyle, Panel, arrows_figure, panels_figure};
use crate::image::Image;
use crate::neighbours::{Neighbours, Point};
use crate::network::{Conformal, LEVELS};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::registration::RegistrationSettings;
use crate::storage::frames::Frames;
use crate::storage::micrograph;
use crate::storage::output::{OutputFolder, refuse_inputs, write_file};
use crate::storage::polarization::{MapExtras, MapGrid, Quantity, write_map};
use crate::storage::tables;

/// Measured and true columns closer than this part of a cell are the same.
const SAME_COLUMN: f64 = 0.35;
/// Quantities of cells that `polarization.hspy` shows as images too.
const ON_GRID: [&str; 13] = [
    "log10_p",
    "significant",
    "domain",
    "px_uc_per_cm2",
    "py_uc_per_cm2",
    "a_angstrom",
    "b_angstrom",
    "c_over_a",
    "angle_degrees",
    "rotation_mrad",
    "strain_xx",
    "strain_yy",
    "strain_xy",
];

/// Radii of the circles of the levels of [`LEVELS`].
const RADII: [&str; LEVELS.len()] = ["radius_50_pm", "radius_90_pm", "radius_95_pm"];
/// Decimals of radii [pm].
const RADIUS_DECIMALS: usize = 4;

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

impl Reading {
    /// What of it was said, as TOML behind the settings.
    fn told(&self) -> String {
        let mut told = String::new();
        if let Some(sampling) = self.sampling {
            told += &format!("sampling_angstrom = {sampling:?}\n");
        }
        if let Some(signal) = &self.signal {
            told += &format!("signal = {signal:?}\n");
        }
        told += &match self.frames {
            Frames::Unsaid => String::new(),
            Frames::One(frame) => format!("frame = {frame}\n"),
            Frames::Average { align } => format!("average = true\nalign = {align}\n"),
        };
        if told.is_empty() {
            return told;
        }
        format!("\n[image]\n{told}")
    }
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
    provenance.settings += &reading.told();
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
    settings: &MapSettings,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    settings.validate()?;
    let text = toml::to_string(settings).unwrap_or_default();
    let mut provenance = Provenance::start("columns", text, None);
    refuse_inputs(output, &[path])?;
    let folder = OutputFolder::create(output, force)?;
    let (image, truth) = open_image(path, reading, &mut provenance, reporter)?;
    let map = measured(&image, &settings.columns, path, reporter)?;
    let nominal = settings.columns.nominal_pitch_angstrom;
    let analysis = Analysis::new(&map, &settings.map, nominal).map_err(|e| e.of_file(path))?;
    reporter.say(analysis.summary());
    let files = MapFiles {
        title: match settings.columns.method {
            Method::Joint => "Polar displacement from the column fit",
            Method::Gaussian => "Polar displacement from Gaussians fitted one by one",
            Method::CentreOfMass => "Polar displacement from centres of mass",
        },
        image: Some(&image),
        vectors: &analysis.vectors(),
        truth: truth.as_ref(),
        columns: Some(AnalysedColumns {
            map: &map,
            analysis: &analysis,
            figures: &settings.figures,
        }),
        conformal: None,
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
    if let Some(warning) = calibration_warning(&map, settings.nominal_pitch_angstrom) {
        reporter.say(format!("warning: {warning}"));
    }
    Ok(map)
}

/// A network's map beside the truth.
fn judged(comparison: &Comparison) -> Vec<Judged> {
    let pairs = comparison.measured.iter().zip(&comparison.truth);
    pairs
        .map(|(vector, &truth)| Judged {
            predicted: vector.displacement,
            truth,
            sigma: vector.sigma,
            unlike: vector.flags & flags::UNLIKE != 0,
            tilt_mrad: f64::NAN,
        })
        .collect()
}

/// Columns, and what was made of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnalysedColumns<'a> {
    pub(super) map: &'a ColumnMap,
    pub(super) analysis: &'a Analysis,
    pub(super) figures: &'a FigureSettings,
}

/// A map and what goes with it into a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapFiles<'a> {
    /// Over the figures.
    pub(super) title: &'a str,
    /// The image, if there is one.
    pub(super) image: Option<&'a Image>,
    /// The map.
    pub(super) vectors: &'a [PolarVector],
    /// The truth, of simulated images.
    pub(super) truth: Option<&'a Truth>,
    /// The columns, if they were fitted.
    pub(super) columns: Option<AnalysedColumns<'a>>,
    /// Circles that hold the true D, of networks.
    pub(super) conformal: Option<&'a Conformal>,
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
        match &self.columns {
            Some(columns) => self.write_analysed(here, columns, &provenance)?,
            None => self.write_vectors(here, &provenance)?,
        }
        if let Some(truth) = self.truth {
            let comparison = self.compared(truth);
            if !comparison.is_empty() {
                reporter.say(comparison.line());
                write_file(&here.join("truth.txt"), comparison.line().as_bytes())?;
                if let Some(conformal) = self.conformal.filter(|c| !c.levels.is_empty()) {
                    let evaluation = Evaluation::new(judged(&comparison), conformal);
                    reporter.say(evaluation.line());
                    evaluation.write(here)?;
                    let length = |v: &PolarVector| v.displacement[0].hypot(v.displacement[1]);
                    let (title, label) = ("Error of the network", "length of the error of D (pm)");
                    self.picture(&comparison.differences(), length, title, label)?
                        .save(here, "error", true)?;
                }
            }
        }
        write_file(
            &here.join("provenance.toml"),
            provenance.to_toml().as_bytes(),
        )?;
        folder.finish()
    }

    /// Measured against true D, both in the convention of the files.
    fn compared(&self, truth: &Truth) -> Comparison {
        let sign = self
            .columns
            .map_or(1.0, |columns| columns.analysis.settings.convention.sign());
        let truth = Truth {
            displacements: truth
                .displacements
                .iter()
                .map(|d| d.map(|x| sign * x))
                .collect(),
            ..truth.clone()
        };
        Comparison::new(self.vectors, &truth, SAME_COLUMN * self.pitch())
    }

    /// A map without columns: tables, file and figures of its vectors.
    fn write_vectors(&self, here: &Path, provenance: &Provenance) -> Result<()> {
        let words = [("convention", Convention::default().word())];
        let radii = self.radii();
        let csv = here.join("polarization.csv");
        tables::write_map(&csv, self.vectors, &radii, &words)?;
        let extras = MapExtras {
            on_grid: radii.iter().map(|quantity| quantity.name).collect(),
            quantities: radii,
            statements: vec![("convention", Convention::default().word().to_owned())],
        };
        self.write_hspy(here, &extras, provenance)?;
        arrows_figure(self.title, self.image, self.vectors, &MapStyle::default())?.save(
            here,
            "polarization",
            true,
        )?;
        if self.conformal.is_some() {
            let sigma = |v: &PolarVector| ((v.sigma[0].powi(2) + v.sigma[1].powi(2)) / 2.0).sqrt();
            let label = "standard deviation per axis (pm)";
            self.picture(self.vectors, sigma, "Uncertainty of the network", label)?
                .save(here, "sigma", true)?;
        }
        displacement_histograms(self.title, self.vectors).save(here, "histogram", true)
    }

    /// A number of each vector as a picture, one pixel a vector; flagged ones are left blank.
    fn picture(
        &self,
        vectors: &[PolarVector],
        number: impl Fn(&PolarVector) -> f64,
        title: &str,
        label: &str,
    ) -> Result<Figure> {
        let grid = MapGrid::nearest(vectors, self.pitch())?;
        let shown = |index: usize| {
            let vector = &vectors[index];
            if vector.flags == 0 {
                number(vector) as f32
            } else {
                f32::NAN
            }
        };
        let picture = Image {
            data: grid.cells.mapv(|cell| cell.map_or(f32::NAN, shown)),
            sampling: grid.pitch,
        };
        let panel = Panel {
            title: String::new(),
            image: None,
            layer: Layer::Values(&picture),
        };
        let style = MapStyle {
            scalar_label: label.to_owned(),
            ..MapStyle::default()
        };
        panels_figure(title, &[panel], &style)
    }

    /// Radii of the circles that hold the true D [pm].
    fn radii(&self) -> Vec<Quantity> {
        let Some(conformal) = self.conformal.filter(|c| c.levels == LEVELS) else {
            return Vec::new();
        };
        let radii: Vec<Vec<f64>> = self
            .vectors
            .iter()
            .map(|v| conformal.radii(v.sigma))
            .collect();
        let of = |(level, name)| {
            let values = radii.iter().map(|radii| radii[level]).collect();
            Quantity::new(name, "pm", RADIUS_DECIMALS, values)
        };
        RADII.into_iter().enumerate().map(of).collect()
    }

    fn write_hspy(&self, here: &Path, extras: &MapExtras, provenance: &Provenance) -> Result<()> {
        let grid = MapGrid::nearest(self.vectors, self.pitch())?;
        let path = here.join("polarization.hspy");
        write_map(&path, self.vectors, extras, &grid, provenance, true)
    }

    /// A map of fitted columns: all tables and figures.
    fn write_analysed(
        &self,
        here: &Path,
        columns: &AnalysedColumns,
        provenance: &Provenance,
    ) -> Result<()> {
        let AnalysedColumns {
            map,
            analysis,
            figures,
        } = *columns;
        let mut quantities = analysis.polar_quantities();
        let zero = if analysis.reference.is_some() {
            "region"
        } else {
            "none"
        };
        let words = [
            ("convention", analysis.settings.convention.word()),
            ("reference", zero),
            ("method", map.method),
        ];
        let csv = here.join("polarization.csv");
        tables::write_map(&csv, self.vectors, &quantities, &words)?;
        quantities.extend(analysis.lattice_quantities());
        let mut statements = analysis.statements();
        statements.push(("method", map.method.to_owned()));
        let extras = MapExtras {
            quantities,
            on_grid: ON_GRID.to_vec(),
            statements,
        };
        // A grid needs cells.
        if !self.vectors.is_empty() {
            self.write_hspy(here, &extras, provenance)?;
        }
        let header: Vec<&str> = COLUMNS_HEADER.split(',').collect();
        tables::write_table(&here.join("columns.csv"), &header, columns_csv(map))?;
        for (name, table) in [
            ("cells.csv", analysis.cells_table()),
            ("distances.csv", analysis.distances_table()),
            ("domains.csv", analysis.domains_table()),
            ("walls.csv", analysis.walls_table()),
        ] {
            let Table { header, mut rows } = table;
            let mut header: Vec<&str> = header.iter().map(String::as_str).collect();
            header.push("method");
            rows.iter_mut()
                .for_each(|row| row.push(map.method.to_owned()));
            tables::write_table(&here.join(name), &header, rows)?;
        }
        let mut summary = format!("{}\n\n{}\n", map.summary(), analysis.summary());
        if let Some(warning) = &analysis.calibration_warning {
            summary += &format!("warning: {warning}\n");
        }
        write_file(&here.join("summary.txt"), summary.as_bytes())?;
        write_file(
            &here.join("analysis.toml"),
            analysis.to_toml(map).as_bytes(),
        )?;
        let figures = MapFigures {
            title: self.title,
            image: self.image,
            map,
            analysis,
            settings: figures,
        };
        figures.save(here)
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
