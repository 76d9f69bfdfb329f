//! Colours that do not deceive: steps of equal size look equally large, directions look equally bright, and series stay
//! apart for colour-blind readers.
//!
//! * Directions: a hue circle of constant lightness and chroma in OKLCH (B. Ottosson, "A perceptual color space for image
//!   processing", 2020, bottosson.github.io/posts/oklab), so that no direction stands out.
//! * Scalars: viridis, magma, cividis (van der Walt and Smith 2015; Nuñez et al., PLoS ONE 13, e0199239 (2018)), and
//!   ColorBrewer's red–blue for signed differences, through the `colorous` crate.
//! * Series: M. Okabe and K. Ito, "Color Universal Design" (2008), without its yellow, which is too light on white.

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rgb(pub [u8; 3]);

/// Lines and text.
pub const INK: Rgb = Rgb([0x1d, 0x23, 0x29]);
/// Text of second rank.
pub const FAINT: Rgb = Rgb([0x66, 0x70, 0x7b]);
/// Grid lines.
pub const GRID: Rgb = Rgb([0xe2, 0xe5, 0xe9]);
/// The ground.
pub const PAPER: Rgb = Rgb([0xff, 0xff, 0xff]);
/// Vectors and cells that are flagged or have no value.
pub const NO_VALUE: Rgb = Rgb([0x9a, 0xa1, 0xa9]);
/// Light text on coloured cells; not quite [`PAPER`], which a dark page turns around.
pub const WHITE: Rgb = Rgb([0xff, 0xff, 0xfe]);
/// Dark text on coloured cells, and edges on micrographs; not [`INK`], which a dark page turns around.
pub const BLACK: Rgb = Rgb([0, 0, 0]);

/// Colours of series, in order of use.
pub const PALETTE: [Rgb; 7] = [
    Rgb([0x00, 0x72, 0xb2]),
    Rgb([0xd5, 0x5e, 0x00]),
    Rgb([0x00, 0x9e, 0x73]),
    Rgb([0xcc, 0x79, 0xa7]),
    Rgb([0xe6, 0x9f, 0x00]),
    Rgb([0x56, 0xb4, 0xe9]),
    Rgb([0x7a, 0x7f, 0x86]),
];

impl Rgb {
    /// As `#rrggbb`.
    #[must_use]
    pub fn hex(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// Relative luminance, 0 to 1 (WCAG 2.2).
    #[must_use]
    pub fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|byte| linear(f64::from(byte) / 255.0));
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// Black or white, whichever reads better on this ground (equal WCAG contrast at luminance 0.179).
    #[must_use]
    pub fn readable_on(self) -> Rgb {
        if self.luminance() > 0.179 {
            BLACK
        } else {
            WHITE
        }
    }
}

/// Colour of lightness (0 to 1), chroma and hue [rad] in OKLCH; what sRGB cannot show is clipped per channel.
#[must_use]
pub fn oklch(lightness: f64, chroma: f64, hue: f64) -> Rgb {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    Rgb([
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
    .map(|channel| (gamma(channel.clamp(0.0, 1.0)) * 255.0).round() as u8))
}

/// sRGB transfer function (IEC 61966-2-1), linear to encoded.
fn gamma(linear: f64) -> f64 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

/// sRGB transfer function, encoded to linear.
fn linear(encoded: f64) -> f64 {
    if encoded <= 0.040_45 {
        encoded / 12.92
    } else {
        ((encoded + 0.055) / 1.055).powf(2.4)
    }
}

/// What the colour wheel does towards its centre, where the magnitude is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wheel {
    /// Fades to white: for filled cells.
    Pale,
    /// Fades to grey at the same lightness: for arrows, which must be seen at any length.
    Grey,
}

/// Lightness and chroma of the rim of [`Wheel::Pale`]; sRGB holds chroma 0.120 at lightness 0.70 for every hue.
const PALE_RIM: [f64; 2] = [0.70, 0.120];
/// Lightness and chroma of the rim of [`Wheel::Grey`]; sRGB holds chroma 0.106 at lightness 0.62 for every hue.
const GREY_RIM: [f64; 2] = [0.62, 0.106];
/// Lightness of the centre of [`Wheel::Pale`].
const PALE_CENTRE: f64 = 0.985;
/// Hue of the direction +x [rad]: OKLCH red.
const FIRST_HUE: f64 = 0.51;

impl Wheel {
    /// Colour of a vector (x right, y down) in units of the wheel's radius; vectors beyond the rim have the rim's colour.
    #[must_use]
    pub fn colour(self, vector: [f64; 2]) -> Rgb {
        let fraction = vector[0].hypot(vector[1]).min(1.0);
        let hue = FIRST_HUE + (-vector[1]).atan2(vector[0]);
        match self {
            Self::Pale => {
                let lightness = PALE_CENTRE + (PALE_RIM[0] - PALE_CENTRE) * fraction;
                oklch(lightness, PALE_RIM[1] * fraction, hue)
            }
            Self::Grey => oklch(GREY_RIM[0], GREY_RIM[1] * fraction, hue),
        }
    }
}

/// A colour scale for numbers between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColourScale {
    /// Dark blue to yellow.
    #[default]
    Viridis,
    /// Black through magenta to cream.
    Magma,
    /// Blue to yellow, the same for readers without red–green vision.
    Cividis,
    /// Blue through white to red, for signed differences; give it limits that are symmetric about zero.
    Difference,
}

impl ColourScale {
    /// Colour of `fraction`, clamped to 0 to 1; NaN counts as 0.
    #[must_use]
    pub fn colour(self, fraction: f64) -> Rgb {
        let fraction = if fraction.is_nan() {
            0.0
        } else {
            fraction.clamp(0.0, 1.0)
        };
        let colour = match self {
            Self::Viridis => colorous::VIRIDIS.eval_continuous(fraction),
            Self::Magma => colorous::MAGMA.eval_continuous(fraction),
            Self::Cividis => colorous::CIVIDIS.eval_continuous(fraction),
            Self::Difference => colorous::RED_BLUE.eval_continuous(1.0 - fraction),
        };
        Rgb(colour.as_array())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_in_oklch() {
        // Ottosson's sRGB primaries: red is L 0.628, C 0.2577, h 29.23°.
        assert_eq!(
            oklch(0.627_955, 0.257_683, 29.2339_f64.to_radians()),
            Rgb([255, 0, 0])
        );
        assert_eq!(oklch(1.0, 0.0, 1.0), Rgb([255, 255, 255]));
        assert_eq!(oklch(0.0, 0.0, 0.0), Rgb([0, 0, 0]));
    }

    /// Lightness of OKLab from sRGB, the forward transform of the same reference.
    fn lightness(colour: Rgb) -> f64 {
        let [r, g, b] = colour.0.map(|byte| linear(f64::from(byte) / 255.0));
        let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
        let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
        let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s
    }

    #[test]
    fn every_direction_is_equally_bright() {
        // 8-bit rounding moves the lightness by up to 0.003; clipping at the gamut's edge would move it by more.
        for (wheel, rim) in [(Wheel::Pale, PALE_RIM[0]), (Wheel::Grey, GREY_RIM[0])] {
            for degree in 0..360 {
                let angle = f64::from(degree).to_radians();
                let colour = wheel.colour([angle.cos(), angle.sin()]);
                assert!(
                    (lightness(colour) - rim).abs() < 0.003,
                    "{degree}°: {colour:?}"
                );
            }
        }
    }

    #[test]
    fn colour_says_direction_and_magnitude() {
        let directions = (0..8).map(|i| f64::from(i) * std::f64::consts::FRAC_PI_4);
        let colours: Vec<Rgb> = directions
            .map(|angle| Wheel::Pale.colour([angle.cos(), angle.sin()]))
            .collect();
        for (i, one) in colours.iter().enumerate() {
            assert!(colours[..i].iter().all(|other| other != one));
        }
        assert_ne!(
            Wheel::Grey.colour([0.5, 0.0]),
            Wheel::Grey.colour([1.0, 0.0])
        );
        assert_eq!(
            Wheel::Pale.colour([5.0, 0.0]),
            Wheel::Pale.colour([1.0, 0.0])
        );
    }
}
