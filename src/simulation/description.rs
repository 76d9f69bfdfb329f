//! A plan in words: size, method and work, for `check` and `--verbose`.

use super::cost::size_in_words;
use super::plan::Plan;
use crate::error::Result;
use crate::multislice::{Detector, Method};

impl Plan {
    /// Lines about size and work.
    ///
    /// # Errors
    /// As [`Plan::potential`].
    pub fn describe(&self) -> Result<String> {
        let work = self.work()?;
        let band_limit = Detector::limit_mrad(&self.grid, self.settings.probe.wavelength());
        let lines = [
            ("crystal", self.notes.join("; ")),
            ("atoms", self.structure.len().to_string()),
            ("grid", self.grid_in_words()),
            ("band limit", format!("{band_limit:.1} mrad")),
            ("probes", self.raster_in_words()),
            ("method", self.method_in_words()),
            ("window", self.window_in_words()?),
            ("tilts", self.settings.tilts_mrad.len().to_string()),
            ("phonons", self.thermal_in_words()),
            ("exit thicknesses", self.exits_in_words()),
            ("patterns", self.patterns_in_words()),
            ("wave-slices", work.wave_slices.to_string()),
            ("memory", format!("about {}", size_in_words(work.bytes))),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<18}{value}"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn grid_in_words(&self) -> String {
        let (rows, cols) = self.grid.shape();
        let [dy, dx] = self.grid.sampling();
        format!("{cols} × {rows} px of {dx:.4} × {dy:.4} Å (x × y)")
    }

    fn raster_in_words(&self) -> String {
        let [px, py] = self.raster.points;
        let [sx, sy] = self.raster.step;
        format!("{px} × {py}, {sx:.4} × {sy:.4} Å apart (x × y)")
    }

    fn method_in_words(&self) -> String {
        let method = self.settings.multislice.method;
        match &self.reason {
            Some(reason) => format!("{method}: {reason}"),
            None => method.to_string(),
        }
    }

    /// The window; nothing for other methods.
    fn window_in_words(&self) -> Result<String> {
        if self.settings.multislice.method != Method::Windowed {
            return Ok(String::new());
        }
        let windowed = self.windowed()?;
        let [height, width] = windowed.window().extent();
        let (rows, cols) = windowed.window().shape();
        let border = windowed.border_intensity().map_or_else(
            || "fixed".to_owned(),
            |border| format!("{border:.1e} of the beam in its outer tenth"),
        );
        Ok(format!(
            "{width:.1} × {height:.1} Å, {cols} × {rows} px (x × y), {border}"
        ))
    }

    fn thermal_in_words(&self) -> String {
        match (&self.settings.phonons, &self.settings.thermal_diffuse) {
            (Some(_), _) => format!("{} configurations", self.configurations()),
            (None, Some(_)) => "thermal-diffuse model, one pass".to_owned(),
            (None, None) => "none, the lattice is at rest".to_owned(),
        }
    }

    fn exits_in_words(&self) -> String {
        let thicknesses = self.thicknesses_nm();
        let thicknesses: Vec<String> = thicknesses.iter().map(|t| format!("{t:.3}")).collect();
        format!("{} nm", thicknesses.join(", "))
    }

    /// Pixels and size on disk of each 4D data set; nothing without cameras.
    fn patterns_in_words(&self) -> String {
        let images = self.settings.tilts_mrad.len() * self.exit_slices.len();
        let frames = (images * self.raster.len()) as u64;
        let words = self.cameras.iter().map(|(name, camera)| {
            let [rows, cols] = camera.shape();
            let [dy, dx] = camera.step_mrad();
            let bytes = frames * (rows * cols * size_of::<f32>()) as u64;
            let size = size_in_words(bytes);
            format!(
                "{name}: {cols} × {rows} px of {dx:.3} × {dy:.3} mrad (x × y), {size} of 4D data"
            )
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
