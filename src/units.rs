//! Physical constants and the electron's wave: CODATA 2018 (exact SI values where the SI fixes them).

/// Planck constant [J s] (exact since the 2019 SI).
const PLANCK: f64 = 6.626_070_15e-34;
/// Speed of light [m/s] (exact).
const LIGHT_SPEED: f64 = 299_792_458.0;
/// Elementary charge [C] (exact since the 2019 SI).
const ELEMENTARY_CHARGE: f64 = 1.602_176_634e-19;
/// Electron mass [kg] (CODATA 2018).
const ELECTRON_MASS: f64 = 9.109_383_701_5e-31;

/// Metres to ångströms.
const ANGSTROM_PER_METRE: f64 = 1e10;
/// Picometres per ångström: displacements are reported in pm, positions in Å.
pub const PM_PER_ANGSTROM: f64 = 100.0;
/// Ångströms per nanometre.
pub const ANGSTROM_PER_NM: f64 = 10.0;
/// Radians per milliradian.
pub const RAD_PER_MRAD: f64 = 1e-3;
/// Full width at half maximum of a Gaussian over its standard deviation, 2 √(2 ln 2).
pub const FWHM_PER_SIGMA: f64 = 2.354_820_045_030_949;

/// κ = 4πε₀ (2π)⁻² a₀⁻¹ e⁻¹ … [1/(V Å²)]: the Fourier transform of an atom's projected potential is f_e(k)/κ
/// (Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed., eq. C.9, h²/(2π m e)).
#[must_use]
pub fn kappa() -> f64 {
    let volt_metre2 =
        PLANCK * PLANCK / (2.0 * std::f64::consts::PI * ELECTRON_MASS * ELEMENTARY_CHARGE);
    1.0 / (volt_metre2 * ANGSTROM_PER_METRE * ANGSTROM_PER_METRE)
}

/// Relativistic electron wavelength λ = hc/√(E(2mc² + E)) [Å] at kinetic energy `energy` [eV].
#[must_use]
pub fn wavelength(energy: f64) -> f64 {
    let kinetic = energy * ELEMENTARY_CHARGE;
    let rest = ELECTRON_MASS * LIGHT_SPEED * LIGHT_SPEED;
    PLANCK * LIGHT_SPEED / (kinetic * (2.0 * rest + kinetic)).sqrt() * ANGSTROM_PER_METRE
}

/// Interaction parameter σ = 2π m e λ/h² [rad/(V Å)] with the relativistic mass m, at `energy` [eV]
/// (Kirkland, eq. 5.6).
#[must_use]
pub fn interaction(energy: f64) -> f64 {
    let mass = ELECTRON_MASS + energy * ELEMENTARY_CHARGE / (LIGHT_SPEED * LIGHT_SPEED);
    let lambda = wavelength(energy) / ANGSTROM_PER_METRE;
    2.0 * std::f64::consts::PI * mass * ELEMENTARY_CHARGE * lambda
        / (PLANCK * PLANCK)
        / ANGSTROM_PER_METRE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_at_200_kv_are_the_published_ones() {
        assert!(
            (wavelength(200e3) - 0.025_079_340_3).abs() < 1e-9,
            "{}",
            wavelength(200e3)
        );
        assert!(
            (interaction(200e3) - 7.288_40e-4).abs() < 1e-9,
            "{}",
            interaction(200e3)
        );
        assert!((kappa() - 0.020_886_6).abs() < 1e-7, "{}", kappa());
    }
}
