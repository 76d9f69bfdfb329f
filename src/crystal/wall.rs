//! Domain walls of R3c BiFeO₃: on one side of the wall some components of p have the other sign, and across it they pass
//! through zero as tanh(ξ/w), ξ being the distance from the wall (Landau theory's profile of a 180° wall of a second-order
//! ferroelectric; for the other walls an assumption).
//!
//! Which planes are walls follows from two conditions: no bound charge, n·(p₁ − p₂) = 0, and domains that fit together
//! elastically (Streiffer et al., J. Appl. Phys. 83, 2742 (1998)). They leave
//!
//! * 71° (one component flips): {110}, n along the two components that stay. Where p_x or p_y flips the plane is inclined by 45°
//!   to the beam, and the projected wall is as wide as the specimen is thick;
//! * 109° (two flip): {100}, n along the component that stays;
//! * 180° (all flip): here the {110} planes that hold p, such as (1−10) for p ∥ (111).
//!
//! A periodic block needs two walls: +tanh at the first, −tanh half a period farther. A plane with two in-plane Miller indices
//! closes if its period along x (or y) divides both edges of the block.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::settings::Source;

/// The middle of a domain must be this many half widths from the walls, where tanh is 0.96.
const LEAST_DISTANCE: f64 = 2.0;
/// Relative difference below which two lengths are the same.
const SAME: f64 = 1e-6;

/// `[specimen.r3c.texture.wall]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wall {
    /// Angle between the polarizations on both sides: 71, 109 or 180 [°].
    pub angle_degrees: u32,
    /// Miller indices of the wall; ξ grows along this normal.
    pub normal: [i32; 3],
    /// p between the first wall and the second.
    pub direction: [f64; 3],
    /// w of tanh(ξ/w) [Å]; 4 to 10 Å in the literature.
    pub half_width_angstrom: f64,
    /// Distance of the first wall from the origin, along the normal [Å]; the second is half a period farther.
    pub position_angstrom: f64,
}

/// What a texture is laid on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Edges `[x, y, z]` [Å].
    pub extent: [f64; 3],
    /// Whether it repeats along x, y, z.
    pub periodic: [bool; 3],
}

/// Walls laid over a specimen.
#[derive(Debug, Clone, PartialEq)]
pub struct Walls {
    /// Unit normal.
    normal: [f64; 3],
    /// p at full value on the positive side of the first wall.
    direction: [f64; 3],
    /// Which components flip.
    flipped: [bool; 3],
    /// Half width [Å].
    half_width: f64,
    /// Distance of the first wall from the origin along the normal [Å].
    position: f64,
    /// Distance along the normal after which everything repeats [Å].
    period: f64,
}

impl Wall {
    /// Checks the numbers, that the plane is a wall, and that two walls fit the frame.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source, key: &str, frame: &Frame) -> Result<()> {
        let name = |part: &str| format!("{key}.{part}");
        for p in self.direction {
            let hint = "components of a domain are 1 or -1";
            source.in_range(&name("direction"), p, -2.0..=2.0, "", hint)?;
        }
        source.in_range(
            &name("half_width_angstrom"),
            self.half_width_angstrom,
            0.1..=1000.0,
            "Å",
            "4 to 10 Å in BiFeO3",
        )?;
        source.in_range(
            &name("position_angstrom"),
            self.position_angstrom,
            -1e5..=1e5,
            "Å",
            "",
        )?;
        if !matches!(self.angle_degrees, 71 | 109 | 180) {
            return Err(source.wrong(&name("angle_degrees"), self.angle_degrees, "71, 109 or 180"));
        }
        if let Some(allowed) = self.forbidden() {
            return Err(source.wrong(&name("normal"), format!("{:?}", self.normal), allowed));
        }
        let Some(period) = self.period(frame) else {
            let allowed = "edges of the block with a common divisor, such as equal numbers of cells along x and y";
            return Err(source.wrong(&name("normal"), format!("{:?}", self.normal), allowed));
        };
        let middle = period / 4.0;
        if middle < LEAST_DISTANCE * self.half_width_angstrom {
            let got = format!(
                "{}, and domains whose middle is {middle:.2} Å from the walls",
                self.half_width_angstrom
            );
            let allowed = "at most half that distance: thinner walls, or more cells across them";
            return Err(source.wrong(&name("half_width_angstrom"), got, allowed));
        }
        Ok(())
    }

    /// What the normal would have to be, if it is not a wall's.
    fn forbidden(&self) -> Option<&'static str> {
        let [indices, p] = [self.normal.map(f64::from), self.direction];
        let given: Vec<usize> = (0..3).filter(|&axis| self.normal[axis] != 0).collect();
        let small = self.normal.iter().all(|index| index.abs() <= 1);
        let neutral = (0..3).map(|axis| indices[axis] * p[axis]).sum::<f64>();
        let is_wall = match (self.angle_degrees, given.as_slice()) {
            (109, [_]) => small,
            (71, &[one, other]) => {
                small && (indices[one] * p[one] - indices[other] * p[other]).abs() < SAME
            }
            (180, [_, _]) => small && neutral.abs() < SAME,
            _ => false,
        };
        (!is_wall).then_some(match self.angle_degrees {
            71 => {
                "a {110} plane along the two components of `direction` that stay, such as [0, 1, 1] for [1, 1, 1] (x flips)"
            }
            109 => "a {100} plane, such as [1, 0, 0] (y and z flip)",
            _ => "a {110} plane that holds `direction`, such as [1, -1, 0] for [1, 1, 1]",
        })
    }

    /// The components that flip.
    fn flipped(&self) -> [bool; 3] {
        match self.angle_degrees {
            180 => [true; 3],
            _ => self.normal.map(|index| index == 0),
        }
    }

    /// Distance along the normal after which walls repeat [Å]; nothing if they cannot close in the frame.
    fn period(&self, frame: &Frame) -> Option<f64> {
        let given = || (0..3).filter(|&axis| self.normal[axis] != 0);
        let closing: Vec<f64> = given()
            .filter(|&axis| frame.periodic[axis])
            .map(|axis| frame.extent[axis])
            .collect();
        let along_axis = match closing.as_slice() {
            [] => given().map(|axis| frame.extent[axis]).next()?,
            [only] => *only,
            [one, other, ..] => common_divisor(*one, *other)?,
        };
        Some(along_axis / (given().count() as f64).sqrt())
    }

    /// The walls over a frame that was checked.
    #[must_use]
    pub fn laid(&self, frame: &Frame) -> Walls {
        let length = (self.normal.iter().map(|index| index * index).sum::<i32>() as f64).sqrt();
        Walls {
            normal: self.normal.map(|index| f64::from(index) / length),
            direction: self.direction,
            flipped: self.flipped(),
            half_width: self.half_width_angstrom,
            position: self.position_angstrom,
            period: self.period(frame).unwrap_or(f64::MAX),
        }
    }
}

impl Walls {
    /// p at a point [Å].
    #[must_use]
    pub fn at(&self, point: [f64; 3]) -> [f64; 3] {
        let along: f64 = (0..3).map(|axis| self.normal[axis] * point[axis]).sum();
        let distance = to_nearest_wall(along - self.position, self.period);
        let profile = (distance / self.half_width).tanh();
        std::array::from_fn(|axis| {
            if self.flipped[axis] {
                self.direction[axis] * profile
            } else {
                self.direction[axis]
            }
        })
    }
}

/// Signed distance to the nearest of the walls at 0 (positive beyond it), ½ period (negative beyond it), and so on: a triangle
/// wave [Å].
#[must_use]
pub fn to_nearest_wall(along: f64, period: f64) -> f64 {
    let along = along.rem_euclid(period);
    let quarter = period / 4.0;
    if along < 2.0 * quarter {
        quarter - (along - quarter).abs()
    } else {
        (along - 3.0 * quarter).abs() - quarter
    }
}

/// The largest length that divides both; nothing if there is none above a 64th of the first.
fn common_divisor(one: f64, other: f64) -> Option<f64> {
    (1..=64_u32).map(|n| one / f64::from(n)).find(|length| {
        let count = other / length;
        count.round() >= 1.0 && (count - count.round()).abs() < SAME * count
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        extent: [80.0, 160.0, 60.0],
        periodic: [true, true, false],
    };

    fn wall(angle_degrees: u32, normal: [i32; 3]) -> Wall {
        Wall {
            angle_degrees,
            normal,
            direction: [1.0, 1.0, 1.0],
            half_width_angstrom: 4.0,
            position_angstrom: 7.0,
        }
    }

    #[test]
    fn every_wall_is_tanh_of_the_distance_and_closes_the_block() {
        let kinds = [
            (109, [1, 0, 0]),
            (109, [0, 1, 0]),
            (180, [1, -1, 0]),
            (71, [0, 1, 1]),
            (71, [-1, 0, -1]),
            (71, [1, 1, 0]),
        ];
        for (angle, normal) in kinds {
            let wall = wall(angle, normal);
            let source = Source::from_text("s", "");
            wall.validate(&source, "wall", &FRAME).unwrap();
            let walls = wall.laid(&FRAME);
            let point = [3.0, 11.0, 2.0];
            for edge in [[80.0, 0.0, 0.0], [0.0, 160.0, 0.0]] {
                let there = walls.at(std::array::from_fn(|i| point[i] + edge[i]));
                let here = walls.at(point);
                assert!(
                    (0..3).all(|i| (here[i] - there[i]).abs() < 1e-9),
                    "{normal:?}"
                );
            }
            let flipped = wall.flipped();
            let count = flipped.iter().filter(|&&flips| flips).count();
            let named = [(71, 1), (109, 2), (180, 3)];
            assert!(named.contains(&(angle, count)));
            let length = f64::from(normal.iter().map(|n| n * n).sum::<i32>()).sqrt();
            for xi in [-6.0_f64, -1.0, 0.0, 2.0, 8.0] {
                let p = walls.at(normal.map(|n| f64::from(n) / length * (7.0 + xi)));
                let profile = (xi / 4.0).tanh();
                for axis in 0..3 {
                    let expected = if flipped[axis] { profile } else { 1.0 };
                    assert!((p[axis] - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn planes_that_are_no_walls_are_refused() {
        let source = Source::from_text("s", "");
        let error = |wall: Wall| {
            wall.validate(&source, "wall", &FRAME)
                .map_err(|error| error.to_string())
                .unwrap_err()
        };
        assert!(error(wall(90, [1, 0, 0])).contains("71, 109 or 180"));
        assert!(error(wall(109, [1, 1, 0])).contains("{100} plane"));
        assert!(error(wall(71, [0, 1, -1])).contains("{110} plane along"));
        assert!(error(wall(180, [1, 1, 0])).contains("{110} plane that holds"));
        let thick = Wall {
            half_width_angstrom: 15.0,
            ..wall(109, [1, 0, 0])
        };
        assert!(error(thick).contains("thinner walls"));
    }
}
