//! Damaged files of every format: each is an image or an error, never a panic.
//!
//! Formats whose structure is read by this program or by Rust crates are fuzzed here. HDF5's structure is read by the C library,
//! which up to version 1.10 may follow a damaged address out of its memory; such files are read by a process of their own, in
//! the long run only, which counts how many kill it. Cut files and damaged numbers and texts inside HDF5 are tested here.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use ferrostem::rng::{Rng, stream};
use ferrostem::storage::hspy;
use ndarray::{Array2, Array3};
use ndarray_npy::WriteNpyExt;

use crate::formats::{read_all, write_tiff};
use crate::readers::{dm, mrc, ser, write_ncem, write_nsid, write_usid, write_velox};
use crate::storage::images;

/// Numbers that sizes, offsets and counts go wrong with.
const NASTY: [u64; 10] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// The bytes that `write` writes.
fn written(write: &dyn Fn(&Path)) -> Vec<u8> {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("sound");
    write(&path);
    fs::read(&path).unwrap()
}

/// A small sound file of every format but HDF5, by name.
fn sound_files() -> Vec<(&'static str, Vec<u8>)> {
    let picture = |path: &Path| {
        let picture = image::GrayImage::from_fn(7, 5, |x, y| image::Luma([(x * y) as u8]));
        picture
            .save_with_format(path, image::ImageFormat::Png)
            .unwrap();
    };
    let array = |path: &Path| {
        let file = fs::File::create(path).unwrap();
        Array3::<u16>::ones((2, 5, 7)).write_npy(file).unwrap();
    };
    vec![
        ("ser 0x0210", ser(0x0210, 2)),
        ("ser 0x0220", ser(0x0220, 2)),
        ("mrc", mrc(1, true, 2, true)),
        ("mrc classic", mrc(2, false, 2, false)),
        ("dm3", dm(3)),
        ("dm4", dm(4)),
        (
            "tif",
            written(&|path| write_tiff(path, 2, 5, 7, "ImageJ=1.54f\nunit=nm\n")),
        ),
        ("png", written(&picture)),
        ("npy", written(&array)),
    ]
}

/// A small sound file of every layout inside HDF5, by name.
fn sound_hdf5_files() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |path: &Path| {
        let file = hdf5::File::create(path).unwrap();
        let data = Array2::from_shape_fn((16, 16), |(y, x)| (y * x) as f32);
        let chunked = file.new_dataset_builder().chunk((8, 8)).deflate(4);
        chunked.with_data(&data).create("chunked").unwrap();
        let flat = file.new_dataset_builder().with_data(&data);
        flat.create("flat").unwrap();
    };
    vec![
        (
            "hspy",
            written(&|path| hspy::write_images(path, &images(), false).unwrap()),
        ),
        ("hdf5", written(&plain)),
        ("Velox emd", written(&|path| write_velox(path, 2))),
        ("NCEM emd", written(&|path| write_ncem(path, 2, ["y", "x"]))),
        ("NSID", written(&write_nsid)),
        ("USID", written(&|path| write_usid(path, false))),
    ]
}

/// A sound file with one to four faults.
fn damaged(sound: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            break;
        }
        // Structure is more often at the beginning.
        let near = rng.random_range(0..bytes.len().min(256));
        let place = if rng.random_bool(0.5) {
            near
        } else {
            rng.random_range(0..bytes.len())
        };
        match rng.random_range(0..7) {
            0 => bytes[place] = rng.random(),
            1 => bytes[place] ^= 1 << rng.random_range(0..8),
            2 | 3 => {
                let number = NASTY[rng.random_range(0..NASTY.len())];
                let number = number.wrapping_sub(rng.random_range(0..3));
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let little = number.to_le_bytes();
                let ordered: Vec<u8> = if rng.random() {
                    little[..width].to_vec()
                } else {
                    little[..width].iter().rev().copied().collect()
                };
                let end = (place + width).min(bytes.len());
                bytes[place..end].copy_from_slice(&ordered[..end - place]);
            }
            4 => bytes.truncate(place),
            5 => {
                let end = (place + rng.random_range(1..64)).min(bytes.len());
                bytes[place..end].fill(0);
            }
            _ => {
                let from = rng.random_range(0..bytes.len());
                let length = rng.random_range(1..64).min(bytes.len() - place.max(from));
                bytes.copy_within(from..from + length, place);
            }
        }
    }
    bytes
}

/// Reads damaged copies of a file until `count` or the time is over; returns how many were read, and how many were images still.
fn fuzz(name: &str, sound: &[u8], seed: u64, count: u64, time: Duration) -> (u64, u64) {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("damaged");
    fs::write(&path, sound).unwrap();
    read_all(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let start = Instant::now();
    let mut images = 0;
    for index in 0..count {
        if start.elapsed() > time {
            return (index, images);
        }
        let mut rng = stream(seed, name, index);
        fs::write(&path, damaged(sound, &mut rng)).unwrap();
        match catch_unwind(AssertUnwindSafe(|| read_all(&path))) {
            Ok(Ok(())) => images += 1,
            Ok(Err(error)) => {
                let text = error.to_string();
                assert!(text.contains("got") || text.contains("cannot"), "{text}");
            }
            Err(_) => panic!("{name}: panic on input {index} of seed {seed}"),
        }
    }
    (count, images)
}

#[test]
fn damaged_files_of_every_format_are_images_or_errors() {
    for (name, sound) in sound_files() {
        let (inputs, images) = fuzz(name, &sound, 1, 400, Duration::from_secs(60));
        assert_eq!(inputs, 400, "{name}");
        // Damage to pixels leaves an image, damage to structure does not: both must occur, or nothing was tested.
        assert!(
            (1..inputs).contains(&images),
            "{name}: {images} of {inputs}"
        );
    }
}

#[test]
fn cut_hdf5_files_are_errors() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("cut");
    for (name, sound) in sound_hdf5_files() {
        for length in (0..sound.len()).step_by(97).chain([sound.len() - 1]) {
            fs::write(&path, &sound[..length]).unwrap();
            let error = read_all(&path).unwrap_err().to_string();
            assert!(error.contains("got"), "{name} cut to {length}: {error}");
        }
    }
}

/// `FUZZ_SECONDS=60 FUZZ_SEED=7 FUZZ_FORMAT=ser cargo test --release -- --ignored --nocapture fuzz`
#[test]
#[ignore = "as long as one likes"]
fn damaged_files_for_a_long_time() {
    let setting = |name: &str| std::env::var(name).ok();
    let number = |name: &str| setting(name).and_then(|text| text.parse().ok());
    let seconds = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(10));
    let seed = number("FUZZ_SEED").unwrap_or(2);
    let wanted = setting("FUZZ_FORMAT").unwrap_or_default();
    for (name, sound) in sound_files() {
        if name.starts_with(&wanted) {
            let (inputs, images) = fuzz(name, &sound, seed, u64::MAX, seconds);
            println!("{name}: {inputs} inputs, {images} of them images still");
        }
    }
    for (name, sound) in sound_hdf5_files() {
        if name.starts_with(&wanted) {
            let (inputs, killed) = fuzz_apart(name, &sound, seed, seconds);
            println!("{name}: {inputs} inputs, {killed} of them killed the C library");
        }
    }
}

/// Has damaged copies of a file read by a process of its own each; returns how many, and how many did not end by themselves.
fn fuzz_apart(name: &str, sound: &[u8], seed: u64, time: Duration) -> (u64, u64) {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("damaged");
    let start = Instant::now();
    let (mut inputs, mut killed) = (0, 0);
    while start.elapsed() < time {
        let mut rng = stream(seed, name, inputs);
        fs::write(&path, damaged(sound, &mut rng)).unwrap();
        let mut program = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ferrostem"));
        let program = program.args(["info", "--quiet"]).arg(&path);
        let output = program.timeout(Duration::from_secs(5)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("panicked"), "{name}, input {inputs}: {text}");
        inputs += 1;
        killed += u64::from(output.status.code().is_none());
    }
    (inputs, killed)
}
