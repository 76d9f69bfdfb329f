//! What a column has around it, as numbers that the response is expanded in.
//!
//! All positions are taken from the column itself: a crystal that is moved as a whole looks the same. A neighbour counts by how far
//! it is from where it would stand in the ideal cell, an oxygen column also by how rough it is. The ideal cell has the symmetry
//! 4mm across the beam: what is known of one surrounding is known of its eight images.

use super::sites::{Kind, MOMENTS, Sites, Strand};

/// A symmetry of the ideal cell: a rotation or mirror across the beam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symmetry([[i64; 2]; 2]);

impl Symmetry {
    /// Nothing is moved.
    pub const IDENTITY: Self = Self([[1, 0], [0, 1]]);
    /// x and y are exchanged.
    pub const TRANSPOSITION: Self = Self([[0, 1], [1, 0]]);
    /// The eight symmetries of a square.
    pub const SQUARE: [Self; 8] = [
        Self::IDENTITY,
        Self([[0, -1], [1, 0]]),
        Self([[-1, 0], [0, -1]]),
        Self([[0, 1], [-1, 0]]),
        Self([[-1, 0], [0, 1]]),
        Self([[1, 0], [0, -1]]),
        Self::TRANSPOSITION,
        Self([[0, -1], [-1, 0]]),
    ];

    /// This one after another.
    #[must_use]
    pub fn after(self, first: Self) -> Self {
        Self(std::array::from_fn(|i| {
            std::array::from_fn(|j| (0..2).map(|k| self.0[i][k] * first.0[k][j]).sum())
        }))
    }

    /// Those that leave the x axis where it is.
    #[must_use]
    pub fn keeps_x_axis(self) -> bool {
        self.0[0][1] == 0
    }

    /// The image of a vector.
    #[must_use]
    pub fn vector(self, [x, y]: [f64; 2]) -> [f64; 2] {
        self.0.map(|[a, b]| a as f64 * x + b as f64 * y)
    }

    /// The place that goes to `[x, y]`.
    #[must_use]
    pub fn source(self, [x, y]: [i64; 2]) -> [i64; 2] {
        // The inverse is the transpose.
        let [[a, b], [c, d]] = self.0;
        [a * x + c * y, b * x + d * y]
    }

    /// The image of a symmetric tensor `[xx, xy, yy]`.
    fn tensor(self, [xx, xy, yy]: [f64; 3]) -> [f64; 3] {
        let [p, q] = self.0.map(|row| row.map(|n| n as f64));
        let form = |p: [f64; 2], q: [f64; 2]| {
            p[0] * (xx * q[0] + xy * q[1]) + p[1] * (xy * q[0] + yy * q[1])
        };
        [form(p, p), form(p, q), form(q, q)]
    }
}

/// Lengths that displacements are measured in, so that terms are of the order of one [Å].
const LENGTH: f64 = 0.3;
/// Measure of mean squares of roughness [Å²].
const SQUARE: f64 = 0.03;
/// Measure of doping.
const FRACTION: f64 = 0.1;

/// Neighbours on the half lattice, shell by shell: oxygens between, the other cation, the same cation, and farther ones.
const BETWEEN: [[i64; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const DIAGONAL: [[i64; 2]; 4] = [[1, 1], [-1, 1], [-1, -1], [1, -1]];
const SAME: [[i64; 2]; 4] = [[2, 0], [0, 2], [-2, 0], [0, -2]];
const FAR_DIAGONAL: [[i64; 2]; 4] = [[2, 2], [-2, 2], [-2, -2], [2, -2]];
/// Knight's moves: the far cations of an oxygen column.
const KNIGHT: [[i64; 2]; 8] = [
    [2, 1],
    [1, 2],
    [-1, 2],
    [-2, 1],
    [-2, -1],
    [-1, -2],
    [1, -2],
    [2, -1],
];
/// The far cations of the other kind.
const LONG: [[i64; 2]; 8] = [
    [3, 1],
    [1, 3],
    [-1, 3],
    [-3, 1],
    [-3, -1],
    [-1, -3],
    [1, -3],
    [3, -1],
];

/// The numbers that describe the surroundings of a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// Displacements of neighbours, roughness, doping.
    pub linear: Vec<f64>,
    /// How many of these, from the first on, are displacements of the four nearest cations, `[x, y]` each.
    pub nearest: usize,
    /// Products of two collective numbers: means over neighbours, roughness.
    pub second: Vec<f64>,
    /// Products of three.
    pub third: Vec<f64>,
}

/// The surroundings of the column at `place`, as a symmetry that brings it to the standard orientation of its kind shows them, against
/// an ideal cell of `edge` [Å].
///
/// Oxygen columns stand in standard orientation with their A neighbours along x.
#[must_use]
pub fn surroundings(sites: &Sites, place: [i64; 2], symmetry: Symmetry, edge: f64) -> Surroundings {
    let view = View {
        sites,
        place,
        centre: centre(sites, place),
        symmetry,
        ideal: edge,
    };
    match Kind::at(place) {
        Kind::A => view.of_a(),
        Kind::B => view.of_b(),
        Kind::O => view.of_o(),
    }
}

/// What the image around a column moves with, as a displacement from its ideal place [Å]: the column itself; for an oxygen column,
/// which hardly scatters, its four neighbours.
#[must_use]
pub fn centre(sites: &Sites, place: [i64; 2]) -> [f64; 2] {
    if Kind::at(place) != Kind::O {
        return sites.column(place).shift;
    }
    let shifts = BETWEEN.map(|off| sites.column([place[0] + off[0], place[1] + off[1]]).shift);
    std::array::from_fn(|axis| shifts.iter().map(|shift| shift[axis]).sum::<f64>() / 4.0)
}

/// The symmetry that brings an oxygen column to standard orientation; other columns have it anyway.
#[must_use]
pub fn standard_orientation(place: [i64; 2]) -> Symmetry {
    match (place[0].rem_euclid(2), place[1].rem_euclid(2)) {
        (0, 1) => Symmetry::TRANSPOSITION,
        _ => Symmetry::IDENTITY,
    }
}

/// A column and what is around it, seen through a symmetry.
struct View<'a> {
    sites: &'a Sites,
    place: [i64; 2],
    centre: [f64; 2],
    symmetry: Symmetry,
    /// Edge of the cell that displacements count from [Å].
    ideal: f64,
}

impl View<'_> {
    fn of_a(&self) -> Surroundings {
        let mut linear = Vec::new();
        self.shifts(&mut linear, &DIAGONAL);
        self.shifts(&mut linear, &BETWEEN);
        let cations = mean_of_pairs(&linear[..8]);
        let oxygens = mean_of_pairs(&linear[8..]);
        self.shifts(&mut linear, &SAME);
        self.shifts(&mut linear, &FAR_DIAGONAL);
        self.shifts(&mut linear, &LONG);
        let along = self.roughness_between(&mut linear);
        let first = linear.len();
        for off in DIAGONAL {
            self.apical(&mut linear, off);
        }
        let apical: [f64; 5] =
            std::array::from_fn(|n| (0..4).map(|i| linear[first + 5 * i + n]).sum::<f64>() / 4.0);
        linear.extend(self.doping([0, 0]));
        for off in SAME.into_iter().chain(FAR_DIAGONAL) {
            linear.push(self.doping(off)[0]);
        }
        let rough = [apical[2], apical[3], apical[4]];
        let collective = [
            &cations[..],
            &oxygens,
            &along,
            &rough,
            &apical[..2],
            &self.doping([0, 0])[..2],
        ]
        .concat();
        let mut third = products(&oxygens, &pairs(&along));
        third.extend(products(&[cations, oxygens].concat(), &pairs(&rough)));
        third.extend(cubes(cations));
        Surroundings {
            linear,
            nearest: 8,
            second: pairs(&collective),
            third,
        }
    }

    fn of_b(&self) -> Surroundings {
        let mut linear = Vec::new();
        self.shifts(&mut linear, &DIAGONAL);
        self.shifts(&mut linear, &BETWEEN);
        let cations = mean_of_pairs(&linear[..8]);
        let oxygens = mean_of_pairs(&linear[8..]);
        self.shifts(&mut linear, &SAME);
        self.shifts(&mut linear, &FAR_DIAGONAL);
        self.shifts(&mut linear, &LONG);
        let along = self.roughness_between(&mut linear);
        let first = linear.len();
        self.apical(&mut linear, [0, 0]);
        let (apical, rough) = (
            [linear[first], linear[first + 1]],
            [linear[first + 2], linear[first + 3], linear[first + 4]],
        );
        linear.extend(
            self.symmetry
                .vector(self.strand([0, 0], true).stagger)
                .map(|x| x / LENGTH),
        );
        let mut doping = 0.0;
        for off in DIAGONAL {
            linear.push(self.doping(off)[0]);
            doping += self.doping(off)[0] / 4.0;
        }
        let collective = [&cations[..], &oxygens, &apical, &rough, &along, &[doping]].concat();
        let squares = pairs(&rough);
        let mut third = products(&[apical, oxygens, cations].concat(), &squares);
        third.extend(products(&rough, &squares));
        third.extend(products(&rough, &pairs(&[apical, cations].concat())));
        third.extend(cubes(cations));
        Surroundings {
            linear,
            nearest: 8,
            second: pairs(&collective),
            third,
        }
    }

    fn of_o(&self) -> Surroundings {
        let mut linear = Vec::new();
        self.shifts(&mut linear, &BETWEEN);
        self.shifts(&mut linear, &KNIGHT);
        let first = linear.len();
        self.shifts(&mut linear, &[[0, 0]]);
        self.roughness(&mut linear, self.strand([0, 0], false));
        let own = linear[first..].to_vec();
        for off in [[0, 1], [0, -1]] {
            self.apical(&mut linear, off);
        }
        for off in [[1, 0], [-1, 0]] {
            linear.push(self.doping(off)[0]);
        }
        let mut second = pairs(&own);
        second.extend(products(&own, &linear[..8]));
        Surroundings {
            nearest: 8,
            second,
            third: products(&own[..2], &pairs(&own[2..])),
            linear,
        }
    }

    fn at(&self, off: [i64; 2]) -> [i64; 2] {
        let source = self.symmetry.source(off);
        [self.place[0] + source[0], self.place[1] + source[1]]
    }

    fn strand(&self, off: [i64; 2], apical: bool) -> &Strand {
        if apical {
            self.sites.apical(self.at(off))
        } else {
            self.sites.column(self.at(off))
        }
    }

    /// Moments of the doping of an A column.
    fn doping(&self, off: [i64; 2]) -> [f64; MOMENTS] {
        self.sites
            .doping(self.at(off))
            .map(|moment| moment / FRACTION)
    }

    /// Displacements of neighbours from where the column expects them.
    fn shifts(&self, values: &mut Vec<f64>, offs: &[[i64; 2]]) {
        let strain = (self.sites.edge - self.ideal) / 2.0;
        for &off in offs {
            let source = self.symmetry.source(off);
            let other = self.strand(off, false).shift;
            let apart = std::array::from_fn(|axis| {
                other[axis] - self.centre[axis] + source[axis] as f64 * strain
            });
            values.extend(self.symmetry.vector(apart).map(|x| x / LENGTH));
        }
    }

    /// Displacement of the apical oxygens from their B column, and how rough they are.
    fn apical(&self, values: &mut Vec<f64>, off: [i64; 2]) {
        let (oxygen, cation) = (self.strand(off, true), self.strand(off, false));
        let apart = std::array::from_fn(|axis| oxygen.shift[axis] - cation.shift[axis]);
        values.extend(self.symmetry.vector(apart).map(|x| x / LENGTH));
        self.roughness(values, oxygen);
    }

    fn roughness(&self, values: &mut Vec<f64>, strand: &Strand) {
        values.extend(self.symmetry.tensor(strand.spread).map(|x| x / SQUARE));
    }

    /// How rough the oxygens between are, and of it the part along the line to each.
    fn roughness_between(&self, values: &mut Vec<f64>) -> [f64; 4] {
        let first = values.len();
        for off in BETWEEN {
            self.roughness(values, self.strand(off, false));
        }
        std::array::from_fn(|n| values[first + 3 * n + if n % 2 == 0 { 0 } else { 2 }])
    }
}

/// Mean of vectors `[x, y]` that follow each other.
fn mean_of_pairs(values: &[f64]) -> [f64; 2] {
    let count = (values.len() / 2) as f64;
    [0, 1].map(|axis| values.iter().skip(axis).step_by(2).sum::<f64>() / count)
}

/// All products of two numbers, each with itself too.
fn pairs(values: &[f64]) -> Vec<f64> {
    let second = |i: usize| values[i..].iter().map(move |other| values[i] * other);
    (0..values.len()).flat_map(second).collect()
}

/// All products of one number of each.
fn products(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter()
        .flat_map(|x| b.iter().map(move |y| x * y))
        .collect()
}

/// Products of three components.
fn cubes([x, y]: [f64; 2]) -> [f64; 4] {
    [x * x * x, x * x * y, x * y * y, y * y * y]
}
