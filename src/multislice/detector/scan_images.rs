//! From channels over a scan to images.

use ndarray::Array2;

use super::integration::integrate;
use super::settings::Detector;

/// The images of detector `name`, `(y, x)` each, from its channels over one scan of `step` `[y, x]` [Å]; none for a pixelated
/// one. A `periodic` scan covers whole periods of the specimen; of any other, the integrated kinds (`icom`, `idpc`) are less
/// exact within a few pixels of the border. Integrated images have mean zero.
///
/// # Panics
/// If there are not as many channels as the detector has.
#[must_use]
pub fn images_from_channels(
    detector: &Detector,
    name: &str,
    channels: Vec<Array2<f64>>,
    step: [f64; 2],
    periodic: bool,
) -> Vec<(String, Array2<f64>)> {
    assert_eq!(
        channels.len(),
        detector.channel_count(),
        "channels of {name}"
    );
    let channels = match (detector, channels.as_slice()) {
        (Detector::IntegratedCentreOfMass(_) | Detector::IntegratedDpc(_), [x, y]) => {
            vec![integrate([x, y], step, periodic)]
        }
        _ => channels,
    };
    detector
        .image_names(name)
        .into_iter()
        .zip(channels)
        .collect()
}

impl Detector {
    /// Names of its images, if it is called `name`.
    #[must_use]
    pub fn image_names(&self, name: &str) -> Vec<String> {
        match self {
            Self::Annular(_) | Self::IntegratedCentreOfMass(_) | Self::IntegratedDpc(_) => {
                vec![name.to_owned()]
            }
            Self::CentreOfMass(_) | Self::Dpc(_) => {
                vec![format!("{name}_x"), format!("{name}_y")]
            }
            Self::Segmented(segments) => (0..segments.rings * segments.sectors)
                .map(|i| (i / segments.sectors, i % segments.sectors))
                .map(|(ring, sector)| format!("{name}_r{ring}s{sector}"))
                .collect(),
            Self::Pixelated(_) => Vec::new(),
        }
    }
}
