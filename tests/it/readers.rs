//! Files of microscopes, small ones made here byte by byte and real ones: pixels, pixel sizes and frames are those that
//! rosettasciio 0.15.0 and mrcfile read.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use ferrostem::storage::micrograph;
use ndarray::{Array2, Array3};

use crate::storage::real;

/// What a made-up pixel holds; below 128, so that every kind of number can.
pub(crate) fn value(frame: usize, row: usize, col: usize) -> u8 {
    (frame * 40 + row * 7 + col) as u8
}

/// Pixels of a frame as bytes, each number written by `write`; `rows` in the order of the file.
fn pixels<const N: usize>(
    frame: usize,
    rows: impl Iterator<Item = usize>,
    cols: usize,
    write: impl Fn(u8) -> [u8; N],
) -> Vec<u8> {
    rows.flat_map(|row| (0..cols).flat_map(move |col| [value(frame, row, col)]))
        .flat_map(write)
        .collect()
}

/// A `.ser` file of `frames` images of 3 × 4 px, 16-bit unsigned, 0.02 nm along y and 0.01 nm along x.
pub(crate) fn ser(version: u16, frames: usize) -> Vec<u8> {
    let word = |offset: usize| match version {
        0x0210 => (offset as u32).to_le_bytes().to_vec(),
        _ => (offset as u64).to_le_bytes().to_vec(),
    };
    let width = word(0).len();
    let array = 22 + width + 4 + 37;
    let first = array + 2 * frames * width;
    let element = |frame: usize| {
        let mut bytes = Vec::new();
        for step in [1e-11f64, 2e-11] {
            bytes.extend((-5e-9f64).to_le_bytes());
            bytes.extend(step.to_le_bytes());
            bytes.extend(0u32.to_le_bytes());
        }
        bytes.extend(2u16.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(pixels(frame, (0..3).rev(), 4, |v| {
            u16::from(v).to_le_bytes()
        }));
        bytes
    };
    let mut file = vec![b'I', b'I', 0x97, 0x01];
    file.extend(version.to_le_bytes());
    for number in [0x4122u32, 0x4152, frames as u32, frames as u32] {
        file.extend(number.to_le_bytes());
    }
    file.extend(word(array));
    file.extend(1u32.to_le_bytes());
    // One dimension of the series: size, start, step, element, an empty description, units.
    file.extend((frames as u32).to_le_bytes());
    file.extend([0; 20]);
    file.extend(0u32.to_le_bytes());
    file.extend(5u32.to_le_bytes());
    file.extend(b"count");
    assert_eq!(file.len(), array);
    let size = element(0).len() + 6;
    for start in [0, size - 6] {
        (0..frames).for_each(|frame| file.extend(word(first + frame * size + start)));
    }
    for frame in 0..frames {
        file.extend(element(frame));
        // The time tag of an element.
        file.extend([0x52, 0x41, 1, 2, 3, 4]);
    }
    file
}

/// An MRC file of `frames` sections of 3 × 4 px, 0.5 Å along y and 0.25 Å along x, behind an extended header of 8 bytes.
pub(crate) fn mrc(mode: u32, little: bool, frames: u32, marked: bool) -> Vec<u8> {
    let order = |mut bytes: [u8; 4]| {
        if !little {
            bytes.reverse();
        }
        bytes
    };
    let mut file = vec![0; 1024];
    let mut put = |at: usize, bytes: [u8; 4]| file[at..at + 4].copy_from_slice(&order(bytes));
    for (at, number) in [
        (0, 4),
        (4, 3),
        (8, frames),
        (12, mode),
        (28, 4),
        (32, 3),
        (36, frames),
        (64, 1),
        (68, 2),
        (72, 3),
        (92, 8),
    ] {
        put(at, number.to_le_bytes());
    }
    for (at, edge) in [(40, 1.0f32), (44, 1.5), (48, 1.0)] {
        put(at, edge.to_le_bytes());
    }
    if marked {
        file[208..212].copy_from_slice(b"MAP ");
        file[212..216].copy_from_slice(if little {
            &[0x44, 0x44, 0, 0]
        } else {
            &[0x11, 0x11, 0, 0]
        });
    }
    file.extend([9; 8]);
    for frame in 0..frames as usize {
        file.extend(match mode {
            0 => pixels(frame, 0..3, 4, |v| [v]),
            1 | 6 if little => pixels(frame, 0..3, 4, |v| u16::from(v).to_le_bytes()),
            1 | 6 => pixels(frame, 0..3, 4, |v| u16::from(v).to_be_bytes()),
            _ if little => pixels(frame, 0..3, 4, |v| f32::from(v).to_le_bytes()),
            _ => pixels(frame, 0..3, 4, |v| f32::from(v).to_be_bytes()),
        });
    }
    file
}

/// Writes bytes under a name that says nothing and opens them.
fn opened(bytes: &[u8]) -> ferrostem::Result<micrograph::Micrograph> {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("image");
    fs::write(&path, bytes).unwrap();
    let file = micrograph::open(&path, None)?;
    check_frames(&file)?;
    Ok(file)
}

/// Every frame holds what [`value`] says.
pub(crate) fn check_frames(file: &micrograph::Micrograph) -> ferrostem::Result<()> {
    for frame in 0..file.frames {
        for ((row, col), &pixel) in file.frame(frame)?.indexed_iter() {
            let expected = f32::from(value(frame, row, col));
            assert_eq!(pixel, expected, "frame {frame}, row {row}, column {col}");
        }
    }
    Ok(())
}

/// The error of bytes that must not open.
fn refusal(bytes: &[u8]) -> String {
    opened(bytes).unwrap_err().to_string()
}

pub(crate) fn assert_sampling(sampling: Option<[f64; 2]>, expected: [f64; 2], tolerance: f64) {
    let [y, x] = sampling.unwrap();
    assert!(
        (y / expected[0] - 1.0).abs() < tolerance && (x / expected[1] - 1.0).abs() < tolerance,
        "{y} {x}"
    );
}

#[test]
fn ser_series_of_both_versions_have_the_same_frames() {
    for (version, frames) in [(0x0210, 1), (0x0210, 3), (0x0220, 1), (0x0220, 3)] {
        let file = opened(&ser(version, frames)).unwrap();
        assert_eq!(
            (file.format, file.frames, file.shape),
            ("ser", frames, [3, 4])
        );
        assert_sampling(file.sampling, [0.2, 0.1], 1e-12);
    }
    assert_eq!(opened(&ser(0x0220, 3)).unwrap().label(2), "frame 3 of 3");
}

#[test]
fn what_no_ser_reader_can_show_is_said_with_its_place() {
    let sound = ser(0x0210, 2);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = sound.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let element = 67 + 16;
    for (bytes, expected) in [
        (with(4, &[0x30, 2]), "byte 4, version: got version 0x0230"),
        (with(6, &[0x20]), "spectra (0x4120)"),
        (with(18, &[0]), "0 images of 2 planned"),
        (with(18, &[3]), "3 images of 2 planned"),
        (with(22, &[0xff, 0xff]), "offset array"),
        (with(element + 40, &[9]), "element 0, kind of number: got 9"),
        (with(element + 44, &[1]), "element 0, 65540 × 3 px"),
        (with(element + 42, &[3]), "element 1, size: got [3, 4]"),
        (with(element + 46, &[0]), "element 0, size: got 4 × 0 px"),
    ] {
        let error = refusal(&bytes);
        assert!(error.contains(expected), "{error}");
    }
    // Steps of a diffraction pattern are no pixel size.
    let mut bytes = with(element + 8, &1e8f64.to_le_bytes());
    let second = element + 50 + 24 + 6;
    bytes[second + 8..second + 16].copy_from_slice(&1e8f64.to_le_bytes());
    let file = opened(&bytes).unwrap();
    assert_eq!((file.sampling, file.notices.len()), (None, 1));
}

#[test]
fn a_real_ser_file_has_the_numbers_that_rosettasciio_reads() {
    let Some(path) = real("16_STOimage_1.ser") else {
        return;
    };
    let file = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (file.format, file.frames, file.shape),
        ("ser", 1, [1024, 1024])
    );
    assert_sampling(file.sampling, [0.100_127_042_404_033_84; 2], 1e-12);
    let frame = file.frame(0).unwrap();
    assert_eq!([frame[(0, 0)], frame[(0, 1)]], [18024.0, 18416.0]);
    assert_eq!(frame[(1023, 1023)], 18416.0);
    // Integers below 2^53: the sum is exact.
    let sum = frame.iter().map(|&v| f64::from(v)).sum::<f64>();
    assert_eq!(sum, 19_659_051_598.0);
    if let Some(path) = real("16_STOimage.emi") {
        let error = micrograph::open(&path, None).unwrap_err().to_string();
        assert!(error.contains("the .ser file beside it"), "{error}");
    }
}

#[test]
fn mrc_of_every_mode_and_order_has_the_same_sections() {
    for mode in [0, 1, 2, 6] {
        for (little, marked) in [(true, true), (false, true), (true, false), (false, false)] {
            let file = opened(&mrc(mode, little, 2, marked)).unwrap();
            assert_eq!((file.format, file.frames, file.shape), ("mrc", 2, [3, 4]));
            assert_sampling(file.sampling, [0.5, 0.25], 1e-7);
        }
    }
}

#[test]
fn mrc_without_cell_has_no_calibration_and_bytes_may_have_a_sign() {
    let mut bytes = mrc(0, true, 1, true);
    bytes[28..40].fill(0);
    assert_eq!(opened(&bytes).unwrap().sampling, None);
    let mut bytes = mrc(0, true, 1, true);
    bytes[40..52].fill(0);
    assert_eq!(opened(&bytes).unwrap().sampling, None);
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i");
    let first = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        micrograph::open(&path, None).unwrap().frame(0).unwrap()[(0, 0)]
    };
    bytes[1032] = 0xff;
    assert_eq!(first(&bytes), -1.0);
    // IMOD writes bytes without a sign, and says so.
    bytes[152..156].copy_from_slice(&1_146_047_817u32.to_le_bytes());
    assert_eq!(first(&bytes), 255.0);
    bytes[156] = 1;
    assert_eq!(first(&bytes), -1.0);
}

#[test]
fn what_no_mrc_reader_can_show_is_said_with_its_place() {
    let complex = refusal(&mrc(4, true, 1, true));
    assert!(
        complex.contains("byte 12, mode: got 4; allowed: 0, 1, 2 or 6"),
        "{complex}"
    );
    let mut huge = mrc(2, true, 1, true);
    huge[0..12].fill(0x7f);
    assert!(refusal(&huge).contains("truncated or corrupt"));
    let mut none = mrc(2, true, 1, true);
    none[4] = 0;
    assert!(refusal(&none).contains("at least one pixel"));
}

#[test]
fn a_real_mrc_file_has_the_numbers_that_rosettasciio_reads() {
    let Some(path) = real("formats/temp.mrc") else {
        return;
    };
    let file = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (file.format, file.frames, file.shape),
        ("mrc", 3, [128, 128])
    );
    assert_sampling(file.sampling, [2.0, 2.0], 1e-7);
    let (first, last) = (file.frame(0).unwrap(), file.frame(2).unwrap());
    assert_eq!([first[(0, 0)], first[(0, 1)]], [0.949_052_3, 0.153_746_32]);
    assert_eq!(last[(127, 127)], 0.257_652_25);
    let sum: f64 = (0..3)
        .flat_map(|index| file.frame(index).unwrap().into_iter().map(f64::from))
        .sum();
    assert!((sum - 24_435.306_304_619_4).abs() < 1e-8, "{sum}");
}

#[test]
fn cut_ser_and_mrc_files_are_errors() {
    for sound in [ser(0x0210, 2), ser(0x0220, 2), mrc(1, true, 2, true)] {
        // The time tag behind the last image of a series is not needed.
        let needed = sound.len() - if sound[0] == b'I' { 6 } else { 0 };
        for length in 0..needed {
            assert!(opened(&sound[..length]).is_err(), "cut to {length}");
        }
    }
}

/// A Velox file with frames of 3 × 4 px of two detectors.
pub(crate) fn write_velox(path: &Path, frames: usize) {
    let file = hdf5::File::create(path).unwrap();
    for (hash, detector, unit) in [
        ("0a", "BF", "m"),
        ("1b", "HAADF", "m"),
        ("2c", "FFT", "1/m"),
    ] {
        let group = file.create_group(&format!("Data/Image/{hash}")).unwrap();
        let data = Array3::from_shape_fn((3, 4, frames), |(y, x, frame)| {
            u16::from(value(frame, y, x))
        });
        let data_set = group.new_dataset_builder().chunk((3, 4, 1));
        data_set.with_data(&data).create("Data").unwrap();
        let text = format!(
            "{{\"Core\":{{\"guid\":\"0\"}},\"BinaryResult\":{{\"Detector\":\"{detector}\",\"PixelSize\":\
             {{\"width\":\"1.0e-11\",\"height\":\"2e-11\"}},\"PixelUnitX\":\"{unit}\",\"PixelUnitY\":\"{unit}\"}}}}\n"
        );
        let bytes = text.as_bytes();
        let metadata = Array2::from_shape_fn((1000, frames), |(byte, _)| {
            bytes.get(byte).copied().unwrap_or(0)
        });
        let data_set = group.new_dataset_builder().chunk((1000, 1));
        data_set.with_data(&metadata).create("Metadata").unwrap();
    }
}

#[test]
fn velox_frames_lie_along_the_last_axis() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i");
    for frames in [1, 3] {
        let _ = fs::remove_file(&path);
        write_velox(&path, frames);
        let file = micrograph::open(&path, None).unwrap();
        assert_eq!(
            (file.format, file.frames, file.shape, file.title.as_str()),
            ("Velox emd", frames, [3, 4], "HAADF")
        );
        assert_sampling(file.sampling, [0.2, 0.1], 1e-12);
        assert!(
            file.notices[0].contains("/Data/Image/0a/Data"),
            "{:?}",
            file.notices
        );
        check_frames(&file).unwrap();
    }
    for name in ["BF", "Data/Image/0a", "/Data/Image/0a/Data"] {
        assert_eq!(
            micrograph::open(&path, Some(name)).unwrap().title,
            "BF",
            "{name}"
        );
    }
    let transform = micrograph::open(&path, Some("FFT")).unwrap();
    assert_eq!(transform.sampling, None);
    assert!(transform.notices[0].contains("1/m"));
    // Damaged metadata cost the calibration, not the image.
    let file = hdf5::File::open_rw(&path).unwrap();
    let metadata = file.dataset("Data/Image/1b/Metadata").unwrap();
    metadata.write(&Array2::from_elem((1000, 3), b'{')).unwrap();
    drop((metadata, file));
    let file = micrograph::open(&path, Some("Data/Image/1b")).unwrap();
    assert_eq!(file.sampling, None);
}

#[test]
fn a_real_velox_file_has_the_numbers_that_rosettasciio_reads() {
    let Some(path) = real("formats/STEM HAADF Diffraction Micro.emd") else {
        return;
    };
    let file = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (file.format, file.frames, file.shape, file.title.as_str()),
        ("Velox emd", 1, [128, 128], "HAADF")
    );
    assert_sampling(file.sampling, [873.707_961_422_558_3; 2], 1e-12);
    let frame = file.frame(0).unwrap();
    assert_eq!([frame[(0, 0)], frame[(0, 1)]], [9993.0, 9996.0]);
    assert_eq!(frame[(127, 127)], 9996.0);
    let sum = frame.iter().map(|&v| f64::from(v)).sum::<f64>();
    assert_eq!(sum, 163_756_880.0);
}

/// Sets a text attribute.
fn label(location: &hdf5::Location, name: &str, text: &str) {
    let text: hdf5::types::VarLenUnicode = text.parse().unwrap();
    let attribute = location.new_attr::<hdf5::types::VarLenUnicode>();
    attribute.create(name).unwrap().write_scalar(&text).unwrap();
}

/// An NCEM file with frames of 3 × 4 px; `names` are those of its axes, x and y in either order.
pub(crate) fn write_ncem(path: &Path, frames: usize, names: [&str; 2]) {
    let file = hdf5::File::create(path).unwrap();
    let group = file.create_group("data/scan").unwrap();
    let kind = group.new_attr::<i64>().create("emd_group_type").unwrap();
    kind.write_scalar(&1).unwrap();
    let data = Array3::from_shape_fn((frames, 3, 4), |(frame, y, x)| {
        i64::from(value(frame, y, x))
    });
    let data = if names[0] == "x" {
        data.permuted_axes([0, 2, 1])
    } else {
        data
    };
    let data = data.as_standard_layout();
    let data_set = group.new_dataset_builder().with_data(&data);
    data_set.create("data").unwrap();
    for (axis, (name, units)) in [("t", "[s]"), (names[0], "[n_m]"), (names[1], "[n_m]")]
        .into_iter()
        .enumerate()
    {
        let step = if name == "y" { 0.02 } else { 0.01 };
        let values = [5.0, 5.0 + step];
        let data_set = group.new_dataset_builder().with_data(&values);
        let dim = data_set
            .create(format!("dim{}", axis + 1).as_str())
            .unwrap();
        label(&dim, "name", name);
        label(&dim, "units", units);
    }
}

#[test]
fn ncem_axes_are_taken_by_their_names() {
    let here = tempfile::tempdir().unwrap();
    for names in [["y", "x"], ["x", "y"]] {
        let path = here.path().join(names[0]);
        write_ncem(&path, 2, names);
        let file = micrograph::open(&path, None).unwrap();
        assert_eq!(
            (file.format, file.frames, file.shape, file.title.as_str()),
            ("NCEM emd", 2, [3, 4], "scan")
        );
        assert_sampling(file.sampling, [0.2, 0.1], 1e-9);
        check_frames(&file).unwrap();
    }
}

#[test]
fn a_real_ncem_file_is_a_stack_without_calibration() {
    let Some(path) = real("formats/emd_type1_stringDims.h5") else {
        return;
    };
    let file = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (file.format, file.frames, file.shape),
        ("NCEM emd", 12, [5, 6])
    );
    assert_eq!(file.sampling, None);
    // h5py: data[1, 2, 3, 4] and the sum of all.
    let data: Vec<_> = (0..12).map(|frame| file.frame(frame).unwrap()).collect();
    assert_eq!(data[11][(4, 5)], 359.0);
    assert_eq!(data.iter().map(|frame| frame.sum()).sum::<f32>(), 64_620.0);
}

/// Values along x and y of the images below [nm].
fn raster_steps() -> (Vec<f64>, Vec<f64>) {
    let values = |count: i32, step: f64| (0..count).map(|i| 1.0 + f64::from(i) * step).collect();
    (values(4, 0.01), values(3, 0.02))
}

/// An NSID file as pyNSID 0.0.7 writes it: an image with x before y.
pub(crate) fn write_nsid(path: &Path) {
    let file = hdf5::File::create(path).unwrap();
    let group = file
        .create_group("Measurement_000/Channel_000/HAADF")
        .unwrap();
    let data = Array2::from_shape_fn((4, 3), |(x, y)| f32::from(value(0, y, x)));
    let data_set = group.new_dataset_builder().with_data(&data);
    let main = data_set.create("HAADF").unwrap();
    label(&main, "main_data_name", "HAADF");
    // The library's function for labels writes ASCII.
    let labels = ["x", "y"].map(|name| hdf5::types::VarLenAscii::from_ascii(name).unwrap());
    let attribute = main.new_attr_builder().with_data(&labels);
    attribute.create("DIMENSION_LABELS").unwrap();
    let (x, y) = raster_steps();
    for (name, values) in [("x", x), ("y", y)] {
        let scale = group.new_dataset_builder().with_data(&values);
        let scale = scale.create(name).unwrap();
        label(&scale, "dimension_type", "SPATIAL");
        label(&scale, "units", "nm");
    }
}

/// A USID file as pyUSID 0.0.12 writes it, two spectroscopic steps, lines along x or, `transposed`, along y.
pub(crate) fn write_usid(path: &Path, transposed: bool) {
    use hdf5::types::FixedAscii;
    let file = hdf5::File::create(path).unwrap();
    let group = file.create_group("Measurement_000/Channel_000").unwrap();
    // (slow, fast) positions in the order of the raster, as (y, x).
    let place = |position: usize| {
        if transposed {
            [position % 3, position / 3]
        } else {
            [position / 4, position % 4]
        }
    };
    let data = Array2::from_shape_fn((12, 2), |(position, frame)| {
        let [y, x] = place(position);
        f32::from(value(frame, y, x))
    });
    let main = group.new_dataset_builder().with_data(&data);
    let main = main.create("Raw_Data").unwrap();
    let (x, y) = raster_steps();
    let indices = Array2::from_shape_fn((12, 2), |(position, axis)| place(position)[axis] as u32);
    let values = Array2::from_shape_fn((12, 2), |(position, axis)| {
        let values = if axis == 0 { &y } else { &x };
        values[place(position)[axis]] as f32
    });
    let indices = group.new_dataset_builder().with_data(&indices);
    let indices = indices.create("Position_Indices").unwrap();
    let values = group.new_dataset_builder().with_data(&values);
    values.create("Position_Values").unwrap();
    for (name, texts) in [("labels", ["Y", "X"]), ("units", ["nm", "nm"])] {
        let texts = texts.map(|text| FixedAscii::<2>::from_ascii(text).unwrap());
        let attribute = indices.new_attr_builder().with_data(&texts);
        attribute.create(name).unwrap();
    }
    for name in ["Position_Indices", "Position_Values"] {
        let reference: hdf5::ObjectReference1 = group.reference(name).unwrap();
        let attribute = main.new_attr::<hdf5::ObjectReference1>().create(name);
        attribute.unwrap().write_scalar(&reference).unwrap();
    }
}

#[test]
fn pycroscopy_files_are_images_with_rows_along_y() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("n");
    write_nsid(&path);
    let file = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (file.format, file.frames, file.shape, file.title.as_str()),
        ("NSID", 1, [3, 4], "HAADF")
    );
    // Differences of values near 1 keep 14 digits, in single precision 5.
    assert_sampling(file.sampling, [0.2, 0.1], 1e-12);
    check_frames(&file).unwrap();
    for transposed in [false, true] {
        let path = here.path().join(format!("u{transposed}"));
        write_usid(&path, transposed);
        let file = micrograph::open(&path, None).unwrap();
        assert_eq!((file.format, file.frames, file.shape), ("USID", 2, [3, 4]));
        assert_sampling(file.sampling, [0.2, 0.1], 1e-5);
        check_frames(&file).unwrap();
    }
}

/// A dm file with one image of 3 × 4 px, 0.02 nm along y and 0.01 nm along x.
pub(crate) fn dm(version: u32) -> Vec<u8> {
    let size = |value: usize| match version {
        3 => (value as u32).to_be_bytes().to_vec(),
        _ => (value as u64).to_be_bytes().to_vec(),
    };
    let tag = |kind: u8, name: &str, content: Vec<u8>| {
        let mut bytes = vec![kind];
        bytes.extend((name.len() as u16).to_be_bytes());
        bytes.extend(name.as_bytes());
        if version == 4 {
            bytes.extend((content.len() as u64).to_be_bytes());
        }
        bytes.extend(content);
        bytes
    };
    let group = |children: &[Vec<u8>]| {
        let mut bytes = vec![1, 0];
        bytes.extend(size(children.len()));
        bytes.extend(children.concat());
        bytes
    };
    let number = |info: &[usize], values: Vec<u8>| {
        let mut bytes = b"%%%%".to_vec();
        bytes.extend(size(info.len()));
        info.iter().for_each(|&word| bytes.extend(size(word)));
        bytes.extend(values);
        bytes
    };
    let long = |name: &str, value: u32| tag(21, name, number(&[5], value.to_le_bytes().to_vec()));
    let axis = |scale: f32| {
        let unit: Vec<u8> = "nm".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let content = [
            tag(21, "Scale", number(&[6], scale.to_le_bytes().to_vec())),
            tag(21, "Units", number(&[20, 4, 2], unit)),
        ];
        tag(20, "", group(&content))
    };
    let data = pixels(0, 0..3, 4, |v| u16::from(v).to_le_bytes());
    let calibrations = tag(20, "Dimension", group(&[axis(0.01), axis(0.02)]));
    let image_data = [
        tag(20, "Calibrations", group(&[calibrations])),
        tag(21, "Data", number(&[20, 4, 12], data)),
        long("DataType", 10),
        tag(20, "Dimensions", group(&[long("", 4), long("", 3)])),
    ];
    let image = tag(20, "", group(&[tag(20, "ImageData", group(&image_data))]));
    let root = group(&[tag(20, "ImageList", group(&[image]))]);
    let mut file = version.to_be_bytes().to_vec();
    file.extend(size(root.len()));
    file.extend(1u32.to_be_bytes());
    file.extend(root);
    file
}

#[test]
fn dm_files_made_by_hand_are_read() {
    for version in [3, 4] {
        let file = opened(&dm(version)).unwrap();
        assert_eq!(
            (file.format, file.shape),
            (["dm3", "dm4"][version as usize - 3], [3, 4])
        );
        // Single precision.
        assert_sampling(file.sampling, [0.2, 0.1], 1e-7);
    }
}

#[test]
fn a_stack_asks_for_a_choice() {
    use ferrostem::registration::RegistrationSettings;
    use ferrostem::storage::frames::Frames;
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i");
    fs::write(&path, ser(0x0220, 3)).unwrap();
    let file = micrograph::open(&path, None).unwrap();
    let chosen = |frames| file.chosen(frames, None, &RegistrationSettings::default());
    let error = chosen(Frames::Unsaid).unwrap_err().to_string();
    assert!(
        error.contains("a stack of 3 frames") && error.contains("--frame N (0 to 2), --average"),
        "{error}"
    );
    let error = chosen(Frames::One(3)).unwrap_err().to_string();
    assert!(error.contains("0 to 2"), "{error}");
    let last = chosen(Frames::One(2)).unwrap();
    assert_eq!(last.image.data[(2, 3)], f32::from(value(2, 2, 3)));
    // The frames differ by a constant.
    let mean = chosen(Frames::Average { align: false }).unwrap();
    assert_eq!(mean.image.data, file.frame(1).unwrap());
    assert_sampling(Some(mean.image.sampling), [0.2, 0.1], 1e-12);
    fs::write(&path, ser(0x0220, 1)).unwrap();
    let file = micrograph::open(&path, None).unwrap();
    let single = file.chosen(Frames::Unsaid, None, &RegistrationSettings::default());
    assert!(single.unwrap().notices.is_empty());
}

#[test]
fn a_drifting_stack_is_averaged_to_its_common_area() {
    use ferrostem::registration::RegistrationSettings;
    use ferrostem::storage::frames::Frames;
    use ndarray_npy::WriteNpyExt;
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i");
    // Columns on a lattice of 14 px, each of its own height, drifting by (1.5, −0.75) px per frame.
    let stack = Array3::from_shape_fn((4, 90, 80), |(frame, y, x)| {
        let (y, x) = (
            y as f64 - 1.5 * frame as f64,
            x as f64 + 0.75 * frame as f64,
        );
        let (i, j) = ((y / 14.0).round(), (x / 14.0).round());
        let square = (y - 14.0 * i).powi(2) + (x - 14.0 * j).powi(2);
        50.0 + (90.0 + 20.0 * (5.0 * i + 3.0 * j).sin()) * (-square / 10.0).exp()
    });
    stack.write_npy(fs::File::create(&path).unwrap()).unwrap();
    let file = micrograph::open(&path, None).unwrap();
    let settings = RegistrationSettings::default();
    let aligned = file
        .chosen(Frames::Average { align: true }, Some(0.2), &settings)
        .unwrap();
    let shifts = aligned.registration.unwrap().shifts;
    for (frame, [y, x]) in shifts.iter().enumerate() {
        let error = (y - 1.5 * frame as f64).hypot(x + 0.75 * frame as f64);
        assert!(error < 0.02, "frame {frame}: ({y}, {x})");
    }
    assert_eq!(aligned.image.data.dim(), (85, 77));
    assert!(
        aligned.notices[1].contains("common area 77 × 85 px"),
        "{:?}",
        aligned.notices
    );
}
