//! Training data drawn on the fly: endless labelled sub-images of specimens that the emulator draws, without touching the disk.
//!
//! Image number `index` of a stream is a function of the seed and the index alone: specimen, tilt, thickness, source, dose and scan are
//! drawn from the distributions of `[emulated]`, each from a stream of random numbers of its own. Images may be asked for in any order
//! and on any number of threads.
//!
//! ```no_run
//! use ferrostem::experiment::{Stream, StreamSettings};
//! use ferrostem::network::SubimageSettings;
//! # fn settings() -> (StreamSettings, SubimageSettings) { unimplemented!() }
//! # fn main() -> ferrostem::Result<()> {
//! let (settings, subimages) = settings(); // `[emulated]` and `[subimages]` of a dataset file
//! let response = ferrostem::simulation::shipped_response()?;
//! let stream = Stream::new(&settings, &subimages, response);
//! for drawn in stream.batches(0..1000, 16) {
//!     for drawn in drawn? {
//!         println!("{} sub-images at {:?} mrad", drawn.labelled.centres.len(), drawn.tilt_mrad);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use rand_distr::{Distribution as _, Normal};
use rayon::prelude::*;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::labelling::{Known, Labelled};
use crate::acquisition::{Acquisition, Border};
use crate::crystal::specimen::R3c;
use crate::crystal::texture::Texture;
use crate::crystal::{External, Specimen, Truth};
use crate::emulator::{Frame, Painter, Response, Sites};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::network::{SplitSettings, SubimageSettings};
use crate::rng::{ChaCha8Rng, Rng, stream};
use crate::settings::Source;
use crate::simulation::Extremes;
use crate::storage::dataset::{Circumstance, Split};
use crate::units::ANGSTROM_PER_NM;

/// Normal deviates farther out than this are drawn again [standard deviations].
const WIDEST: f64 = 4.0;

/// Specimens that are drawn until one is within the range of the response.
const ATTEMPTS: usize = 100;

/// What a number is drawn from: exactly one of the four. A plain number in a file is `fixed`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Distribution {
    /// Always this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<f64>,
    /// Even between two ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniform: Option<[f64; 2]>,
    /// The logarithm even between those of two ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_uniform: Option<[f64; 2]>,
    /// Mean and standard deviation of a normal distribution, cut at four standard deviations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normal: Option<[f64; 2]>,
}

/// Reads a distribution, or a plain number.
fn number_or_distribution<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Distribution, D::Error> {
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = Distribution;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number, or one of { uniform = [a, b] }, { log_uniform = [a, b] }, { normal = [mean, sd] }")
        }

        fn visit_f64<E>(self, number: f64) -> std::result::Result<Distribution, E> {
            let fixed = Some(number);
            Ok(Distribution {
                fixed,
                ..Distribution::default()
            })
        }

        fn visit_i64<E: serde::de::Error>(
            self,
            number: i64,
        ) -> std::result::Result<Distribution, E> {
            self.visit_f64(number as f64)
        }

        fn visit_map<A: MapAccess<'de>>(
            self,
            map: A,
        ) -> std::result::Result<Distribution, A::Error> {
            Distribution::deserialize(MapAccessDeserializer::new(map))
        }
    }

    from.deserialize_any(Either)
}

impl Distribution {
    /// Ends of the numbers that can come; nothing if not exactly one form is given.
    #[must_use]
    pub fn ends(&self) -> Option<[f64; 2]> {
        match (self.fixed, self.uniform, self.log_uniform, self.normal) {
            (Some(value), None, None, None) => Some([value; 2]),
            (None, Some(ends), None, None) | (None, None, Some(ends), None) => Some(ends),
            (None, None, None, Some([mean, sd])) => Some([mean - WIDEST * sd, mean + WIDEST * sd]),
            _ => None,
        }
    }

    /// Checks the form and that all numbers lie in `allowed`; `source` stands at the section, `key` is its own.
    fn validate(
        &self,
        source: &Source,
        key: &str,
        allowed: std::ops::RangeInclusive<f64>,
        unit: &str,
    ) -> Result<()> {
        let Some([least, most]) = self.ends() else {
            let allowed = "exactly one of fixed = a, uniform = [a, b], log_uniform = [a, b], normal = [mean, sd]";
            return Err(source.wrong(key, "none of the forms, or several", allowed));
        };
        let ordered = least <= most && (self.log_uniform.is_none() || least > 0.0);
        if !ordered {
            let got = format!("from {least} to {most}");
            return Err(source.wrong(key, got, "rising ends, above 0 for log_uniform"));
        }
        source.in_range(key, least, allowed.clone(), unit, "the least that is drawn")?;
        source.in_range(key, most, allowed, unit, "the most that is drawn")
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        let mut between = |[a, b]: [f64; 2]| a + (b - a) * rng.random::<f64>();
        match (self.fixed, self.uniform, self.log_uniform, self.normal) {
            (Some(value), ..) => value,
            (_, Some(ends), ..) => between(ends),
            (_, _, Some(ends), _) => between(ends.map(f64::ln)).exp(),
            (_, _, _, Some([mean, sd])) => {
                let Ok(normal) = Normal::new(mean, sd) else {
                    return mean;
                };
                let mut value = normal.sample(rng);
                while (value - mean).abs() > WIDEST * sd {
                    value = normal.sample(rng);
                }
                value
            }
            _ => f64::NAN,
        }
    }
}

/// A texture, and how often it comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedTexture {
    /// Relative to the others.
    pub weight: f64,
    /// The texture; signs of a uniform domain are drawn, random textures are drawn anew.
    pub texture: Texture,
}

/// `[emulated]` of a dataset: what specimens and microscopes are drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSettings {
    /// Seed of everything.
    pub seed: u64,
    /// Sub-images that a dataset gets.
    pub count: usize,
    /// Response file; left out, that of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<PathBuf>,
    /// Cells of every specimen `[x, y]`, even numbers.
    pub cells: [usize; 2],
    /// Textures by name.
    pub textures: BTreeMap<String, WeightedTexture>,
    /// Amplitude η of the polar displacements; 1 is BiFeO₃.
    #[serde(deserialize_with = "number_or_distribution")]
    pub amplitude: Distribution,
    /// Fraction of A sites that hold Sm.
    #[serde(deserialize_with = "number_or_distribution")]
    pub samarium_fraction: Distribution,
    /// Size of the mistilt [mrad]; its azimuth is even.
    #[serde(deserialize_with = "number_or_distribution")]
    pub tilt_mrad: Distribution,
    /// Thickness [nm], rounded to whole cells.
    #[serde(deserialize_with = "number_or_distribution")]
    pub thickness_nm: Distribution,
    /// Source [Å].
    #[serde(deserialize_with = "number_or_distribution")]
    pub source_fwhm_angstrom: Distribution,
    /// Dose [1/Å²].
    #[serde(deserialize_with = "number_or_distribution")]
    pub dose_per_angstrom2: Distribution,
    /// Offset of scan rows, standard deviation [pm].
    #[serde(deserialize_with = "number_or_distribution")]
    pub row_jitter_pm: Distribution,
    /// Size of the drift over the image [Å]; its azimuth is even.
    #[serde(deserialize_with = "number_or_distribution")]
    pub drift_angstrom: Distribution,
    /// Scan step [Å].
    #[serde(deserialize_with = "number_or_distribution")]
    pub step_angstrom: Distribution,
}

impl StreamSettings {
    /// Checks the numbers against the range of `response`; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source, response: &Response) -> Result<()> {
        let range = &response.certificate.range;
        if self
            .cells
            .iter()
            .any(|n| n % 2 == 1 || !(4..=400).contains(n))
        {
            let got = format!("{:?}", self.cells);
            return Err(source.wrong("cells", got, "even numbers from 4 to 400"));
        }
        if self.count == 0 {
            return Err(source.wrong("count", 0, "at least one sub-image"));
        }
        let weights: f64 = self.textures.values().map(|t| t.weight).sum();
        if !(weights > 0.0 && self.textures.values().all(|t| t.weight >= 0.0)) {
            return Err(source.wrong(
                "textures",
                "no weight",
                "a texture with a weight above 0, none below",
            ));
        }
        let [least, most] = response.thickness_nm();
        for (key, distribution, allowed, unit) in [
            ("amplitude", &self.amplitude, 0.0..=1.5, "(1 is BiFeO3)"),
            (
                "samarium_fraction",
                &self.samarium_fraction,
                0.0..=range.samarium_fraction / 2.0,
                "",
            ),
            ("tilt_mrad", &self.tilt_mrad, 0.0..=range.tilt_mrad, "mrad"),
            (
                "thickness_nm",
                &self.thickness_nm,
                least - 1e-6..=most + 1e-6,
                "nm",
            ),
            (
                "source_fwhm_angstrom",
                &self.source_fwhm_angstrom,
                0.0..=5.0,
                "Å",
            ),
            (
                "dose_per_angstrom2",
                &self.dose_per_angstrom2,
                1e-3..=1e12,
                "1/Å²",
            ),
            ("row_jitter_pm", &self.row_jitter_pm, 0.0..=200.0, "pm"),
            ("drift_angstrom", &self.drift_angstrom, 0.0..=50.0, "Å"),
            (
                "step_angstrom",
                &self.step_angstrom,
                range.step_angstrom..=1.0,
                "Å",
            ),
        ] {
            distribution.validate(source, key, allowed, unit)?;
        }
        Ok(())
    }
}

/// Labelled sub-images of one drawn image, and what was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Sub-images and labels.
    pub labelled: Labelled,
    /// Name of the texture.
    pub texture: String,
    /// Mistilt `[x, y]` [mrad].
    pub tilt_mrad: [f64; 2],
    /// Thickness [nm].
    pub thickness_nm: f64,
    /// Source [Å].
    pub source_fwhm_angstrom: f64,
    /// Dose [1/Å²].
    pub dose_per_angstrom2: f64,
}

/// A specimen, ready to be drawn.
struct Grown {
    /// Of its texture.
    name: String,
    tilt_mrad: [f64; 2],
    /// Cells along the beam.
    depth: usize,
    sites: Sites,
    /// Edges `[x, y]` [Å].
    cell: [f64; 2],
    truth: Truth,
}

/// An endless supply of labelled sub-images.
pub struct Stream {
    settings: StreamSettings,
    subimages: SubimageSettings,
    response: Response,
}

impl Stream {
    /// From checked settings.
    #[must_use]
    pub fn new(
        settings: &StreamSettings,
        subimages: &SubimageSettings,
        response: Response,
    ) -> Self {
        Self {
            settings: settings.clone(),
            subimages: subimages.clone(),
            response,
        }
    }

    /// Side of the sub-images [px].
    #[must_use]
    pub fn window(&self) -> usize {
        self.subimages.window()
    }

    /// Image number `index`, as sub-images.
    ///
    /// # Errors
    /// A window larger than the image; a drawn intensity that cannot be counted.
    pub fn draw(&self, index: u64) -> Result<Drawn> {
        let (image, known, mut drawn) = self.image(index)?;
        let all = SplitSettings {
            train_fraction: 1.0,
            validation_fraction: 0.01,
            ..SplitSettings::default()
        };
        let labelled = Labelled::cut(&image, &known, &self.subimages, &all)?;
        drawn.labelled = labelled.under(&Circumstance {
            tilt_mrad: drawn.tilt_mrad.map(|t| t as f32),
            thickness_nm: drawn.thickness_nm as f32,
            ..Circumstance::default()
        });
        drawn.labelled.split.fill(Split::Train);
        Ok(drawn)
    }

    /// Images of `indices`, drawn in parallel, `at_once` at a time, in order.
    pub fn batches(
        &self,
        indices: Range<u64>,
        at_once: u64,
    ) -> impl Iterator<Item = Result<Vec<Drawn>>> + '_ {
        let step = at_once.max(1);
        indices.clone().step_by(step as usize).map(move |first| {
            let batch = first..(first + step).min(indices.end);
            batch
                .into_par_iter()
                .map(|index| self.draw(index))
                .collect()
        })
    }

    /// The whole image number `index`, with the truth about it.
    ///
    /// # Errors
    /// As [`Stream::draw`].
    pub fn image(&self, index: u64) -> Result<(Image, Known, Drawn)> {
        let settings = &self.settings;
        let rng = &mut stream(settings.seed, "emulated", index);
        let Grown {
            name,
            tilt_mrad,
            depth,
            sites,
            cell: extent,
            truth,
        } = self.specimen(rng)?;
        let acquisition = Acquisition {
            source_fwhm_angstrom: settings.source_fwhm_angstrom.draw(rng),
            dose_per_angstrom2: Some(settings.dose_per_angstrom2.draw(rng)),
            row_jitter_pm: settings.row_jitter_pm.draw(rng),
            drift_angstrom: polar(settings.drift_angstrom.draw(rng), rng),
        };
        let step = settings.step_angstrom.draw(rng);
        let frame = Frame {
            // Columns stand anywhere between the pixels.
            start: [0, 1].map(|_| rng.random::<f64>() * self.response.edge),
            step: [step; 2],
            points: extent.map(|length| (length / step).floor() as usize),
        };
        let data =
            Painter::new(&self.response, depth, frame.step)?.paint(&sites, &frame, &|_| tilt_mrad);
        let ideal = Image {
            data,
            sampling: [step; 2],
        };
        let image = acquisition.acquire(&ideal, Border::Mirror, settings.seed, index)?;
        let end = [0, 1].map(|axis| frame.start[axis] + frame.points[axis] as f64 * step);
        let known = Known::from(&truth.in_field(frame.start, end, extent));
        let drawn = Drawn {
            labelled: Labelled::default(),
            texture: name,
            tilt_mrad,
            thickness_nm: depth as f64 * self.response.edge / ANGSTROM_PER_NM,
            source_fwhm_angstrom: acquisition.source_fwhm_angstrom,
            dose_per_angstrom2: acquisition.dose_per_angstrom2.unwrap_or(f64::NAN),
        };
        Ok((image, known, drawn))
    }

    /// A specimen within the range of the response: draws until one is.
    fn specimen(&self, rng: &mut ChaCha8Rng) -> Result<Grown> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let drawn = self.any_specimen(rng)?;
            let whole = drawn.cell.map(|length| [0.0, length]);
            let extremes = Extremes::of(&drawn.sites, whole, &|_| vec![drawn.tilt_mrad]);
            match extremes.check(&drawn.sites, &self.response) {
                Ok(()) => return Ok(drawn),
                Err(error) => last = Some((drawn.name, error)),
            }
        }
        let (name, why) = last.map_or_else(Default::default, |(n, e)| (n, e.to_string()));
        Err(Error::unmeasurable(
            "emulated specimens",
            format!(
                "{ATTEMPTS} in a row that are beyond the response, the last one of texture {name}: {why}"
            ),
            "textures, amplitudes and tilts that the emulator can draw",
        ))
    }

    fn any_specimen(&self, rng: &mut ChaCha8Rng) -> Result<Grown> {
        let settings = &self.settings;
        let (name, texture) = self.texture(rng);
        let tilt_mrad = polar(settings.tilt_mrad.draw(rng), rng);
        let cells = settings.thickness_nm.draw(rng) * ANGSTROM_PER_NM / self.response.edge;
        let depth = (cells.round() as usize).clamp(
            self.response.depths[0],
            *self.response.depths.last().unwrap_or(&1),
        );
        let [nx, ny] = settings.cells;
        let specimen = Specimen {
            cells: [nx, ny, depth.next_multiple_of(2)],
            lattice_angstrom: Some(self.response.edge),
            samarium_fraction: Some(settings.samarium_fraction.draw(rng)),
            r3c: Some(R3c {
                amplitude: Some(settings.amplitude.draw(rng)),
                rhombohedral_angle_degrees: None,
                texture,
            }),
            polar: None,
            cubic: None,
            film: None,
            displacements: None,
            composition: None,
            injected: None,
        };
        let (structure, truth) = specimen.build(rng.random(), &External::default())?;
        Ok(Grown {
            name,
            tilt_mrad,
            depth,
            sites: Sites::new(&structure, specimen.cells, depth)?,
            cell: [structure.cell[0], structure.cell[1]],
            truth,
        })
    }

    /// A texture by the weights; the signs of a uniform domain are drawn.
    fn texture(&self, rng: &mut ChaCha8Rng) -> (String, Texture) {
        let all: f64 = self.settings.textures.values().map(|t| t.weight).sum();
        let mut left = all * rng.random::<f64>();
        let mut chosen = self.settings.textures.iter().next();
        for candidate in &self.settings.textures {
            if candidate.1.weight > 0.0 {
                chosen = Some(candidate);
                left -= candidate.1.weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        let signs: [f64; 3] =
            std::array::from_fn(|_| if rng.random::<bool>() { 1.0 } else { -1.0 });
        let Some((name, weighted)) = chosen else {
            return (String::new(), Texture::Uniform { direction: signs });
        };
        let texture = match &weighted.texture {
            Texture::Uniform { direction } => Texture::Uniform {
                direction: std::array::from_fn(|axis| signs[axis] * direction[axis]),
            },
            other => other.clone(),
        };
        (name.clone(), texture)
    }
}

/// A vector of a length, in any direction.
fn polar(length: f64, rng: &mut ChaCha8Rng) -> [f64; 2] {
    let (sin, cos) = (rng.random::<f64>() * std::f64::consts::TAU).sin_cos();
    [length * cos, length * sin]
}

/// The response that `[emulated]` names, or that of the program.
///
/// # Errors
/// A file that is no response, or damaged.
pub(super) fn response_for(settings: &StreamSettings, source: &Source) -> Result<Response> {
    match &settings.response {
        Some(path) => crate::storage::responses::read_response(&source.find(path)),
        None => crate::simulation::shipped_response(),
    }
}

/// What stands for an image without sub-images.
pub(super) fn no_subimages(count: u64) -> Error {
    Error::unmeasurable(
        "emulated dataset",
        format!("{count} images without a single sub-image"),
        "a smaller window, or larger specimens",
    )
}
