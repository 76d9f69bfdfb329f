//! What is known of each cell, as named columns of numbers: the same in tables and in HDF5.

use super::lattice::{LocalLattice, Measured};
use super::{Analysis, Cell};
use crate::storage::polarization::Quantity;

/// Decimals of lengths [Å].
const LENGTH: usize = 5;
/// Decimals of D [pm] and of its covariance.
const DISPLACEMENT: usize = 4;
/// Decimals of ratios and strains: a millionth.
const RATIO: usize = 6;

impl Analysis {
    /// What follows D in `polarization.csv`: covariance, significance, P if it is wanted, domain (counted from 1, 0 for none) and indices.
    #[must_use]
    pub fn polar_quantities(&self) -> Vec<Quantity> {
        let of_cell = |name, units, decimals, value: &dyn Fn(&Cell) -> f64| {
            Quantity::new(
                name,
                units,
                decimals,
                self.cells.iter().map(value).collect(),
            )
        };
        let of_test = |name, decimals, value: &dyn Fn(usize) -> f64| {
            Quantity::new(
                name,
                "",
                decimals,
                (0..self.cells.len()).map(value).collect(),
            )
        };
        let judged = |cell: usize| self.significance[cell];
        let mut all = vec![
            of_cell("covariance_dxdy_pm2", "pm2", DISPLACEMENT, &|c| c.total.xy),
            of_test("chi_square", DISPLACEMENT, &|cell| judged(cell).chi_square),
            // Probabilities span hundreds of decades: their logarithm keeps its digits.
            of_test("log10_p", DISPLACEMENT, &|cell| {
                -0.5 * std::f64::consts::LOG10_E * judged(cell).chi_square
            }),
            of_test("significant", 0, &|cell| {
                f64::from(judged(cell).significant)
            }),
        ];
        if self.reference.is_some() {
            let own = |axis: usize| move |c: &Cell| c.covariance.sigma()[axis];
            all.push(of_cell("sigma_own_dx_pm", "pm", DISPLACEMENT, &own(0)));
            all.push(of_cell("sigma_own_dy_pm", "pm", DISPLACEMENT, &own(1)));
        }
        if let Some(kappa) = self.kappa() {
            let unit = "uC/cm2";
            let p = |axis: usize| move |c: &Cell| kappa * c.displacement[axis];
            let sigma = |axis: usize| move |c: &Cell| kappa.abs() * c.total.sigma()[axis];
            all.push(of_cell("px_uc_per_cm2", unit, DISPLACEMENT, &p(0)));
            all.push(of_cell("py_uc_per_cm2", unit, DISPLACEMENT, &p(1)));
            all.push(of_cell(
                "sigma_px_uc_per_cm2",
                unit,
                DISPLACEMENT,
                &sigma(0),
            ));
            all.push(of_cell(
                "sigma_py_uc_per_cm2",
                unit,
                DISPLACEMENT,
                &sigma(1),
            ));
        }
        let domain = |cell: usize| self.domains.of_cell[cell].map_or(0.0, |d| (d + 1) as f64);
        all.push(of_test("domain", 0, &domain));
        all.push(of_cell("i", "", 0, &|c| f64::from(c.index[0])));
        all.push(of_cell("j", "", 0, &|c| f64::from(c.index[1])));
        all
    }

    /// The local lattice of each cell, every quantity followed by its standard deviation.
    #[must_use]
    pub fn lattice_quantities(&self) -> Vec<Quantity> {
        type Field = fn(&LocalLattice) -> Measured;
        let fields: [(&str, &str, &str, usize, Field); 8] = [
            ("a_angstrom", "sigma_a_angstrom", "Å", LENGTH, |l| {
                l.a_length
            }),
            ("b_angstrom", "sigma_b_angstrom", "Å", LENGTH, |l| {
                l.b_length
            }),
            ("c_over_a", "sigma_c_over_a", "", RATIO, |l| l.c_over_a),
            (
                "angle_degrees",
                "sigma_angle_degrees",
                "degrees",
                DISPLACEMENT,
                |l| l.angle,
            ),
            (
                "rotation_mrad",
                "sigma_rotation_mrad",
                "mrad",
                DISPLACEMENT,
                |l| l.rotation,
            ),
            ("strain_xx", "sigma_strain_xx", "", RATIO, |l| l.strain_xx),
            ("strain_yy", "sigma_strain_yy", "", RATIO, |l| l.strain_yy),
            ("strain_xy", "sigma_strain_xy", "", RATIO, |l| l.strain_xy),
        ];
        let mut all = Vec::new();
        for (name, sigma, units, decimals, field) in fields {
            let of = |value: fn(Measured) -> f64| -> Vec<f64> {
                self.lattices.iter().map(|l| value(field(l))).collect()
            };
            all.push(Quantity::new(name, units, decimals, of(|m| m.value)));
            all.push(Quantity::new(sigma, units, decimals, of(|m| m.sigma)));
        }
        all
    }

    /// What all numbers of the map rest on, by name: for the attributes of files, and for tables.
    #[must_use]
    pub fn statements(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("convention", self.settings.convention.word().to_owned()),
            ("convention_formula", self.convention()),
            ("zero_of_d", self.zero()),
            ("significance", self.significance_told()),
        ];
        if let Some(conversion) = &self.conversion {
            all.push((
                "conversion",
                format!(
                    "P = {} uC/cm2 per pm times (r_B - mean of 4 r_A); {}",
                    conversion.kappa_uc_per_cm2_per_pm, conversion.source
                ),
            ));
        }
        if let Some(warning) = &self.calibration_warning {
            all.push(("calibration_warning", warning.clone()));
        }
        all
    }
}
