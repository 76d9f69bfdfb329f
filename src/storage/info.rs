//! What is in a file or a folder of results, in words and with units.

use std::fmt::Write;
use std::path::Path;

use super::dataset::{Dataset, Split};
use super::hdf::{self, Node};
use super::micrograph::{self, Kind, Micrograph};
use super::records;
use super::responses;
use super::seal;
use crate::emulator::{Kind as Column, Order, Response};
use crate::error::{Error, Result};
use crate::multislice::{AnnularDetector, Detector};
use crate::provenance::Provenance;

/// Most frame labels that are listed.
const MAX_LABELS: usize = 12;
/// Longest file of a folder that is shown whole [bytes].
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Lines about a file: image, data set, polarization map, model or other folder of results.
///
/// # Errors
/// The file cannot be read or is of no known kind.
pub fn describe(path: &Path) -> Result<String> {
    let mut text = format!("{}\n", path.display());
    if path.is_dir() {
        describe_folder(path, &mut text)?;
        return Ok(text);
    }
    if micrograph::sniff(path)? == Kind::Hdf5 {
        // A response that is damaged must not reach the library.
        let is_response = seal::sealed(path, responses::WHOLE)?;
        let root = hdf::open(path)?;
        if is_response || root.text("kind").as_deref() == Some(responses::KIND) {
            describe_response(path, &mut text)?;
        } else if root.has("subimages") && root.has("targets") {
            describe_dataset(path, &mut text)?;
        } else {
            describe_micrograph(&micrograph::open(path, None)?, &mut text);
            describe_ours(&root, &mut text)?;
        }
        if root.has("provenance") {
            describe_provenance(&records::read_provenance(&root)?, &mut text);
        }
    } else {
        describe_micrograph(&micrograph::open(path, None)?, &mut text);
    }
    Ok(text)
}

/// Adds a line `name: value`.
fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "  {name:<14} {value}");
}

fn describe_micrograph(micrograph: &Micrograph, text: &mut String) {
    line(text, "format", micrograph.format);
    line(text, "title", &micrograph.title);
    let [rows, cols] = micrograph.shape;
    line(text, "image", format!("{cols} × {rows} px (x × y)"));
    match micrograph.sampling {
        Some([y, x]) => {
            line(text, "pixel size", format!("{x:.6} × {y:.6} Å (x × y)"));
            line(
                text,
                "field of view",
                format!("{:.2} × {:.2} Å", x * cols as f64, y * rows as f64),
            );
        }
        None => line(text, "pixel size", "not calibrated (give --sampling Å/px)"),
    }
    describe_frames(micrograph, text);
    if micrograph.signals.len() > 1 {
        for signal in &micrograph.signals {
            let shape: Vec<String> = signal.shape.iter().map(ToString::to_string).collect();
            let kind = if signal.is_image { "" } else { ", no image" };
            line(
                text,
                "signal",
                format!(
                    "{} {}{kind} `{}`",
                    signal.name,
                    shape.join(" × "),
                    signal.title
                ),
            );
        }
    }
    if let Some(truth) = &micrograph.truth {
        line(
            text,
            "truth",
            format!(
                "{} A columns, {} B columns",
                truth.a_columns.len(),
                truth.b_columns.len()
            ),
        );
    }
}

fn describe_frames(micrograph: &Micrograph, text: &mut String) {
    if micrograph.frames > 1 {
        line(text, "frames", micrograph.frames);
        for index in 0..micrograph.frames.min(MAX_LABELS) {
            line(text, "", format!("{index}: {}", micrograph.label(index)));
        }
        if micrograph.frames > MAX_LABELS {
            line(
                text,
                "",
                format!("… {} more", micrograph.frames - MAX_LABELS),
            );
        }
    } else if !micrograph.label(0).is_empty() {
        line(text, "frame", micrograph.label(0));
    }
}

/// What our HDF5 files hold beside images.
fn describe_ours(root: &Node, text: &mut String) -> Result<()> {
    if root.has("structure") {
        let structure = records::read_structure(root)?;
        let [x, y, z] = structure.cell;
        line(
            text,
            "structure",
            format!(
                "{} atoms in {x:.3} × {y:.3} × {z:.3} Å",
                structure.positions.len()
            ),
        );
    }
    if root.has("cells/position") {
        let cells = root.dataset("cells/position")?.shape();
        line(
            text,
            "cells",
            format!("{} polar displacements [pm]", cells.first().unwrap_or(&0)),
        );
    }
    Ok(())
}

fn describe_dataset(path: &Path, text: &mut String) -> Result<()> {
    let dataset = Dataset::open(path)?;
    let info = &dataset.info;
    line(text, "format", "training data set");
    line(text, "mode", &info.mode);
    line(
        text,
        "sub-images",
        format!(
            "{} of {} × {} px (x × y)",
            dataset.len(),
            info.shape[1],
            info.shape[0]
        ),
    );
    line(text, "window", format!("{} Å", info.window_angstrom));
    line(text, "pixel size", format!("{} Å", info.sampling_angstrom));
    for (name, part) in [
        ("train", Split::Train),
        ("validation", Split::Validation),
        ("test", Split::Test),
    ] {
        line(text, name, dataset.indices(part).len());
    }
    let images: std::collections::BTreeSet<u32> = dataset.images().iter().copied().collect();
    line(text, "images", images.len());
    Ok(())
}

fn describe_response(path: &Path, text: &mut String) -> Result<()> {
    let response = responses::read_response(path)?;
    let microscope = &response.microscope;
    line(text, "format", "response of the emulator");
    let key = responses::response_key(microscope, &response.detector, response.edge);
    line(text, "key", key);
    let size = std::fs::metadata(path)
        .map_err(Error::io("read", path))?
        .len();
    line(text, "size", format!("{:.1} MB", size as f64 / 1e6));
    let elements: Vec<String> = microscope
        .thermal_diffuse
        .rms_angstrom
        .iter()
        .map(|(element, rms)| format!("{element} {rms} Å"))
        .collect();
    let cell = format!(
        "cell {} Å, thermal motion {}",
        response.edge,
        elements.join(", ")
    );
    line(text, "material", cell);
    let probe = &microscope.probe;
    let lens = format!("{} kV, {} mrad", probe.energy_kev, probe.semiangle_mrad);
    let (pixels, slices) = (microscope.pixels_per_cell, microscope.slices_per_cell);
    line(
        text,
        "microscope",
        format!("{lens}; {pixels} px and {slices} slices per cell"),
    );
    line(text, "detector", describe_detector(&response));
    let [least, most] = response.thickness_nm();
    let depths = response.depths.len();
    line(
        text,
        "thickness",
        format!("{least:.2} to {most:.2} nm, {depths} depths"),
    );
    for kind in Column::ALL {
        line(
            text,
            &format!("columns {kind:?}"),
            describe_kernel(&response, kind),
        );
    }
    describe_certificate(&response, text);
    Ok(())
}

fn describe_detector(response: &Response) -> String {
    let name = &response.detector;
    match response.microscope.detectors.get(name) {
        Some(Detector::Annular(AnnularDetector {
            inner_mrad,
            outer_mrad,
        })) => format!("{name}, {inner_mrad} to {outer_mrad} mrad"),
        _ => name.clone(),
    }
}

fn describe_kernel(response: &Response, kind: Column) -> String {
    let kernel = &response.kernels[kind as usize];
    let (_, terms, pictures) = kernel.coefficients.dim();
    let mut text = format!("{terms} terms × {pictures} pictures");
    let place = Order::LADDER
        .iter()
        .position(|order| *order == kernel.order);
    if let Some(place) = place {
        let _ = write!(text, ", order {} of {}", place + 1, Order::LADDER.len());
        if let Some(error) = response.errors_by_order[kind as usize].get(place) {
            let _ = write!(text, " (off by {:.3} % on unseen blocks)", error * 100.0);
        }
    }
    text
}

fn describe_certificate(response: &Response, text: &mut String) {
    let certificate = &response.certificate;
    let compared = certificate.comparisons.len();
    if compared == 0 {
        line(
            text,
            "certificate",
            "none: not compared with the exact engine",
        );
        return;
    }
    let [rms, pixel, displacement] = certificate.worst();
    let errors = format!("{rms:.2} % rms, {pixel:.2} % at a pixel, D {displacement:.2} pm");
    line(
        text,
        "certificate",
        format!("{compared} comparisons, at worst {errors}"),
    );
    let range = &certificate.range;
    let tilt = format!(
        "tilt {} mrad, |D| {} pm",
        range.tilt_mrad, range.displacement_pm
    );
    let rest = format!(
        "Sm {} %, pixels from {} Å",
        range.samarium_fraction * 100.0,
        range.step_angstrom
    );
    line(text, "holds up to", format!("{tilt}, {rest}"));
}

fn describe_provenance(provenance: &Provenance, text: &mut String) {
    let version = format!("ferrostem {} ({})", provenance.version, provenance.commit);
    line(
        text,
        "made by",
        format!("{version}, `{}`", provenance.command),
    );
    if let Some(seed) = provenance.seed {
        line(text, "seed", seed);
    }
    line(text, "threads", provenance.threads);
    line(
        text,
        "took",
        format!("{:.1} s", provenance.duration_seconds),
    );
    for input in &provenance.inputs {
        line(
            text,
            "input",
            format!("{} (BLAKE3 {})", input.path, input.blake3),
        );
    }
    if !provenance.settings.trim().is_empty() {
        line(text, "settings", "");
        for setting in provenance.settings.lines() {
            line(text, "", setting);
        }
    }
}

/// A folder of results: its TOML files in full, the names and sizes of the others.
fn describe_folder(path: &Path, text: &mut String) -> Result<()> {
    let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(Error::io("read", path))?.file_name());
    }
    names.sort();
    let known = ["model.toml", "provenance.toml"];
    if !names
        .iter()
        .any(|name| known.iter().any(|known| name == known))
    {
        return Err(Error::data(
            path,
            "folder",
            "neither of them",
            "model.toml or provenance.toml in it",
        ));
    }
    for name in &names {
        let file = path.join(name);
        let size = std::fs::metadata(&file)
            .map_err(Error::io("read", &file))?
            .len();
        line(text, &name.to_string_lossy(), format!("{size} bytes"));
    }
    for name in known {
        let file = path.join(name);
        if !file.exists() {
            continue;
        }
        let size = std::fs::metadata(&file)
            .map_err(Error::io("read", &file))?
            .len();
        if size > MAX_TEXT_BYTES {
            return Err(Error::data(
                &file,
                "whole file",
                format!("{size} bytes"),
                format!("at most {MAX_TEXT_BYTES}"),
            ));
        }
        let content = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let _ = writeln!(text, "{name}:");
        for content in content.lines() {
            let _ = writeln!(text, "  {content}");
        }
    }
    Ok(())
}
