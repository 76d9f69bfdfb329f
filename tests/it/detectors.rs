//! Detectors on simulated waves, and diffraction patterns on disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use ferrostem::error::Result;
use ferrostem::multislice::{
    Aberrations, AnnularDetector, Aperture, CentreOfMassDetector, Detector, Multislice, Optics,
    PatternGrid, PixelatedDetector, Potential, Precision, ProbeSettings, QuadrantDetector,
    ScatteringTable, SegmentedDetector, images_from_channels,
};
use ferrostem::storage::hspy::{self, ImageFile};
use ferrostem::storage::patterns::{PatternBlock, PatternStream};
use ferrostem::storage::{info, micrograph};
use ndarray::Array2;

use crate::storage::images;

const SIDE: f64 = 8.0;

fn probe() -> ProbeSettings {
    ProbeSettings {
        energy_kev: 200.0,
        semiangle_mrad: 20.0,
        aperture: Aperture::Soft,
        aberrations: Aberrations::default(),
        focal_spread: None,
    }
}

fn annulus(inner_mrad: f64, outer_mrad: f64) -> Detector {
    Detector::Annular(AnnularDetector {
        inner_mrad,
        outer_mrad,
    })
}

/// Some atoms in slices of `slice` [Å].
fn specimen(atoms: &[(u8, [f64; 3])], height: f64, slice: f64) -> Potential {
    let (numbers, positions): (Vec<u8>, Vec<[f64; 3]>) = atoms.iter().copied().unzip();
    let cell = [SIDE, SIDE, height];
    let table = ScatteringTable::Lobato;
    Potential::new(&positions, &numbers, cell, (64, 64), table, slice).unwrap()
}

/// A microscope with these detectors.
fn optics(precision: Precision, detectors: &[Detector], exit_slices: &[usize]) -> Optics {
    Optics {
        probe: probe(),
        detectors: detectors.to_vec(),
        exit_slices: exit_slices.to_vec(),
        precision,
        thermal: None,
    }
}

/// A pattern summed over the pixels of an annulus is what the annular detector reads, and so are all segments together; only
/// the order of the sums differs.
#[test]
fn pixels_and_segments_sum_to_the_annulus() {
    let potential = specimen(&[(26, [3.0, 4.1, 1.0]), (8, [5.3, 2.2, 3.0])], 8.0, 2.0);
    let ring = (15.0, 45.0);
    let detectors = [
        annulus(ring.0, ring.1),
        Detector::Segmented(SegmentedDetector {
            inner_mrad: ring.0,
            outer_mrad: ring.1,
            rings: 2,
            sectors: 8,
            rotation_rad: 0.2,
        }),
        Detector::Pixelated(PixelatedDetector {
            outer_mrad: 60.0,
            bin: 1,
        }),
        Detector::Pixelated(PixelatedDetector {
            outer_mrad: 60.0,
            bin: 3,
        }),
    ];
    let precision = Precision::F64;
    let engine = Multislice::new(&potential, &optics(precision, &detectors, &[2, 4])).unwrap();
    let read = engine.scan(&[[3.1, 3.9], [5.0, 2.0]]);
    let wavelength = probe().wavelength();
    let Detector::Pixelated(camera) = &detectors[2] else {
        unreachable!("the third is the camera");
    };
    let camera = PatternGrid::new(camera, potential.grid(), wavelength).unwrap();
    let Detector::Pixelated(coarse) = &detectors[3] else {
        unreachable!("the fourth is the binned camera");
    };
    let coarse = PatternGrid::new(coarse, potential.grid(), wavelength).unwrap();
    let side = camera.shape()[0];
    let of_camera = |first: usize, [rows, cols]: [usize; 2], exit: usize, probe: usize| {
        Array2::from_shape_fn((rows, cols), |(y, x)| {
            read[(first + y * cols + x, exit, probe)]
        })
    };
    let (offset, step) = (camera.offset_mrad(), camera.step_mrad());
    for exit in 0..2 {
        for probe in 0..2 {
            let annular = read[(0, exit, probe)];
            let segments: f64 = (1..17).map(|c| read[(c, exit, probe)]).sum();
            assert!((segments - annular).abs() < 1e-12 * annular);
            let pattern = of_camera(17, camera.shape(), exit, probe);
            let mut sum = 0.0;
            for ((y, x), value) in pattern.indexed_iter() {
                let ky = offset[0] + step[0] * y as f64;
                let kx = offset[1] + step[1] * x as f64;
                if (ring.0..ring.1).contains(&kx.hypot(ky)) {
                    sum += value;
                }
            }
            assert!((sum / annular - 1.0).abs() < 1e-12, "{sum} {annular}");
            // The binned camera is the same square, summed three by three.
            let binned = of_camera(17 + side * side, coarse.shape(), exit, probe);
            let middle = binned.dim().0 / 2;
            let bin = binned[(middle, middle)];
            let beam = side / 2;
            let near = pattern.slice(ndarray::s![beam - 1..=beam + 1, beam - 1..=beam + 1]);
            assert!((bin / near.sum() - 1.0).abs() < 1e-12);
        }
    }
}

/// Behind a thin, weak object the integrated centre of mass is the phase seen by the probe, |ψ|² ⋆ φ (Lazić et al. 2016), to
/// the band limit; four quadrants, scaled, show the same within a tenth of the contrast or so.
#[test]
fn the_integrated_centre_of_mass_is_the_phase() {
    // Beryllium: the probe sees 0.05 rad at most. The slice is so thin that nothing propagates in it.
    let potential = specimen(
        &[(4, [2.9, 3.3, 0.005]), (4, [5.2, 4.4, 0.005])],
        0.01,
        0.01,
    );
    let disk = CentreOfMassDetector {
        inner_mrad: 0.0,
        outer_mrad: 66.0,
    };
    let quadrants = QuadrantDetector {
        inner_mrad: 0.0,
        outer_mrad: 66.0,
        rotation_rad: 0.3,
    };
    let detectors = [
        Detector::IntegratedCentreOfMass(disk),
        Detector::IntegratedDpc(quadrants),
    ];
    let precision = Precision::F64;
    let engine = Multislice::new(&potential, &optics(precision, &detectors, &[1])).unwrap();
    // Twice the aperture, 1.6 1/Å, is below the Nyquist frequency of the scan.
    let points = 32;
    let step = SIDE / points as f64;
    let positions: Vec<[f64; 2]> = (0..points * points)
        .map(|i| [(i % points) as f64 * step, (i / points) as f64 * step])
        .collect();
    let read = engine.scan(&positions);
    let image = |first: usize, detector: &Detector| {
        let channel = |c: usize| {
            Array2::from_shape_fn((points, points), |(y, x)| read[(c, 0, y * points + x)])
        };
        let channels = vec![channel(first), channel(first + 1)];
        let mut images = images_from_channels(detector, "i", channels, [step; 2], true);
        assert_eq!(images.len(), 1);
        images.remove(0).1
    };
    let icom = image(0, &detectors[0]);
    let wave = &engine.exit_waves(ferrostem::multislice::Illumination::PlaneWave)[0];
    let phase = wave.mapv(|value| value.arg());
    let mut expected = Array2::from_shape_fn((points, points), |(y, x)| {
        let probe = engine.probe(positions[y * points + x]);
        let total: f64 = probe.iter().map(|v| v.norm_sqr()).sum();
        let seen = probe
            .iter()
            .zip(&phase)
            .map(|(v, phase)| v.norm_sqr() * phase);
        seen.sum::<f64>() / total
    });
    expected -= expected.mean().unwrap();
    let contrast = expected.iter().fold(0.0, |most: f64, v| v.abs().max(most));
    let worst = |image: &Array2<f64>| {
        let errors = image.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        errors.fold(0.0, f64::max) / contrast
    };
    println!(
        "phase {contrast:.4} rad, error of icom {:.1e}",
        worst(&icom)
    );
    assert!(contrast > 0.01, "nothing to see: {contrast}");
    assert!(worst(&icom) < 1e-3, "{}", worst(&icom));
    let idpc = image(2, &detectors[1]);
    let scale = (&idpc * &expected).sum() / (&idpc * &idpc).sum();
    let idpc = &idpc * scale;
    println!("error of idpc {:.2}", worst(&idpc));
    assert!(scale > 0.0 && worst(&idpc) < 0.15, "{}", worst(&idpc));
}

const SCAN: [usize; 2] = [5, 7];
const SHAPE: [usize; 2] = [4, 6];

fn value(frame: [usize; 2], probe: usize, pixel: usize) -> f32 {
    (frame[0] * 100_000 + frame[1] * 10_000 + probe * 100 + pixel) as f32
}

/// Patterns in blocks of `size` probes for every tilt and thickness of `file`.
fn stream(file: &ImageFile, size: usize) -> PatternStream<'static> {
    let (tilts, thicknesses) = (file.tilts_mrad.len(), file.thicknesses_nm.len());
    let probes = SCAN[0] * SCAN[1];
    let pixels = SHAPE[0] * SHAPE[1];
    let frames = (0..tilts).flat_map(move |t| (0..thicknesses).map(move |d| [t, d]));
    let blocks = frames.flat_map(move |frame| {
        (0..probes).step_by(size).map(move |first_probe| {
            let last = (first_probe + size).min(probes);
            Ok(PatternBlock {
                tilt: frame[0],
                thickness: frame[1],
                first_probe,
                values: (first_probe..last)
                    .flat_map(|probe| (0..pixels).map(move |pixel| value(frame, probe, pixel)))
                    .collect(),
            })
        })
    });
    PatternStream {
        name: "camera".to_owned(),
        scan: SCAN,
        shape: SHAPE,
        offset_mrad: [-3.0, -6.0],
        step_mrad: [1.5, 2.0],
        blocks: Box::new(blocks),
    }
}

fn write(path: &Path, file: &ImageFile, stream: PatternStream<'_>) -> Result<()> {
    hspy::write_images_and_patterns(path, file, vec![stream], true)
}

#[test]
fn patterns_come_back_as_they_were_streamed() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p.hspy");
    let file = images();
    for size in [1, 4, 7, 11, 35] {
        write(&path, &file, stream(&file, size)).unwrap();
        assert_eq!(hspy::read_images(&path).unwrap(), file, "images only");
        let patterns = micrograph::open(&path, Some("camera")).unwrap();
        assert_eq!((patterns.frames, patterns.shape), (2 * 3 * 35, SHAPE));
        for index in [0, 34, 35, 118, 209] {
            let (frame, probe) = ([index / 105, index / 35 % 3], index % 35);
            let expected = Array2::from_shape_fn((4, 6), |(y, x)| value(frame, probe, y * 6 + x));
            assert_eq!(patterns.frame(index).unwrap(), expected);
        }
        let label = patterns.label(118);
        assert_eq!(
            label,
            "tilt (5, -2.5) mrad, thickness 5 nm, y 1.2 Å, x -1.4 Å"
        );
        assert_eq!(patterns.sampling, None, "mrad are no length");
    }
}

/// Who opens the file without naming a signal gets an image, and `info` shows both.
#[test]
fn images_come_before_patterns() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p.hspy");
    let mut file = images();
    // Patterns of 24 pixels beside images of 2 × 2.
    for stack in &mut file.detectors {
        stack.data = stack.data.slice(ndarray::s![.., .., ..2, ..2]).to_owned();
    }
    write(&path, &file, stream(&file, 9)).unwrap();
    let micrograph = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (micrograph.title.as_str(), micrograph.shape),
        ("haadf", [2, 2])
    );
    let text = info::describe(&path).unwrap();
    assert!(
        text.contains("/Experiments/camera/data 2 × 3 × 5 × 7 × 4 × 6"),
        "{text}"
    );
    file.detectors.clear();
    write(&path, &file, stream(&file, 9)).unwrap();
    let text = info::describe(&path).unwrap();
    assert!(text.contains("image          6 × 4 px"), "{text}");
    assert!(
        text.contains("tilt (0, 0) mrad, thickness 5 nm, y 1 Å, x -1.9 Å"),
        "{text}"
    );
}

#[test]
fn a_single_tilt_and_thickness_have_no_axis() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p.hspy");
    let mut file = images();
    file.tilts_mrad.truncate(1);
    file.thicknesses_nm.truncate(1);
    file.detectors.clear();
    write(&path, &file, stream(&file, 4)).unwrap();
    let patterns = micrograph::open(&path, None).unwrap();
    assert_eq!(patterns.signals[0].shape, [5, 7, 4, 6]);
    assert_eq!(
        patterns.label(8),
        "tilt (0, 0) mrad, thickness 5 nm, y 1.2 Å, x -1.9 Å"
    );
}

#[test]
fn a_stream_that_is_not_whole_leaves_no_file() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p.hspy");
    let file = images();
    let spoiled = |spoil: fn(usize, PatternBlock) -> Option<PatternBlock>| {
        let mut stream = stream(&file, 7);
        let blocks = std::mem::replace(&mut stream.blocks, Box::new(std::iter::empty()));
        let blocks = blocks.flatten().enumerate();
        stream.blocks = Box::new(blocks.filter_map(move |(i, block)| spoil(i, block).map(Ok)));
        let message = write(&path, &file, stream).unwrap_err().to_string();
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
        message
    };
    let missing = spoiled(|index, block| (index != 3).then_some(block));
    assert!(
        missing.contains("got 203 patterns; allowed: 210"),
        "{missing}"
    );
    let outside = spoiled(|_, mut block| {
        block.first_probe += 1;
        Some(block)
    });
    assert!(
        outside.contains("allowed: whole patterns inside"),
        "{outside}"
    );
    let cut = spoiled(|_, mut block| {
        block.values.pop();
        Some(block)
    });
    assert!(cut.contains("got 167 numbers"), "{cut}");
}

/// For `tests/golden/hyperspy_loads.py`.
#[test]
#[ignore = "writes files for HyperSpy"]
fn patterns_for_hyperspy() {
    let folder = std::env::var("FERROSTEM_HYPERSPY_DIR").unwrap();
    let file = images();
    let path = Path::new(&folder).join("patterns.hspy");
    write(&path, &file, stream(&file, 7)).unwrap();
}
