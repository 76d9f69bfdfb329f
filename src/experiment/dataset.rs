//! The `dataset` command: sub-images and labels from images, into one file.

use std::path::{Path, PathBuf};

use ndarray::s;
use serde::{Deserialize, Serialize};

use super::labelling::{Known, Labelled};
use super::stream::{Stream, StreamSettings, no_subimages, response_for};
use crate::column::analysis::Convention;
use crate::column::{self, ColumnSettings};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::network::{Mode, SplitBy, SplitSettings, SubimageSettings};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::dataset::{DatasetInfo, DatasetWriter, Split, SubImages};
use crate::storage::hspy::read_circumstances;
use crate::storage::labels::{Label, read_labels};
use crate::storage::micrograph;
use crate::storage::output::refuse_inputs;

/// A dataset file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSettings {
    /// Image files; a relative path is looked up beside the settings file first, then from the working folder. All frames of
    /// a stack are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PathBuf>,
    /// In place of images: specimens that the emulator draws, `[emulated]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<StreamSettings>,
    /// Which signal of the files.
    pub signal: Option<String>,
    /// Pixel size in place of the files' own calibration [Å].
    pub sampling_angstrom: Option<f64>,
    /// What a network will look at.
    pub subimages: SubimageSettings,
    /// Where the right answers come from.
    pub labels: Labels,
    /// Which part of an image trains, validates, tests.
    #[serde(default)]
    pub split: SplitSettings,
}

/// Where labels come from: `[labels.truth]`, `[labels.columns]` or `[labels.table]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Labels {
    /// The truth of simulated images.
    Truth {},
    /// The column fit, for real images.
    Columns(ColumnSettings),
    /// A person's own table.
    Table(LabelTable),
}

/// `[labels.table]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelTable {
    /// CSV of positions and D ([`crate::storage::labels`]); looked up as images are.
    pub file: PathBuf,
    /// Which way D of the table points.
    #[serde(default)]
    pub convention: Convention,
}

impl DatasetSettings {
    /// Checks the sections.
    ///
    /// # Errors
    /// File, line, key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let drawn = self.emulated.is_some();
        if self.images.is_empty() != drawn {
            let got = if drawn {
                "beside [emulated]"
            } else {
                "an empty list"
            };
            let allowed = "either at least one image file, or the section [emulated]";
            return Err(source.wrong("images", got, allowed));
        }
        if drawn && !matches!(self.labels, Labels::Truth {}) {
            let allowed = "[labels.truth]: what was drawn is known";
            return Err(source.wrong("labels", "other labels with [emulated]", allowed));
        }
        if matches!(self.labels, Labels::Table(_)) && self.subimages.mode == Mode::CentredA {
            let allowed = "centred_b or grid with [labels.table], which tells of no A columns";
            return Err(source.wrong("subimages.mode", "centred_a", allowed));
        }
        if let Some(sampling) = self.sampling_angstrom {
            source.in_range(
                "sampling_angstrom",
                sampling,
                0.001..=10.0,
                "Å",
                "Å, not nm or pm",
            )?;
        }
        self.subimages.validate(source)?;
        self.split.validate(source)
    }
}

/// Writes the dataset that `source` asks for.
///
/// # Errors
/// A wrong setting, an image that cannot be read or measured, a finished `output` without `force`.
pub fn make_dataset(
    source: &Source,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    let settings: DatasetSettings = source.parse()?;
    settings.validate(source)?;
    let mut provenance = Provenance::start("dataset", source.text().to_owned(), None);
    let window = settings.subimages.window();
    let info = DatasetInfo {
        mode: mode_name(settings.subimages.mode).to_owned(),
        window_angstrom: settings.subimages.window_angstrom,
        sampling_angstrom: settings.subimages.sampling_angstrom,
        shape: [window, window],
    };
    if let Some(emulated) = &settings.emulated {
        return draw_dataset(
            &settings, emulated, &info, source, output, force, provenance, reporter,
        );
    }
    let paths: Vec<PathBuf> = settings
        .images
        .iter()
        .map(|image| source.find(image))
        .collect();
    let inputs: Vec<&Path> = paths
        .iter()
        .map(PathBuf::as_path)
        .chain([source.path()])
        .collect();
    refuse_inputs(output, &inputs)?;
    let table = match &settings.labels {
        Labels::Table(table) => {
            let path = source.find(&table.file);
            provenance.add_input(&path)?;
            Some(Table::read(&path, table.convention)?)
        }
        _ => None,
    };
    let mut writer = DatasetWriter::create(output, &info, force)?;
    let mut counts = [0_usize; Split::ALL.len()];
    let mut number = 0;
    for path in &paths {
        provenance.add_input(path)?;
        let micrograph = micrograph::open(path, settings.signal.as_deref())?;
        let circumstances = match micrograph.format {
            "hspy" => read_circumstances(path)?,
            _ => Vec::new(),
        };
        let bar = reporter.bar("frames", micrograph.frames as u64);
        for frame in 0..micrograph.frames {
            let picture = micrograph.image(frame, settings.sampling_angstrom)?;
            let known = match &settings.labels {
                Labels::Truth {} => Known::from(micrograph.truth.as_ref().ok_or_else(|| {
                    let allowed = "images of `ferrostem simulate`, or [labels.columns]";
                    Error::data(path, "/truth", "no truth in this file", allowed)
                })?),
                Labels::Columns(columns) => {
                    let map = column::measure(&picture, columns, &Reporter::quiet());
                    Known::from(&map.map_err(|error| error.of_file(path))?)
                }
                Labels::Table(_) => match &table {
                    Some(table) => table.of_image(number, &picture)?,
                    None => continue,
                },
            };
            let mut labelled =
                Labelled::cut(&picture, &known, &settings.subimages, &settings.split)
                    .map_err(|error| error.of_file(path))?;
            if let Some(circumstance) = circumstances.get(frame) {
                labelled = labelled.under(circumstance);
            }
            if settings.split.by == SplitBy::Image {
                labelled
                    .split
                    .fill(settings.split.part_of_image(u64::from(number)));
            }
            writer.append(&SubImages {
                subimages: labelled.subimages.view(),
                targets: labelled.targets.view(),
                centres: &labelled.centres,
                image: &vec![number; labelled.split.len()],
                split: &labelled.split,
                circumstances: &labelled.circumstances,
            })?;
            for part in &labelled.split {
                counts[*part as usize] += 1;
            }
            number += 1;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
    if let Some(table) = &table {
        table.check_used(number)?;
    }
    refuse_empty_parts(counts, &settings.split)?;
    reporter.say(told(counts));
    writer.finish(&provenance.finished())
}

/// A person's own labels.
struct Table {
    path: PathBuf,
    labels: Vec<Label>,
    sign: f64,
}

impl Table {
    fn read(path: &Path, convention: Convention) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            labels: read_labels(path)?,
            sign: convention.sign(),
        })
    }

    /// What is known about image `number`; a table without numbers is of the first one.
    fn of_image(&self, number: u32, picture: &Image) -> Result<Known> {
        let ours = |label: &&Label| label.image.unwrap_or(0) == number;
        let labels: Vec<Label> = self.labels.iter().filter(ours).copied().collect();
        Known::from_labels(&labels, picture.extent(), self.sign, &self.path)
    }

    /// Fails if labels are of none of the `count` images, or of one of many without saying which.
    fn check_used(&self, count: u32) -> Result<()> {
        let strange = |label: &&Label| label.image.map_or(count > 1, |image| image >= count);
        let Some(label) = self.labels.iter().find(strange) else {
            return Ok(());
        };
        let place = format!("line {}, image", label.line);
        let got = label
            .image
            .map_or("nothing".to_owned(), |image| image.to_string());
        let allowed = format!(
            "0 to {}, the frames of all images in their order",
            count - 1
        );
        Err(Error::data(&self.path, place, got, allowed))
    }
}

/// Fails where a part that a training needs has no sub-image.
fn refuse_empty_parts(counts: [usize; 4], split: &SplitSettings) -> Result<()> {
    let [train, validation, _, calibration] = counts;
    if train > 0 && validation > 0 && (calibration > 0 || split.calibration_fraction == 0.0) {
        return Ok(());
    }
    let got = format!(
        "{train} sub-images to train on, {validation} to validate, {calibration} to calibrate"
    );
    let needed = "some of each: larger or more images, a smaller window, or another [split]";
    Err(Error::unmeasurable("dataset", got, needed))
}

/// Sizes of the parts, in words.
fn told([train, validation, test, calibration]: [usize; 4]) -> String {
    let calibrate = match calibration {
        0 => String::new(),
        count => format!(", {count} calibrate"),
    };
    format!("{train} sub-images train, {validation} validate{calibrate}, {test} test")
}

/// Images that are drawn at once.
const AT_ONCE: u64 = 32;

/// Writes a dataset of specimens that the emulator draws; its parts go by image.
#[expect(clippy::too_many_arguments, reason = "what make_dataset has at hand")]
fn draw_dataset(
    settings: &DatasetSettings,
    emulated: &StreamSettings,
    info: &DatasetInfo,
    source: &Source,
    output: &Path,
    force: bool,
    mut provenance: Provenance,
    reporter: &Reporter,
) -> Result<()> {
    refuse_inputs(output, &[source.path()])?;
    let response = response_for(emulated, source)?;
    if let Some(path) = &emulated.response {
        provenance.add_input(&source.find(path))?;
    }
    emulated.validate(&source.under("emulated"), &response)?;
    let stream = Stream::new(emulated, &settings.subimages, response);
    let mut writer = DatasetWriter::create(output, info, force)?;
    let bar = reporter.bar("sub-images", emulated.count as u64);
    let (mut written, mut index) = (0, 0_u64);
    let mut counts = [0_usize; Split::ALL.len()];
    for batch in stream.batches(0..u64::MAX, AT_ONCE) {
        for drawn in batch? {
            let labelled = drawn.labelled;
            let count = labelled.centres.len().min(emulated.count - written);
            writer.append(&SubImages {
                subimages: labelled.subimages.slice(s![..count, .., .., ..]),
                targets: labelled.targets.slice(s![..count, ..]),
                centres: &labelled.centres[..count],
                image: &vec![index as u32; count],
                split: &vec![settings.split.part_of_image(index); count],
                circumstances: &labelled.circumstances[..count],
            })?;
            counts[settings.split.part_of_image(index) as usize] += count;
            written += count;
            index += 1;
            bar.set_position(written as u64);
        }
        if written == 0 {
            return Err(no_subimages(index));
        }
        if written == emulated.count {
            break;
        }
    }
    bar.finish_and_clear();
    refuse_empty_parts(counts, &settings.split)?;
    reporter.say(format!("{} of {index} drawn images", told(counts)));
    writer.finish(&provenance.finished())
}

/// Name of a mode in files.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::CentredB => "centred_b",
        Mode::CentredA => "centred_a",
        Mode::Grid => "grid",
    }
}
