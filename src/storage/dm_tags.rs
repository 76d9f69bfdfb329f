//! The tag tree of Gatan's DigitalMicrograph files, versions 3 and 4.
//!
//! A file is a header, then one tree of named tags. Structure bytes are big-endian, values in the byte order that the header
//! names. Version 4 differs by 64-bit lengths and a byte count in front of every tag. The format is not published by its
//! maker; this follows the description by C. Boothroyd and B. Schaffer (<https://www.er-c.org/cbb/info/dmformat/>).
//! Arrays are not read but noted with their place, so that a file of gigabytes costs only its tags.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::pixels::Sample;
use crate::error::{Error, Result};

/// Deepest nesting of groups that is believed.
const MAX_DEPTH: usize = 64;
/// Longest array that is taken for text, in characters.
const MAX_TEXT: u64 = 65_536;

/// A node of the tree.
#[derive(Debug, Clone)]
pub(super) enum Tag {
    /// Named children, in the order of the file; unnamed ones have an empty name.
    Group(Vec<(String, Tag)>),
    /// A number.
    Number(f64),
    /// An array of numbers that was left in the file.
    Array(DataArray),
    /// A structure or an array of structures, which nothing here needs.
    Other,
}

/// An array left in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct DataArray {
    /// Byte offset of the first element.
    pub(super) offset: u64,
    /// What an element is.
    pub(super) sample: Sample,
    /// Number of elements.
    pub(super) count: u64,
}

impl Tag {
    /// The tag at a path of names; a number in brackets counts the children of a group: `ImageList/[1]/Name`.
    pub(super) fn at(&self, path: &str) -> Option<&Tag> {
        path.split('/').try_fold(self, |tag, part| {
            let Tag::Group(children) = tag else {
                return None;
            };
            let index = part
                .strip_prefix('[')
                .and_then(|part| part.strip_suffix(']'));
            match index {
                Some(index) => children.get(index.parse::<usize>().ok()?),
                None => children.iter().find(|(name, _)| name == part),
            }
            .map(|(_, child)| child)
        })
    }

    /// Children of a group; none for anything else.
    pub(super) fn children(&self) -> &[(String, Tag)] {
        match self {
            Tag::Group(children) => children,
            _ => &[],
        }
    }

    /// The number at a path.
    pub(super) fn number(&self, path: &str) -> Option<f64> {
        match self.at(path)? {
            Tag::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// A parsed file.
#[derive(Debug)]
pub(super) struct DmFile {
    /// Version of the format, 3 or 4.
    pub(super) version: u32,
    /// Whether values are little-endian.
    pub(super) little: bool,
    /// The tree.
    pub(super) root: Tag,
    path: PathBuf,
}

impl DmFile {
    /// Reads the tags of a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut reader = Reader {
            input: BufReader::new(file),
            path,
            position: 0,
            length,
            wide: false,
            little: true,
        };
        let version = reader.header()?;
        let root = reader.group("", 0)?;
        Ok(Self {
            version,
            little: reader.little,
            root,
            path: path.to_owned(),
        })
    }

    /// The text at a path: an array of 16-bit characters.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let Tag::Array(array) = self.root.at(path)? else {
            return None;
        };
        if array.sample != Sample::U16 || array.count > MAX_TEXT {
            return None;
        }
        let mut bytes = vec![0; array.count as usize * 2];
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(array.offset)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        let units: Vec<u16> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&unit| {
                if self.little {
                    u16::from_le_bytes(unit)
                } else {
                    u16::from_be_bytes(unit)
                }
            })
            .collect();
        Some(
            String::from_utf16_lossy(&units)
                .trim_end_matches('\0')
                .to_owned(),
        )
    }
}

/// Reads the structure of a file and knows where it is.
struct Reader<'a> {
    input: BufReader<File>,
    path: &'a Path,
    position: u64,
    length: u64,
    /// Version 4: lengths have 64 bits.
    wide: bool,
    little: bool,
}

impl Reader<'_> {
    fn wrong(&self, tag: &str, got: impl Into<String>, allowed: impl Into<String>) -> Error {
        let place = format!("byte {}, tag `{tag}`", self.position);
        Error::data(self.path, place, got, allowed)
    }

    fn header(&mut self) -> Result<u32> {
        let version = self.long("header")?;
        if version != 3 && version != 4 {
            return Err(self.wrong("header", format!("version {version}"), "version 3 or 4"));
        }
        self.wide = version == 4;
        let declared = self.size("header")?;
        // The declared length leaves out the header and, in some files, the closing zeros.
        if declared > self.length - self.position {
            return Err(self.wrong(
                "header",
                format!("a file of {} bytes", self.length),
                format!(
                    "at least the {declared} bytes that the header tells (the file is truncated)"
                ),
            ));
        }
        self.little = match self.long("header")? {
            0 => false,
            1 => true,
            other => {
                return Err(self.wrong(
                    "header",
                    format!("byte order {other}"),
                    "0 (big) or 1 (little)",
                ));
            }
        };
        Ok(version)
    }

    fn bytes<const N: usize>(&mut self, tag: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.expect(N as u64, tag)?;
        self.input
            .read_exact(&mut bytes)
            .map_err(Error::io("read", self.path))?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// Checks that `count` more bytes are there.
    fn expect(&self, count: u64, tag: &str) -> Result<()> {
        let left = self.length.saturating_sub(self.position);
        if count <= left {
            return Ok(());
        }
        Err(self.wrong(
            tag,
            format!("{left} bytes before the end of the file"),
            format!("at least {count} (the file is truncated or corrupt)"),
        ))
    }

    fn skip(&mut self, count: u64, tag: &str) -> Result<()> {
        self.expect(count, tag)?;
        self.input
            .seek_relative(count as i64)
            .map_err(Error::io("read", self.path))?;
        self.position += count;
        Ok(())
    }

    fn long(&mut self, tag: &str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.bytes(tag)?))
    }

    /// A length or count: 32 bits in version 3, 64 in version 4.
    fn size(&mut self, tag: &str) -> Result<u64> {
        if self.wide {
            Ok(u64::from_be_bytes(self.bytes(tag)?))
        } else {
            Ok(u64::from(self.long(tag)?))
        }
    }

    fn group(&mut self, place: &str, depth: usize) -> Result<Tag> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(place, "groups nested deeper than 64", "a sound tag tree"));
        }
        // Sorted and open flags of the group.
        self.bytes::<2>(place)?;
        let count = self.size(place)?;
        // Three bytes are the least that a tag takes: kind and length of its name.
        self.expect(count.saturating_mul(3), place)?;
        let mut children = Vec::new();
        for index in 0..count {
            let [kind] = self.bytes::<1>(place)?;
            let length = u16::from_be_bytes(self.bytes(place)?);
            let name = self.name(length, place)?;
            let below = if name.is_empty() {
                format!("{place}/[{index}]")
            } else {
                format!("{place}/{name}")
            };
            if self.wide {
                // Byte count of the tag: known anyway from its content.
                self.bytes::<8>(&below)?;
            }
            let tag = match kind {
                20 => self.group(&below, depth + 1)?,
                21 => self.value(&below)?,
                other => {
                    return Err(self.wrong(
                        &below,
                        format!("kind {other}"),
                        "20 (group) or 21 (value)",
                    ));
                }
            };
            children.push((name, tag));
        }
        Ok(Tag::Group(children))
    }

    fn name(&mut self, length: u16, place: &str) -> Result<String> {
        self.expect(u64::from(length), place)?;
        let mut bytes = vec![0; usize::from(length)];
        self.input
            .read_exact(&mut bytes)
            .map_err(Error::io("read", self.path))?;
        self.position += u64::from(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, tag: &str) -> Result<Tag> {
        let mark = self.bytes::<4>(tag)?;
        if &mark != b"%%%%" {
            return Err(self.wrong(tag, format!("{mark:?}"), "the mark `%%%%` of a value"));
        }
        let count = self.size(tag)?;
        self.expect(count.saturating_mul(if self.wide { 8 } else { 4 }), tag)?;
        let info: Vec<u64> = (0..count).map(|_| self.size(tag)).collect::<Result<_>>()?;
        match info.as_slice() {
            [15, rest @ ..] => {
                let bytes = self.structure(rest, tag)?;
                self.skip(bytes, tag)?;
                Ok(Tag::Other)
            }
            [18, length] => {
                self.skip(length.saturating_mul(2), tag)?;
                Ok(Tag::Other)
            }
            [20, 15, fields @ .., items] => {
                let bytes = self.structure(fields, tag)?;
                self.skip(bytes.saturating_mul(*items), tag)?;
                Ok(Tag::Other)
            }
            &[20, kind, count] => {
                let sample = self.sample(kind, tag)?;
                let offset = self.position;
                self.skip(count.saturating_mul(sample.bytes() as u64), tag)?;
                Ok(Tag::Array(DataArray {
                    offset,
                    sample,
                    count,
                }))
            }
            &[kind] => {
                let sample = self.sample(kind, tag)?;
                self.number(sample, tag)
            }
            other => Err(self.wrong(
                tag,
                format!("type {other:?}"),
                "a number, text, structure or array",
            )),
        }
    }

    /// Bytes of a structure described by `[name length, fields, (name length, type)…]`.
    fn structure(&self, info: &[u64], tag: &str) -> Result<u64> {
        info.get(2..)
            .unwrap_or_default()
            .as_chunks::<2>()
            .0
            .iter()
            .try_fold(0, |sum, &[_, kind]| {
                Ok(sum + self.sample(kind, tag)?.bytes() as u64)
            })
    }

    fn sample(&self, kind: u64, tag: &str) -> Result<Sample> {
        Ok(match kind {
            2 => Sample::I16,
            3 => Sample::I32,
            4 => Sample::U16,
            5 => Sample::U32,
            6 => Sample::F32,
            7 => Sample::F64,
            8 => Sample::U8,
            9 | 10 => Sample::I8,
            11 => Sample::I64,
            12 => Sample::U64,
            other => {
                return Err(self.wrong(tag, format!("type {other}"), "a number type, 2 to 12"));
            }
        })
    }

    fn number(&mut self, sample: Sample, tag: &str) -> Result<Tag> {
        let number = match sample {
            // Calibrations are given in f32 or f64 and must not lose digits on the way.
            Sample::F64 => {
                let bytes = self.bytes(tag)?;
                if self.little {
                    f64::from_le_bytes(bytes)
                } else {
                    f64::from_be_bytes(bytes)
                }
            }
            Sample::I64 | Sample::U64 => {
                let bytes = self.bytes(tag)?;
                (if self.little {
                    i64::from_le_bytes(bytes)
                } else {
                    i64::from_be_bytes(bytes)
                }) as f64
            }
            Sample::U32 | Sample::I32 => {
                let bytes = self.bytes(tag)?;
                let bits = if self.little {
                    u32::from_le_bytes(bytes)
                } else {
                    u32::from_be_bytes(bytes)
                };
                if sample == Sample::I32 {
                    f64::from(bits as i32)
                } else {
                    f64::from(bits)
                }
            }
            Sample::F32 | Sample::Bgra => {
                f64::from(sample.decode(&self.bytes::<4>(tag)?, self.little)[0])
            }
            Sample::I16 | Sample::U16 => {
                f64::from(sample.decode(&self.bytes::<2>(tag)?, self.little)[0])
            }
            Sample::I8 | Sample::U8 => {
                f64::from(sample.decode(&self.bytes::<1>(tag)?, self.little)[0])
            }
        };
        Ok(Tag::Number(number))
    }
}
