//! Who comes after whom. A gateway asks its sensors one after another, and in the same order the next time: whoever came after a sensor twice in a row
//! is likely to come after it again, and can be prepared for.
//!
//! A Markov predictor of the first order with one bit of trust (Joseph and Grunwald 1997), which serves to fetch memory ahead of time: what it says is
//! a guess, and nothing may depend on it.

/// The place that came after one. The lowest bit tells that it did so the last time as the time before; above it is the place, counted from 1;
/// 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next(pub(crate) u32);

impl Next {
    const TRUSTED: u32 = 1;

    /// After that place has come. From 2³¹ − 1 on they are not told apart, which makes for wrong guesses.
    #[inline(always)]
    pub(crate) fn came(self, place: usize) -> Self {
        let came = (place as u32).wrapping_add(1) << 1;
        Self(match self.0 {
            was if was & !Self::TRUSTED == came => came | Self::TRUSTED,
            // Once is not enough to forget an order: where the readings of two gateways meet, it is another each time.
            was if was & Self::TRUSTED != 0 => was & !Self::TRUSTED,
            _ => came,
        })
    }

    /// The place that is likely to come.
    #[inline(always)]
    pub(crate) fn likely(self) -> Option<usize> {
        let is_trusted = self.0 & Self::TRUSTED != 0;
        is_trusted.then(|| (self.0 as usize >> 1).wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    /// Places that have their turns.
    struct Turns {
        next: Vec<Next>,
        last: usize,
    }

    impl Turns {
        fn of(places: usize) -> Self {
            let next = vec![Next::default(); places];
            Self { next, last: 0 }
        }

        /// Who is likely to come after that place, whose turn it is.
        fn turn(&mut self, place: usize) -> Option<usize> {
            self.next[self.last] = self.next[self.last].came(place);
            self.last = place;
            self.next[place].likely()
        }
    }

    #[test]
    fn an_order_that_comes_back_is_known_from_the_second_time_on() {
        let order = [3, 1, 4, 0, 5];
        let mut turns = Turns::of(6);
        for round in 0..4 {
            let pairs = order.iter().zip(order.iter().cycle().skip(1));
            let told: Vec<bool> = pairs
                .map(|(place, next)| turns.turn(*place) == Some(*next))
                .collect();
            assert_eq!(told, [round > 1; 5], "{round}");
        }
        assert_eq!(turns.next[2].likely(), None, "it never had its turn");
    }

    #[test]
    fn an_order_that_is_broken_once_is_taken_up_again_and_another_one_learnt_soon() {
        let mut turns = Turns::of(4);
        let mut told = |order: &[usize]| {
            let told = order.iter().map(|place| turns.turn(*place));
            told.last().flatten()
        };
        assert_eq!(told(&[0, 1, 0, 1, 0]), Some(1));
        assert_eq!(told(&[2, 0]), None, "it has just been broken");
        assert_eq!(told(&[1, 0]), Some(1));
        assert_eq!(told(&[2, 0, 2, 0]), None);
        assert_eq!(told(&[2, 0]), Some(2));
    }

    #[test]
    fn what_comes_by_chance_is_hardly_ever_told() {
        let (mut noise, mut turns) = (Noise(3), Turns::of(1000));
        let mut told = 0;
        for _ in 0..20_000 {
            let place = (noise.next().abs() * 1e6) as usize % 1000;
            told += usize::from(turns.turn(place).is_some());
        }
        assert!(told < 100, "{told} of 20,000");
    }

    #[test]
    fn the_first_place_and_far_ones_are_told_too() {
        for place in [0, 1, (1 << 31) - 2] {
            let next = Next::default().came(place).came(place);
            assert_eq!(next.likely(), Some(place));
        }
        let beyond = Next::default().came(usize::MAX).came(usize::MAX);
        assert!(beyond.likely().is_none_or(|place| place > 1 << 31));
    }
}
