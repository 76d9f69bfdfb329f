//! What a simulation will cost: memory, wave-slices, time.

use std::time::Instant;

use super::method::smaller_side;
use super::plan::Plan;
use super::simulator::Simulator;
use crate::error::Result;
use crate::multislice::checks::{Sizes, Work, beam_count, expected_work};
use crate::multislice::{Bloch, Method, Multislice, Optics, Prism};
use crate::settings::Source;

/// Slices of the trial that a time estimate is made from.
const SLICES_OF_A_TRIAL: usize = 8;
/// The same for Bloch waves, all of which are tried.
const SLICES_OF_A_BLOCH_TRIAL: usize = 2;
/// Probes for each thread of a trial: some go through side by side.
const PROBES_OF_A_TRIAL: usize = 16;
/// Waves of a thread on their windows, with what they need beside.
const SIDE_BY_SIDE: usize = 5;
/// What an atom takes in the structure, displaced, and in the slices, beside its share of the rest of the program [bytes].
const BYTES_OF_AN_ATOM: u64 = 300;
/// Time that PRISM takes to sum up a probe, on each pixel of its window behind each exit [s].
const PRISM_SUM_SECONDS: f64 = 30e-9;

/// A response in memory, and its pictures on the pixels of an image.
const BYTES_OF_A_RESPONSE: u64 = 64 << 20;
/// What a thread draws, and what comes before.
const PIXELS_PER_SECOND: f64 = 3e6;
const SECONDS_TO_BEGIN: f64 = 0.5;

/// Bytes of a reading in flight: what an engine sums up beside what it hands over, later this rounded and written; of a thread's
/// own probe, what is scattered elastically and diffusely.
const BYTES_OF_A_NUMBER: u64 = 16;

impl Plan {
    /// Wave-slices and memory.
    ///
    /// # Errors
    /// As [`Plan::potential`].
    pub fn work(&self) -> Result<Work> {
        let multislice = &self.settings.multislice;
        let passes = (self.settings.tilts_mrad.len() * self.configurations()) as u64;
        let probes = self.raster.len() * self.settings.probe.focal_series().len();
        let threads = rayon::current_num_threads();
        let sizes = Sizes {
            shape: self.grid.shape(),
            slices: self.exit_slices.last().copied().unwrap_or(0),
            unique_slices: self.potential(0)?.unique_slices(),
            probes,
            tilts: passes as usize,
            threads,
            oversampling: multislice.oversampling,
        };
        let full_field = expected_work(sizes, multislice.precision);
        let work = match (multislice.method, &multislice.bloch, &multislice.prism) {
            (Method::Bloch, Some(bloch), _) => {
                let points = bloch.points(smaller_side(&self.grid));
                let optics = self.optics()?;
                let beams = beam_count(&self.settings.probe, &self.grid, points);
                Work {
                    wave_slices: beams * sizes.slices as u64 * passes,
                    bytes: full_field.bytes + Bloch::bytes(&self.grid, &optics, points) as u64,
                }
            }
            (Method::Emulator, ..) => Work {
                wave_slices: 0,
                bytes: BYTES_OF_A_RESPONSE * self.channel_count() as u64
                    + BYTES_OF_AN_ATOM * self.structure.positions.len() as u64,
            },
            (Method::Prism, _, Some(prism)) => {
                let optics = self.optics()?;
                let work = Prism::expected_work(&self.grid, &optics, prism, probes)?;
                Work {
                    wave_slices: work.wave_slices * passes,
                    bytes: full_field.bytes + work.bytes,
                }
            }
            (Method::Windowed, ..) => {
                let windowed = self.windowed()?;
                let (rows, cols) = windowed.window().shape();
                let wave = rows * cols * multislice.precision.complex_bytes() as usize;
                // One after the other.
                let region = windowed.bytes_of_region(self.block_size());
                let trial = windowed.bytes_of_estimate().unwrap_or(0);
                Work {
                    wave_slices: full_field.wave_slices,
                    bytes: region.max(trial)
                        + windowed.bytes_of_making(threads)
                        + (SIDE_BY_SIDE * threads * wave) as u64
                        + BYTES_OF_AN_ATOM * self.structure.positions.len() as u64,
                }
            }
            _ => full_field,
        };
        Ok(Work {
            bytes: work.bytes + self.bytes_of_readings(),
            ..work
        })
    }

    /// Bytes of what is read from the probes of a unit, and of what each thread reads from its own.
    fn bytes_of_readings(&self) -> u64 {
        let (rows, cols) = self.block();
        let [width, height] = self.raster.points;
        let probes = rows.min(height) * cols.min(width) + rayon::current_num_threads();
        BYTES_OF_A_NUMBER * (probes * self.numbers_per_probe()) as u64
    }

    /// Size of a block of the raster `[x, y]` [Å].
    fn block_size(&self) -> [f64; 2] {
        let (rows, cols) = self.block();
        let [width, height] = self.raster.points;
        let [x, y] = self.raster.step;
        [cols.min(width) as f64 * x, rows.min(height) as f64 * y]
    }

    /// Refuses work that this machine's memory cannot hold.
    ///
    /// # Errors
    /// What it needs and what is free.
    pub fn check_memory(&self, source: &Source) -> Result<()> {
        let Some(free) = free_memory() else {
            return Ok(());
        };
        let multislice = &self.settings.multislice;
        let (rows, cols) = self.grid.shape();
        // The scattering factors of three elements on the fine grid come first; only then is the rest worth counting.
        let fine = (rows * cols * multislice.oversampling.pow(2)) as f64 * 8.0 * 3.0;
        let whole = !matches!(multislice.method, Method::Windowed | Method::Emulator);
        let needed = if fine > free && whole {
            fine
        } else {
            self.work()?.bytes as f64
        };
        if needed <= free {
            return Ok(());
        }
        let got = format!(
            "a {cols} × {rows} px wave that needs {} with its potentials and what is read from it",
            size_in_words(needed as u64)
        );
        let allowed = format!(
            "what fits into the {} free here: a coarser grid, a smaller specimen, less oversampling, or method = \"windowed\"; \
             fewer pixels of cameras",
            size_in_words(free as u64)
        );
        Err(source.wrong("grid", got, allowed))
    }

    /// Seconds that the whole work will take on this machine, from a trial.
    ///
    /// # Errors
    /// As [`Plan::potential`].
    pub fn estimate_seconds(&self) -> Result<f64> {
        let passes = (self.settings.tilts_mrad.len() * self.configurations()) as f64;
        let probes = self.raster.len() as f64;
        match self.settings.multislice.method {
            Method::Windowed => self.seconds_of_windows(),
            Method::Bloch => self.seconds_of_bloch().map(|each| each * passes),
            Method::Emulator => {
                let threads = rayon::current_num_threads() as f64;
                let images = passes * self.exit_slices.len() as f64 * self.channel_count() as f64;
                Ok(SECONDS_TO_BEGIN + images * probes / PIXELS_PER_SECOND / threads)
            }
            Method::Prism => {
                let threads = rayon::current_num_threads() as f64;
                let window =
                    self.probe_side() / self.grid.sampling()[0].min(self.grid.sampling()[1]);
                let planes = if self.settings.thermal_diffuse.is_some() {
                    self.exit_slices.last().copied().unwrap_or(1)
                } else {
                    self.exit_slices.len()
                };
                let sums = probes * passes * window * window * planes as f64 * PRISM_SUM_SECONDS;
                Ok(
                    self.seconds_per_wave_slice()? * self.work()?.wave_slices as f64
                        + sums / threads,
                )
            }
            _ => Ok(self.seconds_per_wave_slice()? * self.work()?.wave_slices as f64),
        }
    }

    /// Time of all windows: the estimate of their error, the regions, the probes. The first of each is tried.
    fn seconds_of_windows(&self) -> Result<f64> {
        let start = Instant::now();
        let _ = self.windowed()?.error_estimate();
        let estimate = start.elapsed().as_secs_f64();
        let Some(unit) = self.units().into_iter().next() else {
            return Ok(estimate);
        };
        let mut simulator = Simulator::new(self, &[])?;
        let start = Instant::now();
        simulator.region(&unit)?;
        let region = start.elapsed().as_secs_f64();
        // Of a larger raster the first probes, but enough to keep all threads busy; the first pass touches the memory.
        let few = PROBES_OF_A_TRIAL * rayon::current_num_threads();
        simulator.first_readings(&unit, few)?;
        let start = Instant::now();
        simulator.first_readings(&unit, few)?;
        let probe = start.elapsed().as_secs_f64() / few.min(unit.len()) as f64;
        let (tilts, probes) = (self.settings.tilts_mrad.len(), self.raster.len());
        let regions = self.units().len() / tilts;
        let probes = probes * tilts * self.configurations();
        Ok(estimate + region * regions as f64 + probe * probes as f64)
    }

    /// Time of an image by Bloch waves, from its first slices.
    fn seconds_of_bloch(&self) -> Result<f64> {
        let (optics, slices) = self.trial(SLICES_OF_A_BLOCH_TRIAL)?;
        let bloch = self.settings.multislice.bloch.as_ref();
        let points = bloch.map_or(1, |bloch| bloch.points(smaller_side(&self.grid)));
        let engine = Bloch::new(&self.potential(0)?, &optics, points)?;
        let start = Instant::now();
        let _ = engine.image_coefficients();
        let all = self.exit_slices.last().copied().unwrap_or(1);
        Ok(start.elapsed().as_secs_f64() * all as f64 / slices as f64)
    }

    /// Time of a wave on the whole specimen in a slice.
    fn seconds_per_wave_slice(&self) -> Result<f64> {
        let (optics, slices) = self.trial(SLICES_OF_A_TRIAL)?;
        let engine = Multislice::new(&self.potential(0)?, &optics)?;
        let waves = PROBES_OF_A_TRIAL * rayon::current_num_threads();
        let positions = vec![self.raster.start; waves];
        // The first pass touches the memory, the second is timed.
        let _ = engine.scan(&positions);
        let start = Instant::now();
        let _ = engine.scan(&positions);
        Ok(start.elapsed().as_secs_f64() / (waves * slices) as f64)
    }

    /// The microscope, read behind the first slices only, and how many these are.
    fn trial(&self, most: usize) -> Result<(Optics, usize)> {
        let last = self.exit_slices.last().copied().unwrap_or(1);
        let slices = last.min(most);
        let optics = Optics {
            exit_slices: vec![slices],
            ..self.optics()?
        };
        Ok((optics, slices))
    }
}

/// A size in memory or on disk.
pub(super) fn size_in_words(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 {
        format!("{:.2} GiB", mib / 1024.0)
    } else if mib >= 1.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{mib:.4} MiB")
    }
}

/// Memory that is free for a program [bytes], where the system tells.
fn free_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_say_something_however_small() {
        for (bytes, words) in [
            (600, "0.0006 MiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 30) - (1 << 20), "1023.0 MiB"),
            (3 << 29, "1.50 GiB"),
        ] {
            assert_eq!(size_in_words(bytes), words);
        }
    }
}
