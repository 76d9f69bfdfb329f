//! The thermal-diffuse model (stub).

/// Settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ThermalDiffuse {
    /// Whether elastic scattering counts.
    pub count_elastic: bool,
}
