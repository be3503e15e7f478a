//! Seeds of random tests: drawn, printed, and taken from `ETALAGE_TEST_SEED` to repeat a run.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of all random tests.
pub type Random = ChaCha8Rng;

/// Draws a seed, or takes the one that is given, and says it on standard error, which a failing
/// test shows.
///
/// # Panics
/// Where `ETALAGE_TEST_SEED` is no number.
pub fn draw(test: &str) -> (u64, Random) {
    let given = std::env::var("ETALAGE_TEST_SEED").ok();
    let given = given.map(|text| text.parse().unwrap_or_else(|_| panic!("ETALAGE_TEST_SEED `{text}` is no number")));
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("{test}: repeat with ETALAGE_TEST_SEED={seed}");
    (seed, from(seed))
}

/// The generator that begins with `seed`.
pub fn from(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}
