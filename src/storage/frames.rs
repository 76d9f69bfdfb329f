//! One image of a stack: a frame, or the average of all, aligned on request.

use super::micrograph::Micrograph;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::registration::{Registration, RegistrationSettings, average, register};

/// Which image is made of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frames {
    /// Not said: fine for a single frame. Of simulated images, which differ in tilt and thickness, it is the first.
    #[default]
    Unsaid,
    /// This frame, counting from 0.
    One(usize),
    /// The mean of all frames.
    Average {
        /// Whether drift is measured and taken back before.
        align: bool,
    },
}

/// An image made of a file's frames.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The image.
    pub image: Image,
    /// What was done, for the user.
    pub notices: Vec<String>,
    /// Shifts of the frames, where they were aligned.
    pub registration: Option<Registration>,
}

impl Micrograph {
    /// The image that `frames` asks for; `sampling` [Å/px] overrides the file's calibration. Pixels of single frames may be NaN or
    /// infinite; those that are averaged may not.
    ///
    /// # Errors
    /// As [`Micrograph::image`]; a stack of which no frame was chosen; frames that cannot be aligned.
    pub fn chosen(
        &self,
        frames: Frames,
        sampling: Option<f64>,
        settings: &RegistrationSettings,
    ) -> Result<Chosen> {
        let last = self.frames - 1;
        match frames {
            Frames::One(index) => {
                let text = format!("frame {index} ({}); of 0 to {last}", self.label(index));
                let image = self.with_gaps(index, sampling)?;
                Ok(Chosen::plain(image, (last > 0).then_some(text)))
            }
            Frames::Unsaid if last == 0 => Ok(Chosen::plain(self.with_gaps(0, sampling)?, None)),
            Frames::Unsaid if self.truth.is_some() => {
                let label = self.label(0);
                let text = format!("frame 0 ({label}); --frame 0 to {last} chooses another");
                Ok(Chosen::plain(self.with_gaps(0, sampling)?, Some(text)))
            }
            Frames::Unsaid => Err(Error::data(
                &self.path,
                "frames",
                format!("a stack of {} frames and no choice among them", self.frames),
                format!(
                    "--frame N (0 to {last}), --average, or --average --align to take drift back first"
                ),
            )),
            Frames::Average { .. } if last == 0 => {
                let text = "one frame only: nothing to average".to_owned();
                Ok(Chosen::plain(self.with_gaps(0, sampling)?, Some(text)))
            }
            Frames::Average { align } => self.averaged(align, sampling, settings),
        }
    }

    fn with_gaps(&self, index: usize, sampling: Option<f64>) -> Result<Image> {
        Ok(Image {
            sampling: self.pixel_size(sampling)?,
            data: self.frame_with_gaps(index)?,
        })
    }

    fn averaged(
        &self,
        align: bool,
        sampling: Option<f64>,
        settings: &RegistrationSettings,
    ) -> Result<Chosen> {
        let sampling = self.pixel_size(sampling)?;
        let read = |index: usize| self.frame(index);
        let in_file = |error: Error| error.of_file(&self.path);
        let registration = if align {
            Some(register(self.frames, self.shape, read, settings).map_err(in_file)?)
        } else {
            None
        };
        let still = vec![[0.0; 2]; self.frames];
        let shifts = registration.as_ref().map_or(&still, |found| &found.shifts);
        let (data, corner) = average(self.shape, shifts, read).map_err(in_file)?;
        let mut notices = vec![format!("average of {} frames", self.frames)];
        if let Some(found) = &registration {
            let drift = shifts.iter().map(|[y, x]| y.hypot(*x)).fold(0.0, f64::max);
            let (rows, cols) = data.dim();
            notices.push(format!(
                "aligned: drift up to {drift:.2} px, {} of {} pairs of frames contradicted; common area {cols} × {rows} px (x × y) \
                 from column {}, row {} of frame 0",
                found.contradicted, found.pairs, corner[1], corner[0]
            ));
        }
        Ok(Chosen {
            image: Image { data, sampling },
            notices,
            registration,
        })
    }
}

impl Chosen {
    fn plain(image: Image, notice: Option<String>) -> Self {
        Self {
            image,
            notices: notice.into_iter().collect(),
            registration: None,
        }
    }
}
