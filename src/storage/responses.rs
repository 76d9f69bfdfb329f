//! Responses of the emulator: one HDF5 file each, small, and refused unless every number of it is as it was written.
//!
//! A file is found by its [key](response_key), a hash of what the response is for, and kept honest by its digest, a hash of all that
//! is in it but the provenance. A seal keeps damaged files from the library that reads them.
//!
//! Pictures and coefficients are rounded to as much as an image shows. With n pictures, each with an error of q/√12 in its coefficient
//! (a step q) and a root mean square of w, the image of a column is off by T w q √(n/12), where T² is the sum of the squares of all terms: 3
//! for a texture of some ten pm, about 25 at the border of what is certified. Steps of `COEFFICIENTS` of the contrast over w give
//! 1e-5 to 1e-4 of the contrast for 48 pictures, rms; the same holds for pictures with `PICTURES`, whose errors do not grow with terms.
//! Pictures that matter less get fewer bits: steps are equal in the image, not in the numbers.

use std::io::Write;
use std::path::Path;

use ndarray::{Array1, Array2, Array3, Axis, aview1};
use serde::de::DeserializeOwned;

use super::hdf::{self, MAGIC, Node, Sink};
use super::records;
use super::rounding::Rounded;
use super::seal;
use crate::emulator::expansion::degrees;
use crate::emulator::patch::{HALF, PIXELS_PER_CELL, REACH, SIDE};
use crate::emulator::{Kernel, Kind, Microscope, Response};
use crate::error::{Error, Result};
use crate::provenance::Provenance;

/// What `kind` says in our file.
pub(super) const KIND: &str = "ferrostem response";
/// Version of the layout.
const SCHEMA: u64 = 1;
/// Digits of a key.
const DIGITS: usize = 16;
/// Edges of cells that differ by less are the same [1/Å].
const EDGES_PER_ANGSTROM: f64 = 1e6;
/// Step of coefficients, as the image shows it, in parts of the contrast.
const COEFFICIENTS: f64 = 1.0 / (1 << 19) as f64;
/// Step of pictures in the same measure.
const PICTURES: f64 = 1.0 / (1 << 17) as f64;
/// Groups of the kinds of columns.
const NAMES: [&str; 3] = ["A", "B", "O"];
/// What is wanted where something is not as it was.
pub(super) const WHOLE: &str =
    "what was written; the file is damaged: remove it, and the response is built again";

/// What a response is for, in 16 hexadecimal digits: material, microscope, numerics, the angles of one detector (not its name), and
/// the edge of the ideal cell [Å] to 1e-6.
#[must_use]
pub fn response_key(microscope: &Microscope, detector: &str, edge: f64) -> String {
    let mut of_one = microscope.clone();
    let angles = of_one.detectors.remove(detector);
    of_one.detectors = angles
        .map(|angles| (String::new(), angles))
        .into_iter()
        .collect();
    // All of it can be written as TOML; were it not so, keys would still be the same for the same microscope.
    let text = toml::to_string(&of_one).unwrap_or_else(|_| format!("{of_one:?}"));
    let edge = (edge * EDGES_PER_ANGSTROM).round();
    let hash = blake3::hash(format!("edge = {edge}\n{text}").as_bytes());
    hash.to_hex()[..DIGITS].to_owned()
}

/// Writes a response; the file appears whole or not at all.
///
/// # Errors
/// The file exists and `force` is not set; shapes disagree, or numbers are not finite; the system refuses.
pub fn write_response(
    path: &Path,
    response: &Response,
    provenance: &Provenance,
    force: bool,
) -> Result<()> {
    check(path, response)?;
    let contents = Contents::new(response)?;
    // Numbers near the end of single precision may not survive rounding.
    check(path, &contents.response(path)?)?;
    let sink = Sink::create(path, force)?;
    let root = sink.root();
    root.set_text("kind", KIND)?;
    root.set_number("schema", SCHEMA)?;
    let key = response_key(&response.microscope, &response.detector, response.edge);
    root.set_text("key", &key)?;
    root.set_text("digest", &contents.digest())?;
    contents.write(root)?;
    records::write_provenance(root, provenance)?;
    sink.finish_with(seal::seal)
}

/// Reads a response.
///
/// # Errors
/// The file cannot be read, is no response, is of another version, or is not as it was written.
pub fn read_response(path: &Path) -> Result<Response> {
    let root = open(path)?;
    let contents = Contents::read(&root)?;
    let (stored, digest) = (root.text("digest").unwrap_or_default(), contents.digest());
    if stored != digest {
        let got = format!("data of BLAKE3 {digest} in place of {stored}");
        return Err(root.wrong("@digest", got, WHOLE));
    }
    let response = contents.response(path)?;
    let stored = root.text("key").unwrap_or_default();
    let key = response_key(&response.microscope, &response.detector, response.edge);
    if stored != key {
        let got = format!("key {stored} with a microscope of key {key}");
        return Err(root.wrong("@key", got, WHOLE));
    }
    check(path, &response)?;
    Ok(response)
}

/// Reads a response from the bytes of a file; errors call it `name`.
///
/// # Errors
/// As [`read_response`]; no temporary file can be written.
pub fn read_response_bytes(name: &str, bytes: &[u8]) -> Result<Response> {
    let name = Path::new(name);
    let mut file = tempfile::NamedTempFile::new().map_err(Error::io("unpack", name))?;
    file.write_all(bytes).map_err(Error::io("unpack", name))?;
    read_response(file.path()).map_err(|error| match error {
        Error::Data {
            place,
            got,
            allowed,
            ..
        } => Error::data(name, place, got, allowed),
        Error::Io { doing, source, .. } => Error::io(doing, name)(source),
        other => other,
    })
}

/// Opens a file that says that it is a response of our version.
fn open(path: &Path) -> Result<Node> {
    let wanted = format!("a response of the emulator: HDF5 with kind = `{KIND}`");
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, 8), &mut head)
        .map_err(Error::io("read", path))?;
    if head != MAGIC {
        return Err(Error::data(
            path,
            "whole file",
            "a file that is not HDF5",
            wanted,
        ));
    }
    let sealed = seal::sealed(path, WHOLE)?;
    let root = hdf::open(path)?;
    match root.text("kind").as_deref() {
        Some(KIND) if sealed => {}
        Some(KIND) => return Err(root.wrong("", "a file without its seal at the end", WHOLE)),
        Some(other) => {
            return Err(root.wrong("@kind", format!("a file of kind `{other}`"), wanted));
        }
        None => {
            let program = root.text("file_format");
            let got = program.map_or_else(
                || "an HDF5 file without a kind".to_owned(),
                |program| format!("an HDF5 file of {program}"),
            );
            return Err(root.wrong("@kind", got, wanted));
        }
    }
    match root.unsigned("schema") {
        Some(SCHEMA) => Ok(root),
        schema => {
            let got = schema.map_or_else(|| "nothing".to_owned(), |schema| schema.to_string());
            let allowed = format!("{SCHEMA}; another version of ferrostem wrote the file");
            Err(root.wrong("@schema", got, allowed))
        }
    }
}

/// All that a file holds of a response, as it is stored.
struct Contents {
    detector: String,
    edge: f64,
    /// As TOML.
    microscope: String,
    training: String,
    certificate: String,
    depths: Vec<u64>,
    kernels: [StoredKernel; 3],
}

struct StoredKernel {
    /// As TOML.
    order: String,
    errors_by_order: Vec<f64>,
    /// `(picture, y, x)`
    pictures: Rounded,
    /// `(picture, term, depth)`
    coefficients: Rounded,
}

impl Contents {
    fn new(response: &Response) -> Result<Self> {
        let contrasts = contrasts(response);
        let of_kind = |kind: Kind| StoredKernel::new(response, kind, &contrasts);
        Ok(Self {
            detector: response.detector.clone(),
            edge: response.edge,
            microscope: to_toml(&response.microscope)?,
            training: to_toml(&response.training)?,
            certificate: to_toml(&response.certificate)?,
            depths: response.depths.iter().map(|&depth| depth as u64).collect(),
            kernels: [of_kind(Kind::A)?, of_kind(Kind::B)?, of_kind(Kind::O)?],
        })
    }

    fn write(&self, root: &Node) -> Result<()> {
        root.set_text("detector", &self.detector)?;
        root.set_number("edge_angstrom", self.edge)?;
        root.set_text("microscope", &self.microscope)?;
        root.set_text("training", &self.training)?;
        root.set_text("certificate", &self.certificate)?;
        let depths = root.write("depths", aview1(&self.depths))?;
        root.label(&depths, "units", "cells")?;
        let kernels = root.create_group("kernels")?;
        for (kernel, name) in self.kernels.iter().zip(NAMES) {
            let node = kernels.create_group(name)?;
            node.set_text("order", &kernel.order)?;
            node.write("errors_by_order", aview1(&kernel.errors_by_order))?;
            kernel.pictures.write(&node, "pictures", "picture, y, x")?;
            kernel
                .coefficients
                .write(&node, "coefficients", "picture, term, depth")?;
        }
        Ok(())
    }

    fn read(root: &Node) -> Result<Self> {
        let missing = |name: &str| root.wrong(&format!("@{name}"), "nothing", WHOLE);
        let text = |name: &str| root.text(name).ok_or_else(|| missing(name));
        let of_kind = |kind: Kind| {
            StoredKernel::read(&root.group(&format!("kernels/{}", NAMES[kind as usize]))?)
        };
        Ok(Self {
            detector: text("detector")?,
            edge: root
                .number("edge_angstrom")
                .ok_or_else(|| missing("edge_angstrom"))?,
            microscope: text("microscope")?,
            training: text("training")?,
            certificate: text("certificate")?,
            depths: root.read::<u64>("depths")?.1,
            kernels: [of_kind(Kind::A)?, of_kind(Kind::B)?, of_kind(Kind::O)?],
        })
    }

    /// BLAKE3 of everything.
    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let text = |hasher: &mut blake3::Hasher, text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for part in [
            &self.detector,
            &self.microscope,
            &self.training,
            &self.certificate,
        ] {
            text(&mut hasher, part);
        }
        hasher.update(&self.edge.to_le_bytes());
        hasher.update(&(self.depths.len() as u64).to_le_bytes());
        for depth in &self.depths {
            hasher.update(&depth.to_le_bytes());
        }
        for kernel in &self.kernels {
            text(&mut hasher, &kernel.order);
            hasher.update(&(kernel.errors_by_order.len() as u64).to_le_bytes());
            for error in &kernel.errors_by_order {
                hasher.update(&error.to_le_bytes());
            }
            kernel.pictures.hash(&mut hasher);
            kernel.coefficients.hash(&mut hasher);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The response that is read from this.
    fn response(&self, path: &Path) -> Result<Response> {
        let [a, b, o] = &self.kernels;
        Ok(Response {
            microscope: from_toml(path, "@microscope", &self.microscope)?,
            detector: self.detector.clone(),
            edge: self.edge,
            training: from_toml(path, "@training", &self.training)?,
            depths: self.depths.iter().map(|&depth| depth as usize).collect(),
            kernels: [a.kernel(path)?, b.kernel(path)?, o.kernel(path)?],
            errors_by_order: [a, b, o].map(|kernel| kernel.errors_by_order.clone()),
            certificate: from_toml(path, "@certificate", &self.certificate)?,
        })
    }
}

impl StoredKernel {
    /// Rounds the kernel of a kind; `contrasts` are those of images at each depth.
    fn new(response: &Response, kind: Kind, contrasts: &[f64]) -> Result<Self> {
        let kernel = &response.kernels[kind as usize];
        let inside = inside(response.edge);
        let least = contrasts.iter().copied().fold(f64::INFINITY, f64::min);
        let coefficient_steps: Vec<f64> = kernel
            .images
            .outer_iter()
            .map(|picture| {
                let squares = inside
                    .iter()
                    .map(|&pixel| f64::from(picture[pixel]).powi(2));
                COEFFICIENTS * least / (squares.sum::<f64>() / inside.len() as f64).sqrt()
            })
            .collect();
        let picture_steps: Vec<f64> = kernel
            .coefficients
            .axis_iter(Axis(2))
            .map(|of_picture| {
                let sizes = of_picture
                    .outer_iter()
                    .zip(contrasts)
                    .map(|(terms, contrast)| {
                        let squares = terms.iter().map(|&c| f64::from(c).powi(2));
                        squares.sum::<f64>().sqrt() / contrast
                    });
                PICTURES / sizes.fold(0.0, f64::max)
            })
            .collect();
        let shape = (kernel.images.nrows(), SIDE, SIDE);
        let pictures = kernel
            .images
            .to_shape(shape)
            .map_err(Error::compute("shaping pictures"))?;
        let coefficients = kernel.coefficients.view().permuted_axes([2, 1, 0]);
        Ok(Self {
            order: to_toml(&kernel.order)?,
            errors_by_order: response.errors_by_order[kind as usize].clone(),
            pictures: Rounded::new(pictures.view(), &picture_steps),
            coefficients: Rounded::new(coefficients, &coefficient_steps),
        })
    }

    fn read(node: &Node) -> Result<Self> {
        let order = node.text("order");
        Ok(Self {
            order: order.ok_or_else(|| node.wrong("@order", "nothing", WHOLE))?,
            errors_by_order: node.read::<f64>("errors_by_order")?.1,
            pictures: Rounded::read(node, "pictures")?,
            coefficients: Rounded::read(node, "coefficients")?,
        })
    }

    fn kernel(&self, path: &Path) -> Result<Kernel> {
        let [pictures, rows, cols] = self.pictures.shape;
        let images = Array2::from_shape_vec((pictures, rows * cols), self.pictures.values());
        let coefficients =
            Array3::from_shape_vec(self.coefficients.shape, self.coefficients.values())
                .map_err(Error::compute("shaping coefficients"))?;
        Ok(Kernel {
            order: from_toml(path, "kernels@order", &self.order)?,
            images: images.map_err(Error::compute("shaping pictures"))?,
            // In the order of memory in which rows of pictures are added up.
            coefficients: coefficients
                .permuted_axes([2, 1, 0])
                .as_standard_layout()
                .into_owned(),
        })
    }
}

/// Pixels of a patch that are drawn, for a cell of `edge` [Å].
fn inside(edge: f64) -> Vec<usize> {
    let reach = REACH * PIXELS_PER_CELL as f64 / edge;
    let off = |n: usize| n as f64 - HALF as f64;
    let drawn = |&n: &usize| off(n % SIDE).hypot(off(n / SIDE)) <= reach;
    (0..SIDE * SIDE).filter(drawn).collect()
}

/// Strongest less weakest pixel of an undisturbed crystal at each depth: of the kind of column whose mean patch has most.
fn contrasts(response: &Response) -> Vec<f64> {
    let inside = inside(response.edge);
    let of = |kernel: &Kernel, depth: usize| {
        // The first term is the mean image.
        let mean = kernel.coefficients.slice(ndarray::s![depth, 0, ..]);
        let patch: Array1<f32> = kernel.images.t().dot(&mean);
        let pixels = inside.iter().map(|&pixel| f64::from(patch[pixel]));
        let (least, most) = pixels.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| {
            (least.min(x), most.max(x))
        });
        most - least
    };
    (0..response.depths.len())
        .map(|depth| {
            response
                .kernels
                .iter()
                .map(|kernel| of(kernel, depth))
                .fold(0.0, f64::max)
        })
        .collect()
}

/// Refuses what cannot be drawn.
fn check(path: &Path, response: &Response) -> Result<()> {
    let wrong =
        |place: &str, got: String, allowed: &str| Err(Error::data(path, place, got, allowed));
    let depths = &response.depths;
    if depths.first().is_none_or(|&depth| depth == 0) || depths.windows(2).any(|w| w[1] != w[0] + 1)
    {
        return wrong("depths", format!("{depths:?}"), "cells, rising by one");
    }
    if !response
        .microscope
        .detectors
        .contains_key(&response.detector)
    {
        let allowed = "the name of a detector of the microscope";
        return wrong("@detector", format!("`{}`", response.detector), allowed);
    }
    for (kind, kernel) in Kind::ALL.into_iter().zip(&response.kernels) {
        let place = format!("kernels/{}", NAMES[kind as usize]);
        let terms = degrees(kernel.order, kind).iter().sum();
        let (pictures, pixels) = kernel.images.dim();
        let expected = (depths.len(), terms, pictures);
        if pictures == 0 || pixels != SIDE * SIDE || kernel.coefficients.dim() != expected {
            let got = format!(
                "pictures {:?}, coefficients {:?} (depth, term, picture)",
                kernel.images.shape(),
                kernel.coefficients.shape()
            );
            let allowed = format!(
                "pictures of {} px and {expected:?}, as this version of the emulator has them; other versions build their own",
                SIDE * SIDE
            );
            return wrong(&place, got, &allowed);
        }
        let numbers = kernel.images.iter().chain(&kernel.coefficients);
        if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
            return wrong(&place, number.to_string(), "finite numbers");
        }
    }
    Ok(())
}

fn to_toml(value: &impl serde::Serialize) -> Result<String> {
    toml::to_string(value).map_err(Error::compute("writing TOML"))
}

fn from_toml<T: DeserializeOwned>(path: &Path, place: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let got = error.message().to_owned();
        Error::data(path, place, got, "what this version of ferrostem knows")
    })
}

#[cfg(test)]
mod tests;
