//! HDF5 underneath our files: groups that know their place, typed attributes, data sets without time stamps, and errors
//! that name the file and the object.
//!
//! The library keeps one global lock and prints its own errors; both are hidden here. Writing goes to a temporary name and
//! appears under the final one only after a flush, a close and an fsync that all succeeded.

use std::path::{Path, PathBuf};

use hdf5::file::FileCloseDegree;
use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, H5Type, LocationType};
use ndarray::{ArrayView, Dimension};

use super::output::OutputFile;
use crate::error::{Error, Result};

/// Most values of an attribute that are read; larger ones are not among those that are used here, or not sound.
const MOST_VALUES: usize = 64;
/// First bytes of an HDF5 file without a user block.
pub(super) const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Longest fixed-length string that is read whole; longer ones are cut.
const FIXED_TEXT_BYTES: usize = 4096;
/// Deflate cannot compress by more than this factor (RFC 1951: 258 bytes in 2 bits), so a data set that claims more is corrupt.
pub(super) const MAX_COMPRESSION: u64 = 1032;

/// A group of an HDF5 file, with what its errors need to say.
#[derive(Debug, Clone)]
pub(super) struct Node {
    group: hdf5::Group,
    path: PathBuf,
    name: String,
}

/// Opens a file for reading and gives its root group.
pub(super) fn open(path: &Path) -> Result<Node> {
    hdf5::silence_errors(true);
    // The library's own message for a missing file is a page long.
    std::fs::File::open(path).map_err(Error::io("read", path))?;
    let file = unlocked()
        .open(path)
        .map_err(|error| read_error(path, "/", &error))?;
    Ok(Node {
        group: as_group(&file, path)?,
        path: path.to_owned(),
        name: String::new(),
    })
}

/// Options without the library's file locks (HDF5 1.10.7 or later): cluster file systems often refuse them, and files that
/// appear whole under their name need none.
fn unlocked() -> hdf5::FileBuilder {
    let mut options = hdf5::File::with_options();
    options.with_fapl(|list| list.file_locking(false));
    options
}

fn as_group(file: &hdf5::File, path: &Path) -> Result<hdf5::Group> {
    file.group("/")
        .map_err(|error| read_error(path, "/", &error))
}

/// A file being written under a temporary name.
#[derive(Debug)]
pub(super) struct Sink {
    root: Node,
    file: hdf5::File,
    output: OutputFile,
}

impl Sink {
    /// Starts a file that will appear as `path`.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        hdf5::silence_errors(true);
        let output = OutputFile::create(path, force)?;
        let file = unlocked()
            // Closing must fail, not wait, where an object of the file was left open.
            .with_fapl(|list| list.fclose_degree(FileCloseDegree::Semi))
            .with_fcpl(|list| list.obj_track_times(false))
            .create(output.temporary())
            .map_err(|error| write_error(path, "/", &error))?;
        let group = as_group(&file, path)?;
        Ok(Self {
            root: Node {
                group,
                path: path.to_owned(),
                name: String::new(),
            },
            file,
            output,
        })
    }

    /// The root group.
    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// Brings everything to the disk, as far as the library is concerned.
    pub(super) fn flush(&self) -> Result<()> {
        self.file
            .flush()
            .map_err(|error| self.root.write_error("", &error))
    }

    /// Flushes, closes and gives the file its name; on failure nothing is left behind.
    ///
    /// All groups and data sets of the file must be closed before; the close fails otherwise.
    pub(super) fn finish(self) -> Result<()> {
        self.finish_with(|_| Ok(()))
    }

    /// As [`Sink::finish`]; `last` gets the closed file under its temporary name.
    pub(super) fn finish_with(self, last: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.flush()?;
        let Self { root, file, output } = self;
        let path = root.path.clone();
        drop(root);
        file.close()
            .map_err(|error| write_error(&path, "/", &error))?;
        last(output.temporary())?;
        output.finish()
    }
}

impl Node {
    /// Full name of a child, or of the group itself for `""`.
    pub(super) fn place(&self, child: &str) -> String {
        if child.is_empty() {
            format!("{}/", self.name)
        } else {
            format!("{}/{child}", self.name)
        }
    }

    fn wrap(&self, group: hdf5::Group, name: &str) -> Self {
        Self {
            group,
            path: self.path.clone(),
            name: self.place(name),
        }
    }

    /// Makes a child group.
    pub(super) fn create_group(&self, name: &str) -> Result<Self> {
        self.group
            .create_group_builder()
            .obj_track_times(false)
            .create(name)
            .map(|group| self.wrap(group, name))
            .map_err(|error| self.write_error(name, &error))
    }

    /// Opens a child group; `name` may be a path.
    pub(super) fn group(&self, name: &str) -> Result<Self> {
        self.group
            .group(name)
            .map(|group| self.wrap(group, name))
            .map_err(|error| self.read_error(name, &error))
    }

    /// Whether a child of this name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        // The library answers `no` for a path only if its parents exist, so ask level by level.
        let mut above = String::new();
        name.split('/').filter(|part| !part.is_empty()).all(|part| {
            above.push('/');
            above.push_str(part);
            self.group.link_exists(above.trim_start_matches('/'))
        })
    }

    /// Names of the children, and whether each is a group; what cannot be resolved is left out.
    pub(super) fn children(&self) -> Result<Vec<(String, bool)>> {
        let names = self
            .group
            .member_names()
            .map_err(|error| self.read_error("", &error))?;
        Ok(names
            .into_iter()
            .filter_map(|name| match self.group.loc_type_by_name(&name) {
                Ok(LocationType::Group) => Some((name, true)),
                Ok(LocationType::Dataset) => Some((name, false)),
                _ => None,
            })
            .collect())
    }

    /// Writes an array as a contiguous data set.
    pub(super) fn write<T: H5Type + Clone, D: Dimension>(
        &self,
        name: &str,
        array: ArrayView<'_, T, D>,
    ) -> Result<Dataset> {
        let array = array.as_standard_layout();
        self.group
            .new_dataset_builder()
            .obj_track_times(false)
            .with_data(array.view())
            .create(name)
            .map_err(|error| self.write_error(name, &error))
    }

    /// Writes an array as a chunked, compressed data set.
    pub(super) fn write_compressed<T: H5Type + Clone, D: Dimension>(
        &self,
        name: &str,
        array: ArrayView<'_, T, D>,
        chunk: &[usize],
    ) -> Result<Dataset> {
        let array = array.as_standard_layout();
        self.group
            .new_dataset_builder()
            .obj_track_times(false)
            .chunk(chunk.to_vec())
            .shuffle()
            .deflate(1)
            .with_data(array.view())
            .create(name)
            .map_err(|error| self.write_error(name, &error))
    }

    /// Makes a chunked data set of a fixed shape, to be written piece by piece.
    pub(super) fn create_chunked<T: H5Type>(
        &self,
        name: &str,
        shape: &[usize],
        chunk: &[usize],
    ) -> Result<Dataset> {
        self.group
            .new_dataset::<T>()
            .obj_track_times(false)
            .chunk(chunk.to_vec())
            .shape(shape.to_vec())
            .create(name)
            .map_err(|error| self.write_error(name, &error))
    }

    /// Makes an empty data set that grows along its first axis; `row` is the shape of one item.
    pub(super) fn create_growing<T: H5Type>(
        &self,
        name: &str,
        row: &[usize],
        items_per_chunk: usize,
    ) -> Result<Dataset> {
        let with_first = |first: usize| [&[first], row].concat();
        let mut extents = vec![hdf5::Extent::resizable(0)];
        extents.extend(row.iter().map(|&size| hdf5::Extent::fixed(size)));
        self.group
            .new_dataset::<T>()
            .obj_track_times(false)
            .chunk(with_first(items_per_chunk))
            .shape(hdf5::SimpleExtents::new(extents))
            .create(name)
            .map_err(|error| self.write_error(name, &error))
    }

    /// Writes strings as a one-dimensional data set.
    pub(super) fn write_texts(&self, name: &str, texts: &[String]) -> Result<()> {
        let texts: Vec<VarLenUnicode> = texts
            .iter()
            .map(|text| self.encode(name, text))
            .collect::<Result<_>>()?;
        self.write(name, ndarray::aview1(&texts))?;
        Ok(())
    }

    fn encode(&self, name: &str, text: &str) -> Result<VarLenUnicode> {
        text.parse().map_err(|_| {
            Error::data(
                &self.path,
                self.place(name),
                "a text with a zero byte",
                "text without zero bytes",
            )
        })
    }

    /// Sets a text attribute of the group.
    pub(super) fn set_text(&self, name: &str, text: &str) -> Result<()> {
        let value = self.encode(name, text)?;
        self.set_number(name, value)
    }

    /// Sets a scalar attribute of the group.
    pub(super) fn set_number<T: H5Type>(&self, name: &str, value: T) -> Result<()> {
        self.group
            .new_attr::<T>()
            .create(name)
            .and_then(|attribute| attribute.write_scalar(&value))
            .map_err(|error| self.write_error(&format!("@{name}"), &error))
    }

    /// Sets a text attribute of a data set of the group.
    pub(super) fn label(&self, dataset: &Dataset, name: &str, text: &str) -> Result<()> {
        let value = self.encode(name, text)?;
        dataset
            .new_attr::<VarLenUnicode>()
            .create(name)
            .and_then(|attribute| attribute.write_scalar(&value))
            .map_err(|error| self.write_error(&format!("{}@{name}", dataset.name()), &error))
    }

    /// Opens a data set; `name` may be a path.
    pub(super) fn dataset(&self, name: &str) -> Result<Dataset> {
        self.group
            .dataset(name)
            .map_err(|error| self.read_error(name, &error))
    }

    /// Reads a whole data set, flat in memory order, with its shape.
    pub(super) fn read<T: H5Type>(&self, name: &str) -> Result<(Vec<usize>, Vec<T>)> {
        let dataset = self.dataset(name)?;
        self.check_size(name, &dataset)?;
        let values = dataset
            .read_raw()
            .map_err(|error| self.read_error(name, &error))?;
        Ok((dataset.shape(), values))
    }

    /// Reads a list of points or vectors: a data set `(n, N)`.
    pub(super) fn read_rows<T: H5Type + Copy, const N: usize>(
        &self,
        name: &str,
    ) -> Result<Vec<[T; N]>> {
        let (shape, values) = self.read::<T>(name)?;
        if shape.len() != 2 || shape[1] != N {
            return Err(self.wrong(name, format!("shape {shape:?}"), format!("shape (n, {N})")));
        }
        Ok(values.as_chunks::<N>().0.to_vec())
    }

    /// Reads a one-dimensional data set of strings.
    pub(super) fn read_texts(&self, name: &str) -> Result<Vec<String>> {
        let (_, texts) = self.read::<VarLenUnicode>(name)?;
        Ok(texts.iter().map(|text| lossy(text.as_bytes())).collect())
    }

    /// Refuses a data set whose declared size the file cannot hold, before memory is asked for.
    pub(super) fn check_size(&self, name: &str, dataset: &Dataset) -> Result<()> {
        let held = std::fs::metadata(&self.path)
            .map_err(Error::io("read", &self.path))?
            .len();
        // Without a filter every number is in the file. A chunk, which the library holds whole, is one piece of the data.
        let most = if dataset.filters().is_empty() {
            held
        } else {
            held.saturating_mul(MAX_COMPRESSION)
        };
        let item = dataset.dtype().map_or(1, |kind| kind.size()) as u64;
        let bytes = |shape: &[usize]| {
            let sizes = shape.iter().map(|&size| size as u64);
            sizes.fold(item, u64::saturating_mul)
        };
        let chunk = dataset.chunk().unwrap_or_default();
        if bytes(&dataset.shape()) <= most && bytes(&chunk) <= most.max(item) {
            return Ok(());
        }
        let chunks = if chunk.is_empty() {
            String::new()
        } else {
            format!(" in pieces of {chunk:?}")
        };
        Err(self.wrong(
            name,
            format!(
                "shape {:?}{chunks} of {item} bytes each in a file of {held} bytes",
                dataset.shape()
            ),
            "a shape that the file can hold",
        ))
    }

    /// A text attribute, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text_attribute(&self.group, name)
    }

    /// A numeric attribute, if it is there.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        number_attribute(&self.group, name)
    }

    /// An unsigned attribute with all its 64 bits, if it is there.
    pub(super) fn unsigned(&self, name: &str) -> Option<u64> {
        let attribute = attribute(&self.group, name)?;
        attribute.read_raw::<u64>().ok()?.first().copied()
    }

    /// A boolean attribute, if it is there.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let attribute = attribute(&self.group, name)?;
        // HyperSpy's booleans are enumerations over i8; read as numbers, so that no byte but 0 and 1 becomes a `bool`.
        let byte = attribute.read_raw::<i8>().ok()?.first().copied()?;
        Some(byte != 0)
    }

    /// An [`Error::Data`] about a child.
    pub(super) fn wrong(
        &self,
        child: &str,
        got: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Error {
        Error::data(&self.path, self.place(child), got, allowed)
    }

    /// The error for a failed read of a child.
    pub(super) fn read_error(&self, child: &str, error: &hdf5::Error) -> Error {
        read_error(&self.path, &self.place(child), error)
    }

    /// The error for a failed write of a child.
    pub(super) fn write_error(&self, child: &str, error: &hdf5::Error) -> Error {
        write_error(&self.path, &self.place(child), error)
    }
}

/// An attribute of a group or data set, if it is there and of a sound size.
fn attribute(location: &hdf5::Location, name: &str) -> Option<hdf5::Attribute> {
    let attribute = location.attr(name).ok()?;
    (attribute.size() <= MOST_VALUES).then_some(attribute)
}

/// A text attribute of a group or data set, if it is there.
pub(super) fn text_attribute(location: &hdf5::Location, name: &str) -> Option<String> {
    let attribute = attribute(location, name)?;
    let text = match attribute.dtype().ok()?.to_descriptor().ok()? {
        TypeDescriptor::VarLenUnicode => lossy(
            attribute
                .read_raw::<VarLenUnicode>()
                .ok()?
                .first()?
                .as_bytes(),
        ),
        TypeDescriptor::VarLenAscii => lossy(
            attribute
                .read_raw::<VarLenAscii>()
                .ok()?
                .first()?
                .as_bytes(),
        ),
        TypeDescriptor::FixedAscii(_) => {
            type Fixed = FixedAscii<FIXED_TEXT_BYTES>;
            lossy(attribute.read_raw::<Fixed>().ok()?.first()?.as_bytes())
        }
        TypeDescriptor::FixedUnicode(_) => {
            type Fixed = FixedUnicode<FIXED_TEXT_BYTES>;
            lossy(attribute.read_raw::<Fixed>().ok()?.first()?.as_bytes())
        }
        _ => return None,
    };
    Some(text)
}

/// All texts of an attribute of a group or data set; none if it is not there.
pub(super) fn text_attributes(location: &hdf5::Location, name: &str) -> Vec<String> {
    type Fixed = FixedAscii<FIXED_TEXT_BYTES>;
    let Some(attribute) = attribute(location, name) else {
        return Vec::new();
    };
    let kind = attribute.dtype().and_then(|kind| kind.to_descriptor());
    match kind {
        Ok(TypeDescriptor::VarLenUnicode) => attribute
            .read_raw::<VarLenUnicode>()
            .map(|texts| texts.iter().map(|text| lossy(text.as_bytes())).collect())
            .unwrap_or_default(),
        Ok(TypeDescriptor::VarLenAscii) => attribute
            .read_raw::<VarLenAscii>()
            .map(|texts| texts.iter().map(|text| lossy(text.as_bytes())).collect())
            .unwrap_or_default(),
        Ok(TypeDescriptor::FixedAscii(_) | TypeDescriptor::FixedUnicode(_)) => attribute
            .read_raw::<Fixed>()
            .map(|texts| texts.iter().map(|text| lossy(text.as_bytes())).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// A numeric attribute of a group or data set, if it is there.
pub(super) fn number_attribute(location: &hdf5::Location, name: &str) -> Option<f64> {
    let attribute = attribute(location, name)?;
    attribute.read_raw::<f64>().ok()?.first().copied()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_error(path: &Path, place: &str, error: &hdf5::Error) -> Error {
    Error::data(path, place, reason(error), "a whole, readable HDF5 object")
}

/// Most failed writes are the system's (disk full, quota): those come out as such, with the system's own words.
fn write_error(path: &Path, place: &str, error: &hdf5::Error) -> Error {
    let source = error_number(error).map_or_else(
        || std::io::Error::other(format!("{place}: {}", reason(error))),
        std::io::Error::from_raw_os_error,
    );
    Error::Io {
        path: path.to_owned(),
        doing: "write",
        source,
    }
}

/// The innermost reason of the library's error stack.
fn reason(error: &hdf5::Error) -> String {
    error
        .stack()
        .and_then(|stack| stack.last().map(|frame| frame.desc().to_owned()))
        .unwrap_or_else(|| error.to_string())
        .replace('\n', " ")
}

/// The system's error number, which the library only tells inside its messages.
fn error_number(error: &hdf5::Error) -> Option<i32> {
    let stack = error.stack()?;
    stack.iter().find_map(|frame| {
        let (_, after) = frame.desc().split_once("errno = ")?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}
