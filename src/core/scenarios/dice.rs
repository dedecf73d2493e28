//! Random numbers that are the same for a seed on every host: SplitMix64 (Steele, Lea and Flood 2014), and the laws that
//! the scenarios need, with `libm` for what a C library may round differently.

/// One sequence of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
    spare: Option<f64>,
}

impl Dice {
    /// The sequence `stream` of `seed`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self {
            state: seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95),
            spare: None,
        };
        // Near seeds give near states: two steps of the mixer set them apart.
        dice.state = dice.bits() ^ dice.bits().rotate_left(32);
        dice
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0 ≤ x < 1, 53 bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `n`, or 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// -1 or 1.
    pub(crate) fn sign(&mut self) -> f64 {
        if self.bits() >> 63 == 0 { 1.0 } else { -1.0 }
    }

    /// A point in the unit disc, the centre excluded, and its squared distance from it.
    fn disc(&mut self) -> (f64, f64, f64) {
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let w = u * u + v * v;
            if w > 0.0 && w < 1.0 {
                return (u, v, w);
            }
        }
    }

    /// Standard normal: the polar method of Marsaglia and Bray (1964), which makes two at a time.
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u, v, w) = self.disc();
        let scale = (-2.0 * libm::log(w) / w).sqrt();
        self.spare = Some(v * scale);
        u * scale
    }

    /// Student's t with 3 degrees of freedom: Bailey's polar method (1994). Its standard deviation is √3.
    pub(crate) fn student3(&mut self) -> f64 {
        let (u, _, w) = self.disc();
        u * (3.0 * (libm::pow(w, -2.0 / 3.0) - 1.0) / w).sqrt()
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let drawn: Vec<f64> = (0..200_000).map(|_| draw()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let squares: f64 = drawn.iter().map(|x| (x - mean) * (x - mean)).sum();
        (mean, (squares / drawn.len() as f64).sqrt())
    }

    #[test]
    fn the_laws_have_their_moments() {
        let mut dice = Dice::new(1, 2);
        let (mean, deviation) = moments(|| dice.normal());
        assert!(mean.abs() < 0.01 && (deviation - 1.0).abs() < 0.01);
        let (mean, deviation) = moments(|| dice.exponential());
        assert!((mean - 1.0).abs() < 0.01 && (deviation - 1.0).abs() < 0.02);
        // The fourth moment is infinite: the deviation of a sample comes slowly.
        let (mean, deviation) = moments(|| dice.student3());
        assert!(
            mean.abs() < 0.02 && (1.6..1.9).contains(&deviation),
            "{deviation}"
        );
    }

    #[test]
    fn t3_has_heavy_tails() {
        let mut dice = Dice::new(3, 4);
        let beyond = (0..100_000)
            .filter(|_| dice.student3().abs() > 5.841)
            .count();
        assert!(
            (850..1150).contains(&beyond),
            "1 % is beyond 5.841: {beyond}"
        );
    }

    #[test]
    fn streams_and_seeds_differ_and_a_seed_stays() {
        let first = |seed, stream| Dice::new(seed, stream).uniform();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_eq!(first(1, 0), first(1, 0));
    }
}
