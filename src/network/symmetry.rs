//! The eight symmetry operations of the square, applied to an image and to a vector in it alike.

/// One of the eight operations: mirror x, mirror y, then exchange x and y, each or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symmetry {
    mirror_x: bool,
    mirror_y: bool,
    exchange: bool,
}

impl Symmetry {
    /// Number of operations.
    pub(super) const COUNT: u8 = 8;

    /// Operation `index`, 0 to 7; 0 leaves everything as it is.
    pub(super) fn new(index: u8) -> Self {
        Self {
            mirror_x: index & 1 != 0,
            mirror_y: index & 2 != 0,
            exchange: index & 4 != 0,
        }
    }

    /// The vector `[x, y]` after the operation.
    pub(super) fn turn_vector(self, [x, y]: [f32; 2]) -> [f32; 2] {
        let x = if self.mirror_x { -x } else { x };
        let y = if self.mirror_y { -y } else { y };
        if self.exchange { [y, x] } else { [x, y] }
    }

    /// Appends the square image of side `side` after the operation, rows first.
    pub(super) fn turn_image(self, image: &[f32], side: usize, out: &mut Vec<f32>) {
        let mirrored = |i: usize, mirror: bool| if mirror { side - 1 - i } else { i };
        for y in 0..side {
            for x in 0..side {
                let (x, y) = if self.exchange { (y, x) } else { (x, y) };
                let (x, y) = (mirrored(x, self.mirror_x), mirrored(y, self.mirror_y));
                out.push(image[y * side + x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Centre of mass from the middle of the image, `[x, y]`.
    fn centre_of_mass(image: &[f32], side: usize) -> [f32; 2] {
        let middle = (side as f32 - 1.0) / 2.0;
        let total: f32 = image.iter().sum();
        let mut sum = [0.0; 2];
        for (i, value) in image.iter().enumerate() {
            sum[0] += value * ((i % side) as f32 - middle) / total;
            sum[1] += value * ((i / side) as f32 - middle) / total;
        }
        sum
    }

    #[test]
    fn image_and_vector_turn_together() {
        let image: Vec<f32> = (0..25).map(|i| ((i * i * 7) % 23) as f32).collect();
        let vector = centre_of_mass(&image, 5);
        let mut seen = Vec::new();
        for index in 0..Symmetry::COUNT {
            let symmetry = Symmetry::new(index);
            let mut turned = Vec::new();
            symmetry.turn_image(&image, 5, &mut turned);
            let (ours, expected) = (symmetry.turn_vector(vector), centre_of_mass(&turned, 5));
            assert!((ours[0] - expected[0]).abs() < 1e-5 && (ours[1] - expected[1]).abs() < 1e-5);
            assert!(
                !seen.contains(&turned),
                "operation {index} repeats another one"
            );
            seen.push(turned);
        }
        assert_eq!(seen[0], image);
    }
}
