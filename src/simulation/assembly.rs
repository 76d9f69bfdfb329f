//! From finished units to the file of images: averages, what the microscope adds, diffraction patterns.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, Array4, s};

use super::plan::Plan;
use super::units::{Unit, twins};
use crate::acquisition::Acquisition;
use crate::error::Result;
use crate::image::Image;
use crate::multislice::images_from_channels;
use crate::provenance::Provenance;
use crate::storage::hspy::{DetectorStack, ImageFile, write_images_and_patterns};
use crate::storage::parts::Parts;
use crate::storage::patterns::{PatternBlock, PatternStream};

/// Writes the file of a plan whose parts are all there.
///
/// # Errors
/// An intensity that cannot be counted; the system refuses.
pub(super) fn assemble(
    plan: &Plan,
    parts: &Parts,
    provenance: Provenance,
    output: &Path,
    force: bool,
) -> Result<()> {
    let ideal = ideal_images(plan, &channels(plan, parts));
    let mut detectors = Vec::new();
    let mut suffix = "";
    if let Some(acquisition) = &plan.settings.acquisition {
        let uncounted = Acquisition {
            dose_per_angstrom2: None,
            ..acquisition.clone()
        };
        let signed = signed_images(plan);
        for (number, stack) in ideal.iter().enumerate() {
            let name = stack.name.clone();
            let counted = !signed.contains(&name);
            let acquisition = if counted { acquisition } else { &uncounted };
            let data = acquire_stack(plan, acquisition, &stack.data, number)?;
            detectors.push(DetectorStack { name, data });
        }
        suffix = "_ideal";
    }
    detectors.extend(ideal.into_iter().map(|stack| DetectorStack {
        name: stack.name + suffix,
        ..stack
    }));
    let [x, y, _] = plan.structure.cell;
    let raster = &plan.raster;
    let file = ImageFile {
        detectors,
        sampling: [raster.step[1], raster.step[0]],
        offset: [raster.start[1], raster.start[0]],
        tilts_mrad: plan.settings.tilts_mrad.clone(),
        thicknesses_nm: plan.thicknesses_nm(),
        structure: plan.structure.clone(),
        truth: plan.truth.in_field(raster.start, raster.end(), [x, y]),
        provenance: provenance.finished(),
    };
    write_images_and_patterns(output, &file, patterns(plan, parts), force)
}

/// Names of the images that are differences or angles, not counts of electrons.
fn signed_images(plan: &Plan) -> Vec<String> {
    let detectors = plan.settings.detectors.iter();
    let signed = detectors.filter(|(_, detector)| detector.is_signed());
    signed
        .flat_map(|(name, detector)| detector.image_names(name))
        .collect()
}

/// Every channel of all detectors, `(tilt, thickness, y, x)`, averaged over the phonon configurations in their order.
fn channels(plan: &Plan, parts: &Parts) -> Vec<Array4<f64>> {
    let [columns, rows] = plan.raster.points;
    let tilts = plan.settings.tilts_mrad.len();
    let shape = (tilts, plan.exit_slices.len(), rows, columns);
    let weight = 1.0 / plan.configurations() as f64;
    let mut stacks = vec![Array4::zeros(shape); plan.channel_count()];
    for (index, unit) in plan.units().iter().enumerate() {
        let numbers = parts.read(index).unwrap_or_default();
        let mut numbers = numbers.into_iter();
        for stack in &mut stacks {
            for thickness in 0..plan.exit_slices.len() {
                for ((row, col), number) in unit.places().zip(numbers.by_ref()) {
                    stack[(unit.tilt, thickness, row, col)] += weight * f64::from(number);
                }
            }
        }
    }
    stacks
}

/// The images of all detectors from their channels.
fn ideal_images(plan: &Plan, channels: &[Array4<f64>]) -> Vec<DetectorStack> {
    let [x, y, _] = plan.structure.cell;
    let step = [plan.raster.step[1], plan.raster.step[0]];
    let periodic = plan.raster.is_periodic([x, y]);
    let mut stacks = Vec::new();
    let mut first = 0;
    for (name, detector) in &plan.settings.detectors {
        let own = &channels[first..first + detector.channel_count()];
        first += own.len();
        let Some(shape) = own.first().map(Array4::dim) else {
            continue;
        };
        let mut images: Vec<DetectorStack> = detector
            .image_names(name)
            .into_iter()
            .map(|name| DetectorStack {
                name,
                data: Array4::zeros(shape),
            })
            .collect();
        for tilt in 0..shape.0 {
            for thickness in 0..shape.1 {
                let frame =
                    |channel: &Array4<f64>| channel.slice(s![tilt, thickness, .., ..]).to_owned();
                let frames = own.iter().map(frame).collect();
                let made = images_from_channels(detector, name, frames, step, periodic);
                for (stack, (_, image)) in images.iter_mut().zip(made) {
                    let mut place = stack.data.slice_mut(s![tilt, thickness, .., ..]);
                    place.zip_mut_with(&image, |to, from| *to = *from as f32);
                }
            }
        }
        stacks.extend(images);
    }
    stacks
}

/// What the microscope makes of an ideal image of this plan; `frame` numbers its random streams.
///
/// # Errors
/// An intensity that cannot be counted.
pub fn acquire(
    plan: &Plan,
    acquisition: &Acquisition,
    ideal: Array2<f32>,
    frame: u64,
) -> Result<Image> {
    let [x, y, _] = plan.structure.cell;
    let image = Image {
        data: ideal,
        sampling: [plan.raster.step[1], plan.raster.step[0]],
    };
    acquisition.acquire(
        &image,
        plan.raster.border([x, y]),
        plan.settings.seed,
        frame,
    )
}

/// Every frame of detector number `detector` as acquired, `(tilt, thickness, y, x)`.
fn acquire_stack(
    plan: &Plan,
    acquisition: &Acquisition,
    ideal: &Array4<f32>,
    detector: usize,
) -> Result<Array4<f32>> {
    let (tilts, thicknesses, ..) = ideal.dim();
    let mut acquired = Array4::zeros(ideal.dim());
    for tilt in 0..tilts {
        for thickness in 0..thicknesses {
            let frame = ((detector * tilts + tilt) * thicknesses + thickness) as u64;
            let image = acquire(
                plan,
                acquisition,
                ideal.slice(s![tilt, thickness, .., ..]).to_owned(),
                frame,
            )?;
            acquired
                .slice_mut(s![tilt, thickness, .., ..])
                .assign(&image.data);
        }
    }
    Ok(acquired)
}

/// The diffraction patterns of the pixelated detectors, to be read from the parts while they are written.
fn patterns<'a>(plan: &'a Plan, parts: &'a Parts) -> Vec<PatternStream<'a>> {
    let mut streams = Vec::new();
    let mut first = plan.channel_count();
    for (name, camera) in &plan.cameras {
        let readings = first..first + camera.shape().iter().product::<usize>();
        first = readings.end;
        let units = plan.units();
        let of_configuration = units.len() / plan.configurations();
        let blocks = units
            .into_iter()
            .take(of_configuration)
            .enumerate()
            .flat_map(move |(index, unit)| {
                let twins = twins(index, of_configuration, plan.configurations());
                pattern_blocks(plan, parts, &unit, twins, readings.clone())
            })
            .map(Ok);
        let [columns, lines] = plan.raster.points;
        streams.push(PatternStream {
            name: name.clone(),
            scan: [lines, columns],
            shape: camera.shape(),
            offset_mrad: camera.offset_mrad(),
            step_mrad: camera.step_mrad(),
            blocks: Box::new(blocks),
        });
    }
    streams
}

/// The patterns of a unit, averaged over its `twins`, the parts of all phonon configurations: one block per thickness and row of
/// the raster.
fn pattern_blocks(
    plan: &Plan,
    parts: &Parts,
    unit: &Unit,
    twins: impl Iterator<Item = usize>,
    readings: Range<usize>,
) -> Vec<PatternBlock> {
    let (probes, exits) = (unit.len(), plan.exit_slices.len());
    let pixels = readings.len();
    let weight = 1.0 / plan.configurations() as f64;
    let mut mean = vec![0.0; pixels * exits * probes];
    for part in twins {
        let numbers = parts.read(part).unwrap_or_default();
        let own = numbers.into_iter().skip(readings.start * exits * probes);
        for (sum, number) in mean.iter_mut().zip(own) {
            *sum += weight * f64::from(number);
        }
    }
    let width = plan.raster.points[0];
    let mut blocks = Vec::new();
    for thickness in 0..exits {
        for (line, row) in unit.rows.clone().enumerate() {
            let of_row = line * unit.cols.len()..(line + 1) * unit.cols.len();
            let number = |probe: usize, pixel: usize| {
                mean[(pixel * exits + thickness) * probes + probe] as f32
            };
            blocks.push(PatternBlock {
                tilt: unit.tilt,
                thickness,
                first_probe: row * width + unit.cols.start,
                values: of_row
                    .flat_map(|probe| (0..pixels).map(move |pixel| number(probe, pixel)))
                    .collect(),
            });
        }
    }
    blocks
}
