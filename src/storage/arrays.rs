//! Arrays of other programs: displacement fields and phonon snapshots, from HDF5 or from XYZ files of many frames.

use std::path::Path;

use hdf5::types::TypeDescriptor;
use ndarray::{Array3, ArrayD, IxDyn};

use super::hdf::{self, Node};
use crate::crystal::structure_file;
use crate::error::{Error, Result};

/// Most data sets that a message lists.
const MOST_LISTED: usize = 12;

/// A data set of any integer or floating-point type, as f64, in its own shape.
///
/// # Errors
/// The file is not there or is not HDF5; there is no such data set (the message lists those there are); it holds no numbers, or
/// numbers that are not finite; it claims a size that the file cannot hold.
pub fn read_array(path: &Path, dataset: &str) -> Result<ArrayD<f64>> {
    let root = hdf::open(path)?;
    let name = dataset.trim_matches('/');
    let present = datasets(&root)?;
    if !present.iter().any(|(known, _)| known == name) {
        let listed: Vec<String> = present
            .iter()
            .take(MOST_LISTED)
            .map(|(name, shape)| format!("/{name} {shape:?}"))
            .collect();
        let more = if present.len() > MOST_LISTED {
            ", …"
        } else {
            ""
        };
        let allowed = match listed.as_slice() {
            [] => "a file with data sets".to_owned(),
            listed => format!("one of {}{more}", listed.join(", ")),
        };
        return Err(root.wrong(name, "no such data set", allowed));
    }
    let held = root.dataset(name)?;
    let kind = held
        .dtype()
        .and_then(|kind| kind.to_descriptor())
        .map_err(|error| root.read_error(name, &error))?;
    if !matches!(
        kind,
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_)
    ) {
        let got = format!("values of type {kind}");
        return Err(root.wrong(name, got, "integers or floating-point numbers"));
    }
    let (shape, values) = root.read::<f64>(name)?;
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        let got = format!("{} at element {index}", values[index]);
        return Err(root.wrong(name, got, "finite numbers"));
    }
    ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(Error::compute("reading an array"))
}

/// Names and shapes of all data sets of a file, without the leading `/`.
fn datasets(root: &Node) -> Result<Vec<(String, Vec<usize>)>> {
    let mut found = Vec::new();
    let mut groups = vec![String::new()];
    while let Some(group) = groups.pop() {
        let node = if group.is_empty() {
            root.clone()
        } else {
            root.group(&group)?
        };
        for (child, is_group) in node.children()? {
            let name = format!("{group}/{child}")
                .trim_start_matches('/')
                .to_owned();
            if !is_group {
                let shape = node.dataset(&child)?.shape();
                found.push((name, shape));
            } else if name.matches('/').count() < 16 {
                // A link back to a group above would never end.
                groups.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Snapshots of all atoms `(configuration, atom, xyz)` [Å]: a data set of this shape, or an XYZ file of many frames (`dataset` is then
/// not looked at).
///
/// # Errors
/// As [`read_array`] and [`structure_file::frames`]; another shape; frames that do not hold the same atoms.
pub fn read_snapshots(path: &Path, dataset: &str) -> Result<Array3<f64>> {
    let extension = path
        .extension()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    if extension.to_ascii_lowercase().ends_with("xyz") {
        return frames(path);
    }
    let array = read_array(path, dataset)?;
    let shape = array.shape().to_vec();
    array
        .into_dimensionality()
        .ok()
        .filter(|array: &Array3<f64>| array.dim().2 == 3 && !array.is_empty())
        .ok_or_else(|| {
            let allowed = "shape (configuration, atom, 3): x, y, z of each atom [Å]";
            Error::data(path, dataset, format!("shape {shape:?}"), allowed)
        })
}

fn frames(path: &Path) -> Result<Array3<f64>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let frames = structure_file::frames(path, &text)?;
    let numbers = &frames[0].numbers;
    if let Some(other) = frames.iter().find(|frame| frame.numbers != *numbers) {
        let place = format!("line {}", other.line);
        let got = "a frame with other atoms than the first";
        return Err(Error::data(
            path,
            place,
            got,
            "the same elements in the same order in all frames",
        ));
    }
    let shape = (frames.len(), numbers.len(), 3);
    let values = frames
        .iter()
        .flat_map(|frame| frame.positions.iter().flatten().copied());
    Array3::from_shape_vec(shape, values.collect()).map_err(Error::compute("reading snapshots"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_any_numeric_type_is_read_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("field.h5");
        let file = hdf5::File::create(&path).unwrap();
        let group = file.create_group("fields").unwrap();
        let small = ndarray::arr2(&[[1_i16, -2], [3, 4]]);
        group
            .new_dataset_builder()
            .with_data(&small)
            .create("small")
            .unwrap();
        let single =
            ndarray::Array3::from_shape_fn((2, 4, 3), |(i, j, k)| (i * 12 + j * 3 + k) as f32);
        group
            .new_dataset_builder()
            .with_data(&single)
            .create("snapshots")
            .unwrap();
        let holes = ndarray::arr1(&[1.0, f64::NAN]);
        file.new_dataset_builder()
            .with_data(&holes)
            .create("holes")
            .unwrap();
        let flags = ndarray::arr1(&[true, false]);
        file.new_dataset_builder()
            .with_data(&flags)
            .create("flags")
            .unwrap();
        drop((group, file));

        let read = read_array(&path, "/fields/small").unwrap();
        assert_eq!((read.shape(), read[[0, 1]]), ([2, 2].as_slice(), -2.0));
        let snapshots = read_snapshots(&path, "fields/snapshots").unwrap();
        assert_eq!((snapshots.dim(), snapshots[[1, 3, 2]]), ((2, 4, 3), 23.0));
        for (error, expected) in [
            (
                read_array(&path, "fields").unwrap_err(),
                "no such data set; allowed: one of /fields/small [2, 2], /fields/snapshots [2, 4, 3], /flags [2], /holes [2]",
            ),
            (
                read_array(&path, "holes").unwrap_err(),
                "got NaN at element 1",
            ),
            (
                read_array(&path, "flags").unwrap_err(),
                "values of type bool",
            ),
            (
                read_snapshots(&path, "fields/small").unwrap_err(),
                "got shape [2, 2]; allowed: shape (configuration, atom, 3)",
            ),
        ] {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn snapshots_of_an_xyz_file_must_hold_the_same_atoms() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshots.xyz");
        std::fs::write(
            &path,
            "2\n\nFe 0 0 0\nO 1 1 1\n2\n\nFe 0.1 0 0\nO 1 1 1.2\n",
        )
        .unwrap();
        let snapshots = read_snapshots(&path, "").unwrap();
        assert_eq!((snapshots.dim(), snapshots[[1, 1, 2]]), ((2, 2, 3), 1.2));
        std::fs::write(&path, "1\n\nFe 0 0 0\n1\n\nO 0.1 0 0\n").unwrap();
        let error = read_snapshots(&path, "").unwrap_err().to_string();
        assert!(
            error.contains("line 6: got a frame with other atoms"),
            "{error}"
        );
    }
}
