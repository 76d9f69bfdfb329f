//! Where the cells of a block lie: all cubes of one edge, or rows of taller cells (a strained film) on rows of cubes.

/// The ideal lattice of a block; rows of cells are counted along y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lattice {
    /// Edge of the cells along x and z, and along y below the film [Å].
    pub edge: f64,
    /// Rows of a film, if there is one.
    pub film: Option<FilmRows>,
}

/// The rows of cells that belong to a film.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilmRows {
    /// First row of the film; the rows before it are the substrate.
    pub first: usize,
    /// Edge of the film's cells along y [Å].
    pub edge: f64,
}

impl Lattice {
    /// Cubes of one edge [Å].
    #[must_use]
    pub fn cubic(edge: f64) -> Self {
        Self { edge, film: None }
    }

    /// Edges `[x, y, z]` of the block of `cells` cells [Å].
    #[must_use]
    pub fn extent(&self, cells: [usize; 3]) -> [f64; 3] {
        [
            cells[0] as f64 * self.edge,
            self.row(cells[1]),
            cells[2] as f64 * self.edge,
        ]
    }

    /// y of the lower face of row `j` [Å].
    #[must_use]
    pub fn row(&self, j: usize) -> f64 {
        match self.film {
            Some(film) if j > film.first => {
                film.first as f64 * self.edge + (j - film.first) as f64 * film.edge
            }
            _ => j as f64 * self.edge,
        }
    }

    /// Edges `[x, y, z]` of the cells of row `j` [Å].
    #[must_use]
    pub fn edges(&self, j: usize) -> [f64; 3] {
        match self.film {
            Some(film) if j >= film.first => [self.edge, film.edge, self.edge],
            _ => [self.edge; 3],
        }
    }

    /// Ideal place of the A site of cell (i, j, k) [Å]: a quarter cell below the cell's middle plane along the beam.
    #[must_use]
    pub fn corner(&self, [i, j, k]: [usize; 3]) -> [f64; 3] {
        [
            i as f64 * self.edge,
            self.row(j),
            k as f64 * self.edge + self.edge / 4.0,
        ]
    }

    /// The length that displacements of the recipe are fractions of [Å]: the edge of the cube of the same volume as a cell
    /// of the film, or of the block without one.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.film
            .map_or(self.edge, |film| (self.edge * self.edge * film.edge).cbrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_film_stand_on_the_substrate_without_a_gap() {
        let lattice = Lattice {
            edge: 3.905,
            film: Some(FilmRows {
                first: 3,
                edge: 4.07,
            }),
        };
        for j in 0..6 {
            let next = lattice.row(j) + lattice.edges(j)[1];
            assert!((next - lattice.row(j + 1)).abs() < 1e-12);
        }
        let expected = [2.0 * 3.905, 3.0 * 3.905 + 4.0 * 4.07, 3.905];
        let extent = lattice.extent([2, 7, 1]);
        assert!((0..3).all(|axis| (extent[axis] - expected[axis]).abs() < 1e-12));
        assert_eq!(Lattice::cubic(4.0).scale(), 4.0);
    }
}
