//! The map: columns with their sublattice and quality, the lattice, and one polar vector per cell.

use std::collections::HashMap;

use super::field::Column;
use super::find::{Site, VISIBLE};
use super::lattice::{Lattice, length};
use super::misfit::Misfit;
use super::settings::{Brighter, ColumnSettings};
use crate::crystal::Sublattice;
use crate::crystal::polarization::{Point, PolarVector, flags, polar_cells};
use crate::image::Image;
use crate::storage::tables::field;
use crate::units::PM_PER_ANGSTROM;

/// Distance of a column from the border at which its fit window is cut and its vector less sure [fit window radius].
const BORDER_OVER_WINDOW: f64 = 0.6;
/// What suffices of the least signal-to-noise ratio for a column whose neighbours say that it must be there.
const HELD_BY_NEIGHBOURS: f64 = 0.5;
/// Decimals of a misfit in tables.
const MISFIT_DECIMALS: usize = 4;
/// A sublattice shows around a site where half of its columns up to so many cells away stand above the noise.
const FELLOWS: i32 = 2;
/// Normal-distribution standard deviation over median absolute deviation.
pub(super) const SIGMA_OVER_MAD: f64 = 1.4826;
/// Standard error of the median over that of the mean, √(π/2).
const MEDIAN_ERROR: f64 = 1.253_314_137_315_5;

/// One atom column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtomColumn {
    /// Centre [Å].
    pub position: Point,
    /// Standard deviation of `position` `[x, y]` [Å]; infinite where not fitted.
    pub position_sigma: [f64; 2],
    /// A or B.
    pub sublattice: Sublattice,
    /// Peak above background [units of the image].
    pub height: f64,
    /// Background under the column [units of the image].
    pub background: f64,
    /// Principal standard deviations, that of the axis nearest to x first [Å].
    pub sigma: [f64; 2],
    /// Angle of the first principal axis from x towards y [rad], within ±π/4.
    pub angle: f64,
    /// Cell: A at `i a + j b`, B between A of `(i, j)` and of `(i+1, j+1)`.
    pub index: [i32; 2],
    /// Reduced χ² of the pixels around it, from the joint fit whatever the method; about 1, NaN where not known.
    pub misfit: f64,
    /// Sum of the bits in [`flags`].
    pub flags: u32,
}

/// What [`measure`](crate::column::measure) finds.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMap {
    /// All columns, A before B, by row `j` and then `i`.
    pub columns: Vec<AtomColumn>,
    /// One polar vector for each B column amid four A columns, in the order of `columns`.
    pub vectors: Vec<PolarVector>,
    /// Mean repeat of the A lattice.
    pub lattice: Lattice,
    /// Pitch of the A lattice in this calibration over the nominal one; far from 1, the calibration is in doubt.
    pub calibration_ratio: f64,
    /// How far the periodicity stands above chance, in standard errors.
    pub significance: f64,
    /// How positions were measured, in a word: `joint`, `gaussian`, `centre_of_mass`, or `given`.
    pub method: &'static str,
}

/// Median with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    /// The median; NaN of nothing.
    pub value: f64,
    /// 1.2533 · 1.4826 · median absolute deviation / √n.
    pub error: f64,
}

impl ColumnMap {
    /// Columns of one sublattice.
    pub fn of(&self, sublattice: Sublattice) -> impl Iterator<Item = &AtomColumn> {
        self.columns
            .iter()
            .filter(move |column| column.sublattice == sublattice)
    }

    /// Vectors without flags.
    pub fn good_vectors(&self) -> impl Iterator<Item = &PolarVector> {
        self.vectors.iter().filter(|vector| vector.flags == 0)
    }

    /// Median of D along x and y over unflagged cells [pm].
    #[must_use]
    pub fn median_displacement(&self) -> [Median; 2] {
        std::array::from_fn(|axis| median(self.good_vectors().map(|v| v.displacement[axis])))
    }

    /// Median width (geometric mean of the two standard deviations) of the broader sublattice's columns, over the pitch.
    #[must_use]
    pub fn width_over_pitch(&self) -> f64 {
        let width = |sublattice| {
            let columns = self.of(sublattice).filter(|c| c.flags == 0);
            median(columns.map(|c| (c.sigma[0] * c.sigma[1]).sqrt())).value
        };
        width(Sublattice::A).max(width(Sublattice::B)) / self.lattice.pitch()
    }

    /// What the map says, in a few lines.
    #[must_use]
    pub fn summary(&self) -> String {
        let [dx, dy] = self.median_displacement();
        let good = self.good_vectors().count();
        let mean = self
            .good_vectors()
            .map(|v| length(v.displacement))
            .sum::<f64>()
            / good.max(1) as f64;
        let sigma: [f64; 2] =
            std::array::from_fn(|axis| median(self.good_vectors().map(|v| v.sigma[axis])).value);
        let known = if sigma[0].is_finite() {
            format!(
                "; median standard deviation of D = ({:.2}, {:.2}) pm",
                sigma[0], sigma[1]
            )
        } else {
            String::new()
        };
        let flagged = self.columns.iter().filter(|c| c.flags != 0).count();
        let [a, b] = [Sublattice::A, Sublattice::B].map(|sublattice| self.of(sublattice).count());
        let displacement = if b == 0 {
            "one sublattice only, called A: amid its columns nothing stands above the noise, so there is no D".to_owned()
        } else {
            format!(
                "median D = ({:+.2} ± {:.2}, {:+.2} ± {:.2}) pm (x right, y down); mean |D| = {mean:.2} pm{known}",
                dx.value, dx.error, dy.value, dy.error,
            )
        };
        format!(
            "{a} A and {b} B columns ({flagged} flagged), {} cells ({good} unflagged); method: {}\n\
             lattice a = ({:.3}, {:.3}) Å, b = ({:.3}, {:.3}) Å; |a| = {:.3}, |b| = {:.3}; {:.3} of the nominal constant\n\
             {displacement}",
            self.vectors.len(),
            self.method,
            self.lattice.a[0],
            self.lattice.a[1],
            self.lattice.b[0],
            self.lattice.b[1],
            length(self.lattice.a),
            length(self.lattice.b),
            self.calibration_ratio,
        )
    }
}

/// Header of the rows of [`columns_csv`].
pub const COLUMNS_HEADER: &str = "x_angstrom,y_angstrom,sublattice,height,sigma_x_angstrom,sigma_y_angstrom,flags,\
    position_sigma_x_angstrom,position_sigma_y_angstrom,background,angle_rad,i,j,\
    misfit,method";

/// The columns as rows of text fields, under [`COLUMNS_HEADER`].
#[must_use]
pub fn columns_csv(map: &ColumnMap) -> Vec<Vec<String>> {
    map.columns
        .iter()
        .map(|c| {
            vec![
                format!("{:.5}", c.position[0]),
                format!("{:.5}", c.position[1]),
                format!("{:?}", c.sublattice),
                c.height.to_string(),
                format!("{:.5}", c.sigma[0]),
                format!("{:.5}", c.sigma[1]),
                c.flags.to_string(),
                format!("{:.5}", c.position_sigma[0]),
                format!("{:.5}", c.position_sigma[1]),
                c.background.to_string(),
                format!("{:.5}", c.angle),
                c.index[0].to_string(),
                c.index[1].to_string(),
                field(c.misfit, MISFIT_DECIMALS),
                map.method.to_owned(),
            ]
        })
        .collect()
}

/// Median and its standard error.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Median {
    let mut values: Vec<f64> = values.collect();
    let value = middle(&mut values);
    let mut deviations: Vec<f64> = values.iter().map(|x| (x - value).abs()).collect();
    let error =
        MEDIAN_ERROR * SIGMA_OVER_MAD * middle(&mut deviations) / (values.len() as f64).sqrt();
    Median { value, error }
}

/// The middle value, or the mean of the two in the middle; sorts.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

/// A site, and what was measured at it.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) site: Site,
    /// By the joint fit.
    pub(super) joint: Column,
    /// By the method asked for.
    pub(super) column: Column,
    pub(super) misfit: Misfit,
}

/// Makes the map of measured sites; columns below the noise are dropped unless their neighbours hold them in place.
pub(super) fn assemble(
    image: &Image,
    measured: &[Measured],
    prior: &Lattice,
    settings: &ColumnSettings,
) -> Vec<AtomColumn> {
    let least = Least {
        signal_to_noise: settings.minimum_signal_to_noise,
        height: settings.minimum_height * strong(measured),
    };
    let measured = significant(image, measured, prior, &least);
    let a_class = a_class(&measured, settings.brighter);
    let origin = origin(&measured, a_class);
    let mut columns: Vec<AtomColumn> = measured
        .iter()
        .map(|found| {
            let sublattice = if found.site.class() == a_class {
                Sublattice::A
            } else {
                Sublattice::B
            };
            let index = std::array::from_fn(|k| (found.site.half[k] - origin[k]).div_euclid(2));
            atom_column(found, sublattice, index, &least.held())
        })
        .collect();
    columns.sort_by_key(|c| (c.sublattice, c.index[1], c.index[0]));
    let pitch = prior.pitch();
    flag_borders(
        &mut columns,
        image,
        BORDER_OVER_WINDOW * settings.window * pitch,
    );
    flag_outliers(&mut columns, settings.maximum_deviation * pitch);
    columns
}

/// What a column must have to count.
struct Least {
    /// Height over its standard deviation.
    signal_to_noise: f64,
    /// [units of the image]
    height: f64,
}

impl Least {
    /// What suffices for columns that their neighbours hold in place.
    fn held(&self) -> Self {
        Self {
            signal_to_noise: HELD_BY_NEIGHBOURS * self.signal_to_noise,
            ..*self
        }
    }

    fn is_met_by(&self, column: &Column) -> bool {
        let height = column.gaussian.height;
        column.fitted && height >= self.signal_to_noise * column.sigma[2] && height >= self.height
    }
}

/// Height that one in ten columns exceeds [units of the image].
fn strong(measured: &[Measured]) -> f64 {
    let heights = measured.iter().filter(|found| found.joint.fitted);
    let mut heights: Vec<f64> = heights.map(|found| found.joint.gaussian.height).collect();
    heights.sort_by(f64::total_cmp);
    heights.get(heights.len() * 9 / 10).copied().unwrap_or(0.0)
}

/// The sites whose columns stand above the noise, and those that are held in place: such sites of the other sublattice
/// surround them, three of four, or as many of those that are well in the image, and around them their own sublattice shows.
fn significant(
    image: &Image,
    measured: &[Measured],
    prior: &Lattice,
    least: &Least,
) -> Vec<Measured> {
    let held = least.held();
    let at: HashMap<[i32; 2], &Column> = measured
        .iter()
        .map(|found| (found.site.half, &found.joint))
        .collect();
    let stands =
        |half: &[i32; 2], least: &Least| at.get(half).map(|column| least.is_met_by(column));
    let surrounded = |site: &Site| {
        let (mut present, mut possible) = (0, 0);
        for [i, j] in [[1, 1], [1, -1], [-1, 1], [-1, -1]] {
            let step = prior.vector(0.5 * f64::from(i), 0.5 * f64::from(j));
            let at = [site.position[0] + step[0], site.position[1] + step[1]];
            possible += usize::from(depth(image, at) >= VISIBLE * prior.pitch());
            let half = [site.half[0] + i, site.half[1] + j];
            present += usize::from(stands(&half, least) == Some(true));
        }
        4 * present >= 3 * possible && present > 0
    };
    let shown = |site: &Site| {
        let steps = || (-FELLOWS..=FELLOWS).map(|n| 2 * n);
        let around = steps().flat_map(|i| steps().map(move |j| [i, j]));
        let (mut seen, mut known) = (0, 0);
        for step in around {
            let half = [0, 1].map(|k| site.half[k] + step[k]);
            if let Some(is_seen) = stands(&half, &held) {
                seen += usize::from(is_seen);
                known += 1;
            }
        }
        2 * seen >= known
    };
    measured
        .iter()
        .filter(|found| {
            let site = &found.site;
            least.is_met_by(&found.joint) || (surrounded(site) && shown(site))
        })
        .copied()
        .collect()
}

/// Distance from the nearest border of the image, negative outside [Å].
fn depth(image: &Image, at: Point) -> f64 {
    let (rows, cols) = image.data.dim();
    let last = [
        (cols - 1) as f64 * image.sampling[1],
        (rows - 1) as f64 * image.sampling[0],
    ];
    (0..2)
        .map(|axis| at[axis].min(last[axis] - at[axis]))
        .fold(f64::INFINITY, f64::min)
}

/// Which class of sites is A: the one that is on average the brighter, or the dimmer, as the settings say; the only one, if
/// there is one only.
fn a_class(measured: &[Measured], brighter: Brighter) -> usize {
    let mean = |class: usize| {
        let heights: Vec<f64> = measured
            .iter()
            .filter(|found| found.site.class() == class && found.joint.fitted)
            .map(|found| found.joint.gaussian.height)
            .collect();
        heights.iter().sum::<f64>() / heights.len() as f64
    };
    let means = [mean(0), mean(1)];
    if let Some(missing) = means.iter().position(|mean| mean.is_nan()) {
        return 1 - missing;
    }
    let bright = usize::from(means[1] > means[0]);
    match brighter {
        Brighter::A => bright,
        Brighter::B => 1 - bright,
    }
}

/// The half-cell index of A's `(0, 0)`: the smallest of each, so that indices start at 0.
fn origin(measured: &[Measured], a_class: usize) -> [i32; 2] {
    std::array::from_fn(|axis| {
        measured
            .iter()
            .map(|found| &found.site)
            .filter(|site| site.class() == a_class)
            .map(|site| site.half[axis])
            .min()
            .unwrap_or(0)
    })
}

fn atom_column(
    found: &Measured,
    sublattice: Sublattice,
    index: [i32; 2],
    least: &Least,
) -> AtomColumn {
    let Measured {
        joint,
        column,
        misfit,
        ..
    } = found;
    let gaussian = &column.gaussian;
    let (sigma, angle) = gaussian.widths().unwrap_or(([f64::NAN; 2], f64::NAN));
    AtomColumn {
        position: gaussian.position,
        position_sigma: [column.sigma[0], column.sigma[1]],
        sublattice,
        height: gaussian.height,
        background: column.background,
        sigma,
        angle,
        index,
        misfit: misfit.reduced,
        // A height by itself says little in a window of its own, where it is hard to tell from the constant.
        flags: if least.is_met_by(joint) && column.fitted {
            0
        } else {
            flags::NOT_FITTED
        } | if misfit.stands_out { flags::MISFIT } else { 0 },
    }
}

fn flag_borders(columns: &mut [AtomColumn], image: &Image, margin: f64) {
    for column in columns {
        if depth(image, column.position) < margin {
            column.flags |= flags::BORDER;
        }
    }
}

/// Flags columns farther than `limit` [Å] from the middle of their neighbours of the same sublattice.
fn flag_outliers(columns: &mut [AtomColumn], limit: f64) {
    let at: HashMap<(Sublattice, [i32; 2]), Point> = columns
        .iter()
        .map(|c| ((c.sublattice, c.index), c.position))
        .collect();
    for column in columns.iter_mut() {
        let neighbour = |i: i32, j: i32| {
            at.get(&(
                column.sublattice,
                [column.index[0] + i, column.index[1] + j],
            ))
        };
        // Between two neighbours, or beyond two in a row where the image or the crystal ends.
        let guesses = [[1, 0], [0, 1]].map(|[i, j]| match (neighbour(i, j), neighbour(-i, -j)) {
            (Some(p), Some(q)) => Some([0.5 * (p[0] + q[0]), 0.5 * (p[1] + q[1])]),
            (Some(p), None) => beyond(p, neighbour(2 * i, 2 * j)),
            (None, Some(q)) => beyond(q, neighbour(-2 * i, -2 * j)),
            (None, None) => None,
        });
        let deviations: Vec<Point> = guesses
            .iter()
            .flatten()
            .map(|g| [column.position[0] - g[0], column.position[1] - g[1]])
            .collect();
        let count = deviations.len().max(1) as f64;
        let mean: Point =
            std::array::from_fn(|k| deviations.iter().map(|d| d[k]).sum::<f64>() / count);
        if length(mean) > limit {
            column.flags |= flags::OUTLIER;
        }
    }
}

fn beyond(near: &Point, far: Option<&Point>) -> Option<Point> {
    far.map(|far| [2.0 * near[0] - far[0], 2.0 * near[1] - far[1]])
}

/// The polar vectors of all cells; variances of B and of the mean of four A add.
pub(super) fn polar_vectors(columns: &[AtomColumn]) -> Vec<PolarVector> {
    let (a, b): (Vec<&AtomColumn>, Vec<&AtomColumn>) = columns
        .iter()
        .partition(|column| column.sublattice == Sublattice::A);
    let positions = |group: &[&AtomColumn]| group.iter().map(|c| c.position).collect::<Vec<_>>();
    polar_cells(&positions(&a), &positions(&b))
        .iter()
        .map(|cell| {
            let corners = cell.a.map(|i| a[i]);
            let centre = b[cell.b];
            let sigma = std::array::from_fn(|axis| {
                let around: f64 = corners.iter().map(|c| c.position_sigma[axis].powi(2)).sum();
                PM_PER_ANGSTROM * (centre.position_sigma[axis].powi(2) + around / 16.0).sqrt()
            });
            PolarVector {
                position: centre.position,
                displacement: cell.displacement,
                sigma,
                flags: corners.iter().fold(centre.flags, |all, c| all | c.flags),
            }
        })
        .collect()
}

/// Mean basis of the A lattice, by least squares of position on index; `None` if all lie in one line.
pub(super) fn mean_lattice(columns: &[AtomColumn]) -> Option<Lattice> {
    let a: Vec<&AtomColumn> = columns
        .iter()
        .filter(|c| c.sublattice == Sublattice::A && c.flags == 0)
        .collect();
    let count = a.len() as f64;
    let mean = |value: &dyn Fn(&AtomColumn) -> f64| a.iter().map(|c| value(c)).sum::<f64>() / count;
    let index = |c: &AtomColumn, k: usize| f64::from(c.index[k]);
    let centre = [mean(&|c| index(c, 0)), mean(&|c| index(c, 1))];
    let moment = |value: &dyn Fn(&AtomColumn) -> f64, k: usize| {
        mean(&|c| value(c) * (index(c, k) - centre[k]))
    };
    let ii = moment(&|c| index(c, 0), 0);
    let ij = moment(&|c| index(c, 1), 0);
    let jj = moment(&|c| index(c, 1), 1);
    let determinant = ii * jj - ij * ij;
    if determinant.is_nan() || determinant <= 1e-9 {
        return None;
    }
    let slopes: [[f64; 2]; 2] = std::array::from_fn(|axis| {
        let (p, q) = (
            moment(&|c| c.position[axis], 0),
            moment(&|c| c.position[axis], 1),
        );
        [
            (jj * p - ij * q) / determinant,
            (ii * q - ij * p) / determinant,
        ]
    });
    Some(Lattice {
        a: [slopes[0][0], slopes[1][0]],
        b: [slopes[0][1], slopes[1][1]],
    })
}
