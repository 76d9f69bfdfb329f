//! Laws of the whole measurement, on synthetic images with known columns.

use ndarray::Array2;
use rand_distr::{Distribution, Normal, Poisson};

use super::synthetic::{PITCH, Scene};
use super::*;
use crate::crystal::polarization::{Point, flags};
use crate::neighbours::Neighbours;
use crate::rng::stream;

fn measured(image: &Image, settings: &ColumnSettings) -> Result<ColumnMap> {
    measure(image, settings, &Reporter::quiet())
}

fn map_of(scene: &Scene) -> ColumnMap {
    measured(&scene.image(), &ColumnSettings::default()).unwrap()
}

/// D that changes from cell to cell [pm].
fn waves(p: Point) -> [f64; 2] {
    [20.0 * (p[1] / 11.0).cos(), 20.0 * (p[0] / 14.0).sin()]
}

/// A 180° wall along y.
fn wall(p: Point) -> [f64; 2] {
    [0.0, 25.0 * ((p[0] - 25.0) / 6.0).tanh()]
}

fn vortex(p: Point) -> [f64; 2] {
    let (x, y) = (p[0] - 25.0, p[1] - 25.0);
    let r = x.hypot(y).max(1.0);
    [-25.0 * y / r, 25.0 * x / r]
}

/// How well a map tells the truth.
struct Score {
    /// Slope of measured against true D, by least squares without an intercept.
    slope: f64,
    /// Root mean square error of D per axis [pm].
    rms: f64,
    /// Root mean square error of D in reported standard deviations.
    honesty: f64,
    /// Unflagged vectors over all.
    good: f64,
}

fn score(scene: &Scene, map: &ColumnMap) -> Score {
    let ideal = scene.ideal_b();
    let tree = Neighbours::new(&ideal);
    let triples: Vec<[f64; 3]> = map
        .good_vectors()
        .flat_map(|v| {
            let truth = (scene.displacement)(ideal[tree.nearest(v.position, 1)[0].0]);
            [0, 1].map(|k| [v.displacement[k], truth[k], v.sigma[k]])
        })
        .collect();
    let mean =
        |f: &dyn Fn(&[f64; 3]) -> f64| triples.iter().map(f).sum::<f64>() / triples.len() as f64;
    Score {
        slope: mean(&|t| t[0] * t[1]) / mean(&|t| t[1] * t[1]),
        rms: mean(&|t| (t[0] - t[1]).powi(2)).sqrt(),
        honesty: mean(&|t| ((t[0] - t[1]) / t[2]).powi(2)).sqrt(),
        good: triples.len() as f64 / 2.0 / map.vectors.len() as f64,
    }
}

/// Every column a quarter of a cell inside the image is found once with its sublattice, and nothing else is.
fn assert_complete(scene: &Scene, map: &ColumnMap, name: &str) {
    let found: Vec<Point> = map.columns.iter().map(|c| c.position).collect();
    let tree = Neighbours::new(&found);
    let margin = 0.25 * PITCH;
    let [height, width] = [0, 1].map(|k| (scene.shape[k] - 1) as f64 * scene.sampling[k]);
    let truth = scene.columns();
    for (at, sublattice) in &truth {
        let inside =
            at[0] > margin && at[1] > margin && at[0] < width - margin && at[1] < height - margin;
        let near = tree.within(*at, 0.6);
        let right = near.len() == 1 && map.columns[near[0].0].sublattice == *sublattice;
        assert!(
            right || !inside,
            "{name}: column {sublattice:?} at {at:?} is missed"
        );
    }
    let points: Vec<Point> = truth.iter().map(|(at, _)| *at).collect();
    let tree = Neighbours::new(&points);
    for column in &map.columns {
        // A column half out of the image can only be placed roughly.
        let reach = if column.flags & flags::BORDER == 0 {
            0.6
        } else {
            1.2
        };
        let real = !tree.within(column.position, reach).is_empty();
        assert!(real, "{name}: nothing is at {:?}", column.position);
    }
}

#[test]
fn displacements_reach_the_cramer_rao_bound_and_know_it() {
    // Bounds of D per axis [pm], Poisson counting, for the default scene.
    for (dose, bound) in [(300.0, 6.70), (1000.0, 3.67), (30_000.0, 0.67)] {
        let scene = Scene {
            dose,
            displacement: waves,
            ..Scene::default()
        };
        let s = score(&scene, &map_of(&scene));
        // 280 values: the root mean square is known to 4 %, the slope at the lowest dose to 3 %.
        assert!(
            (s.slope - 1.0).abs() < 0.03,
            "dose {dose}: slope {}",
            s.slope
        );
        assert!(
            s.rms < 1.12 * bound,
            "dose {dose}: {} of the bound",
            s.rms / bound
        );
        assert!(
            (s.honesty - 1.0).abs() < 0.2,
            "dose {dose}: honesty {}",
            s.honesty
        );
        assert!(s.good > 0.9, "dose {dose}: {} unflagged", s.good);
    }
}

#[test]
fn broad_columns_do_not_shrink_displacements() {
    // 11 px per cell and tails that overlap: σ 0.7 Å.
    let scene = Scene {
        dose: 1000.0,
        width: 0.7,
        b_height: 0.45,
        sampling: [0.356; 2],
        displacement: waves,
        ..Scene::default()
    };
    let s = score(&scene, &map_of(&scene));
    assert!((s.slope - 1.0).abs() < 0.03, "slope {}", s.slope);
    assert!((s.honesty - 1.0).abs() < 0.2, "honesty {}", s.honesty);
}

#[test]
fn walls_and_vortices_are_followed() {
    for displacement in [wall as fn(Point) -> [f64; 2], vortex] {
        let scene = Scene {
            dose: 3000.0,
            displacement,
            ..Scene::default()
        };
        let s = score(&scene, &map_of(&scene));
        assert!((s.slope - 1.0).abs() < 0.03, "slope {}", s.slope);
        assert!(s.good > 0.95, "{} unflagged", s.good);
    }
}

#[test]
fn a_uniform_displacement_keeps_its_sign_and_size() {
    let scene = Scene {
        dose: 1000.0,
        displacement: |_| [20.0, -30.0],
        ..Scene::default()
    };
    let map = map_of(&scene);
    let [dx, dy] = map.median_displacement();
    // The bound 3.67 pm over √144, times 1.25 for the median: 0.4 pm; four of them.
    assert!(
        (dx.value - 20.0).abs() < 1.6 && (dy.value + 30.0).abs() < 1.6,
        "{dx:?} {dy:?}"
    );
    assert!(dx.error > 0.2 && dx.error < 0.8, "{dx:?}");
}

#[test]
fn every_lattice_is_found_without_options() {
    let base = Scene {
        dose: 300.0,
        displacement: waves,
        ..Scene::default()
    };
    let mut scenes = vec![("plain".to_owned(), base.clone())];
    for degrees in [7.0, 30.0, 45.0, -20.0] {
        scenes.push((format!("{degrees}°"), base.clone().turned(degrees, 0.0)));
    }
    scenes.push(("sheared".to_owned(), base.clone().turned(4.0, 0.03)));
    for (sampling, size) in [(0.10, 420), (0.16, 256), (0.30, 180), (0.36, 160)] {
        let scene = Scene {
            sampling: [sampling; 2],
            shape: [size; 2],
            ..base.clone()
        };
        scenes.push((format!("{sampling} Å/px"), scene));
    }
    for b_height in [0.15, 0.8, 0.9] {
        let dose = if b_height < 0.2 { 2000.0 } else { 300.0 };
        scenes.push((
            format!("B/A {b_height}"),
            Scene {
                b_height,
                dose,
                ..base.clone()
            },
        ));
    }
    scenes.push((
        "wide".to_owned(),
        Scene {
            shape: [110, 400],
            ..base.clone()
        },
    ));
    scenes.push((
        "unequal pixels".to_owned(),
        Scene {
            sampling: [0.1, 0.25],
            shape: [400, 200],
            ..base.clone()
        },
    ));
    let tetragonal = [[PITCH, 0.0], [0.0, 1.2 * PITCH]];
    scenes.push((
        "c/a 1.2".to_owned(),
        Scene {
            basis: tetragonal,
            ..base
        },
    ));
    for (name, scene) in &scenes {
        let map = map_of(scene);
        assert_complete(scene, &map, name);
        let s = score(scene, &map);
        assert!((s.slope - 1.0).abs() < 0.1, "{name}: slope {}", s.slope);
    }
}

#[test]
fn a_wrong_calibration_only_scales_the_map() {
    let scene = Scene {
        dose: 1000.0,
        ..Scene::default()
    };
    let right = map_of(&scene);
    for factor in [0.8, 1.2] {
        let mut image = scene.image();
        image.sampling = image.sampling.map(|s| factor * s);
        let map = measured(&image, &ColumnSettings::default()).unwrap();
        assert_eq!(map.columns.len(), right.columns.len());
        let ratio = map.calibration_ratio / right.calibration_ratio;
        assert!((ratio - factor).abs() < 1e-4, "{ratio}");
    }
}

#[test]
fn sublattices_survive_an_inversion_of_contrast() {
    let scene = Scene {
        dose: 1000.0,
        contrast: |p| if p[0] > 32.0 { [0.35, 2.0] } else { [1.0, 1.0] },
        ..Scene::default()
    };
    assert_complete(&scene, &map_of(&scene), "inverted on the right");
    let settings = ColumnSettings {
        brighter: Brighter::B,
        ..ColumnSettings::default()
    };
    let swapped = measured(&scene.image(), &settings).unwrap();
    let first = swapped.of(Sublattice::A).map(|c| c.height).sum::<f64>()
        / swapped.of(Sublattice::A).count() as f64;
    let second = swapped.of(Sublattice::B).map(|c| c.height).sum::<f64>()
        / swapped.of(Sublattice::B).count() as f64;
    assert!(first < second);
}

#[test]
fn vacuum_holds_no_columns() {
    let scene = Scene {
        dose: 300.0,
        contrast: |p| if p[0] > 26.0 { [0.0; 2] } else { [1.0; 2] },
        ..Scene::default()
    };
    let map = map_of(&scene);
    let beyond = map.columns.iter().filter(|c| c.position[0] > 27.0).count();
    assert_eq!(beyond, 0, "columns in vacuum");
    let true_count = scene
        .columns()
        .iter()
        .filter(|(at, _)| at[0] <= 26.0)
        .count();
    assert!(
        map.columns.len() + 20 > true_count,
        "{} of {true_count}",
        map.columns.len()
    );
}

#[test]
fn images_without_a_lattice_are_refused() {
    let settings = ColumnSettings::default();
    let refused = |data: Array2<f32>| {
        let image = Image {
            data,
            sampling: [0.2; 2],
        };
        measured(&image, &settings).unwrap_err().to_string()
    };
    let flat = refused(Array2::from_elem((200, 200), 3.0));
    assert!(
        flat.contains("no atom columns") && flat.contains("alike"),
        "{flat}"
    );
    for seed in 0..6 {
        let mut random = stream(seed, "noise", 0);
        let normal = Normal::new(0.0, 1.0).unwrap();
        let white = Array2::from_shape_simple_fn((256, 200), || normal.sample(&mut random) as f32);
        let blurred = filter::smooth(&white, [2.5; 2]);
        let poisson = Poisson::new(5.0).unwrap();
        let counts =
            Array2::from_shape_simple_fn((256, 200), || poisson.sample(&mut random) as f32);
        for data in [white, blurred, counts] {
            let message = refused(data);
            assert!(
                message.contains("no atom columns found") && message.contains("needed"),
                "{message}"
            );
        }
    }
    let message = refused(Array2::from_elem((200, 200), f32::NAN));
    assert!(message.contains("not finite"), "{message}");
}

#[test]
fn pixels_that_tell_nothing_are_left_out() {
    let scene = Scene {
        dose: 3000.0,
        displacement: waves,
        ..Scene::default()
    };
    let whole = scene.image();
    let mut holes = whole.clone();
    // Dead pixels, dead rows, a dead corner.
    for k in 0..400 {
        holes.data[(k * 37 % 256, k * 91 % 256)] = f32::NAN;
    }
    holes.data.row_mut(100).fill(f32::INFINITY);
    holes.data.slice_mut(ndarray::s![..30, ..30]).fill(f32::NAN);
    let mut clipped = whole.clone();
    clipped.data.mapv_inplace(|v| v.min(0.8));
    for (name, image, least) in [("holes", holes, 0.85), ("clipped", clipped, 0.95)] {
        let map = measured(&image, &ColumnSettings::default()).unwrap();
        let s = score(&scene, &map);
        // A bound of 2.1 pm; the middles of A that are cut off hold little of their positions.
        assert!((s.slope - 1.0).abs() < 0.03, "{name}: slope {}", s.slope);
        assert!(s.rms < 3.0, "{name}: {} pm", s.rms);
        assert!((s.honesty - 1.0).abs() < 0.2, "{name}: {}", s.honesty);
        assert!(s.good > least, "{name}: {}", s.good);
    }
}

#[test]
fn images_of_fewer_than_three_cells_are_refused() {
    for size in [2, 8, 30, 45, 55] {
        let image = Scene {
            shape: [size, 256],
            ..Scene::default()
        }
        .image();
        let message = measured(&image, &ColumnSettings::default())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("3 × 3 cells") || message.contains("no atom columns"),
            "{message}"
        );
    }
    let image = Scene {
        shape: [100, 100],
        ..Scene::default()
    }
    .image();
    assert!(
        measured(&image, &ColumnSettings::default()).is_ok(),
        "5 × 5 cells are enough"
    );
}

#[test]
fn threads_do_not_change_the_map() {
    let image = Scene {
        dose: 300.0,
        shape: [150, 170],
        ..Scene::default()
    }
    .image();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| measured(&image, &ColumnSettings::default()).unwrap())
    };
    let (one, three) = (with(1), with(3));
    assert_eq!(columns_csv(&one), columns_csv(&three));
    assert_eq!(one.vectors, three.vectors);
}

#[test]
fn indices_are_those_of_the_lattice() {
    let map = map_of(
        &Scene {
            dose: 1000.0,
            ..Scene::default()
        }
        .turned(7.0, 0.0),
    );
    let first = map.of(Sublattice::A).next().unwrap();
    for column in &map.columns {
        let half = if column.sublattice == Sublattice::B {
            0.5
        } else {
            0.0
        };
        let [i, j] = std::array::from_fn(|k| f64::from(column.index[k] - first.index[k]) + half);
        let expected = map.lattice.vector(i, j);
        let off = [0, 1].map(|k| column.position[k] - first.position[k] - expected[k]);
        assert!(
            lattice::length(off) < 0.5 || column.flags != 0,
            "{column:?} {off:?}"
        );
    }
}

#[test]
fn rows_have_the_fields_of_the_header() {
    let map = map_of(&Scene {
        dose: 1000.0,
        shape: [120, 120],
        ..Scene::default()
    });
    let names: Vec<&str> = COLUMNS_HEADER.split(',').collect();
    assert_eq!(
        names[..7],
        [
            "x_angstrom",
            "y_angstrom",
            "sublattice",
            "height",
            "sigma_x_angstrom",
            "sigma_y_angstrom",
            "flags"
        ]
    );
    let rows = columns_csv(&map);
    assert_eq!(rows.len(), map.columns.len());
    assert!(rows.iter().all(|row| row.len() == names.len()));
    assert!(map.summary().contains("median D = ("));
}

#[test]
fn how_an_image_lies_in_memory_does_not_matter() {
    let image = Scene {
        dose: 1000.0,
        ..Scene::default()
    }
    .image();
    let mut turned = image.clone();
    turned.data = image
        .data
        .t()
        .as_standard_layout()
        .into_owned()
        .reversed_axes();
    assert!(turned.data == image.data && turned.data.as_slice().is_none());
    let maps = [image, turned].map(|i| measured(&i, &ColumnSettings::default()).unwrap());
    assert_eq!(maps[0], maps[1]);
}

fn by_method(scene: &Scene, method: Method) -> ColumnMap {
    let settings = ColumnSettings {
        method,
        ..ColumnSettings::default()
    };
    measured(&scene.image(), &settings).unwrap()
}

#[test]
fn methods_agree_on_columns_that_stand_alone() {
    let scene = Scene {
        width: 0.3,
        sampling: [0.1; 2],
        displacement: waves,
        ..Scene::default()
    };
    for method in [Method::Joint, Method::Gaussian, Method::CentreOfMass] {
        let s = score(&scene, &by_method(&scene, method));
        // Four standard deviations to the window's rim: what lies beyond moves a centre of mass by less than 0.1 %.
        assert!(
            (s.slope - 1.0).abs() < 5e-3 && s.rms < 0.1,
            "{method:?}: {} {}",
            s.slope,
            s.rms
        );
    }
}

#[test]
fn only_the_joint_fit_keeps_displacements_of_overlapping_columns() {
    let scene = Scene {
        width: 0.65,
        displacement: waves,
        ..Scene::default()
    };
    let slope = |method| score(&scene, &by_method(&scene, method)).slope;
    let [joint, gaussian, mass] =
        [Method::Joint, Method::Gaussian, Method::CentreOfMass].map(slope);
    assert!((joint - 1.0).abs() < 5e-3, "{joint}");
    assert!(
        (gaussian - 1.0).abs() > 0.02 && (mass - 1.0).abs() > 0.1,
        "{gaussian} {mass}"
    );
}

#[test]
fn standard_deviations_of_single_fits_hold_where_columns_stand_alone() {
    let scene = Scene {
        width: 0.4,
        dose: 3000.0,
        b_height: 0.8,
        displacement: waves,
        ..Scene::default()
    };
    let s = score(&scene, &by_method(&scene, Method::Gaussian));
    // Some 150 cells of two components know it to 6 %; residuals of 7 parameters make it a little small.
    assert!((0.85..1.2).contains(&s.honesty), "{}", s.honesty);
}

#[test]
fn a_column_that_is_none_is_flagged_and_its_fellows_are_not() {
    let scene = Scene {
        dose: 1000.0,
        ..Scene::default()
    };
    let mut image = scene.image();
    let at = map_of(&scene).of(Sublattice::A).nth(60).unwrap().position;
    // A speck of dirt on the flank of a column.
    let (row, col) = ((at[1] / 0.2) as usize, (at[0] / 0.2) as usize);
    image
        .data
        .slice_mut(ndarray::s![row..row + 3, col + 3..col + 6])
        .mapv_inplace(|v| v + 1.5);
    let map = measured(&image, &ColumnSettings::default()).unwrap();
    let near = |c: &&AtomColumn| (c.position[0] - at[0]).hypot(c.position[1] - at[1]) < 1.0;
    let flagged = |c: &AtomColumn| c.flags & (flags::MISFIT | flags::OUTLIER) != 0;
    assert!(map.columns.iter().filter(near).all(flagged));
    let others = map
        .columns
        .iter()
        .filter(|c| !near(c) && flagged(c))
        .count();
    // Its neighbours may feel it.
    assert!(others <= 4, "{others} of {} columns", map.columns.len());
    let good = map.of(Sublattice::A).filter(|c| c.flags == 0);
    let typical: Vec<f64> = good.map(|c| c.misfit).collect();
    let mean = typical.iter().sum::<f64>() / typical.len() as f64;
    assert!((mean - 1.0).abs() < 0.05, "{mean}");
}
