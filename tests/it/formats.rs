//! Foreign image files: they have the numbers that other programs read, and damage is an error.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use ferrostem::storage::{hspy, micrograph};
use ndarray::{Array1, Array2, Array3};
use ndarray_npy::WriteNpyExt;

use crate::storage::{images, real};

#[test]
fn dm_files_have_the_numbers_that_rosettasciio_reads() {
    // rosettasciio 0.15.0, file_reader: shape, scale × unit, float64 mean, pixels (0, 0), (1, 2), (-1, -1), (10, 20).
    let Some(path) = real("BTO_crystal_2.dm4") else {
        return;
    };
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (opened.format, opened.frames, opened.shape),
        ("dm4", 1, [465, 476])
    );
    assert_eq!(
        opened.title,
        "Average Through Stack Rigid Aligned BTO_2_JEOL Img Slctr 1_1_HN"
    );
    let [y, x] = opened.sampling.unwrap();
    // The file holds the scale in single precision.
    assert!((y - 0.355_919_152_498).abs() < 1e-9 && x == y, "{y} {x}");
    let frame = opened.frame(0).unwrap();
    // Rounding of each pixel to f32 is below 1e-7 of it.
    let mean = frame.iter().map(|&v| f64::from(v)).sum::<f64>() / frame.len() as f64;
    assert!((mean - 225_984.737_988).abs() < 0.01, "{mean}");
    for (place, value) in [
        ((0, 0), 293_291.68),
        ((1, 2), 252_533.76),
        ((464, 475), 201_677.52),
        ((10, 20), 285_303.84),
    ] {
        assert!(
            (f64::from(frame[place]) - value).abs() < 0.02,
            "{place:?}: {}",
            frame[place]
        );
    }
}

#[test]
fn dm_versions_3_and_4_agree_and_keep_unequal_pixels() {
    for (name, format) in [("dm3", "dm3"), ("dm4", "dm4")] {
        let Some(path) = real(&format!(
            "formats/dmTest_float32_nonSquare_diffPixelSize.{name}"
        )) else {
            return;
        };
        let opened = micrograph::open(&path, None).unwrap();
        assert_eq!((opened.format, opened.shape), (format, [64, 128]));
        // 2 Å down, 1 nm to the right.
        assert_eq!(opened.sampling, Some([2.0, 10.0]));
        let frame = opened.frame(0).unwrap();
        assert_eq!(
            [
                frame[(0, 0)],
                frame[(1, 2)],
                frame[(63, 127)],
                frame[(10, 20)]
            ],
            [0.0, 2.0, 127.0, 20.0]
        );
        assert_eq!(frame.mean(), Some(63.5));
    }
}

#[test]
fn hspy_files_of_others_have_the_numbers_that_rosettasciio_reads() {
    let Some(path) = real("Cropped_PTO-SRO_Aligned.hspy") else {
        return;
    };
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (opened.format, opened.frames, opened.shape),
        ("hspy", 1, [224, 1312])
    );
    assert_eq!(opened.title, "HAADF");
    let [y, x] = opened.sampling.unwrap();
    assert!((y - 0.149_968_029_802_6).abs() < 1e-12 && x == y);
    let frame = opened.frame(0).unwrap();
    let mean = frame.iter().map(|&v| f64::from(v)).sum::<f64>() / frame.len() as f64;
    assert!((mean - 23_581.838_125_4).abs() < 1e-3, "{mean}");
    assert_eq!(
        [
            frame[(0, 0)],
            frame[(1, 2)],
            frame[(223, 1311)],
            frame[(10, 20)]
        ],
        [22662.0, 23291.0, 24215.0, 24025.0]
    );
}

/// Writes a TIFF of pages with ImageJ's calibration: 0.02 nm along x, 0.04 nm along y.
pub(crate) fn write_tiff(path: &Path, pages: usize, rows: u32, cols: u32, description: &str) {
    use tiff::encoder::{Rational, TiffEncoder, colortype::Gray32Float};
    use tiff::tags::Tag;
    let mut encoder = TiffEncoder::new(fs::File::create(path).unwrap()).unwrap();
    for page in 0..pages {
        let data: Vec<f32> = (0..rows * cols)
            .map(|i| i as f32 + page as f32 * 1000.0)
            .collect();
        let mut image = encoder.new_image::<Gray32Float>(cols, rows).unwrap();
        let tags = image.encoder();
        tags.write_tag(Tag::ImageDescription, description).unwrap();
        tags.write_tag(Tag::XResolution, Rational { n: 50, d: 1 })
            .unwrap();
        tags.write_tag(Tag::YResolution, Rational { n: 25, d: 1 })
            .unwrap();
        image.write_data(&data).unwrap();
    }
}

#[test]
fn tiff_pages_are_frames_calibrated_by_imagej() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("not_named_tif.bin");
    write_tiff(&path, 3, 4, 5, "ImageJ=1.54f\nimages=3\nunit=nm\n");
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (opened.format, opened.frames, opened.shape),
        ("tif", 3, [4, 5])
    );
    let [y, x] = opened.sampling.unwrap();
    assert!((y - 0.4).abs() < 1e-12 && (x - 0.2).abs() < 1e-12);
    assert_eq!(opened.frame(2).unwrap()[(1, 3)], 2008.0);
    assert_eq!(opened.label(2), "frame 3 of 3");
    write_tiff(&path, 1, 4, 5, "ImageJ=1.54f\nunit=pixel\n");
    assert_eq!(micrograph::open(&path, None).unwrap().sampling, None);
    // The standard's default unit is the inch: 50 per inch is print, not a micrograph.
    write_tiff(&path, 1, 4, 5, "a scan");
    assert_eq!(micrograph::open(&path, None).unwrap().sampling, None);
}

#[test]
fn every_tiff_number_type_gives_the_same_image() {
    use tiff::encoder::{TiffEncoder, colortype};
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("t.tif");
    macro_rules! check {
        ($($colour:ident $kind:ty),*) => {$(
            let data: Vec<$kind> = (0..12u8).map(|v| v as $kind).collect();
            let mut encoder = TiffEncoder::new(fs::File::create(&path).unwrap()).unwrap();
            encoder.write_image::<colortype::$colour>(4, 3, &data).unwrap();
            let frame = micrograph::open(&path, None).unwrap().frame(0).unwrap();
            assert_eq!(frame, Array2::from_shape_fn((3, 4), |(y, x)| (y * 4 + x) as f32), stringify!($colour));
        )*};
    }
    check!(Gray8 u8, Gray16 u16, Gray32 u32, GrayI8 i8, GrayI16 i16, GrayI32 i32, Gray32Float f32, Gray64Float f64);
    let grey: Vec<u8> = (0..12u8).flat_map(|v| [v * 20; 3]).collect();
    let mut encoder = TiffEncoder::new(fs::File::create(&path).unwrap()).unwrap();
    encoder.write_image::<colortype::RGB8>(4, 3, &grey).unwrap();
    let frame = micrograph::open(&path, None).unwrap().frame(0).unwrap();
    assert!(
        (frame[(2, 3)] - 220.0).abs() < 1e-3,
        "grey in RGB stays grey"
    );
}

#[test]
fn png_keeps_its_8_and_16_bits() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p");
    let save = |picture: image::DynamicImage| {
        picture
            .save_with_format(&path, image::ImageFormat::Png)
            .unwrap();
    };
    save(image::ImageBuffer::from_fn(4, 3, |x, y| image::Luma([(y * 4 + x) as u8])).into());
    assert_eq!(
        micrograph::open(&path, None).unwrap().frame(0).unwrap()[(2, 1)],
        9.0
    );
    save(image::ImageBuffer::from_fn(4, 3, |x, y| image::Luma([(y * 4 + x) as u16 * 5000])).into());
    assert_eq!(
        micrograph::open(&path, None).unwrap().frame(0).unwrap()[(2, 3)],
        55000.0
    );
    save(image::ImageBuffer::from_fn(4, 3, |_, _| image::Rgb([9u8, 9, 9])).into());
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!((opened.format, opened.sampling), ("png", None));
    assert!((opened.frame(0).unwrap()[(0, 0)] - 9.0).abs() < 1e-5);
}

#[test]
fn npy_of_every_real_type_in_both_orders() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.npy");
    macro_rules! check {
        ($($kind:ty),*) => {$(
            let array = Array2::from_shape_fn((3, 4), |(y, x)| (y * 4 + x) as u8 as $kind);
            array.write_npy(fs::File::create(&path).unwrap()).unwrap();
            let frame = micrograph::open(&path, None).unwrap().frame(0).unwrap();
            assert_eq!(frame, array.mapv(|v| v as f32));
            // The transpose is written in Fortran order.
            array.t().write_npy(fs::File::create(&path).unwrap()).unwrap();
            assert_eq!(micrograph::open(&path, None).unwrap().frame(0).unwrap(), array.t().mapv(|v| v as f32));
        )*};
    }
    check!(i8, u8, i16, u16, i32, u32, i64, u64, f32, f64);
    let stack = Array3::from_shape_fn((2, 3, 4), |(n, y, x)| (n * 100 + y * 4 + x) as f64);
    stack.write_npy(fs::File::create(&path).unwrap()).unwrap();
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (opened.frames, opened.frame(1).unwrap()[(2, 3)]),
        (2, 111.0)
    );
    let colour = Array3::from_elem((5, 6, 3), 40u8);
    colour.write_npy(fs::File::create(&path).unwrap()).unwrap();
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!((opened.frames, opened.shape), (1, [5, 6]));
    Array1::<f32>::zeros(4)
        .write_npy(fs::File::create(&path).unwrap())
        .unwrap();
    assert!(
        micrograph::open(&path, None)
            .unwrap_err()
            .to_string()
            .contains("(y, x)")
    );
}

#[test]
fn an_image_without_calibration_asks_for_sampling() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.npy");
    Array2::<f32>::ones((3, 4))
        .write_npy(fs::File::create(&path).unwrap())
        .unwrap();
    let opened = micrograph::open(&path, None).unwrap();
    let error = opened.image(0, None).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "got no calibration; allowed: --sampling Å/px, or sampling_angstrom in a dataset file"
        ),
        "{error}"
    );
    assert_eq!(opened.image(0, Some(0.1)).unwrap().sampling, [0.1, 0.1]);
    for size in [0.0, -1.0, f64::NAN] {
        assert!(opened.image(0, Some(size)).is_err(), "{size}");
    }
}

#[test]
fn the_first_pixel_that_is_not_finite_is_named() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.npy");
    let mut array = Array2::<f64>::ones((3, 4));
    array[(1, 2)] = f64::NAN;
    array[(2, 0)] = f64::INFINITY;
    array.write_npy(fs::File::create(&path).unwrap()).unwrap();
    let error = micrograph::open(&path, None)
        .unwrap()
        .frame(0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("row 1, column 2: got NaN"), "{error}");
}

/// Opens and reads every frame: what must fail for a damaged file.
pub(crate) fn read_all(path: &Path) -> ferrostem::Result<()> {
    let opened = micrograph::open(path, None)?;
    for index in 0..opened.frames {
        opened.frame(index)?;
    }
    Ok(())
}

/// Cuts a sound file at many lengths; `slack` bytes at its end may be missing without loss.
fn every_cut_is_an_error(sound: &Path, slack: usize) {
    let here = tempfile::tempdir().unwrap();
    let cut = here.path().join("cut");
    let bytes = fs::read(sound).unwrap();
    read_all(sound).unwrap();
    let last = bytes.len() - slack;
    // All of the first bytes, where the structure is, then about a hundred places, then the last ones.
    let lengths = (0..last.min(64))
        .chain((64..last).step_by((last / 100).max(1)))
        .chain(last.saturating_sub(9)..last);
    for length in lengths {
        fs::write(&cut, &bytes[..length]).unwrap();
        let error = read_all(&cut).expect_err(&format!(
            "{} cut to {length} of {}",
            sound.display(),
            bytes.len()
        ));
        assert!(
            error.to_string().contains(&cut.display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn truncated_files_are_errors() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i.hspy");
    hspy::write_images(&path, &images(), false).unwrap();
    every_cut_is_an_error(&path, 0);
    let path = here.path().join("a.npy");
    Array2::<f32>::ones((30, 40))
        .write_npy(fs::File::create(&path).unwrap())
        .unwrap();
    every_cut_is_an_error(&path, 0);
    let path = here.path().join("t.tif");
    write_tiff(&path, 2, 30, 40, "ImageJ=1.54f\nunit=nm\n");
    every_cut_is_an_error(&path, 0);
    let path = here.path().join("p.png");
    image::GrayImage::from_fn(30, 40, |x, y| image::Luma([(x * y) as u8]))
        .save(&path)
        .unwrap();
    // The closing chunk of a PNG has 12 bytes and no content.
    every_cut_is_an_error(&path, 12);
    for name in ["dm3", "dm4"] {
        // Up to 12 closing bytes of a dm file are padding.
        let Some(path) = real(&format!(
            "formats/dmTest_float32_nonSquare_diffPixelSize.{name}"
        )) else {
            return;
        };
        every_cut_is_an_error(&path, 12);
    }
}

#[test]
fn damaged_bytes_never_panic() {
    use ferrostem::rng::{Rng, stream};
    let here = tempfile::tempdir().unwrap();
    let npy = here.path().join("a.npy");
    Array2::<f32>::ones((30, 40))
        .write_npy(fs::File::create(&npy).unwrap())
        .unwrap();
    let tif = here.path().join("t.tif");
    write_tiff(&tif, 2, 30, 40, "ImageJ=1.54f\nunit=nm\n");
    let mut sound = vec![npy, tif];
    sound.extend(real("formats/dmTest_float32_nonSquare_diffPixelSize.dm4"));
    sound.extend(real("formats/dmTest_float32_nonSquare_diffPixelSize.dm3"));
    let damaged = here.path().join("damaged");
    for (number, path) in sound.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        let mut rng = stream(5, "damage", number as u64);
        for _ in 0..300 {
            let mut bytes = bytes.clone();
            for _ in 0..4 {
                // Structure lies at the beginning of these files and, for TIFF, at the end.
                let near = rng.random_range(0..bytes.len().min(4000));
                let place = if rng.random() {
                    near
                } else {
                    bytes.len() - 1 - near
                };
                bytes[place] = rng.random();
            }
            fs::write(&damaged, &bytes).unwrap();
            // Damage to pixels goes unseen; damage to the structure must end in a message or in an image.
            let _ = read_all(&damaged);
        }
    }
}

#[test]
fn huge_claims_in_small_files_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.npy");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend([0; 64]);
    fs::write(&path, &bytes).unwrap();
    assert!(
        micrograph::open(&path, None)
            .unwrap_err()
            .to_string()
            .contains("1000000")
    );
    let path = here.path().join("a.h5");
    let file = hdf5::File::create(&path).unwrap();
    file.new_dataset::<f32>()
        .chunk((1, 1024, 1024))
        .shape((1, 1 << 20, 1 << 20))
        .create("x")
        .unwrap();
    drop(file);
    let error = micrograph::open(&path, None).unwrap_err().to_string();
    assert!(
        error.contains("/x") && error.contains("a shape that the file can hold"),
        "{error}"
    );
}

#[test]
fn plain_hdf5_is_read_by_its_path() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.h5");
    let file = hdf5::File::create(&path).unwrap();
    let group = file.create_group("scan").unwrap();
    let small = Array2::<u16>::from_elem((3, 4), 7);
    let large = Array3::from_shape_fn((2, 5, 6), |(n, y, x)| (n * 100 + y * 6 + x) as f64);
    group
        .new_dataset_builder()
        .with_data(&small)
        .create("small")
        .unwrap();
    group
        .new_dataset_builder()
        .with_data(&large)
        .create("large")
        .unwrap();
    file.new_dataset_builder()
        .with_data(&[1.0, 2.0])
        .create("no_image")
        .unwrap();
    drop((group, file));
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (opened.format, opened.frames, opened.shape),
        ("hdf5", 2, [5, 6])
    );
    assert_eq!(opened.frame(1).unwrap()[(4, 5)], 129.0);
    assert!(
        opened.notices[0].contains("/scan/small"),
        "{:?}",
        opened.notices
    );
    let named = micrograph::open(&path, Some("scan/small")).unwrap();
    assert_eq!(named.frame(0).unwrap()[(2, 3)], 7.0);
    let error = micrograph::open(&path, Some("no_image"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/scan/large"), "{error}");
}

#[test]
fn unknown_and_missing_files_are_told_apart() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("notes.dm4");
    fs::write(&path, "not an image").unwrap();
    assert!(
        micrograph::open(&path, None)
            .unwrap_err()
            .to_string()
            .contains("no known image format")
    );
    fs::write(&path, "").unwrap();
    assert!(
        micrograph::open(&path, None)
            .unwrap_err()
            .to_string()
            .contains("empty file")
    );
    let missing = micrograph::open(&here.path().join("none.hspy"), None).unwrap_err();
    assert!(matches!(missing, ferrostem::Error::Io { .. }), "{missing}");
}
