//! Images as they come: one sublattice, vacuum, distortion, saturation, gaps, scale bars, mirrored axes, or no image at all.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::Path;

use ferrostem::column::analysis::{Analysis, AnalysisSettings};
use ferrostem::column::{AtomColumn, ColumnMap, ColumnSettings, Method, measure};
use ferrostem::crystal::Sublattice;
use ferrostem::crystal::polarization::flags;
use ferrostem::image::Image;
use ferrostem::neighbours::{Neighbours, Point};
use ferrostem::progress::Reporter;
use ferrostem::rng::stream;
use ferrostem::storage::micrograph;
use ndarray::{Array1, Array2, Array3, s};
use ndarray_npy::WriteNpyExt;
use rand_distr::{Distribution, Normal, Poisson};

use crate::settings::{ferrostem, refusal};

const PITCH: f64 = 3.965;

/// Gaussian columns of a perovskite, counted electrons.
struct Scene {
    shape: [usize; 2],
    /// [Å]
    sampling: f64,
    width: f64,
    /// Electrons per Å² at a height of 1; infinite for no noise.
    dose: f64,
    seed: u64,
    /// Height of A (true) or B at a place of the perfect crystal.
    height: fn(Point, bool) -> f64,
    background: fn(Point) -> f64,
    /// D at a place of the perfect crystal [pm].
    displacement: fn(Point) -> [f64; 2],
    /// From the perfect crystal to the image, both from the image's middle [Å].
    place: Box<dyn Fn(Point) -> Point>,
}

struct Truth {
    at: Point,
    is_a: bool,
    height: f64,
    /// D of the cell [pm], for B.
    displacement: [f64; 2],
}

fn perovskite(_: Point, is_a: bool) -> f64 {
    if is_a { 1.0 } else { 1.0 / 3.0 }
}

fn waves(p: Point) -> [f64; 2] {
    [20.0 * (p[1] / 11.0).cos(), 20.0 * (p[0] / 14.0).sin()]
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            shape: [256, 256],
            sampling: 0.2,
            width: 0.5,
            dose: 3000.0,
            seed: 1,
            height: perovskite,
            background: |_| 0.1,
            displacement: waves,
            place: Box::new(|p| p),
        }
    }
}

impl Scene {
    fn middle(&self) -> Point {
        [1, 0].map(|k| 0.5 * self.sampling * (self.shape[k] - 1) as f64)
    }

    /// Columns in and around the image; D is that of the drawn columns, as long as `place` is affine.
    fn columns(&self) -> Vec<Truth> {
        let middle = self.middle();
        let n = (middle[0].hypot(middle[1]) / PITCH) as i32 + 3;
        let placed = |p: Point| {
            let q = (self.place)(p);
            [0, 1].map(|k| middle[k] + q[k] + 0.37)
        };
        let mut all = Vec::new();
        for (i, j) in (-n..=n).flat_map(|j| (-n..=n).map(move |i| (i, j))) {
            let corner = [f64::from(i) * PITCH, f64::from(j) * PITCH];
            let centre = corner.map(|x| x + 0.5 * PITCH);
            let moved = |x: f64, y: f64| placed([corner[0] + x * PITCH, corner[1] + y * PITCH]);
            all.push(Truth {
                at: moved(0.0, 0.0),
                is_a: true,
                height: (self.height)(corner, true),
                displacement: [0.0; 2],
            });
            let d = (self.displacement)(centre).map(|d| d / 100.0);
            let at = placed([centre[0] + d[0], centre[1] + d[1]]);
            let corners = [
                moved(0.0, 0.0),
                moved(1.0, 0.0),
                moved(0.0, 1.0),
                moved(1.0, 1.0),
            ];
            let mean = [0, 1].map(|k| corners.iter().map(|c| c[k]).sum::<f64>() / 4.0);
            all.push(Truth {
                at,
                is_a: false,
                height: (self.height)(centre, false),
                displacement: [0, 1].map(|k| 100.0 * (at[k] - mean[k])),
            });
        }
        all.retain(|c| {
            let inside = |k: usize| (-5.0..2.0 * middle[k] + 5.0).contains(&c.at[k]);
            inside(0) && inside(1)
        });
        all
    }

    /// The columns at least `margin` [Å] inside that rise above nothing.
    fn shown(&self, margin: f64) -> Vec<Truth> {
        let middle = self.middle();
        let mut all = self.columns();
        all.retain(|c| {
            let inside = |k: usize| (margin..2.0 * middle[k] - margin).contains(&c.at[k]);
            inside(0) && inside(1) && c.height > 0.0
        });
        all
    }

    fn ideal(&self) -> Array2<f64> {
        let step = self.sampling;
        let middle = self.middle();
        let mut data = Array2::from_shape_fn(self.shape, |(row, col)| {
            (self.background)([col as f64 * step - middle[0], row as f64 * step - middle[1]])
        });
        let reach = 6.0 * self.width;
        for column in self.columns() {
            let range = |x: f64, n: usize| {
                let edge = |x: f64| ((x / step).max(0.0) as usize).min(n);
                edge(x - reach)..edge(x + reach)
            };
            for row in range(column.at[1], self.shape[0]) {
                for col in range(column.at[0], self.shape[1]) {
                    let q = (row as f64 * step - column.at[1]).powi(2)
                        + (col as f64 * step - column.at[0]).powi(2);
                    data[(row, col)] += column.height * (-0.5 * q / self.width.powi(2)).exp();
                }
            }
        }
        data
    }

    fn image(&self) -> Image {
        self.counted(self.ideal())
    }

    fn counted(&self, ideal: Array2<f64>) -> Image {
        let counts = self.dose * self.sampling * self.sampling;
        let mut random = stream(self.seed, "dose", 0);
        let data = ideal.mapv(|value| {
            if counts.is_finite() {
                Poisson::new(counts * value).map_or(0.0, |p| p.sample(&mut random) / counts) as f32
            } else {
                value as f32
            }
        });
        Image {
            data,
            sampling: [self.sampling; 2],
        }
    }
}

fn map_by(image: &Image, settings: &ColumnSettings) -> ColumnMap {
    measure(image, settings, &Reporter::quiet()).unwrap()
}

fn map_of(image: &Image) -> ColumnMap {
    map_by(image, &ColumnSettings::default())
}

fn by(method: Method) -> ColumnSettings {
    ColumnSettings {
        method,
        ..ColumnSettings::default()
    }
}

/// The column within 0.6 Å of a place.
fn column_at(map: &ColumnMap, at: Point) -> Option<&AtomColumn> {
    let tree = Neighbours::new(&map.columns.iter().map(|c| c.position).collect::<Vec<_>>());
    let near = tree.within(at, 0.6);
    near.first().map(|(index, _)| &map.columns[*index])
}

/// Every true column is found with its sublattice, and columns well inside the image are true ones.
fn assert_found(scene: &Scene, map: &ColumnMap, name: &str) {
    for truth in scene.shown(1.0) {
        let found = column_at(map, truth.at);
        let right = found.is_some_and(|c| (c.sublattice == Sublattice::A) == truth.is_a);
        assert!(
            right,
            "{name}: A {} at {:?}: {found:?}",
            truth.is_a, truth.at
        );
    }
    assert_true(scene, map, name);
}

fn assert_true(scene: &Scene, map: &ColumnMap, name: &str) {
    let places: Vec<Point> = scene.shown(-3.0).iter().map(|c| c.at).collect();
    let tree = Neighbours::new(&places);
    for column in map.columns.iter().filter(|c| c.flags & flags::BORDER == 0) {
        let real = !tree.within(column.position, 0.6).is_empty();
        assert!(
            real,
            "{name}: nothing is at {:?}: {column:?}",
            column.position
        );
    }
}

/// Slope of measured against true D, and root mean square of errors in standard deviations, over cells without flags.
fn score(scene: &Scene, map: &ColumnMap) -> (f64, f64) {
    let truths: Vec<Truth> = scene.columns().into_iter().filter(|c| !c.is_a).collect();
    let tree = Neighbours::new(&truths.iter().map(|c| c.at).collect::<Vec<_>>());
    let (mut cross, mut square, mut errors, mut count) = (0.0, 0.0, 0.0, 0);
    for vector in map.good_vectors() {
        let truth = truths[tree.nearest(vector.position, 1)[0].0].displacement;
        for ((measured, truth), sigma) in vector.displacement.iter().zip(truth).zip(vector.sigma) {
            cross += measured * truth;
            square += truth * truth;
            errors += ((measured - truth) / sigma).powi(2);
            count += 1;
        }
    }
    (cross / square, (errors / f64::from(count)).sqrt())
}

#[test]
fn three_methods_agree_on_a_clean_image_of_isolated_columns() {
    let scene = Scene {
        width: 0.25,
        sampling: 0.1,
        dose: f64::INFINITY,
        ..Scene::default()
    };
    let image = scene.image();
    for method in [Method::Joint, Method::Gaussian, Method::CentreOfMass] {
        let map = map_by(&image, &by(method));
        assert_eq!(map.method, method.word());
        let mut worst = 0.0_f64;
        for truth in scene.shown(2.0) {
            let found = column_at(&map, truth.at).unwrap();
            assert_eq!(found.flags & flags::NOT_FITTED, 0, "{method:?} {found:?}");
            let off = [0, 1].map(|k| (found.position[k] - truth.at[k]).abs());
            worst = worst.max(off[0].max(off[1]) / scene.sampling);
        }
        println!("{method:?}: farthest {worst:.5} px");
        // Neighbours are nine widths away: nothing but rounding and the cut of the window is left.
        assert!(worst < 0.01, "{method:?}: {worst} px");
    }
}

#[test]
fn overlapping_tails_falsify_displacements_of_lone_columns_only() {
    let scene = Scene {
        width: 0.65,
        dose: 30_000.0,
        ..Scene::default()
    };
    let image = scene.image();
    let slopes = [Method::Joint, Method::Gaussian, Method::CentreOfMass].map(|method| {
        let map = map_by(&image, &by(method));
        let (slope, honesty) = score(&scene, &map);
        println!("{method:?}: slope {slope:.4}, errors over sigma {honesty:.2}");
        slope
    });
    // The bound at this dose, over 160 cells, is 0.003. Windows follow the columns here, so that the nearer A draws B on: a plain
    // calculation without noise gives 1.2 for the Gaussian, and 2 for the centre of mass.
    assert!((slopes[0] - 1.0).abs() < 0.01, "{slopes:?}");
    assert!(
        (1.1..1.5).contains(&slopes[1]) && slopes[2] > slopes[1],
        "{slopes:?}"
    );
}

#[test]
fn standard_deviations_of_the_other_methods_follow_from_the_noise() {
    let scene = Scene {
        width: 0.3,
        sampling: 0.12,
        dose: 3000.0,
        ..Scene::default()
    };
    let image = scene.image();
    for method in [Method::Joint, Method::Gaussian, Method::CentreOfMass] {
        let (slope, honesty) = score(&scene, &map_by(&image, &by(method)));
        println!("{method:?}: slope {slope:.4}, errors over sigma {honesty:.2}");
        // Some 90 components: known to 8 %. The centre of mass takes a part of the noise for its ground.
        assert!((0.75..1.3).contains(&honesty), "{method:?}: {honesty}");
    }
}

#[test]
fn a_contaminated_column_is_flagged_and_hardly_any_other() {
    // Offset from an A column [Å], height and width [Å] of the blob. The fit takes one upon a column for a part of its shape, and the
    // place gives it away; one beside a column is left over, where the dose tells.
    type Blob = ([f64; 2], f64, f64);
    let upon: Blob = ([0.8, 0.5], 0.8, 0.5);
    let beside: Blob = ([0.9, 0.7], 1.2, 0.35);
    for (dose, (offset, height, width), told) in [
        (300.0, upon, flags::OUTLIER),
        (3000.0, upon, flags::OUTLIER),
        (30_000.0, upon, flags::MISFIT),
        (300.0, beside, flags::OUTLIER),
        (3000.0, beside, flags::MISFIT),
    ] {
        let scene = Scene {
            shape: [420, 420],
            dose,
            ..Scene::default()
        };
        let truth = scene.columns();
        let middle = scene.middle();
        let hit = truth
            .iter()
            .filter(|c| c.is_a)
            .map(|c| c.at)
            .min_by(|p, q| {
                let far = |p: &Point| (p[0] - middle[0]).hypot(p[1] - middle[1]);
                far(p).total_cmp(&far(q))
            })
            .unwrap();
        let blob = [hit[0] + offset[0], hit[1] + offset[1]];
        let mut ideal = scene.ideal();
        for ((row, col), value) in ideal.indexed_iter_mut() {
            let q = (row as f64 * 0.2 - blob[1]).powi(2) + (col as f64 * 0.2 - blob[0]).powi(2);
            *value += height * (-0.5 * q / width.powi(2)).exp();
        }
        let map = map_of(&scene.counted(ideal));
        let found = map
            .columns
            .iter()
            .min_by(|p, q| {
                let far = |c: &AtomColumn| (c.position[0] - hit[0]).hypot(c.position[1] - hit[1]);
                far(p).total_cmp(&far(q))
            })
            .unwrap();
        let flagged = |c: &&AtomColumn| c.flags & flags::MISFIT != 0;
        let others = map
            .columns
            .iter()
            .filter(|c| flagged(c) && *c != found)
            .count();
        println!(
            "dose {dose}: {found:?}; {others} of {} others",
            map.columns.len()
        );
        assert!(found.flags & told != 0, "dose {dose}: {found:?}");
        assert!(others * 100 <= map.columns.len(), "dose {dose}: {others}");
        let mean = map.columns.iter().map(|c| c.misfit).sum::<f64>() / map.columns.len() as f64;
        assert!(
            (0.9..1.2).contains(&mean),
            "dose {dose}: mean misfit {mean}"
        );
    }
}

#[test]
fn one_sublattice_gives_columns_and_no_displacement() {
    for dose in [100.0, 1000.0, 30_000.0, f64::INFINITY] {
        let scene = Scene {
            dose,
            height: |_, is_a| f64::from(u8::from(is_a)),
            ..Scene::default()
        };
        let map = map_of(&scene.image());
        println!("dose {dose}: {}", map.summary());
        assert_found(&scene, &map, &format!("dose {dose}"));
        assert_eq!(map.of(Sublattice::B).count(), 0, "dose {dose}");
        assert!(map.vectors.is_empty());
        assert!((map.lattice.pitch() - PITCH).abs() < 0.02);
        assert!(
            map.summary().contains("one sublattice"),
            "{}",
            map.summary()
        );
    }
}

#[test]
fn one_sublattice_ends_in_files_that_say_so() {
    let here = tempfile::tempdir().unwrap();
    let scene = Scene {
        height: |_, is_a| f64::from(u8::from(is_a)),
        ..Scene::default()
    };
    save(&scene.image().data, &here.path().join("a.npy"));
    ferrostem(here.path())
        .args(["columns", "a.npy", "--sampling", "0.2", "-o", "map"])
        .assert()
        .success();
    let read = |name: &str| fs::read_to_string(here.path().join("map").join(name)).unwrap();
    assert!(read("summary.txt").contains("one sublattice"));
    assert!(read("columns.csv").lines().count() > 100);
    assert_eq!(read("polarization.csv").lines().count(), 1);
    assert!(read("distances.csv").lines().count() > 100);
}

fn save(data: &Array2<f32>, path: &Path) {
    data.write_npy(fs::File::create(path).unwrap()).unwrap();
}

/// Cells with four columns well in the image that the crystal has.
fn assert_mapped(scene: &Scene, map: &ColumnMap, margin: f64, name: &str) {
    let drawn: Vec<Point> = map.vectors.iter().map(|v| v.position).collect();
    let tree = Neighbours::new(&drawn);
    let shown = scene.shown(margin);
    let corners: Vec<Point> = shown.iter().filter(|c| c.is_a).map(|c| c.at).collect();
    let around = Neighbours::new(&corners);
    for cell in shown.iter().filter(|c| !c.is_a) {
        let whole = around.within(cell.at, 0.9 * PITCH).len() == 4;
        let found = !tree.within(cell.at, 0.6).is_empty();
        assert!(found || !whole, "{name}: no cell at {:?}", cell.at);
    }
}

#[test]
fn vacuum_has_no_columns_and_the_crystal_all() {
    let ground: fn(Point) -> f64 = |p| 0.06 + 0.04 * ((p[0] + 2.0) / 2.0).tanh();
    for dose in [100.0, 300.0, 3000.0, f64::INFINITY] {
        let scene = Scene {
            dose,
            background: ground,
            height: |p, is_a| if p[0] < 0.0 { 0.0 } else { perovskite(p, is_a) },
            ..Scene::default()
        };
        let map = map_of(&scene.image());
        let name = format!("dose {dose}");
        assert_found(&scene, &map, &name);
        assert_mapped(&scene, &map, 1.5, &name);
        let (slope, honesty) = score(&scene, &map);
        println!("{name}: slope {slope}, honesty {honesty}");
        // Of images without noise the standard deviation is that of the model's own errors.
        assert!(dose.is_infinite() || honesty < 1.25, "{name}: {honesty}");
    }
}

#[test]
fn a_substrate_of_equal_columns_is_mapped_beside_the_film() {
    let scene = Scene {
        shape: [300, 300],
        height: |p, is_a| if p[1] > 0.0 { 0.6 } else { perovskite(p, is_a) },
        displacement: |p| if p[1] > 0.0 { [0.0; 2] } else { waves(p) },
        ..Scene::default()
    };
    let map = map_of(&scene.image());
    assert_found(&scene, &map, "substrate");
    assert_mapped(&scene, &map, 1.5, "substrate");
    let (slope, honesty) = score(&scene, &map);
    println!("slope {slope}, honesty {honesty}");
    assert!(
        (slope - 1.0).abs() < 0.02 && (honesty - 1.0).abs() < 0.15,
        "{slope} {honesty}"
    );
}

#[test]
fn vacuum_film_and_substrate_in_one_image() {
    let scene = Scene {
        shape: [360, 256],
        background: |p| if p[1] < -12.0 { 0.01 } else { 0.1 },
        height: |p, is_a| match p[1] {
            y if y < -12.0 => 0.0,
            y if y > 10.0 => 0.6,
            _ => perovskite(p, is_a),
        },
        ..Scene::default()
    };
    let map = map_of(&scene.image());
    assert_found(&scene, &map, "three");
    assert_mapped(&scene, &map, 1.5, "three");
}

fn rotated(p: Point, degrees: f64) -> Point {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [cos * p[0] - sin * p[1], sin * p[0] + cos * p[1]]
}

#[test]
fn turned_sheared_and_drifting_crystals_are_found_whole() {
    for degrees in [0.0, 3.0, 11.0, 22.5, 30.0, 41.0, 45.0, 60.0, 88.0] {
        for shear in [-0.03, 0.0, 0.03] {
            let scene = Scene {
                dose: 1000.0,
                place: Box::new(move |p| {
                    let [x, y] = rotated(p, degrees);
                    [x + shear * y, y + 0.5 * shear * x]
                }),
                ..Scene::default()
            };
            let map = map_of(&scene.image());
            let name = format!("{degrees}°, shear {shear}");
            assert_found(&scene, &map, &name);
            assert_mapped(&scene, &map, 1.5, &name);
            let (slope, honesty) = score(&scene, &map);
            // The bound of the slope is 0.015.
            assert!(
                (slope - 1.0).abs() < 0.06 && (0.8..1.2).contains(&honesty),
                "{name}: {slope} {honesty}"
            );
        }
    }
}

#[test]
fn slowly_warped_crystals_are_found_whole() {
    for (degrees, amplitude, period) in [(0.0, 0.6, 60.0), (20.0, 1.0, 80.0), (45.0, 1.5, 100.0)] {
        let scene = Scene {
            shape: [400, 400],
            dose: 1000.0,
            place: Box::new(move |p| {
                let [x, y] = rotated(p, degrees);
                let wave = |x: f64| amplitude * (std::f64::consts::TAU * x / period).sin();
                [x + wave(y) + 0.3 * wave(0.7 * x), y + wave(0.8 * x)]
            }),
            ..Scene::default()
        };
        let map = map_of(&scene.image());
        let name = format!("{degrees}°, {amplitude} Å over {period} Å");
        assert_found(&scene, &map, &name);
        assert_mapped(&scene, &map, 1.5, &name);
    }
}

/// Errors of positions in standard deviations, of columns well inside without flags: their root mean square, the largest, and how
/// many columns there are.
fn pulls(scene: &Scene, map: &ColumnMap) -> (f64, f64, usize) {
    let mut all: Vec<f64> = Vec::new();
    for truth in scene.shown(1.5) {
        if let Some(column) = column_at(map, truth.at).filter(|c| c.flags == 0) {
            all.extend(
                [0, 1].map(|k| (column.position[k] - truth.at[k]) / column.position_sigma[k]),
            );
        }
    }
    let square = all.iter().map(|p| p * p).sum::<f64>() / all.len() as f64;
    let most = all.iter().map(|p| p.abs()).fold(0.0, f64::max);
    (square.sqrt(), most, all.len() / 2)
}

#[test]
fn saturated_peaks_are_left_out_and_bias_nothing() {
    for limit in [0.95, 0.8, 0.6] {
        let scene = Scene::default();
        let mut image = scene.image();
        image.data.mapv_inplace(|v| v.min(limit));
        let map = map_of(&image);
        let (rms, most, count) = pulls(&scene, &map);
        println!("saturated at {limit}: {rms:.3}, most {most:.2}, {count} columns");
        assert_found(&scene, &map, "saturated");
        // 300 columns: the root mean square is known to 3 %; one in 1.7 million lies beyond 5.
        assert!(rms < 1.15 && most < 5.0, "{limit}: {rms} {most}");
        assert!(
            count as f64 > 0.95 * scene.shown(1.5).len() as f64,
            "{count}"
        );
    }
}

#[test]
fn pixels_that_are_not_finite_are_left_out_and_bias_nothing() {
    type Damage = fn(&mut Array2<f32>);
    let cases: [(&str, Damage, f64); 6] = [
        (
            "single",
            |data| {
                for (index, value) in data.iter_mut().enumerate().filter(|(i, _)| i % 97 == 0) {
                    *value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][index % 3];
                }
            },
            0.97,
        ),
        ("row", |data| data.row_mut(120).fill(f32::NAN), 0.97),
        (
            "rows",
            |data| data.slice_mut(s![118..124, ..]).fill(f32::NAN),
            0.9,
        ),
        (
            "column",
            |data| data.column_mut(77).fill(f32::INFINITY),
            0.97,
        ),
        (
            "block",
            |data| data.slice_mut(s![90..140, 100..150]).fill(f32::NAN),
            0.9,
        ),
        (
            "frame",
            |data| {
                data.slice_mut(s![..20, ..]).fill(f32::NAN);
                data.slice_mut(s![.., 240..]).fill(f32::NAN);
            },
            0.8,
        ),
    ];
    for (name, damage, part) in cases {
        let scene = Scene::default();
        let mut image = scene.image();
        damage(&mut image.data);
        let map = map_of(&image);
        let (rms, most, count) = pulls(&scene, &map);
        let all = scene.shown(1.5).len();
        println!("{name}: {rms:.3}, most {most:.2}, {count} of {all} columns");
        assert!(rms < 1.15 && most < 5.0, "{name}: {rms} {most}");
        assert!(count as f64 > part * all as f64, "{name}: {count} of {all}");
        // Where nothing was seen within 0.8 Å, nothing is told without a flag.
        for column in map.columns.iter().filter(|c| c.flags == 0) {
            let [row, col] = [1, 0].map(|k| (column.position[k] / scene.sampling).round() as usize);
            let near = image.data.slice(s![row - 4..=row + 4, col - 4..=col + 4]);
            assert!(near.iter().any(|v| v.is_finite()), "{name}: {column:?}");
        }
    }
}

#[test]
fn gaps_in_a_file_are_no_obstacle() {
    let here = tempfile::tempdir().unwrap();
    let mut image = Scene::default().image();
    image.data.slice_mut(s![90..140, 100..150]).fill(f32::NAN);
    image.data[(3, 5)] = f32::INFINITY;
    save(&image.data, &here.path().join("a.npy"));
    ferrostem(here.path())
        .args(["columns", "a.npy", "--sampling", "0.2", "-o", "map"])
        .assert()
        .success();
    assert!(here.path().join("map/polarization.png").exists());
}

#[test]
fn what_is_no_image_of_a_crystal_is_refused_and_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    let npy = |name: &str, write: &dyn Fn(fs::File)| {
        write(fs::File::create(here.path().join(name)).unwrap());
    };
    npy("line.npy", &|f| {
        Array1::<f32>::ones(50).write_npy(f).unwrap();
    });
    npy("stack.npy", &|f| {
        Array3::<f32>::ones((3, 40, 40)).write_npy(f).unwrap();
    });
    npy("no-rows.npy", &|f| {
        Array2::<f32>::ones((0, 40)).write_npy(f).unwrap();
    });
    npy("nothing.npy", &|f| {
        Array1::<f32>::ones(0).write_npy(f).unwrap();
    });
    let mut random = stream(5, "noise", 0);
    let normal = Normal::new(10.0, 2.0).unwrap();
    let mut noise = |rows, cols| {
        Array2::from_shape_simple_fn((rows, cols), || normal.sample(&mut random) as f32)
    };
    for (name, data) in [
        ("one.npy", Array2::ones((1, 1))),
        ("two.npy", noise(2, 2)),
        ("thin.npy", noise(1, 300)),
        ("constant.npy", Array2::from_elem((100, 100), 3.0)),
        ("noise.npy", noise(256, 256)),
        ("gaps.npy", Array2::from_elem((100, 100), f32::NAN)),
        (
            "few.npy",
            Scene {
                shape: [45, 45],
                ..Scene::default()
            }
            .image()
            .data,
        ),
    ] {
        save(&data, &here.path().join(name));
    }
    let file = hdf5::File::create(here.path().join("line.h5")).unwrap();
    file.new_dataset_builder()
        .with_data(&[1.0, 2.0, 3.0])
        .create("line")
        .unwrap();
    file.new_dataset_builder()
        .with_data(&Array3::<f32>::ones((3, 40, 40)))
        .create("stack")
        .unwrap();
    drop(file);
    fs::write(
        here.path().join("stack.mrc"),
        crate::readers::mrc(2, true, 3, true),
    )
    .unwrap();
    fs::write(here.path().join("empty.png"), []).unwrap();
    fs::create_dir(here.path().join("folder")).unwrap();
    for (arguments, told) in [
        (vec!["line.npy"], "got"),
        (vec!["stack.npy"], "--frame N (0 to 2), --average"),
        (vec!["stack.npy", "--frame", "3"], "0 to 2"),
        (vec!["no-rows.npy"], "got"),
        (vec!["nothing.npy"], "got"),
        (vec!["one.npy"], "got"),
        (vec!["two.npy"], "got"),
        (vec!["thin.npy"], "got"),
        (vec!["constant.npy"], "alike"),
        (vec!["noise.npy"], "no atom columns found"),
        (vec!["gaps.npy"], "not finite"),
        (vec!["few.npy"], "needed"),
        (vec!["line.h5"], "--frame N (0 to 2)"),
        (vec!["line.h5", "--signal", "line"], "got"),
        (vec!["stack.mrc"], "--frame N (0 to 2)"),
        (vec!["empty.png"], "got"),
        (vec!["folder"], "folder"),
        (vec!["missing.png"], "missing.png"),
    ] {
        let mut command = ferrostem(here.path());
        command
            .arg("columns")
            .args(&arguments)
            .args(["--sampling", "0.2", "-o", "map"]);
        let message = refusal(&mut command);
        println!("{}", message.trim());
        assert!(message.contains(told), "{arguments:?}: {message}");
        assert!(message.contains(arguments[0]), "{arguments:?}: {message}");
        let left: Vec<_> = fs::read_dir(here.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("map"))
            .collect();
        assert!(left.is_empty(), "{arguments:?} leaves {left:?}");
    }
}

/// Draws a bar and a block of letters on grey values.
fn burnt(scene: &Scene, ink: u8, plate: Option<u8>) -> Array2<u8> {
    let image = scene.image();
    let most = image.data.iter().copied().fold(0.0, f32::max);
    let mut grey = image.data.mapv(|v| (230.0 * v / most) as u8);
    if let Some(plate) = plate {
        grey.slice_mut(s![200..250, 10..140]).fill(plate);
    }
    grey.slice_mut(s![232..240, 20..130]).fill(ink);
    for letter in 0..5 {
        let left = 40 + 14 * letter;
        grey.slice_mut(s![208..226, left..left + 3]).fill(ink);
        grey.slice_mut(s![208..211, left..left + 9]).fill(ink);
        grey.slice_mut(s![216..219, left..left + 9]).fill(ink);
    }
    grey
}

/// Whether a place is on or at the bar, its letters or its plate.
fn is_near_bar(at: Point, margin: f64) -> bool {
    let [x, y] = at.map(|x| x / 0.2);
    let margin = margin / 0.2;
    (10.0 - margin..140.0 + margin).contains(&x) && (200.0 - margin..250.0 + margin).contains(&y)
}

#[test]
fn a_scale_bar_costs_the_columns_under_it_and_no_others() {
    for (ink, plate) in [(255, None), (0, None), (255, Some(0)), (0, Some(255))] {
        let scene = Scene::default();
        let grey = burnt(&scene, ink, plate);
        let image = Image {
            data: grey.mapv(f32::from),
            sampling: [0.2; 2],
        };
        let map = map_of(&image);
        let name = format!("ink {ink} on {plate:?}");
        let (mut square, mut count, mut lost, mut wrong, mut under) = (0.0, 0, 0, 0, 0);
        for truth in scene.shown(1.5) {
            let near = is_near_bar(truth.at, 0.0);
            under += usize::from(near);
            let Some(column) = column_at(&map, truth.at).filter(|c| c.flags == 0) else {
                lost += usize::from(!is_near_bar(truth.at, 1.5));
                continue;
            };
            let pulls =
                [0, 1].map(|k| (column.position[k] - truth.at[k]) / column.position_sigma[k]);
            if near {
                wrong += usize::from(pulls.iter().any(|p| p.abs() > 5.0));
            } else if !is_near_bar(truth.at, 1.5) {
                square += pulls[0].powi(2) + pulls[1].powi(2);
                count += 2;
            }
        }
        let rms = (square / f64::from(count)).sqrt();
        println!(
            "{name}: {rms:.3} over {count}, lost {lost}, {wrong} of {under} under it wrong and not flagged"
        );
        assert!(rms < 1.2 && lost <= 2 && wrong == 0, "{name}");
    }
}

#[test]
fn a_screenshot_asks_for_its_pixel_size() {
    let here = tempfile::tempdir().unwrap();
    let grey = burnt(&Scene::default(), 255, None);
    let (rows, cols) = grey.dim();
    let at = |x: u32, y: u32| grey[(y as usize, x as usize)];
    let (rows, cols) = (rows as u32, cols as u32);
    let save = |picture: image::DynamicImage, name: &str| {
        picture.save(here.path().join(name)).unwrap();
    };
    save(
        image::ImageBuffer::from_fn(cols, rows, |x, y| image::Luma([at(x, y)])).into(),
        "grey.png",
    );
    save(
        image::ImageBuffer::from_fn(cols, rows, |x, y| image::Rgb([at(x, y); 3])).into(),
        "rgb.png",
    );
    for name in ["grey.png", "rgb.png"] {
        let message = refusal(ferrostem(here.path()).args(["columns", name, "-o", "map"]));
        assert!(message.contains("--sampling"), "{message}");
        assert!(!here.path().join("map").exists());
        let map = format!("map-{name}");
        ferrostem(here.path())
            .args(["columns", name, "--sampling", "0.2", "-o", &map])
            .assert()
            .success();
    }
    let table =
        |name: &str| fs::read_to_string(here.path().join(name).join("polarization.csv")).unwrap();
    // The same grey in three channels: luminance differs in the last digit of single precision.
    assert_eq!(
        table("map-grey.png").lines().count(),
        table("map-rgb.png").lines().count()
    );
}

/// A HyperSpy file of one image, with these scales along `[y, x]` [nm].
fn write_hspy(path: &Path, data: &Array2<f32>, scales: [f64; 2]) {
    let text = |location: &hdf5::Location, name: &str, text: &str| {
        let text: hdf5::types::VarLenUnicode = text.parse().unwrap();
        let attribute = location.new_attr::<hdf5::types::VarLenUnicode>();
        attribute.create(name).unwrap().write_scalar(&text).unwrap();
    };
    let file = hdf5::File::create(path).unwrap();
    text(&file, "file_format", "HyperSpy");
    let group = file.create_group("Experiments/image").unwrap();
    group
        .new_dataset_builder()
        .with_data(data)
        .create("data")
        .unwrap();
    for (axis, scale) in scales.iter().enumerate() {
        let axis = group.create_group(&format!("axis-{axis}")).unwrap();
        text(&axis, "units", "nm");
        axis.new_attr::<f64>()
            .create("scale")
            .unwrap()
            .write_scalar(scale)
            .unwrap();
    }
}

#[test]
fn mirrored_axes_are_told_and_change_nothing_in_the_frame_of_the_pixels() {
    let here = tempfile::tempdir().unwrap();
    let data = Scene {
        shape: [128, 128],
        ..Scene::default()
    }
    .image()
    .data;
    let map = |name: &str, scales: [f64; 2]| {
        write_hspy(&here.path().join(name), &data, scales);
        let file = micrograph::open(&here.path().join(name), None).unwrap();
        let run = ferrostem(here.path())
            .args(["columns", name, "-o", &format!("map-{name}")])
            .assert()
            .success();
        drop(run);
        let table = here.path().join(format!("map-{name}/polarization.csv"));
        (fs::read_to_string(table).unwrap(), file.notices)
    };
    let (plain, notices) = map("plain.hspy", [0.02, 0.02]);
    assert!(notices.is_empty(), "{notices:?}");
    for (name, scales, told) in [
        ("x.hspy", [0.02, -0.02], "x axis runs"),
        ("y.hspy", [-0.02, 0.02], "y axis runs"),
        ("both.hspy", [-0.02, -0.02], "x and y axes run"),
    ] {
        let (table, notices) = map(name, scales);
        assert_eq!(table, plain, "{name}");
        assert!(notices.iter().any(|n| n.contains(told)), "{notices:?}");
    }
}

#[test]
fn mirrored_axes_of_dm_and_emd_are_told() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i");
    for version in [3, 4] {
        let mut bytes = crate::readers::dm(version);
        let scale = 0.01_f32.to_le_bytes();
        let place = bytes.windows(4).position(|part| part == scale).unwrap();
        bytes[place..place + 4].copy_from_slice(&(-0.01_f32).to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let file = micrograph::open(&path, None).unwrap();
        crate::readers::assert_sampling(file.sampling, [0.2, 0.1], 1e-7);
        assert!(
            file.notices[0].contains("x axis runs"),
            "{:?}",
            file.notices
        );
    }
    crate::readers::write_ncem(&path, 1, ["y", "x"]);
    let file = hdf5::File::open_rw(&path).unwrap();
    file.dataset("data/scan/dim2")
        .unwrap()
        .write(&[5.0, 4.98])
        .unwrap();
    drop(file);
    let file = micrograph::open(&path, None).unwrap();
    crate::readers::assert_sampling(file.sampling, [0.2, 0.1], 1e-9);
    assert!(
        file.notices[0].contains("y axis runs"),
        "{:?}",
        file.notices
    );
}

/// A straight wall of the perfect crystal: D = M + H tanh((n·p − position)/width).
struct Wall {
    name: &'static str,
    displacement: fn(Point) -> [f64; 2],
    normal: Point,
    position: f64,
    width: f64,
}

const HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
const WALLS: [Wall; 3] = [
    Wall {
        name: "180°, upright",
        displacement: |p| [0.0, 25.0 * ((p[0] - 1.3) / 5.0).tanh()],
        normal: [1.0, 0.0],
        position: 1.3,
        width: 5.0,
    },
    Wall {
        name: "90°, level",
        displacement: |p| [20.0, 20.0 * ((p[1] + 2.1) / 7.0).tanh()],
        normal: [0.0, 1.0],
        position: -2.1,
        width: 7.0,
    },
    Wall {
        name: "180°, diagonal",
        displacement: |p| {
            let t = 20.0 * (((p[0] + p[1]) * HALF - 0.7) / 4.0).tanh();
            [-t, t]
        },
        normal: [HALF, HALF],
        position: 0.7,
        width: 4.0,
    },
];

#[test]
fn errors_of_walls_lie_within_sigma_about_as_often_as_they_should() {
    let (count, parts) = covered(20);
    // 60 segments: the part is known to 6 %; three times that.
    let honest = |part: &f64| (0.50..0.86).contains(part);
    assert!(count >= 60 && parts.iter().all(honest), "{parts:?}");
}

#[test]
#[ignore = "a minute: 300 images"]
fn errors_of_300_walls_lie_within_sigma_as_often_as_they_should() {
    let (count, parts) = covered(100);
    // Known to 3 %.
    let honest = |part: &f64| (0.60..0.76).contains(part);
    assert!(count >= 300 && parts.iter().all(honest), "{parts:?}");
}

/// Segments, and the parts of them whose position and half width lie within one standard deviation of the truth, in as many
/// images of each wall.
fn covered(seeds: u64) -> (usize, [f64; 2]) {
    let (mut inside, mut count, mut missing) = ([0, 0], 0, 0);
    for (number_of_wall, wall) in WALLS.iter().enumerate() {
        let (mut own, mut number) = ([0, 0], 0);
        let mut squares = [0.0; 2];
        for seed in 0..seeds {
            let scene = Scene {
                shape: [280, 280],
                dose: 1000.0,
                // Poisson numbers of one seed are alike in all scenes.
                seed: 1000 * number_of_wall as u64 + seed,
                displacement: wall.displacement,
                ..Scene::default()
            };
            let map = map_of(&scene.image());
            let analysis = Analysis::new(&map, &AnalysisSettings::default(), 3.95).unwrap();
            let middle = scene.middle().map(|x| x + 0.37);
            missing += usize::from(analysis.walls.is_empty());
            for segment in &analysis.walls {
                let p = &segment.profile;
                let off: f64 = (0..2)
                    .map(|k| (p.centre[k] - middle[k]) * wall.normal[k])
                    .sum();
                let pulls = [
                    (off - wall.position) / p.position_sigma,
                    (p.half_width.value - wall.width) / p.half_width.sigma,
                ];
                for k in 0..2 {
                    own[k] += usize::from(pulls[k].abs() < 1.0);
                    squares[k] += pulls[k] * pulls[k];
                }
                number += 1;
            }
        }
        println!(
            "{}: {number} segments; within one sigma: position {:.3}, half width {:.3}; mean squares {:.2}, {:.2}",
            wall.name,
            own[0] as f64 / number as f64,
            own[1] as f64 / number as f64,
            squares[0] / number as f64,
            squares[1] / number as f64
        );
        count += number;
        inside = [inside[0] + own[0], inside[1] + own[1]];
    }
    let parts = inside.map(|n| n as f64 / count as f64);
    println!(
        "{count} segments of {} walls: {parts:?}; {missing} walls not found",
        WALLS.len() as u64 * seeds
    );
    assert_eq!(missing, 0);
    (count, parts)
}

#[test]
fn the_method_is_written_in_every_file() {
    let here = tempfile::tempdir().unwrap();
    save(&Scene::default().image().data, &here.path().join("a.npy"));
    let run = |method: &str| {
        let mut command = ferrostem(here.path());
        command.args([
            "columns",
            "a.npy",
            "--sampling",
            "0.2",
            "-o",
            method,
            "--method",
            method,
        ]);
        command
    };
    for method in ["joint", "gaussian", "centre_of_mass"] {
        run(method).assert().success();
        let folder = here.path().join(method);
        for name in [
            "columns",
            "polarization",
            "cells",
            "distances",
            "domains",
            "walls",
        ] {
            let text = fs::read_to_string(folder.join(format!("{name}.csv"))).unwrap();
            let mut lines = text.lines();
            assert!(lines.next().unwrap().ends_with(",method"), "{name}");
            assert!(
                lines.all(|line| line.ends_with(&format!(",{method}"))),
                "{name}"
            );
        }
        for name in ["summary.txt", "analysis.toml", "provenance.toml"] {
            let text = fs::read_to_string(folder.join(name)).unwrap();
            assert!(text.contains(method), "{method} is not in {name}");
        }
        let bytes = fs::read(folder.join("polarization.hspy")).unwrap();
        assert!(
            bytes
                .windows(method.len())
                .any(|part| part == method.as_bytes())
        );
    }
    let message = refusal(&mut run("fourier"));
    assert!(message.contains("centre_of_mass"), "{message}");
}
