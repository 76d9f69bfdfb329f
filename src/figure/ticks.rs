//! Ranges of axes, round tick values, and numbers as people write them.
//!
//! Tick steps are 1, 2 or 5 times a power of ten (P. Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990);
//! logarithmic axes mark decades, and 2 and 5 between them where there is room.

/// Tick values aimed at on an axis of 300 px.
const TICKS_PER_300_PX: f64 = 5.0;

/// One axis: what it shows, and from where to where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) logarithmic: bool,
    /// Lowest and highest value shown; positive on a logarithmic axis.
    pub(super) range: [f64; 2],
}

/// A marked value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// An axis over all of `values`, with a margin of 5 %; what cannot be shown (not finite, or not positive on a logarithmic
    /// axis) is left out. `limits` overrides the range.
    pub(super) fn over(
        label: &str,
        logarithmic: bool,
        limits: Option<[f64; 2]>,
        values: impl Iterator<Item = f64>,
    ) -> Self {
        let shown = |value: f64| value.is_finite() && (!logarithmic || value > 0.0);
        let range = match limits.filter(|[low, high]| shown(*low) && shown(*high) && low < high) {
            Some(limits) => limits,
            None => padded(values.filter(|value| shown(*value)), logarithmic),
        };
        Self {
            label: label.to_owned(),
            logarithmic,
            range,
        }
    }

    /// Where a value stands between the ends of the axis, 0 to 1; `None` where it cannot be shown.
    pub(super) fn fraction(&self, value: f64) -> Option<f64> {
        let scaled = |value: f64| {
            if self.logarithmic {
                value.log10()
            } else {
                value
            }
        };
        let [low, high] = self.range.map(scaled);
        let fraction = (scaled(value) - low) / (high - low);
        fraction.is_finite().then_some(fraction)
    }

    /// Round values within the range, for an axis `length` [px] long.
    pub(super) fn ticks(&self, length: f64) -> Vec<Tick> {
        let count = (TICKS_PER_300_PX * length / 300.0).max(2.0);
        if self.logarithmic {
            logarithmic_ticks(self.range, count)
        } else {
            linear_ticks(self.range, count)
        }
    }
}

/// Lowest and highest of `values` with a margin; a single value gets room on both sides.
fn padded(values: impl Iterator<Item = f64>, logarithmic: bool) -> [f64; 2] {
    let scaled = values.map(|value| if logarithmic { value.log10() } else { value });
    let [mut low, mut high] = scaled.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| {
        [low.min(v), high.max(v)]
    });
    if low > high {
        [low, high] = [0.0, 1.0];
    }
    if high - low <= 1e-12 * low.abs().max(high.abs()) {
        let room = if low == 0.0 || logarithmic {
            0.5
        } else {
            0.1 * low.abs()
        };
        [low, high] = [low - room, high + room];
    }
    let margin = 0.05 * (high - low);
    [low - margin, high + margin].map(|v| if logarithmic { 10f64.powf(v) } else { v })
}

/// The largest of 1, 2, 5 × 10ⁿ that is at most `value`, which is positive.
pub(super) fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let steps = [10.0, 5.0, 2.0, 1.0];
    // A hair of slack, so that 10ⁿ itself is not lost to rounding of the logarithm.
    let step = steps
        .iter()
        .find(|step| *step * decade <= value * (1.0 + 1e-9));
    step.unwrap_or(&1.0) * decade
}

/// The smallest of 1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8 × 10ⁿ that is at least `value`, which is positive.
pub(super) fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let steps = [
        1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0,
    ];
    let step = steps
        .iter()
        .find(|step| *step * decade >= value * (1.0 - 1e-9));
    step.unwrap_or(&10.0) * decade
}

fn linear_ticks([low, high]: [f64; 2], count: f64) -> Vec<Tick> {
    let step = round_down((high - low) / count);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let largest = low.abs().max(high.abs());
    (first..=last)
        .map(|index| index as f64 * step)
        .map(|value| Tick {
            value,
            label: tick_label(value, step, largest),
        })
        .collect()
}

fn logarithmic_ticks([low, high]: [f64; 2], count: f64) -> Vec<Tick> {
    let decades = (high / low).log10();
    if decades < 0.6 {
        return linear_ticks([low, high], count);
    }
    let steps: &[f64] = if decades < 1.2 * count / 3.0 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let stride = (decades / (1.5 * count)).ceil().max(1.0) as i32;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last)
        .filter(|exponent| exponent % stride == 0)
        .flat_map(|exponent| steps.iter().map(move |step| (exponent, *step)))
        .map(|(exponent, step)| (exponent, step * 10f64.powi(exponent)))
        .filter(|(_, value)| *value >= low * (1.0 - 1e-9) && *value <= high * (1.0 + 1e-9))
        .map(|(exponent, value)| Tick {
            value,
            label: if (-3..5).contains(&exponent) {
                tick_label(value, 10f64.powi(exponent), value)
            } else {
                scientific(value)
            },
        })
        .collect()
}

/// A tick value with the decimals that its step needs.
fn tick_label(value: f64, step: f64, largest: f64) -> String {
    if value != 0.0 && !(1e-4..1e5).contains(&largest) {
        return scientific(value);
    }
    decimal(
        value,
        (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize,
    )
}

/// A number with a fixed number of decimals and a true minus sign.
pub(super) fn decimal(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = text.chars().all(|letter| "-0.".contains(letter));
    let text = if is_zero {
        text.trim_start_matches('-')
    } else {
        &text
    };
    text.replace('-', "−")
}

/// A number with three significant digits, for legends and notes.
pub(super) fn significant(value: f64) -> String {
    if value != 0.0 && value.is_finite() && !(1e-3..1e6).contains(&value.abs()) {
        return scientific(value);
    }
    let magnitude = value.abs().max(1e-12).log10().floor();
    let decimals = if value == 0.0 {
        0.0
    } else {
        (2.0 - magnitude).clamp(0.0, 6.0)
    };
    let text = decimal(value, decimals as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// As `2×10⁻⁵`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let raised: String = exponent
        .chars()
        .map(|digit| match digit {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            _ => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or('⁰'),
        })
        .collect();
    match mantissa {
        "1" => format!("10{raised}"),
        "-1" => format!("−10{raised}"),
        _ => format!("{}×10{raised}", mantissa.replace('-', "−")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(logarithmic: bool, range: [f64; 2]) -> Axis {
        Axis {
            label: String::new(),
            logarithmic,
            range,
        }
    }

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks(300.0)
            .into_iter()
            .map(|tick| tick.label)
            .collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            labels(&axis(false, [-1.0, 11.0])),
            ["0", "2", "4", "6", "8", "10"]
        );
        assert_eq!(
            labels(&axis(false, [-0.31, 0.32])),
            ["−0.3", "−0.2", "−0.1", "0.0", "0.1", "0.2", "0.3"]
        );
        assert_eq!(
            labels(&axis(true, [80.0, 40_000.0])),
            ["100", "1000", "10000"]
        );
        assert_eq!(labels(&axis(true, [9.0, 120.0])), ["10", "20", "50", "100"]);
        assert_eq!(
            labels(&axis(true, [1e-9, 2e-3])),
            ["10⁻⁹", "10⁻⁸", "10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001"]
        );
    }

    #[test]
    fn rounding_goes_the_way_it_says() {
        for value in [0.001, 0.9, 1.0, 7.3, 33.4, 99.0, 1000.0] {
            assert!(round_down(value) <= value * 1.000_001 && round_down(value) > value / 2.6);
            assert!(round_up(value) >= value * 0.999_999 && round_up(value) < value * 1.51);
        }
    }

    #[test]
    fn ranges_survive_poor_data() {
        for values in [
            vec![],
            vec![f64::NAN],
            vec![0.0],
            vec![5.0, 5.0],
            vec![-1.0, f64::INFINITY],
        ] {
            for logarithmic in [false, true] {
                let axis = Axis::over("x", logarithmic, None, values.iter().copied());
                assert!(
                    axis.range[0] < axis.range[1] && axis.range[1].is_finite(),
                    "{values:?}"
                );
                assert!(!axis.ticks(300.0).is_empty(), "{values:?} {:?}", axis.range);
            }
        }
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(significant(33.412), "33.4");
        assert_eq!(significant(-0.05), "−0.05");
        assert_eq!(significant(1234.5), "1234");
        assert_eq!(significant(2.0e-5), "2×10⁻⁵");
        assert_eq!(decimal(-0.001, 1), "0.0");
        assert_eq!(significant(0.0), "0");
    }
}
