//! What may surprise in a simulation that is possible: said before it begins.

use super::plan::Plan;
use crate::multislice::checks::probe_room;
use crate::multislice::{Detector, Method};
use crate::progress::Reporter;
use crate::units::{ANGSTROM_PER_NM, RAD_PER_MRAD};

/// Pixels of transmission functions above this make columns depend on where they lie between them, by more than about a
/// per cent for a light column [Å].
const COARSE: f64 = 0.04;

impl Plan {
    /// Says what may surprise: a probe that spreads beyond its field, detectors that touch the taper of the band limit,
    /// columns that look different between the pixels.
    pub fn warn(&self, reporter: &Reporter) {
        let single = [
            self.crowded_probe(),
            self.coarse_pixels(),
            self.differences_without_noise(),
            self.ordered_phonons(),
        ];
        let several = self.detectors_beyond_windows();
        let warnings = single.into_iter().flatten();
        for warning in warnings.chain(several).chain(self.damped_detectors()) {
            reporter.say(format!("warning: {warning}"));
        }
    }

    /// Depth of the last exit [nm].
    fn depth_nm(&self) -> f64 {
        self.thicknesses_nm().last().copied().unwrap_or(0.0)
    }

    /// A probe that spreads beyond the field it has for itself.
    fn crowded_probe(&self) -> Option<String> {
        let depth = self.depth_nm();
        let side = self.probe_side();
        let (room, why) = probe_room(&self.settings.probe, depth * ANGSTROM_PER_NM);
        let crowded = room > side && self.settings.multislice.method != Method::Windowed;
        crowded.then(|| {
            format!(
                "the probe has {side:.1} Å for itself and may need {room:.1} Å at {depth:.1} nm: {why}; beyond that it \
                 meets its own periodic images (channelling keeps it narrower)"
            )
        })
    }

    /// Columns that look different between the pixels.
    fn coarse_pixels(&self) -> Option<String> {
        let [dy, dx] = self.grid.sampling();
        let pixel = dy.max(dx);
        let coarse = self.settings.multislice.oversampling == 1
            && pixel > COARSE
            && self.settings.thermal_diffuse.is_none();
        coarse.then(|| {
            format!(
                "transmission functions are made on pixels of {pixel:.3} Å: the dark-field signal of a column depends \
                 on where it lies between them, by per cents; multislice.oversampling = {} would cure most of it (1 is what \
                 other programs do)",
                (pixel / COARSE).ceil()
            )
        })
    }

    /// Images that are not counts, where a dose is asked for.
    fn differences_without_noise(&self) -> Option<String> {
        self.settings.acquisition.as_ref()?.dose_per_angstrom2?;
        let mut detectors = self.settings.detectors.iter();
        let (name, _) = detectors.find(|(_, detector)| detector.is_signed())?;
        Some(format!(
            "images of detector {name} are differences, not counts: they are blurred and distorted, without noise"
        ))
    }

    /// Phonons that repeat with the cell.
    fn ordered_phonons(&self) -> Option<String> {
        let ordered = self.configurations() > 1 && self.settings.multislice.method == Method::Bloch;
        ordered.then(|| {
            "with method bloch the displacements of a phonon configuration repeat with the cell; \
             [thermal_diffuse] has no such order"
                .to_owned()
        })
    }

    /// Detectors for which electrons leave the windows of PRISM.
    fn detectors_beyond_windows(&self) -> Vec<String> {
        let multislice = &self.settings.multislice;
        let prism = multislice.prism.as_ref();
        let interpolates = prism.is_some_and(|prism| prism.interpolation > 1);
        if multislice.method != Method::Prism || !interpolates || !self.settings.counts_elastic() {
            return Vec::new();
        }
        let (depth, side) = (self.depth_nm() * ANGSTROM_PER_NM, self.probe_side());
        let warning = |(name, detector): (&String, &Detector)| {
            let reach = depth * (detector.outer_mrad() * RAD_PER_MRAD).tan();
            (reach > 0.5 * side).then(|| {
                format!(
                    "what is scattered to the outer angle of detector {name} travels {reach:.1} Å and leaves the \
                     window of PRISM, {side:.1} Å wide: it comes back on the other side; less interpolation, or a wider specimen, \
                     cures this"
                )
            })
        };
        let detectors = self.settings.detectors.iter();
        detectors.filter_map(warning).collect()
    }

    /// Detectors that touch the taper of the band limit.
    fn damped_detectors(&self) -> Vec<String> {
        if !self.settings.counts_elastic() {
            return Vec::new();
        }
        let wavelength = self.settings.probe.wavelength();
        let limit = Detector::limit_mrad(&self.grid, wavelength);
        let warning = |(name, detector): (&String, &Detector)| {
            detector.touches_taper(&self.grid, wavelength).then(|| {
                format!(
                    "detector {name} reaches into the taper below the band limit of {limit:.1} mrad: its outer \
                     part is damped by the grid, not by physics; a finer grid cures this"
                )
            })
        };
        let detectors = self.settings.detectors.iter();
        detectors.filter_map(warning).collect()
    }
}
