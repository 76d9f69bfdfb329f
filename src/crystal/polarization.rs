//! The polar displacement, the only definition in the project: truth, column fits and networks all use it.
//!
//! D = r_B − ¼ Σ r_A over the four nearest A columns, projected along the beam, in pm
//! (Nelson et al., npj Comput. Mater. 7, 149 (2021), "off-centring of the B site"). In BiFeO₃ D points against P.

use std::f64::consts::PI;

use crate::neighbours::Neighbours;
pub use crate::neighbours::Point;
use crate::units::PM_PER_ANGSTROM;

/// Longest allowed distance of a corner from the B column, over the shortest, in a cell that counts as a cell: a B column a third of a
/// cell off its place has 3.
const MAX_CORNER_RATIO: f64 = 3.2;
/// Smallest allowed angle at B between neighbouring corners [rad]; 90° in an undistorted cell.
const MIN_CORNER_ANGLE: f64 = 0.85;

/// One polar displacement: where, how much, how sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolarVector {
    /// Where the vector is drawn: the B column, or the centre of the sub-image [Å].
    pub position: Point,
    /// D = B − mean of four A, `[dx, dy]` [pm].
    pub displacement: [f64; 2],
    /// Standard deviation of `displacement` [pm]; NaN where it is not known.
    pub sigma: [f64; 2],
    /// Sum of the bits in [`flags`].
    pub flags: u32,
}

/// Quality bits of columns and polar vectors; 0 means nothing to report.
pub mod flags {
    /// Touches the border of the image.
    pub const BORDER: u32 = 1;
    /// The fit did not converge or left its bounds; the start position is reported.
    pub const NOT_FITTED: u32 = 2;
    /// Far from what its neighbours say.
    pub const OUTLIER: u32 = 4;
    /// The pixels around do not look like the model: contamination, a defect, two columns in one place.
    pub const MISFIT: u32 = 8;
    /// The window is unlike all that the network was trained on.
    pub const UNLIKE: u32 = 16;
}

/// A perovskite cell: a B column and the four A columns around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolarCell {
    /// Index of the B column.
    pub b: usize,
    /// Indices of the four A columns, nearest first.
    pub a: [usize; 4],
    /// D `[dx, dy]` [pm].
    pub displacement: [f64; 2],
}

/// The cells of all B columns that four A columns surround; others (at borders, beside a lost column) have none.
///
/// `a` and `b` are column positions [Å]. A cell counts when the corners' distances agree within a factor of 3.2, no two corners are
/// closer than 49° seen from B, and B lies between them.
#[must_use]
pub fn polar_cells(a: &[Point], b: &[Point]) -> Vec<PolarCell> {
    if a.len() < 4 {
        return Vec::new();
    }
    let tree = Neighbours::new(a);
    b.iter()
        .enumerate()
        .filter_map(|(index, &centre)| {
            let nearest = tree.nearest(centre, 4);
            let corners: [usize; 4] = std::array::from_fn(|i| nearest[i].0);
            surrounded(centre, corners.map(|i| a[i])).then(|| PolarCell {
                b: index,
                a: corners,
                displacement: displacement(centre, corners.map(|i| a[i])),
            })
        })
        .collect()
}

/// D of one cell [pm], from the positions of the B column and of its four A columns [Å].
#[must_use]
pub fn displacement(b: Point, a: [Point; 4]) -> [f64; 2] {
    std::array::from_fn(|axis| {
        let mean = a.iter().map(|corner| corner[axis]).sum::<f64>() / 4.0;
        (b[axis] - mean) * PM_PER_ANGSTROM
    })
}

/// Whether four corners stand around a centre as in a (sheared, rotated) square.
fn surrounded(centre: Point, corners: [Point; 4]) -> bool {
    let arms = corners.map(|corner| [corner[0] - centre[0], corner[1] - centre[1]]);
    let lengths = arms.map(|[x, y]| x.hypot(y));
    let longest = lengths.iter().copied().fold(0.0, f64::max);
    let shortest = lengths.iter().copied().fold(f64::INFINITY, f64::min);
    if !(shortest > 0.0 && longest <= MAX_CORNER_RATIO * shortest) {
        return false;
    }
    let mut angles = arms.map(|[x, y]| y.atan2(x));
    angles.sort_by(f64::total_cmp);
    (0..4).all(|i| {
        let next = if i == 3 {
            angles[0] + std::f64::consts::TAU
        } else {
            angles[i + 1]
        };
        (MIN_CORNER_ANGLE..PI).contains(&(next - angles[i]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(n: usize, pitch: f64, offset: f64) -> Vec<Point> {
        (0..n * n)
            .map(|i| {
                [
                    (i % n) as f64 * pitch + offset,
                    (i / n) as f64 * pitch + offset,
                ]
            })
            .collect()
    }

    #[test]
    fn a_shifted_b_sublattice_gives_its_shift() {
        let a = square(6, 4.0, 0.0);
        let b: Vec<Point> = square(5, 4.0, 2.0)
            .iter()
            .map(|p| [p[0] + 0.10, p[1] - 0.25])
            .collect();
        let cells = polar_cells(&a, &b);
        assert_eq!(cells.len(), b.len());
        for cell in cells {
            assert!(
                (cell.displacement[0] - 10.0).abs() < 1e-9
                    && (cell.displacement[1] + 25.0).abs() < 1e-9
            );
        }
    }

    #[test]
    fn a_b_column_outside_the_a_lattice_has_no_cell() {
        let a = square(4, 4.0, 0.0);
        assert!(polar_cells(&a, &[[14.0, 6.0], [-2.0, -2.0], [6.0, 30.0]]).is_empty());
        assert_eq!(polar_cells(&a, &[[6.0, 6.0]]).len(), 1);
    }

    #[test]
    fn inversion_flips_polarization() {
        let a = square(4, 4.0, 0.0);
        let b = vec![[6.2, 5.9]];
        let invert = |points: &[Point]| points.iter().map(|p| [-p[0], -p[1]]).collect::<Vec<_>>();
        let d = polar_cells(&a, &b)[0].displacement;
        let flipped = polar_cells(&invert(&a), &invert(&b))[0].displacement;
        assert!((d[0] + flipped[0]).abs() < 1e-9 && (d[1] + flipped[1]).abs() < 1e-9);
    }

    proptest::proptest! {
        /// D turns with the image and does not see where the image is.
        #[test]
        fn displacement_turns_with_the_image_and_ignores_its_place(
            shift in proptest::array::uniform2(-300.0..300.0_f64),
            true_d in proptest::array::uniform2(-0.4..0.4_f64),
            angle in -3.2..3.2_f64,
        ) {
            let turn = |p: &Point| {
                let (sin, cos) = angle.sin_cos();
                [cos * p[0] - sin * p[1] + shift[0], sin * p[0] + cos * p[1] + shift[1]]
            };
            let a = square(5, 4.0, 0.0);
            let b: Vec<Point> =
                square(4, 4.0, 2.0).iter().map(|p| [p[0] + true_d[0], p[1] + true_d[1]]).collect();
            let turned = |points: &[Point]| points.iter().map(turn).collect::<Vec<_>>();
            let cells = polar_cells(&turned(&a), &turned(&b));
            proptest::prop_assert_eq!(cells.len(), b.len());
            let (sin, cos) = angle.sin_cos();
            let expected = [cos * true_d[0] - sin * true_d[1], sin * true_d[0] + cos * true_d[1]];
            for cell in cells {
                for (found, expected) in cell.displacement.iter().zip(expected) {
                    let error = found - PM_PER_ANGSTROM * expected;
                    proptest::prop_assert!(error.abs() < 1e-8, "{} pm", error);
                }
            }
        }
    }
}
