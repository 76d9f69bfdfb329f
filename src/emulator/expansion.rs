//! The polynomials that the response is expanded in: numbers of the surroundings and their products, times powers of the tilt.
//!
//! How many there are is a matter of the error, not of taste: a response is fitted with every [`Order`], and the one whose images
//! of specimens that it has not seen are best is kept.

use serde::{Deserialize, Serialize};

use super::sites::{Kind, Sites};
use super::surroundings::{Surroundings, standard_orientation, surroundings};

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

/// How strongly terms with a tilt are held back in a fit, relative to those without.
const STIFFNESS_WITH_TILT: f64 = 10.0;

/// The variables of an order for some surroundings: one for the mean image, then numbers and their products. Terms are these, each
/// times as many [`powers`] of the tilt as [`degrees`] says.
pub fn variables(order: Order, surroundings: &Surroundings, values: &mut Vec<f64>) {
    values.clear();
    values.push(1.0);
    if order.linear.is_some() {
        values.extend(&surroundings.linear);
    }
    if order.nearest.is_some() {
        let nearest = &surroundings.linear[..surroundings.nearest];
        for (i, one) in nearest.iter().enumerate() {
            values.extend(nearest[i..].iter().map(|other| one * other));
        }
    }
    if order.second.is_some() {
        values.extend(&surroundings.second);
    }
    if order.third.is_some() {
        values.extend(&surroundings.third);
    }
}

/// How many powers of the tilt go with each variable of a kind of column.
#[must_use]
pub fn degrees(order: Order, kind: Kind) -> Vec<usize> {
    // How many variables there are does not depend on where columns stand.
    let place = kind.places(1)[0];
    let sites = Sites::undistorted(1.0);
    let around = surroundings(&sites, place, standard_orientation(place), 1.0);
    let nearest = around.nearest;
    let groups = [
        (Some(order.tilt), 1),
        (order.linear, around.linear.len()),
        (order.nearest, nearest * (nearest + 1) / 2),
        (order.second, around.second.len()),
        (order.third, around.third.len()),
    ];
    let of_group = |(degree, variables): (Option<u8>, usize)| {
        degree
            .into_iter()
            .flat_map(move |degree| std::iter::repeat_n(count(degree), variables))
    };
    groups.into_iter().flat_map(of_group).collect()
}

/// Products of powers of a tilt `[x, y]` [mrad], by their degree.
#[must_use]
pub fn powers(order: Order, tilt_mrad: [f64; 2]) -> Vec<f64> {
    let [x, y] = tilt_mrad.map(|t| t / TILT);
    let highest = [Some(order.tilt), order.linear, order.nearest, order.second];
    let highest = highest.into_iter().flatten().chain(order.third).max();
    let of_degree = |total: i32| (0..=total).map(move |i| x.powi(i) * y.powi(total - i));
    (0..=i32::from(highest.unwrap_or(0)))
        .flat_map(of_degree)
        .collect()
}

/// How strongly each term is held back in a fit.
#[must_use]
pub fn stiffness(degrees: &[usize]) -> Vec<f64> {
    let mut all = vec![0.0; degrees.first().copied().unwrap_or(0)];
    for &degree in degrees.iter().skip(1) {
        all.push(1.0);
        all.extend(std::iter::repeat_n(STIFFNESS_WITH_TILT, degree - 1));
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

    /// As many variables as degrees, for every order and kind.
    #[test]
    fn every_variable_has_its_degree() {
        let sites = Sites::undistorted(4.0);
        let mut values = Vec::new();
        for kind in Kind::ALL {
            let place = kind.places(1)[0];
            let around = surroundings(&sites, place, standard_orientation(place), 4.0);
            for order in Order::LADDER {
                variables(order, &around, &mut values);
                let degrees = degrees(order, kind);
                assert_eq!(values.len(), degrees.len());
                assert_eq!(stiffness(&degrees).len(), degrees.iter().sum::<usize>());
                let most = degrees.iter().max().copied();
                assert_eq!(Some(powers(order, [10.0, 5.0]).len()), most);
            }
        }
    }

    /// Variables and powers as written out by hand.
    #[test]
    fn variables_are_products() {
        let around = Surroundings {
            linear: vec![2.0, 3.0, 5.0],
            nearest: 2,
            second: vec![7.0],
            third: vec![11.0],
        };
        let mut values = Vec::new();
        let order = Order::new([Some(0), Some(0), Some(0), Some(0), Some(0)]);
        variables(order, &around, &mut values);
        assert_eq!(values, [1.0, 2.0, 3.0, 5.0, 4.0, 6.0, 9.0, 7.0, 11.0]);
        let order = Order::new([Some(2), None, None, None, None]);
        assert_eq!(powers(order, [20.0, 30.0]), [1.0, 3.0, 2.0, 9.0, 6.0, 4.0]);
    }
}
