//! A plan in words: size, method and work, for `check` and `--verbose`.

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
            ("wave-slices", work.wave_slices.to_string()),
            (
                "memory",
                format!("about {:.2} GiB", work.bytes as f64 / f64::from(1u32 << 30)),
            ),
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
}
