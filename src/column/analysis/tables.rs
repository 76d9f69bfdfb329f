//! Tables of cells, distances, domains and walls, and the whole in words and in TOML.

use serde::Serialize;

use super::lattice::Measured;
use super::profile::{Profile, profile_flags};
use super::{Analysis, Conversion, Covariance};
use crate::column::ColumnMap;
use crate::crystal::Sublattice;
use crate::storage::tables::field;

/// A table: names of the columns, and rows of as many fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names, with units.
    pub header: Vec<String>,
    /// Fields.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(header: &str, rows: Vec<Vec<String>>) -> Self {
        Self {
            header: header
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect(),
            rows,
        }
    }
}

/// The half width of one wall, averaged over its segments.
#[derive(Debug, Clone, Copy, PartialEq)]
struct WholeWall {
    domains: [usize; 2],
    length: f64,
    half_width: Measured,
    turn_degrees: f64,
}

impl Analysis {
    /// `cells.csv`: the local lattice of each cell.
    #[must_use]
    pub fn cells_table(&self) -> Table {
        let quantities = self.lattice_quantities();
        let mut header: Vec<String> = ["i", "j", "x_angstrom", "y_angstrom"]
            .map(str::to_owned)
            .to_vec();
        header.extend(quantities.iter().map(|q| q.name.to_owned()));
        header.push("flags".to_owned());
        let row = |cell: usize| {
            let found = &self.cells[cell];
            let mut row = found.index.map(|i| i.to_string()).to_vec();
            row.extend(found.position.map(|x| field(x, 5)));
            row.extend(quantities.iter().map(|q| field(q.values[cell], q.decimals)));
            row.push(found.flags.to_string());
            row
        };
        Table {
            header,
            rows: (0..self.cells.len()).map(row).collect(),
        }
    }

    /// `distances.csv`: A–A and B–B.
    #[must_use]
    pub fn distances_table(&self) -> Table {
        let rows = self.distances.iter().map(|d| {
            vec![
                if d.sublattice == Sublattice::A {
                    "A-A"
                } else {
                    "B-B"
                }
                .to_owned(),
                if d.along_a { "a" } else { "b" }.to_owned(),
                field(d.middle[0], 5),
                field(d.middle[1], 5),
                field(d.length.value, 5),
                field(d.length.sigma, 5),
                d.flags.to_string(),
            ]
        });
        Table::new(
            "pair,along,x_angstrom,y_angstrom,distance_angstrom,sigma_distance_angstrom,flags",
            rows.collect(),
        )
    }

    /// `domains.csv`: domains, counted from 1.
    #[must_use]
    pub fn domains_table(&self) -> Table {
        let rows = self.domains.list.iter().enumerate().map(|(number, d)| {
            let mut row = vec![(number + 1).to_string(), d.direction.to_string()];
            row.push(field(d.direction_degrees, 2));
            row.push(d.cells.len().to_string());
            row.push(field(d.area_nm2, 3));
            row.extend(d.centre.map(|x| field(x, 3)));
            row.extend(d.mean.map(|x| field(x, 4)));
            row.extend(d.covariance.sigma().map(|x| field(x, 4)));
            row.push(field(d.covariance.xy, 4));
            row.push(self.settings.convention.word().to_owned());
            row
        });
        Table::new(
            "domain,direction,direction_degrees,cells,area_nm2,x_angstrom,y_angstrom,dx_pm,dy_pm,sigma_dx_pm,sigma_dy_pm,\
             covariance_dxdy_pm2,convention",
            rows.collect(),
        )
    }

    /// `walls.csv`: segments of walls; domains and walls are counted from 1.
    #[must_use]
    pub fn walls_table(&self) -> Table {
        let rows = self.walls.iter().map(|segment| {
            let p: &Profile = &segment.profile;
            let mut row = vec![(segment.wall + 1).to_string()];
            row.extend(segment.domains.map(|d| (d + 1).to_string()));
            row.extend(p.centre.map(|x| field(x, 4)));
            row.extend(p.normal.map(|x| field(x, 6)));
            row.push(field(p.position_sigma, 4));
            row.push(field(p.angle_sigma, 4));
            row.push(field(p.half_width.value, 4));
            row.push(field(p.half_width.sigma, 4));
            row.push(field(segment.length, 3));
            row.push(field(p.turn_degrees(), 3));
            for (plateau, covariance) in p.plateaus.iter().zip(p.plateau_covariances) {
                row.extend(plateau.map(|x| field(x, 4)));
                row.extend(covariance.sigma().map(|x| field(x, 4)));
            }
            row.push(field(p.normal_jump.value, 4));
            row.push(field(p.normal_jump.sigma, 4));
            row.push(field(p.chi_square, 3));
            row.push(p.freedom.to_string());
            row.push(p.cells.to_string());
            row.push(p.flags.to_string());
            row.push(self.settings.convention.word().to_owned());
            row
        });
        Table::new(
            "wall,domain_1,domain_2,x_angstrom,y_angstrom,normal_x,normal_y,sigma_position_angstrom,sigma_normal_degrees,\
             half_width_angstrom,sigma_half_width_angstrom,length_angstrom,turn_degrees,dx_1_pm,dy_1_pm,sigma_dx_1_pm,sigma_dy_1_pm,\
             dx_2_pm,dy_2_pm,sigma_dx_2_pm,sigma_dy_2_pm,normal_jump_pm,sigma_normal_jump_pm,chi_square,freedom,cells,flags,convention",
            rows.collect(),
        )
    }

    /// How cells are judged, and how many are polar.
    #[must_use]
    pub fn significance_told(&self) -> String {
        let settings = &self.settings.significance;
        let counted = self
            .significance
            .iter()
            .filter(|s| s.chi_square.is_finite())
            .count();
        let polar = self.significance.iter().filter(|s| s.significant).count();
        if counted == 0 {
            return "no standard deviations are known, so no D can be told from zero".to_owned();
        }
        let rule = if settings.false_discovery_rate {
            format!(
                "false discovery rate {} (Benjamini and Hochberg)",
                settings.level
            )
        } else {
            let chance = settings.level * counted as f64;
            format!(
                "level {}, by chance {chance:.0} of them if nothing were polar",
                settings.level
            )
        };
        format!("{polar} of {counted} cells have a D that differs from zero ({rule})")
    }

    /// Walls with the weighted mean of the half widths of their segments.
    fn whole_walls(&self) -> Vec<WholeWall> {
        self.walls
            .chunk_by(|p, q| p.wall == q.wall)
            .map(|segments| {
                let resolved = profile_flags::NOT_CONVERGED | profile_flags::UNRESOLVED;
                let good = segments.iter().filter(|s| s.profile.flags & resolved == 0);
                let [weights, sum] = good.fold([0.0, 0.0], |[weights, sum], segment| {
                    let width = segment.profile.half_width;
                    let weight = width.sigma.powi(-2);
                    [weights + weight, sum + weight * width.value]
                });
                let length: f64 = segments.iter().map(|s| s.length).sum();
                let turns = segments.iter().map(|s| s.length * s.profile.turn_degrees());
                WholeWall {
                    domains: segments[0].domains,
                    length,
                    half_width: Measured {
                        value: sum / weights,
                        sigma: 1.0 / weights.sqrt(),
                    },
                    turn_degrees: turns.sum::<f64>() / length,
                }
            })
            .collect()
    }

    /// What the analysis says, in lines that follow [`ColumnMap::summary`].
    #[must_use]
    pub fn summary(&self) -> String {
        if self.cells.is_empty() {
            return "no cells: nothing to be said of D, strain, domains and walls".to_owned();
        }
        let mut lines = vec![self.convention(), self.zero(), self.significance_told()];
        if let Some(conversion) = &self.conversion {
            lines.push(format!(
                "P = κ (r_B − mean r_A), κ = {} µC/cm² per pm: {}",
                conversion.kappa_uc_per_cm2_per_pm, conversion.source
            ));
        }
        let walls = self.whole_walls();
        lines.push(format!(
            "{} domains, {} walls",
            self.domains.list.len(),
            walls.len()
        ));
        for (number, domain) in self.domains.list.iter().enumerate().take(12) {
            let [dx, dy] = domain.mean;
            let mean = match domain.covariance.sigma() {
                [sx, sy] if sx.is_finite() => {
                    format!("({dx:+.2} ± {sx:.2}, {dy:+.2} ± {sy:.2})")
                }
                _ => format!("({dx:+.2}, {dy:+.2})"),
            };
            lines.push(format!(
                "  domain {}: {} cells, {:.1} nm², mean D = {mean} pm",
                number + 1,
                domain.cells.len(),
                domain.area_nm2
            ));
        }
        for (number, wall) in walls.iter().enumerate().take(12) {
            lines.push(format!(
                "  wall {} between domains {} and {}: {:.1} nm long, D turns by {:.0}°, {}",
                number + 1,
                wall.domains[0] + 1,
                wall.domains[1] + 1,
                wall.length / 10.0,
                wall.turn_degrees,
                if wall.half_width.value.is_finite() {
                    let Measured { value, sigma } = wall.half_width;
                    format!("half width {value:.2} ± {sigma:.2} Å")
                } else {
                    "narrower than the lattice resolves".to_owned()
                }
            ));
        }
        lines.join("\n")
    }

    /// `analysis.toml`: settings, statements and results that hold for the whole map.
    #[must_use]
    pub fn to_toml(&self, map: &ColumnMap) -> String {
        let polar = self.significance.iter().filter(|s| s.significant).count();
        let covariance = |c: Covariance| [c.xx, c.xy, c.yy];
        let whole = Whole {
            method: map.method,
            convention: self.settings.convention.word(),
            convention_formula: self.convention(),
            zero_of_d: self.zero(),
            cells: self.cells.len(),
            significant_cells: polar,
            lattice_a_angstrom: map.lattice.a,
            lattice_b_angstrom: map.lattice.b,
            strain_reference_a_angstrom: self.strain_reference.a,
            strain_reference_b_angstrom: self.strain_reference.b,
            calibration_ratio: map.calibration_ratio,
            calibration_warning: self.calibration_warning.clone(),
            first_direction_degrees: self.domains.first_direction_degrees,
            conversion: self.conversion.clone(),
            reference: self.reference.as_ref().map(|r| WholeReference {
                cells: r.count(),
                mean_pm: r.mean,
                covariance_pm2: covariance(r.covariance),
                scatter_over_expected: r.scatter,
            }),
            settings: &self.settings,
        };
        toml::to_string(&whole).unwrap_or_else(|error| format!("# does not serialize: {error}\n"))
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    method: &'static str,
    convention: &'static str,
    convention_formula: String,
    zero_of_d: String,
    cells: usize,
    significant_cells: usize,
    lattice_a_angstrom: [f64; 2],
    lattice_b_angstrom: [f64; 2],
    strain_reference_a_angstrom: [f64; 2],
    strain_reference_b_angstrom: [f64; 2],
    calibration_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_warning: Option<String>,
    first_direction_degrees: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversion: Option<Conversion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<WholeReference>,
    settings: &'a super::AnalysisSettings,
}

#[derive(Serialize)]
struct WholeReference {
    cells: usize,
    mean_pm: [f64; 2],
    /// `[xx, xy, yy]`: common to all cells.
    covariance_pm2: [f64; 3],
    scatter_over_expected: f64,
}
