//! Units of length as microscope software writes them.

/// Spellings of lengths that mean ångströms, and of others with their length in Å.
const LENGTHS: [(&[&str], f64); 6] = [
    (
        &[
            "Å",
            "\u{212b}",
            "A",
            "Ang",
            "angstrom",
            "Angstrom",
            "ångström",
            "Ångström",
            "angstroms",
        ],
        1.0,
    ),
    (&["nm", "nanometer", "nanometre", "nanometers"], 10.0),
    (&["pm", "picometer", "picometre"], 0.01),
    (
        &[
            "µm",
            "μm",
            "um",
            "micron",
            "microns",
            "\\u00B5m",
            "micrometer",
            "micrometre",
        ],
        1e4,
    ),
    (&["mm"], 1e7),
    (&["m", "meter", "metre"], 1e10),
];

/// Length of a unit [Å]; none for pixels, reciprocal lengths and whatever else is no length.
pub(super) fn angstroms(unit: &str) -> Option<f64> {
    let unit = unit.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    LENGTHS
        .iter()
        .find(|(names, _)| names.contains(&unit))
        .map(|&(_, length)| length)
}

/// Whether a unit is one of diffraction patterns: an angle or a reciprocal length.
pub(super) fn is_reciprocal(unit: &str) -> bool {
    let unit = unit.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    angstroms(unit).is_none() && (unit.contains('/') || unit.ends_with("rad"))
}

/// Pixel size [Å] of a `scale` in `unit`; none where that is no calibration.
pub(super) fn pixel_size(scale: f64, unit: &str) -> Option<f64> {
    let size = scale.abs() * angstroms(unit)?;
    (size.is_finite() && size > 0.0).then_some(size)
}

/// What to say of axes that run against the pixels, given the steps along `[y, x]`. Images are taken as they are stored:
/// x right with the column index, y down with the row index.
pub(super) fn mirrored(steps: [f64; 2]) -> Option<String> {
    let axes = match steps.map(|step| step < 0.0) {
        [false, false] => return None,
        [true, false] => "y axis runs",
        [false, true] => "x axis runs",
        [true, true] => "x and y axes run",
    };
    Some(format!(
        "the file's {axes} against the pixels (a negative scale): positions and D are those of the pixels, x right with the \
         column and y down with the row, from the centre of pixel (0, 0)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_length_in_every_unit() {
        for (scale, unit) in [
            (0.2, "nm"),
            (2.0, "Å"),
            (2.0, "A"),
            (200.0, "pm"),
            (2e-4, "µm"),
            (2e-4, "um"),
            (2e-10, "m"),
        ] {
            let size = pixel_size(scale, unit).unwrap();
            assert!((size - 2.0).abs() < 1e-12, "{scale} {unit} became {size} Å");
        }
    }

    #[test]
    fn pixels_and_reciprocal_lengths_are_no_calibration() {
        for unit in ["", "px", "<undefined>", "1/nm", "_None_", "mrad"] {
            assert_eq!(pixel_size(1.0, unit), None, "{unit}");
        }
        assert_eq!(pixel_size(0.0, "nm"), None);
        assert_eq!(pixel_size(f64::NAN, "nm"), None);
    }
}
