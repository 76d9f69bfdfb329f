//! The figures of a map: vectors, colour wheel, uncertainty, significance, distributions, domains and walls, lattice and strain.

use std::path::Path;

use rayon::prelude::*;

use super::map_settings::{FigureSettings, MapFigure};
use crate::column::ColumnMap;
use crate::column::analysis::{Analysis, LocalLattice, profile_flags};
use crate::crystal::Sublattice;
use crate::crystal::polarization::{PolarVector, flags};
use crate::error::Result;
use crate::figure::Figure;
use crate::figure::colour::ColourScale;
use crate::figure::histogram::{Histogram, histograms_figure};
use crate::figure::map::{Layer, MapStyle, Panel, WallLine, panels_figure};
use crate::figure::rose::rose_figure;
use crate::image::Image;
use crate::neighbours::Point;

/// Part of the cells whose values lie within the ends of a colour bar.
const SHOWN: f64 = 0.98;

/// What the figures show.
pub(super) struct MapFigures<'a> {
    /// Over every figure.
    pub(super) title: &'a str,
    pub(super) image: Option<&'a Image>,
    pub(super) map: &'a ColumnMap,
    pub(super) analysis: &'a Analysis,
    pub(super) settings: &'a FigureSettings,
}

/// A panel of numbers: its title and the number of a cell.
type Field<'a> = (&'a str, &'a (dyn Fn(&LocalLattice) -> f64 + Sync));

impl MapFigures<'_> {
    /// Draws all figures that are asked for into a folder; of columns without cells, as those of one sublattice only, just the
    /// columns.
    ///
    /// # Errors
    /// A picture cannot be encoded, or the system refuses.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let mut asked = self.settings.draw.clone();
        asked.sort_by_key(|figure| figure.stem());
        asked.dedup();
        asked.retain(|figure| *figure == MapFigure::Columns || !self.map.vectors.is_empty());
        asked
            .par_iter()
            .map(|figure| self.draw(*figure)?.save(folder, figure.stem(), true))
            .collect()
    }

    fn draw(&self, figure: MapFigure) -> Result<Figure> {
        let vectors = self.analysis.vectors();
        match figure {
            MapFigure::Columns => self.columns(),
            MapFigure::Polarization => self.vectors(
                self.title,
                Layer::Arrows(&vectors),
                self.image,
                self.style(),
            ),
            MapFigure::Wheel => {
                self.vectors(self.title, Layer::Field(&vectors), None, self.style())
            }
            MapFigure::Uncertainty => self.uncertainty(&vectors),
            MapFigure::Significance => self.significance(&vectors),
            MapFigure::Histogram => Ok(self.histogram(&vectors)),
            MapFigure::Rose => Ok(rose_figure(
                &format!("{}: directions", self.title),
                &vectors,
                &self.analysis.convention(),
            )),
            MapFigure::Domains => self.domains(&vectors),
            MapFigure::Lattice => self.lattice(),
            MapFigure::COverA => {
                let fields: [Field; 1] = [("", &|l| l.c_over_a.value)];
                self.scalars("c/a", &fields, "c/a", false)
            }
            MapFigure::Rotation => {
                let fields: [Field; 1] = [("", &|l| l.rotation.value)];
                let label = "rotation [mrad], positive clockwise";
                self.scalars("Rotation of the lattice", &fields, label, true)
            }
            MapFigure::Strain => {
                let fields: [Field; 3] = [
                    ("along x", &|l| 100.0 * l.strain_xx.value),
                    ("along y", &|l| 100.0 * l.strain_yy.value),
                    ("shear xy", &|l| 100.0 * l.strain_xy.value),
                ];
                self.scalars(&self.strain_title(), &fields, "strain [%]", true)
            }
        }
    }

    fn strain_title(&self) -> String {
        let is_region =
            self.analysis.reference.is_some() && !self.analysis.settings.lattice.relative_to_whole;
        let reference = if is_region {
            "the non-polar region"
        } else {
            "the whole map"
        };
        format!("Strain relative to the mean lattice of {reference}")
    }

    /// The style that all figures with vectors share.
    fn style(&self) -> MapStyle {
        let convention = match &self.analysis.conversion {
            Some(conversion) => format!(
                "{}; P = {} µC/cm² per pm × (B − A)",
                self.analysis.convention(),
                conversion.kappa_uc_per_cm2_per_pm
            ),
            None => self.analysis.convention(),
        };
        MapStyle {
            radius_pm: self.settings.radius_pm,
            convention,
            walls: self.walls(),
            ..MapStyle::default()
        }
    }

    /// Walls as lines, with a band where their width is known.
    fn walls(&self) -> Vec<WallLine> {
        let unknown = profile_flags::NOT_CONVERGED | profile_flags::UNRESOLVED;
        let walls = self.analysis.walls.iter();
        walls
            .map(|segment| WallLine {
                ends: segment.ends(),
                half_width: if segment.profile.flags & unknown == 0 {
                    segment.profile.half_width.value
                } else {
                    0.0
                },
            })
            .collect()
    }

    fn columns(&self) -> Result<Figure> {
        let of = |sublattice| -> Vec<Point> {
            self.map
                .of(sublattice)
                .map(|column| column.position)
                .collect()
        };
        let (a, b) = (of(Sublattice::A), of(Sublattice::B));
        let layer = Layer::Columns { a: &a, b: &b };
        self.vectors("Atom columns", layer, self.image, MapStyle::default())
    }

    fn vectors(
        &self,
        title: &str,
        layer: Layer,
        image: Option<&Image>,
        style: MapStyle,
    ) -> Result<Figure> {
        let panel = Panel {
            title: String::new(),
            image,
            layer,
        };
        panels_figure(title, &[panel], &style)
    }

    fn uncertainty(&self, vectors: &[PolarVector]) -> Result<Figure> {
        let positions: Vec<Point> = vectors.iter().map(|vector| vector.position).collect();
        let sigma = |axis: usize| -> Vec<f64> {
            let known = |s: f64| if s.is_finite() { s } else { f64::NAN };
            vectors
                .iter()
                .map(|vector| known(vector.sigma[axis]))
                .collect()
        };
        let (x, y) = (sigma(0), sigma(1));
        let clean: Vec<f64> = vectors
            .iter()
            .filter(|vector| vector.flags == 0)
            .flat_map(|vector| vector.sigma)
            .collect();
        let style = MapStyle {
            scalar_label: "σ of D [pm]".to_owned(),
            scalar_limits: range(&clean, false),
            ..MapStyle::default()
        };
        let panels = [("σ of Dx", &x), ("σ of Dy", &y)].map(|(title, values)| Panel {
            title: title.to_owned(),
            image: None,
            layer: Layer::Scalar {
                positions: &positions,
                values,
            },
        });
        let title = format!("Standard deviation of D ({})", self.analysis.convention());
        panels_figure(&title, &panels, &style)
    }

    fn significance(&self, vectors: &[PolarVector]) -> Result<Figure> {
        let masked = vectors.iter().zip(&self.analysis.significance);
        let masked: Vec<PolarVector> = masked
            .map(|(vector, judged)| PolarVector {
                flags: vector.flags
                    | if judged.significant {
                        0
                    } else {
                        flags::OUTLIER
                    },
                ..*vector
            })
            .collect();
        let style = MapStyle {
            flagged: "not different from zero, or flagged",
            walls: Vec::new(),
            ..self.style()
        };
        let title = capitalized(&self.analysis.significance_told());
        self.vectors(&title, Layer::Field(&masked), None, style)
    }

    fn histogram(&self, vectors: &[PolarVector]) -> Figure {
        let clean: Vec<&PolarVector> = vectors.iter().filter(|v| v.flags == 0).collect();
        let panel = |label: &str, value: &dyn Fn(&PolarVector) -> f64| Histogram {
            title: String::new(),
            label: label.to_owned(),
            unit: "pm".to_owned(),
            values: clean.iter().map(|v| value(v)).collect(),
        };
        let panels = [
            panel("Dx [pm], right is positive", &|v| v.displacement[0]),
            panel("Dy [pm], down is positive", &|v| v.displacement[1]),
            panel("|D| [pm]", &|v| v.displacement[0].hypot(v.displacement[1])),
        ];
        let title = format!("{} ({})", self.title, self.analysis.convention());
        histograms_figure(&title, &panels, 3)
    }

    /// Every cell in the colour of its domain's mean D.
    fn domains(&self, vectors: &[PolarVector]) -> Result<Figure> {
        let domains = &self.analysis.domains;
        let means: Vec<PolarVector> = vectors
            .iter()
            .zip(&domains.of_cell)
            .map(|(vector, domain)| match domain {
                Some(domain) => PolarVector {
                    displacement: domains.list[*domain].mean,
                    flags: 0,
                    ..*vector
                },
                None => PolarVector {
                    flags: flags::OUTLIER,
                    ..*vector
                },
            })
            .collect();
        let style = MapStyle {
            flagged: "no domain",
            ..self.style()
        };
        let title = format!(
            "Domains in the colour of their mean D: {}",
            domains.list.len()
        );
        self.vectors(&title, Layer::Field(&means), None, style)
    }

    fn lattice(&self) -> Result<Figure> {
        let fields: [Field; 2] = [
            ("a, nearest to x", &|l| l.a_length.value),
            ("b, nearest to y", &|l| l.b_length.value),
        ];
        self.scalars("Local lattice", &fields, "length [Å]", false)
    }

    /// Numbers of the local lattice side by side; `signed` ones have colours symmetric about zero.
    fn scalars(&self, title: &str, fields: &[Field], label: &str, signed: bool) -> Result<Figure> {
        let cells = &self.analysis.cells;
        let positions: Vec<Point> = cells.iter().map(|cell| cell.centre).collect();
        let values: Vec<Vec<f64>> = fields
            .iter()
            .map(|(_, field)| self.analysis.lattices.iter().map(field).collect())
            .collect();
        let clean: Vec<f64> = values
            .iter()
            .flat_map(|values| values.iter().zip(cells))
            .filter(|(_, cell)| cell.flags == 0)
            .map(|(value, _)| *value)
            .collect();
        let style = MapStyle {
            scalar_label: label.to_owned(),
            scalar_limits: range(&clean, signed),
            scalar_scale: if signed {
                ColourScale::Difference
            } else {
                ColourScale::Viridis
            },
            ..MapStyle::default()
        };
        let panels: Vec<Panel> = fields
            .iter()
            .zip(&values)
            .map(|((title, _), values)| Panel {
                title: (*title).to_owned(),
                image: None,
                layer: Layer::Scalar {
                    positions: &positions,
                    values,
                },
            })
            .collect();
        panels_figure(title, &panels, &style)
    }
}

/// Ends of a colour bar that show nearly all values; about zero if they are signed.
fn range(values: &[f64], signed: bool) -> Option<[f64; 2]> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if signed {
        sorted.iter_mut().for_each(|v| *v = v.abs());
    }
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)? as f64;
    let at = |part: f64| sorted[(part * last).round() as usize];
    if signed {
        return Some([-at(SHOWN), at(SHOWN)]);
    }
    let outside = 0.5 * (1.0 - SHOWN);
    Some([at(outside), at(1.0 - outside)])
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().collect::<String>());
    first.unwrap_or_default() + letters.as_str()
}
