//! The font of figures: DejaVu Sans, embedded, so that a figure has the same letters on every machine.
//!
//! Layout needs the width of a text before it is drawn. The embedded subsets carry no kerning, so that width is the sum of
//! the letters' advances, read from the font's own tables (OpenType specification 1.9, chapters `cmap` format 4, `hhea`,
//! `hmtx`).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use resvg::usvg::fontdb::Database;

/// The family as SVG asks for it: Verdana shares its proportions with DejaVu Sans where the latter is not installed.
pub const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
/// Name of the embedded family.
pub(super) const EMBEDDED_FAMILY: &str = "DejaVu Sans";
pub(super) const REGULAR: &[u8] = include_bytes!("font/DejaVuSans.ttf");
pub(super) const BOLD: &[u8] = include_bytes!("font/DejaVuSans-Bold.ttf");

/// Thickness of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Labels and text.
    Regular,
    /// Titles.
    Bold,
}

/// Width of `text` set at `size` [px] in [px]; a letter the font lacks counts as its "missing" box.
#[must_use]
pub fn text_width(text: &str, size: f64, weight: Weight) -> f64 {
    static FACES: LazyLock<[Advances; 2]> =
        LazyLock::new(|| [REGULAR, BOLD].map(|bytes| Advances::read(bytes).unwrap_or_default()));
    FACES[usize::from(weight == Weight::Bold)].width(text) * size
}

/// Breaks `text` into lines no wider than `width` [px] where it has spaces; a longer word stands alone. Line feeds are kept.
#[must_use]
pub fn wrap(text: &str, size: f64, weight: Weight, width: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        // Not `split_whitespace`: a no-break space keeps number and unit together.
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let longer = if line.is_empty() {
                word.to_owned()
            } else {
                format!("{line} {word}")
            };
            if !line.is_empty() && text_width(&longer, size, weight) > width {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = longer;
            }
        }
        lines.push(line);
    }
    lines
}

/// The embedded fonts for the rasteriser; no font of the machine is ever used.
pub(super) fn database() -> Arc<Database> {
    static DATABASE: LazyLock<Arc<Database>> = LazyLock::new(|| {
        let mut database = Database::new();
        database.load_font_data(REGULAR.to_vec());
        database.load_font_data(BOLD.to_vec());
        database.set_sans_serif_family(EMBEDDED_FAMILY);
        Arc::new(database)
    });
    DATABASE.clone()
}

/// Advance widths of a face, in units of the font size.
#[derive(Debug, Default)]
struct Advances {
    letters: HashMap<u32, f64>,
    missing: f64,
}

impl Advances {
    fn width(&self, text: &str) -> f64 {
        text.chars()
            .map(|letter| {
                self.letters
                    .get(&u32::from(letter))
                    .unwrap_or(&self.missing)
            })
            .sum()
    }

    /// Reads the tables of a TrueType file; `None` if they are not what the subset has.
    fn read(bytes: &[u8]) -> Option<Self> {
        let units = f64::from(u16_at(table(bytes, b"head")?, 18)?);
        let metrics = usize::from(u16_at(table(bytes, b"hhea")?, 34)?);
        let hmtx = table(bytes, b"hmtx")?;
        // Glyphs past the last full record repeat its advance (chapter `hmtx`).
        let advance = |glyph: usize| {
            u16_at(hmtx, 4 * glyph.min(metrics.checked_sub(1)?)).map(|a| f64::from(a) / units)
        };
        let letters = character_map(table(bytes, b"cmap")?)?
            .into_iter()
            .filter_map(|(letter, glyph)| Some((letter, advance(glyph)?)))
            .collect();
        Some(Self {
            letters,
            missing: advance(0)?,
        })
    }
}

/// `(character, glyph)` of the first format-4 subtable of a `cmap` table.
fn character_map(cmap: &[u8]) -> Option<Vec<(u32, usize)>> {
    let count = usize::from(u16_at(cmap, 2)?);
    let subtable = (0..count)
        .filter_map(|i| cmap.get(u32_at(cmap, 4 + 8 * i + 4)? as usize..))
        .find(|subtable| u16_at(subtable, 0) == Some(4))?;
    let segments = usize::from(u16_at(subtable, 6)?) / 2;
    let mut map = Vec::new();
    for segment in 0..segments {
        let end = u16_at(subtable, 14 + 2 * segment)?;
        let start = u16_at(subtable, 16 + 2 * (segments + segment))?;
        let delta = u16_at(subtable, 16 + 2 * (2 * segments + segment))?;
        let range_place = 16 + 2 * (3 * segments + segment);
        let range = usize::from(u16_at(subtable, range_place)?);
        for letter in start..=end {
            let glyph = if range == 0 {
                letter.wrapping_add(delta)
            } else {
                let place = range_place + range + 2 * usize::from(letter - start);
                match u16_at(subtable, place) {
                    Some(glyph) if glyph != 0 => glyph.wrapping_add(delta),
                    _ => 0,
                }
            };
            if glyph != 0 {
                map.push((u32::from(letter), usize::from(glyph)));
            }
        }
    }
    Some(map)
}

/// The table called `tag` of a TrueType file.
fn table<'a>(bytes: &'a [u8], tag: &[u8; 4]) -> Option<&'a [u8]> {
    let count = usize::from(u16_at(bytes, 4)?);
    let record = bytes
        .get(12..12 + 16 * count)?
        .chunks_exact(16)
        .find(|record| record.starts_with(tag))?;
    let offset = u32_at(record, 8)? as usize;
    let length = u32_at(record, 12)? as usize;
    bytes.get(offset..offset.checked_add(length)?)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(
        bytes.get(offset..offset + 2)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(
        bytes.get(offset..offset + 4)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_are_those_of_dejavu() {
        // From fonttools: TTFont("DejaVuSans.ttf")["hmtx"] / 2048.
        for (text, weight, advance) in [
            ("M", Weight::Regular, 1767.0),
            ("i", Weight::Regular, 569.0),
            ("Å", Weight::Regular, 1401.0),
            ("−", Weight::Regular, 1716.0),
            ("M", Weight::Bold, 2038.0),
        ] {
            assert_eq!(text_width(text, 2048.0, weight), advance, "{text}");
        }
    }

    #[test]
    fn signs_of_our_labels_are_in_the_font() {
        for bytes in [REGULAR, BOLD] {
            let face = Advances::read(bytes).unwrap();
            for sign in "AZaz09ÅµμσαβχΔ±−×·≤≥≈√²³⁻¹₂°–—…→↑".chars()
            {
                assert!(face.letters.contains_key(&u32::from(sign)), "{sign}");
            }
        }
    }

    #[test]
    fn wrapped_lines_fit_and_keep_every_word() {
        let text = "D = B − mean of 4 A; P points against D in BiFeO3";
        let lines = wrap(text, 12.0, Weight::Regular, 120.0);
        assert!(lines.len() > 2);
        assert!(
            lines
                .iter()
                .all(|line| text_width(line, 12.0, Weight::Regular) <= 120.0)
        );
        assert_eq!(lines.join(" "), text);
    }
}
