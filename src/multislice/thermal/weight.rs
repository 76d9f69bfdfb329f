//! The integral W(Q) over an annulus of k, and its dependence on the direction of Q.
//!
//! With θ the angle between k and Q, |k ± Q/2|² = k² + Q²/4 ± kQ cos θ. The exponentials depend on k = |k| alone,
//! |k − Q/2|² + |k + Q/2|² = 2k² + Q²/2, and the product v(k − Q/2) v(k + Q/2) is even in cos θ, so that
//!
//! W(Q) = ∫ k dk b(k, Q) ∫ dθ \[c₀ + 2 Σ_m c_m cos 2mθ\],  c_m(k, Q) = ⟨v v cos 2mθ⟩ over θ.
//!
//! The harmonics W_m(Q) = ∫ k dk b c_m serve every sector of the annulus: between the azimuths φ₁ and φ₂, with φ that of Q,
//! W = W₀ (φ₂ − φ₁) + Σ_m W_m \[sin 2m(φ₂ − φ) − sin 2m(φ₁ − φ)\]/m.
//!
//! v has its sharpest feature, the peak of an f_e, at k = Q/2, θ = 0. Panels of Gauss–Legendre points in k shrink towards it;
//! the trapezoid rule in θ converges like exp(−Nη), η the distance of the nearest pole of f_e from the real axis of θ.

use std::f64::consts::PI;

use super::super::potential::debye_waller;
use super::super::scattering::ScatteringFactor;
use crate::units::kappa;

/// Terms of a scattering factor below this part of it do not set its sharpness: Kirkland's helium has a spike of 1e-6.
const MINOR_TERM: f64 = 1e-5;
/// Gauss–Legendre points of a panel: over a panel as long as its distance from the peak the error falls like 4.6^−2n.
const PANEL_POINTS: usize = 10;
/// The trapezoid rule in θ errs by exp(−20) of the peak.
const ANGULAR_EXPONENT: f64 = 20.0;

/// One species under one beam.
pub(super) struct Atom {
    factor: ScatteringFactor,
    /// Debye–Waller parameter B [Å²].
    b: f64,
    /// (σ/κ)² [Å²]: from f_e f_e to v v.
    scale: f64,
    /// The distance over which f_e varies fastest [1/Å].
    sharpness: f64,
    rule: [(f64, f64); PANEL_POINTS],
}

impl Atom {
    /// An element that moves by `rms` along an axis [Å], in a beam with the interaction parameter `sigma` [rad/(V Å)].
    pub(super) fn new(factor: ScatteringFactor, rms: f64, sigma: f64) -> Self {
        Self {
            sharpness: sharpness(&factor),
            factor,
            b: debye_waller(rms),
            scale: (sigma / kappa()).powi(2),
            rule: gauss_legendre(),
        }
    }

    /// The harmonics W_0 … W_m, `m` = `highest`, at |Q| = `q` over `inner` ≤ |k| < `outer`, all in 1/Å [Å²].
    pub(super) fn harmonics(&self, (inner, outer): (f64, f64), q: f64, highest: usize) -> Vec<f64> {
        let mut sums = vec![0.0; highest + 1];
        if self.b == 0.0 {
            return sums;
        }
        let mut angular = vec![0.0; highest + 1];
        for edges in self.panels(inner, outer, q / 2.0).windows(2) {
            let half = 0.5 * (edges[1] - edges[0]);
            for (x, weight) in self.rule {
                let k = edges[0] + half * (1.0 + x);
                self.angular(k, q, &mut angular);
                let radial = half * weight * k * self.bracket(k, q) * self.scale;
                for (sum, c) in sums.iter_mut().zip(&angular) {
                    *sum += radial * c;
                }
            }
        }
        sums
    }

    /// exp(−BQ²/4) − exp(−B(2k² + Q²/2)/4), the larger one times 1 − exp of a negative number: near k = Q/2 both are equal.
    fn bracket(&self, k: f64, q: f64) -> f64 {
        let excess = 0.5 * self.b * (k * k - 0.25 * q * q);
        let larger = 0.25 * self.b * q * q + excess.min(0.0);
        -(-larger).exp() * (-excess.abs()).exp_m1() * excess.signum()
    }

    /// The harmonics c_m of v(k − Q/2) v(k + Q/2), in f_e², into `harmonics`; those below exp(−20) of the peak are zero.
    fn angular(&self, k: f64, q: f64, harmonics: &mut [f64]) {
        let (mean, product) = (k * k + 0.25 * q * q, k * q);
        // Where |k ± Q/2|² = −sharpness²: cosh η = (k² + Q²/4 + sharpness²)/kQ.
        let eta = ((mean + self.sharpness * self.sharpness) / product).acosh();
        // With N points c_m carries the alias of cos (N − 2m)θ; c_m itself is below exp(−20) where 2mη > 20.
        let highest = (harmonics.len() - 1).min((0.5 * ANGULAR_EXPONENT / eta) as usize + 1);
        let quarter = 2 + (0.25 * ANGULAR_EXPONENT / eta) as usize + highest.div_ceil(2);
        harmonics.fill(0.0);
        for point in 0..=quarter {
            let cosine = (0.5 * PI * point as f64 / quarter as f64).cos();
            let shift = product * cosine;
            let value = self.factor.at_squared((mean - shift).max(0.0))
                * self.factor.at_squared(mean + shift);
            // The four quarters of the circle share the inner points; the ends belong to two of them.
            let weight = if point == 0 || point == quarter {
                0.5
            } else {
                1.0
            };
            add_cosines(
                &mut harmonics[..=highest],
                value * weight / quarter as f64,
                cosine,
            );
        }
    }

    /// Edges of the panels from `inner` to `outer`: they grow with the distance from `centre`, up to the width of b(k).
    fn panels(&self, inner: f64, outer: f64, centre: f64) -> Vec<f64> {
        // exp(−Bk²/2) is a Gaussian in x = k √(B/2); two units of x are well within ten points.
        let widest = 2.0 * (2.0 / self.b).sqrt();
        let mut edges = vec![inner, outer];
        let mut offset = 0.0_f64;
        while offset <= outer + centre {
            let both = [centre - offset, centre + offset];
            edges.extend(both.into_iter().filter(|&k| inner < k && k < outer));
            offset += offset.max(self.sharpness).min(widest);
        }
        edges.sort_unstable_by(f64::total_cmp);
        edges
    }
}

/// The distance [1/Å] of the nearest singularity of f_e from the real axis of k, or the width of its narrowest Gaussian.
fn sharpness(factor: &ScatteringFactor) -> f64 {
    let least = |widths: &mut dyn Iterator<Item = f64>| widths.fold(f64::INFINITY, f64::min);
    match factor {
        ScatteringFactor::Lobato(terms) => least(&mut terms.iter().map(|(_, b)| 1.0 / b.sqrt())),
        ScatteringFactor::Kirkland(lorentzians, gaussians) => {
            let minor = MINOR_TERM * factor.at_squared(0.0);
            let major_lorentzians = lorentzians.iter().filter(|(a, b)| a / b > minor);
            let major_gaussians = gaussians.iter().filter(|(c, _)| *c > minor);
            least(
                &mut major_lorentzians
                    .map(|(_, b)| b.sqrt())
                    .chain(major_gaussians.map(|(_, d)| 1.0 / d.sqrt())),
            )
        }
    }
}

/// Adds `value` cos 2mθ to the m-th of `sums`, from cos θ, by cos 2(m+1)θ = 2 cos 2θ cos 2mθ − cos 2(m−1)θ.
fn add_cosines(sums: &mut [f64], value: f64, cosine: f64) {
    let double = 2.0 * cosine * cosine - 1.0;
    let (mut before, mut term) = (value * double, value);
    for sum in sums {
        *sum += term;
        (before, term) = (term, 2.0 * double * term - before);
    }
}

/// Points and weights on −1 … 1: the roots of the Legendre polynomial by Newton's method (Abramowitz & Stegun, eq. 25.4.29).
fn gauss_legendre() -> [(f64, f64); PANEL_POINTS] {
    let n = PANEL_POINTS as f64;
    std::array::from_fn(|index| {
        let mut x = (PI * (index as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..20 {
            let (mut previous, mut value) = (1.0, x);
            for degree in 2..=PANEL_POINTS {
                let j = degree as f64;
                let next = ((2.0 * j - 1.0) * x * value - (j - 1.0) * previous) / j;
                (previous, value) = (value, next);
            }
            slope = n * (x * value - previous) / (x * x - 1.0);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    })
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::super::scattering::ScatteringTable;
    use super::*;
    use crate::units::interaction;

    fn atom(number: u8, rms: f64) -> Atom {
        let factor = ScatteringTable::Lobato.factor(number).unwrap();
        Atom::new(factor, rms, interaction(200e3))
    }

    #[test]
    fn the_rule_integrates_polynomials() {
        for power in 0..2 * PANEL_POINTS as i32 {
            let sum: f64 = gauss_legendre()
                .iter()
                .map(|(x, w)| w * x.powi(power))
                .sum();
            let exact = if power % 2 == 0 {
                2.0 / f64::from(power + 1)
            } else {
                0.0
            };
            assert!((sum - exact).abs() < 1e-14, "{power}: {sum}");
        }
    }

    /// f = c exp(−dk²): v v = c² exp(−d(2k² + Q²/2)) does not depend on θ, and W is elementary. Width 1/√d = 0.25 1/Å.
    #[test]
    fn a_gaussian_atom_has_its_closed_form() {
        let (c, d, rms) = (2.0, 16.0, 0.08);
        let factor = ScatteringFactor::Kirkland([(0.0, 1.0); 3], [(c, d), (0.0, 1.0), (0.0, 1.0)]);
        let atom = Atom::new(factor, rms, interaction(200e3));
        let b = debye_waller(rms);
        for (inner, outer) in [(0.0, 12.0), (0.1, 0.3), (0.2, 4.0)] {
            let part = |s: f64| ((-s * inner * inner).exp() - (-s * outer * outer).exp()) / s;
            let closed = |q: f64| {
                let common = 0.5 * c * c * atom.scale * (-0.5 * d * q * q).exp();
                common
                    * ((-0.25 * b * q * q).exp() * part(2.0 * d)
                        - (-0.125 * b * q * q).exp() * part(2.0 * d + 0.5 * b))
            };
            for q in [0.0, 0.05, 0.2, 0.5, 1.0] {
                let harmonics = atom.harmonics((inner, outer), q, 3);
                let error = (harmonics[0] - closed(q)).abs() / closed(0.0);
                assert!(error < 1e-10, "{inner}-{outer}, Q = {q}: {error}");
                assert!(harmonics[1..].iter().all(|h| h.abs() < 1e-12 * closed(0.0)));
            }
        }
    }

    /// Midpoints on a square lattice of 0.02 1/Å. The staircase along the rim of the disk is where the lattice errs: the
    /// integrand there is 1e-3 of its height, the rim 3000 cells long with errors of either sign; 1e-4 of W(0) is ample.
    #[test]
    fn the_integral_agrees_with_a_plain_sum_over_a_square_lattice() {
        let atom = atom(26, 0.07);
        let (outer, step) = (8.0, 0.02);
        let zero = atom.harmonics((0.0, outer), 0.0, 0)[0];
        for q in [0.0, 0.9, 3.0, 7.0] {
            let mut sum = 0.0;
            let cells = (outer / step) as i32;
            for i in -cells..cells {
                for j in -cells..cells {
                    let (x, y) = (step * (f64::from(i) + 0.5), step * (f64::from(j) + 0.5));
                    if x.hypot(y) < outer {
                        let minus = (x - q / 2.0).powi(2) + y * y;
                        let plus = (x + q / 2.0).powi(2) + y * y;
                        let elastic = (-atom.b * (minus + plus) / 4.0).exp();
                        sum += ((-atom.b * q * q / 4.0).exp() - elastic)
                            * atom.factor.at_squared(minus)
                            * atom.factor.at_squared(plus);
                    }
                }
            }
            let plain = sum * step * step * atom.scale;
            let fast = TAU * atom.harmonics((0.0, outer), q, 0)[0];
            assert!(
                (fast - plain).abs() < 1e-4 * TAU * zero,
                "Q = {q}: {fast} {plain}"
            );
        }
    }

    #[test]
    fn an_atom_at_rest_scatters_nothing_diffusely() {
        assert_eq!(atom(83, 0.0).harmonics((0.0, 12.0), 1.0, 2), [0.0; 3]);
    }

    /// Displacements far larger than the atom (B·k² ≫ 1 wherever f_e counts): all scattering is diffuse,
    /// W(0) = (σ/κ)² 2π ∫ f_e² k dk. What is left at k < 1/√B is of the order of f_e(0)²/(B ∫ f_e² 2k dk): 1e-3 here.
    #[test]
    fn large_motion_makes_all_scattering_diffuse() {
        let atom = atom(8, 5.0);
        let steps = 200_000;
        let step = 12.0 / f64::from(steps);
        let all: f64 = (0..steps)
            .map(|i| {
                let k = step * (f64::from(i) + 0.5);
                k * step * atom.factor.at_squared(k * k).powi(2)
            })
            .sum();
        let diffuse = atom.harmonics((0.0, 12.0), 0.0, 0)[0];
        let ratio = diffuse / (all * atom.scale);
        assert!(ratio < 1.0 && ratio > 1.0 - 3e-3, "{ratio}");
    }
}
