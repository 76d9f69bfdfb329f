//! A wave in memory, and the two passes over it that make a slice.
//!
//! Between slices a wave is `(y, kx)`: transformed along x, not along y, without the columns beyond the band limit. Columns stand
//! in blocks, as many side by side as a vector register holds numbers: a block is a tile of columns, which the column pass
//! transforms where it lies. The row pass transposes as many rows of all blocks into a tile of rows, and back.
//!
//! A slice is one of each: every tile of rows goes to x, through t, and back to kx; every block of columns goes to ky, through P,
//! and back to y.

use super::band::Band;
use super::lanes::{
    Aligned, Arithmetic, Kernel, Lanes, MOST, Registers, Strips, Tile, Transform, Vectors,
    complexes, complexes_mut, multiply, swapped,
};

/// Numbers between the blocks: blocks whose distance is a power of two would fall on the same few lines of the cache.
const GAP: usize = 64;

/// How waves of one grid lie in memory, and their transforms; shared by all threads.
pub(super) struct Wavefield<T: Lanes> {
    pub(super) vectors: Vectors,
    /// Numbers in a register.
    lanes: usize,
    /// Kept columns, as those of the full spectrum.
    kept: Vec<usize>,
    /// Columns beyond the band limit.
    pruned: std::ops::Range<usize>,
    /// Rows, and those up to a whole number of tiles.
    rows: usize,
    padded: usize,
    /// Along x and along y.
    along: Transform<T>,
    across: Transform<T>,
}

/// Whoever looks at tiles that pass by.
pub(super) type Watcher<'a, T> = &'a mut dyn FnMut(&Tile<'_, T>);

impl<T: Lanes> Wavefield<T> {
    pub(super) fn new(band: &Band, vectors: Vectors) -> Self {
        let (rows, lanes) = (band.ky().len(), T::count(vectors));
        Self {
            vectors,
            lanes,
            kept: band.columns().collect(),
            pruned: band.pruned.clone(),
            rows,
            padded: rows.next_multiple_of(lanes),
            along: Transform::new(band.cols, vectors),
            across: Transform::new(rows, vectors),
        }
    }

    /// Pixels `(rows, cols)` of a wave.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.along.length())
    }

    /// Numbers of a block.
    fn block(&self) -> usize {
        2 * self.lanes * self.padded + GAP
    }

    /// The kept columns, as those of the full spectrum.
    pub(super) fn kept(&self) -> &[usize] {
        &self.kept
    }

    fn blocks(&self) -> usize {
        self.kept.len().div_ceil(self.lanes)
    }

    /// Zeros.
    pub(super) fn wave(&self) -> Aligned<T> {
        Aligned::zeros(self.blocks() * self.block())
    }

    /// A tile of rows.
    pub(super) fn tile(&self) -> Aligned<T> {
        Aligned::zeros(2 * self.lanes * self.along.length())
    }

    /// Where the real part of a kept column at row `y` stands; the imaginary part is [`Wavefield::lanes`] later.
    fn at(&self, kept: usize, y: usize) -> usize {
        kept / self.lanes * self.block() + 2 * y * self.lanes + kept % self.lanes
    }

    /// A function of the frequency, from its values `[re, im]` by `(kept column, ky)`, as the column pass multiplies with it;
    /// memory is used again.
    pub(super) fn arrange(&self, mut values: impl Iterator<Item = [T; 2]>, out: &mut Aligned<T>) {
        let length = self.blocks() * self.rows * 2 * self.lanes;
        if out.len() != length {
            *out = Aligned::zeros(length);
        }
        for kept in 0..self.kept.len() {
            let block = kept / self.lanes * self.rows;
            for (place, [re, im]) in self.across.places().iter().zip(&mut values) {
                let start = 2 * (block + place) * self.lanes + kept % self.lanes;
                (out[start], out[start + self.lanes]) = (re, im);
            }
        }
    }

    /// Row `y` of a wave: real parts and imaginary parts of the kept columns.
    pub(super) fn copy_row(&self, wave: &[T], y: usize, re: &mut [T], im: &mut [T]) {
        let parts = re.chunks_mut(self.lanes).zip(im.chunks_mut(self.lanes));
        for (block, (re, im)) in parts.enumerate() {
            let from = &wave[self.at(block * self.lanes, y)..][..2 * self.lanes];
            re.copy_from_slice(&from[..re.len()]);
            im.copy_from_slice(&from[self.lanes..][..im.len()]);
        }
    }

    /// The way back of [`Wavefield::copy_row`].
    pub(super) fn set_row(&self, wave: &mut [T], y: usize, re: &[T], im: &[T]) {
        let parts = re.chunks(self.lanes).zip(im.chunks(self.lanes));
        for (block, (re, im)) in parts.enumerate() {
            let to = &mut wave[self.at(block * self.lanes, y)..][..2 * self.lanes];
            to[..re.len()].copy_from_slice(re);
            to[self.lanes..][..im.len()].copy_from_slice(im);
        }
    }

    /// Sets a wave by its spectrum: `fill(kept column, set)` calls `set(ky, [re, im])` for what is not zero. It passes by as
    /// spectrum; then it is `(y, kx)`, without the factor 1/N.
    pub(super) fn enter(
        &self,
        wave: &mut [T],
        mut fill: impl FnMut(usize, &mut dyn FnMut(usize, [T; 2])),
        show: Option<Watcher<'_, T>>,
    ) {
        wave.fill(T::zero());
        let mut filled = vec![false; self.blocks()];
        for kept in 0..self.kept.len() {
            fill(kept, &mut |ky, [re, im]| {
                let start = self.at(kept, self.across.places()[ky]);
                (wave[start], wave[start + self.lanes]) = (re, im);
                filled[kept / self.lanes] = true;
            });
        }
        let kernel = Entrance {
            field: self,
            wave,
            filled,
            show,
        };
        T::run(self.vectors, kernel);
    }

    /// Every row: kx to x, shown, times the conjugate of `conjugate` from `[row, col]` on, or times 1, and back; two
    /// tiles to work in.
    pub(super) fn pass_rows(
        &self,
        wave: &mut [T],
        [tile, factors]: [&mut [T]; 2],
        conjugate: Option<(&Strips<T>, [usize; 2])>,
        show: Option<Watcher<'_, T>>,
    ) {
        let kernel = RowPass {
            field: self,
            wave,
            tile,
            factors,
            conjugate,
            show,
        };
        T::run(self.vectors, kernel);
    }

    /// Every kept column: y to ky, times `factors` ([`Wavefield::arrange`]), shown, and back.
    pub(super) fn pass_columns(&self, wave: &mut [T], factors: &[T], show: Option<Watcher<'_, T>>) {
        let kernel = ColumnPass {
            field: self,
            wave,
            factors,
            show,
        };
        T::run(self.vectors, kernel);
    }

    /// The columns of a block, transformed, to be looked at.
    fn columns<'a>(&'a self, block: usize, values: &'a [T]) -> Tile<'a, T> {
        let first = block * self.lanes;
        Tile {
            first,
            count: self.lanes.min(self.kept.len() - first),
            values,
            places: self.across.places(),
            swapped: false,
            vectors: self.vectors,
        }
    }
}

struct Entrance<'a, 'w, T: Lanes> {
    field: &'a Wavefield<T>,
    wave: &'a mut [T],
    /// Which blocks are not zero.
    filled: Vec<bool>,
    show: Option<Watcher<'w, T>>,
}

impl<T: Lanes> Kernel<T> for Entrance<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(mut self, simd: S) {
        let field = self.field;
        let numbers = 2 * field.lanes * field.rows;
        let blocks = self.wave.chunks_exact_mut(field.block());
        for (number, block) in blocks.enumerate() {
            if let Some(show) = &mut self.show {
                show(&field.columns(number, &block[..numbers]));
            }
            if self.filled[number] {
                let a = Arithmetic::<T, S>::new(simd);
                field.across.backward(a, &mut block[..numbers]);
            }
        }
    }
}

struct RowPass<'a, 'w, T: Lanes> {
    field: &'a Wavefield<T>,
    wave: &'a mut [T],
    tile: &'a mut [T],
    factors: &'a mut [T],
    conjugate: Option<(&'a Strips<T>, [usize; 2])>,
    show: Option<Watcher<'w, T>>,
}

impl<T: Lanes> Kernel<T> for RowPass<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(mut self, simd: S) {
        for top in (0..self.field.padded).step_by(S::LANES) {
            self.gather(simd, top);
            self.change(simd, top);
            self.scatter(simd, top);
        }
    }
}

impl<T: Lanes> RowPass<'_, '_, T> {
    /// The rows from `top` on: to x, through t, and back, real and imaginary parts swapped.
    #[inline(always)]
    fn change<S: Registers<T>>(&mut self, simd: S, top: usize) {
        let a = Arithmetic::new(simd);
        let Wavefield { along, rows, .. } = self.field;
        if let Some(show) = &mut self.show {
            along.forward(a, self.tile);
            show(&Tile {
                first: top,
                count: S::LANES.min(rows - top),
                values: self.tile,
                places: along.places(),
                swapped: true,
                vectors: self.field.vectors,
            });
        }
        let Some((strips, [row, left])) = self.conjugate else {
            if self.show.is_none() {
                along.forward(a, self.tile);
            }
            return along.backward(a, self.tile);
        };
        // Brought near, one after the other, before they are needed in the order of the transform.
        strips.copy_rows(simd, [row + top, left], along.places(), self.factors);
        if self.show.is_some() {
            multiply(a, self.tile, self.factors);
            along.backward(a, self.tile);
        } else {
            along.filter(a, self.tile, self.factors);
        }
    }

    /// Transposes the rows from `top` on into the tile; what is beyond the band limit becomes zero.
    #[inline(always)]
    fn gather<S: Registers<T>>(&mut self, simd: S, top: usize) {
        let field = self.field;
        let tile = complexes_mut::<T, S>(self.tile);
        let zero = Arithmetic::<T, S>::new(simd).zero();
        for (number, kept) in field.kept.chunks(S::LANES).enumerate() {
            let start = number * field.block() + 2 * top * S::LANES;
            let square = complexes::<T, S>(&self.wave[start..start + 2 * S::LANES * S::LANES]);
            let (mut re, mut im) = ([zero[0]; MOST], [zero[0]; MOST]);
            for (l, &value) in square.iter().enumerate() {
                [re[l], im[l]] = value;
            }
            simd.transpose(&mut re);
            simd.transpose(&mut im);
            for (l, &column) in kept.iter().enumerate() {
                tile[column] = swapped([re[l], im[l]]);
            }
        }
        for value in &mut tile[field.pruned.clone()] {
            *value = zero;
        }
    }

    /// The way back of `gather`.
    #[inline(always)]
    fn scatter<S: Registers<T>>(&mut self, simd: S, top: usize) {
        let field = self.field;
        let tile = complexes::<T, S>(self.tile);
        let zero = simd.splat(T::zero());
        for (number, kept) in field.kept.chunks(S::LANES).enumerate() {
            let (mut re, mut im) = ([zero; MOST], [zero; MOST]);
            for (l, &column) in kept.iter().enumerate() {
                [re[l], im[l]] = swapped(tile[column]);
            }
            simd.transpose(&mut re);
            simd.transpose(&mut im);
            let start = number * field.block() + 2 * top * S::LANES;
            let square = &mut self.wave[start..start + 2 * S::LANES * S::LANES];
            for (l, value) in complexes_mut::<T, S>(square).iter_mut().enumerate() {
                *value = [re[l], im[l]];
            }
        }
    }
}

struct ColumnPass<'a, 'w, T: Lanes> {
    field: &'a Wavefield<T>,
    wave: &'a mut [T],
    factors: &'a [T],
    show: Option<Watcher<'w, T>>,
}

impl<T: Lanes> Kernel<T> for ColumnPass<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(mut self, simd: S) {
        let (field, a) = (self.field, Arithmetic::new(simd));
        let numbers = 2 * S::LANES * field.rows;
        let blocks = self.wave.chunks_exact_mut(field.block());
        for (number, block) in blocks.enumerate() {
            let block = &mut block[..numbers];
            let factors = &self.factors[number * numbers..(number + 1) * numbers];
            match &mut self.show {
                None => field.across.filter(a, block, factors),
                Some(show) => {
                    field.across.forward(a, block);
                    multiply(a, block, factors);
                    show(&field.columns(number, block));
                    field.across.backward(a, block);
                }
            }
        }
    }
}
