//! What is due when: things that are to be looked at once their time has come.
//!
//! A thing is put in when its first deadline is known, and looked at when that has passed; whoever looks puts the deadline
//! off to what it has become in the meantime. So what pushes a deadline ahead, a reading, costs nothing here, and what is not
//! due is never visited.

use std::collections::BTreeSet;

use crate::units::Timestamp;

/// Things with a deadline each, known by a number that is never 0.
#[derive(Debug)]
pub struct Deadlines<T> {
    slots: Vec<Option<(Timestamp, T)>>,
    free: Vec<u32>,
    order: BTreeSet<(Timestamp, u32)>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<T> Deadlines<T> {
    /// How many things there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Puts a thing in; its number.
    pub fn add(&mut self, due: Timestamp, thing: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(number as usize - 1) {
            *slot = Some((due, thing));
        }
        self.order.insert((due, number));
        number
    }

    /// The thing of that number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&T> {
        let slot = self.slots.get((number as usize).checked_sub(1)?)?;
        slot.as_ref().map(|(_, thing)| thing)
    }

    /// The thing of that number, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let slot = self.slots.get_mut((number as usize).checked_sub(1)?)?;
        slot.as_mut().map(|(_, thing)| thing)
    }

    /// Gives a thing another deadline.
    pub fn put_off(&mut self, number: u32, due: Timestamp) {
        let slot = (number as usize)
            .checked_sub(1)
            .and_then(|at| self.slots.get_mut(at));
        if let Some(Some((before, _))) = slot {
            self.order.remove(&(*before, number));
            self.order.insert((due, number));
            *before = due;
        }
    }

    /// Takes a thing out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let slot = self.slots.get_mut((number as usize).checked_sub(1)?)?;
        let (due, thing) = slot.take()?;
        self.order.remove(&(due, number));
        self.free.push(number);
        Some(thing)
    }

    /// The earliest deadline and the number of its thing.
    #[must_use]
    pub fn first(&self) -> Option<(Timestamp, u32)> {
        self.order.first().copied()
    }

    /// Takes out all that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for number in 1..=u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            if self.get(number).is_some_and(|thing| !keep(thing)) {
                self.remove(number);
            }
        }
    }

    /// All things, to be changed.
    pub fn things_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn the_earliest_comes_first_whatever_the_order_of_coming_in() {
        let mut all = Deadlines::default();
        for due in [500, 100, 300, 100] {
            all.add(at(due), due);
        }
        let mut met = vec![];
        while let Some((due, number)) = all.first() {
            met.push((due.millis(), all.remove(number).unwrap()));
        }
        assert_eq!(met, [(100, 100), (100, 100), (300, 300), (500, 500)]);
        assert!(all.is_empty());
    }

    #[test]
    fn what_is_put_off_comes_later_and_keeps_its_number() {
        let mut all = Deadlines::default();
        let (a, b) = (all.add(at(100), "a"), all.add(at(200), "b"));
        all.put_off(a, at(300));
        assert_eq!(all.first(), Some((at(200), b)));
        assert_eq!(
            (all.len(), all.get(a), all.get(b)),
            (2, Some(&"a"), Some(&"b"))
        );
    }

    #[test]
    fn numbers_are_used_again_and_unknown_ones_do_nothing() {
        let mut all = Deadlines::default();
        let a = all.add(at(100), "a");
        assert!(a > 0);
        assert_eq!((all.remove(a), all.remove(a)), (Some("a"), None));
        assert_eq!(all.add(at(5), "b"), a);
        all.put_off(0, at(1));
        all.put_off(99, at(1));
        assert_eq!(
            (all.get(0), all.get(99), all.first()),
            (None, None, Some((at(5), a)))
        );
    }
}
