//! Memory that begins at a cache line: a register is then loaded from one, not from two.

use std::ops::{Deref, DerefMut};

use super::super::fft::Real;

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// Numbers that begin at a cache line.
pub(in super::super) struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Real> Aligned<T> {
    /// Zeros.
    pub(in super::super) fn zeros(length: usize) -> Self {
        let spare = LINE / size_of::<T>();
        let values = vec![T::zero(); length + spare];
        let start = values.as_ptr().align_offset(LINE).min(spare);
        Self {
            values,
            start,
            length,
        }
    }
}

impl<T: Real> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.length);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Real> Default for Aligned<T> {
    fn default() -> Self {
        Self::zeros(0)
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_begin_at_a_line_too() {
        let mut first = Aligned::<f32>::zeros(7);
        first[6] = 3.0;
        for memory in [first.clone(), first] {
            assert_eq!(memory.as_ptr().align_offset(LINE), 0);
            assert_eq!(*memory, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]);
        }
    }
}
