//! The polynomials that the response is expanded in: numbers of the surroundings and their products, times powers of the tilt.
//!
//! How many there are is a matter of the error, not of taste: a response is fitted with every [`Order`], and the one whose images
//! of specimens that it has not seen are best is kept.

use serde::{Deserialize, Serialize};

use super::surroundings::Surroundings;

/// Tilts are measured in this [mrad].
const TILT: f64 = 10.0;

/// How far the expansion goes: the powers of the tilt that each group of terms has; none: there are no such terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The mean image.
    pub tilt: u8,
    /// First-order terms in the surroundings.
    pub linear: Option<u8>,
    /// Products of two displacements of the nearest cations.
    pub nearest: Option<u8>,
    /// Products of two collective numbers.
    pub second: Option<u8>,
    /// Products of three.
    pub third: Option<u8>,
}

impl Order {
    /// Orders to choose from, rising.
    pub const LADDER: [Self; 8] = [
        Self::new([Some(4), None, None, None, None]),
        Self::new([Some(4), Some(0), None, None, None]),
        Self::new([Some(4), Some(1), None, None, None]),
        Self::new([Some(4), Some(2), None, None, None]),
        Self::new([Some(4), Some(2), Some(0), Some(0), None]),
        Self::new([Some(4), Some(2), Some(0), Some(0), Some(0)]),
        Self::new([Some(4), Some(2), Some(1), Some(0), Some(0)]),
        Self::new([Some(6), Some(2), Some(1), Some(1), Some(0)]),
    ];

    const fn new(powers: [Option<u8>; 5]) -> Self {
        let [tilt, linear, nearest, second, third] = powers;
        Self {
            tilt: match tilt {
                Some(tilt) => tilt,
                None => 0,
            },
            linear,
            nearest,
            second,
            third,
        }
    }
}

/// How strongly first-order terms are held back in a fit, and products; those with tilt are ten times as stiff.
const STIFFNESS: [f64; 4] = [1.0, 1.0, 1.0, 1.0];
const STIFFNESS_WITH_TILT: f64 = 10.0;

/// The values of all terms for some surroundings and a tilt `[x, y]` [mrad].
pub fn terms(order: Order, surroundings: &Surroundings, tilt_mrad: [f64; 2], terms: &mut Vec<f64>) {
    let mut powers = Vec::new();
    let [x, y] = tilt_mrad.map(|t| t / TILT);
    for total in 0..=i32::from(order.tilt.max(2)) {
        for i in 0..=total {
            powers.push(x.powi(i) * y.powi(total - i));
        }
    }
    terms.clear();
    terms.extend(&powers[..count(order.tilt)]);
    let mut add = |degree: Option<u8>, values: &mut dyn Iterator<Item = f64>| {
        if let Some(degree) = degree {
            for value in values {
                terms.extend(powers[..count(degree)].iter().map(|power| value * power));
            }
        }
    };
    let nearest = &surroundings.linear[..surroundings.nearest];
    add(order.linear, &mut surroundings.linear.iter().copied());
    let mut pairs =
        (0..nearest.len()).flat_map(|i| nearest[i..].iter().map(move |other| nearest[i] * other));
    add(order.nearest, &mut pairs);
    add(order.second, &mut surroundings.second.iter().copied());
    add(order.third, &mut surroundings.third.iter().copied());
}

/// How strongly each term is held back in a fit, relative to the mean image.
#[must_use]
pub fn stiffness(order: Order, surroundings: &Surroundings) -> Vec<f64> {
    let nearest = surroundings.nearest;
    let mut all = vec![0.0; count(order.tilt)];
    for (group, (degree, values)) in [
        (order.linear, surroundings.linear.len()),
        (order.nearest, nearest * (nearest + 1) / 2),
        (order.second, surroundings.second.len()),
        (order.third, surroundings.third.len()),
    ]
    .into_iter()
    .enumerate()
    {
        let Some(degree) = degree else { continue };
        for _ in 0..values {
            all.push(STIFFNESS[group]);
            let stiff = STIFFNESS[group] * STIFFNESS_WITH_TILT;
            all.extend(std::iter::repeat_n(stiff, count(degree) - 1));
        }
    }
    all
}

/// Monomials of two variables up to a degree.
fn count(degree: u8) -> usize {
    let degree = usize::from(degree);
    (degree + 1) * (degree + 2) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many terms as stiffnesses, and the first is the mean image.
    #[test]
    fn every_term_has_its_stiffness() {
        let around = Surroundings {
            linear: vec![2.0, 3.0, 5.0],
            nearest: 2,
            second: vec![7.0],
            third: vec![11.0],
        };
        let mut values = Vec::new();
        for order in Order::LADDER {
            terms(order, &around, [10.0, 5.0], &mut values);
            assert_eq!(values.len(), stiffness(order, &around).len());
            assert!((values[0] - 1.0).abs() < 1e-12 && (values[2] - 1.0).abs() < 1e-12);
        }
        let order = Order::new([Some(0), Some(0), Some(0), Some(0), Some(0)]);
        terms(order, &around, [0.0; 2], &mut values);
        assert_eq!(values, [1.0, 2.0, 3.0, 5.0, 4.0, 6.0, 9.0, 7.0, 11.0]);
    }
}
