//! Neighbours among points of the image plane, by k-d tree.

use std::num::NonZero;

use kiddo::{ImmutableKdTree, SquaredEuclidean};

/// A point or vector in the image plane, `[x, y]`, x to the right, y down [Å].
pub type Point = [f64; 2];

/// A fixed set of points that can be asked for what is near.
pub struct Neighbours {
    tree: Option<ImmutableKdTree<f64, 2>>,
}

impl Neighbours {
    /// Builds the tree; points keep their index.
    #[must_use]
    pub fn new(points: &[Point]) -> Self {
        Self {
            tree: (!points.is_empty())
                .then(|| ImmutableKdTree::new_from_slice(points).ok())
                .flatten(),
        }
    }

    /// The `count` points nearest to `centre`, nearest first: `(index, distance)`. Fewer if there are fewer.
    #[must_use]
    pub fn nearest(&self, centre: Point, count: usize) -> Vec<(usize, f64)> {
        let (Some(tree), Some(count)) = (&self.tree, NonZero::new(count)) else {
            return Vec::new();
        };
        let found = tree
            .query(&centre)
            .nearest_n::<SquaredEuclidean<f64>>(count)
            .execute();
        found
            .iter()
            .map(|item| (item.item as usize, item.distance.sqrt()))
            .collect()
    }

    /// All points within `radius` of `centre`, nearest first: `(index, distance)`.
    #[must_use]
    pub fn within(&self, centre: Point, radius: f64) -> Vec<(usize, f64)> {
        let Some(tree) = &self.tree else {
            return Vec::new();
        };
        let found = tree
            .query(&centre)
            .within::<SquaredEuclidean<f64>>(radius * radius)
            .execute();
        found
            .iter()
            .map(|item| (item.item as usize, item.distance.sqrt()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    #[test]
    fn the_tree_agrees_with_looking_at_every_point() {
        let mut rng = stream(1, "points", 0);
        let mut points: Vec<Point> = (0..300)
            .map(|_| [rng.random::<f64>() * 9.0, rng.random::<f64>() * 9.0])
            .collect();
        points.extend((0..100).map(|i| [5.0, f64::from(i) * 0.09])); // columns aligned with an axis
        let tree = Neighbours::new(&points);
        for centre in [[4.5, 4.5], [0.0, 9.0], [5.0, 1.0], [30.0, -2.0]] {
            let mut slow: Vec<(usize, f64)> = points
                .iter()
                .enumerate()
                .map(|(i, p)| (i, (p[0] - centre[0]).hypot(p[1] - centre[1])))
                .collect();
            slow.sort_by(|a, b| a.1.total_cmp(&b.1));
            let fast = tree.nearest(centre, 7);
            assert_eq!(fast.len(), 7);
            assert!(
                fast.iter()
                    .zip(&slow)
                    .all(|(f, s)| (f.1 - s.1).abs() < 1e-12)
            );
            let count = slow.iter().filter(|(_, d)| *d <= 1.5).count();
            assert_eq!(tree.within(centre, 1.5).len(), count);
        }
        assert!(Neighbours::new(&[]).nearest([0.0, 0.0], 3).is_empty());
        assert_eq!(
            Neighbours::new(&[[1.0, 0.0]]).nearest([0.0, 0.0], 3),
            vec![(0, 1.0)]
        );
    }
}
