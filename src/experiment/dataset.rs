//! The `dataset` command: sub-images and labels from images, into one file.

use std::path::{Path, PathBuf};

use ndarray::s;
use serde::{Deserialize, Serialize};

use super::labelling::{Known, Labelled};
use super::stream::{Stream, StreamSettings, no_subimages, part_of, response_for};
use crate::column::{self, ColumnSettings};
use crate::error::{Error, Result};
use crate::network::{Mode, SplitSettings, SubimageSettings};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::dataset::{DatasetInfo, DatasetWriter, Split, SubImages};
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

/// Where labels come from: `[labels.truth]` or `[labels.columns]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Labels {
    /// The truth of simulated images.
    Truth {},
    /// The column fit, for real images.
    Columns(ColumnSettings),
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
            return Err(source.wrong("labels", "[labels.columns] with [emulated]", allowed));
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
    let mut writer = DatasetWriter::create(output, &info, force)?;
    let mut counts = [0_usize; 3];
    let mut number = 0;
    for path in &paths {
        provenance.add_input(path)?;
        let micrograph = micrograph::open(path, settings.signal.as_deref())?;
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
            };
            let labelled = Labelled::cut(&picture, &known, &settings.subimages, &settings.split)
                .map_err(|error| error.of_file(path))?;
            writer.append(&SubImages {
                subimages: labelled.subimages.view(),
                targets: labelled.targets.view(),
                centres: &labelled.centres,
                image: &vec![number; labelled.split.len()],
                split: &labelled.split,
            })?;
            for part in &labelled.split {
                counts[*part as usize] += 1;
            }
            number += 1;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
    if counts[Split::Train as usize] == 0 || counts[Split::Validation as usize] == 0 {
        return Err(Error::unmeasurable(
            "dataset",
            format!(
                "{} sub-images to train on, {} to validate",
                counts[0], counts[1]
            ),
            "some of both: larger images, a smaller window, or another [split]",
        ));
    }
    reporter.say(format!(
        "{} sub-images train, {} validate, {} test",
        counts[0], counts[1], counts[2]
    ));
    writer.finish(&provenance.finished())
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
    for batch in stream.batches(0..u64::MAX, AT_ONCE) {
        for drawn in batch? {
            let labelled = drawn.labelled;
            let count = labelled.centres.len().min(emulated.count - written);
            writer.append(&SubImages {
                subimages: labelled.subimages.slice(s![..count, .., .., ..]),
                targets: labelled.targets.slice(s![..count, ..]),
                centres: &labelled.centres[..count],
                image: &vec![index as u32; count],
                split: &vec![part_of(index, &settings.split); count],
            })?;
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
    reporter.say(format!("{written} sub-images of {index} drawn images"));
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
