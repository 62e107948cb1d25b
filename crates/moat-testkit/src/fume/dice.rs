//! Randomness that follows from a seed: SplitMix64, which needs no crate and no state but one number.

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of one batch of a seed.
    #[must_use]
    pub fn new(seed: u64, batch: u64) -> Self {
        let mut dice = Dice(seed ^ batch.wrapping_mul(0xd134_2543_de82_ef95));
        // Neighbouring batches begin far from each other.
        dice.roll();
        dice
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: u64) -> u64 {
        self.roll() % count
    }

    /// As [`Self::below`], for places.
    pub fn place(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of some things.
    pub fn pick<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.place(things.len())]
    }

    /// One of some words.
    pub fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.place(words.len())]
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.roll().to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_batch_make_the_same_numbers_again_and_others_do_not() {
        let numbers = |seed, batch| {
            let mut dice = Dice::new(seed, batch);
            [dice.roll(), dice.roll(), dice.roll()]
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert_ne!(numbers(1, 2), numbers(1, 3));
        assert_ne!(numbers(1, 2), numbers(2, 2));
    }
}
