//! Random numbers: one master seed per settings file, and from it one named stream per purpose and index.
//!
//! A stream is keyed by the BLAKE3 hash of `(seed, name, index)`, so it does not depend on which thread draws from it, on
//! what was drawn before, or on how the work was cut into pieces.

pub use rand::Rng;
pub use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The stream `name`, `index` of the master `seed`. Names are short nouns: `"dose"`, `"weights"`, `"shuffle"`.
#[must_use]
pub fn stream(seed: u64, name: &str, index: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(name.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_differs_from_its_neighbours() {
        let first: [u64; 4] = std::array::from_fn({
            let mut r = stream(7, "dose", 0);
            move |_| r.random()
        });
        let again: [u64; 4] = std::array::from_fn({
            let mut r = stream(7, "dose", 0);
            move |_| r.random()
        });
        assert_eq!(first, again);
        for mut other in [
            stream(8, "dose", 0),
            stream(7, "drift", 0),
            stream(7, "dose", 1),
        ] {
            assert_ne!(first[0], other.random::<u64>());
        }
    }
}
